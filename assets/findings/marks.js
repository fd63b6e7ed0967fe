/** The marks of findings on the axis, and what a finding looks like. */

import { STEP } from "../lib/axis.js";
import { el, icon, setClass, setText } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { listen } from "../lib/life.js";

// The marks of findings on the axis: a glyph where one begins, a bar for as long as it lasts, a number where several begin together.

/** @typedef {{found: Found, from: number, to: number}} Placed */

const APART_PX = 30; // a mark with its number
const MAX_SAID = 4; // sentences of a mark that stands for several
const EDGE = "edge"; // the mark of those that began before the view

export class FindingMarks {
  /** @param {HTMLElement} row @param {HTMLElement} scale in it @param {{choose: (found: Found, mark: HTMLElement) => void, list: (several: Found[], mark: HTMLElement) => void}} actions */
  constructor(row, scale, actions) {
    this.scale = scale;
    this.actions = actions;
    /** @type {Map<string, {element: any, several: Found[]}>} by the id of the first */
    this.marks = new Map();
    this.bars = el("div", { class: "found-bars", "aria-hidden": "true" });
    this.tip = el("div", { class: "tip found-tip", hidden: true });
    this.count = el("span", { class: "found-total" });
    this.scale.append(this.bars);
    row.append(this.count, this.tip);
    for (const [shown, kinds] of /** @type {[boolean, string[]][]} */ ([[true, ["pointerover", "focusin"]], [false, ["pointerleave", "focusout"]]]))
      for (const kind of kinds) scale.addEventListener(kind, (/** @type {Event} */ event) => this.#point(shown ? event.target : null));
    scale.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    listen(document, "keydown", ({ key }) => key === "Escape" && this.#point(null), true);
  }

  /**
   * @param {Placed[]} placed by their start @param {{lo: number, hi: number}} view @param {number} width px @param {string | null} chosen id
   * @param {import("../lib/axis.js").Axis} axis
   */
  draw(placed, view, width, chosen, axis) {
    const x = (/** @type {number} */ at) => ((at - view.lo) / (view.hi - view.lo)) * width;
    const least = ((view.hi - view.lo) / Math.max(1, width)) * APART_PX;
    const began = placed.filter(({ from, to }) => from < view.lo && to >= view.lo);
    const marks = together(placed, least).filter((mark) => mark[0].from >= view.lo && mark[0].from <= view.hi);
    const begin = marks.filter((mark) => !began.length || mark[0].from >= view.lo + least);
    const before = began.length ? [...began, ...marks.filter((mark) => !begin.includes(mark)).flat()] : [];
    /** @type {Map<string, {several: Found[], at: number, words: string}>} */
    const wanted = new Map();
    if (before.length) wanted.set(EDGE, { several: before.map(({ found }) => found), at: 0, words: "at the left of the view" });
    for (const mark of begin) wanted.set(mark[0].found.id, { several: mark.map(({ found }) => found), at: x(mark[0].from), words: axis.word(mark[0].from) });
    this.#place(wanted, chosen);
    this.#drawBars(placed, view, x, width);
    const seen = placed.filter(({ from, to }) => to >= view.lo && from <= view.hi).length;
    setText(this.count, placed.length ? (seen === placed.length ? count(seen) : `${count(seen)} of ${count(placed.length)}`) : "none");
  }

  /** A mark stays the same element while the axis moves: it may have the focus, or be pressed just now. @param {Map<string, {several: Found[], at: number, words: string}>} wanted @param {string | null} chosen */
  #place(wanted, chosen) {
    for (const [id, { element }] of this.marks)
      if (!wanted.has(id)) {
        element.remove();
        this.marks.delete(id);
      }
    for (const [id, { several, at, words }] of wanted) {
      const mark = this.marks.get(id) ?? this.#made(id);
      mark.several = several;
      mark.element.style.left = `${at.toFixed(1)}px`;
      const looks = looksOf([...several].sort(byWeight)[0]);
      const drawn = `${looks.shape} ${looks.tone} ${several.length}`;
      if (mark.element.dataset.drawn !== drawn) {
        mark.element.dataset.drawn = drawn;
        mark.element.replaceChildren(icon(looks.shape, looks.tone), ...(several.length > 1 ? [el("span", {}, count(several.length))] : []));
      }
      const name = several.length > 1 ? `${several.length} findings, ${words}` : `${looks.word}, ${several[0].title}, ${words}`;
      if (mark.element.ariaLabel !== name) mark.element.ariaLabel = name;
      const current = several.some((found) => found.id === chosen);
      setClass(mark.element, "chosen", current);
      mark.element.ariaCurrent = current ? "true" : null;
    }
    this.#rove(this.scale.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : (this.of(chosen) ?? this.#inOrder.at(-1) ?? null));
  }

  /** @param {string} id */
  #made(id) {
    const element = el("button", { class: "found-mark", type: "button", tabindex: "-1" });
    const mark = { element, several: /** @type {Found[]} */ ([]) };
    element.addEventListener("click", () => {
      if (mark.several.length > 1) this.actions.list(mark.several, element);
      else this.actions.choose(mark.several[0], element);
    });
    this.marks.set(id, mark);
    this.scale.append(element);
    return mark;
  }

  /** The mark that stands for a finding. @param {string | null} id @returns {HTMLElement | null} */
  of(id) {
    return [...this.marks.values()].find(({ several }) => several.some((found) => found.id === id))?.element ?? null;
  }

  /** It has the focus, and its sentence is shown, also where it had the focus before. @param {string | null} id */
  focus(id) {
    const mark = this.of(id);
    mark?.focus({ preventScroll: true });
    if (mark) this.#point(mark);
  }

  get #inOrder() {
    return [...this.marks.values()].map(({ element }) => element).sort((a, b) => parseFloat(a.style.left) - parseFloat(b.style.left));
  }

  /** Of many marks one is reached with Tab, the others from there with arrows. @param {HTMLElement | null} reached */
  #rove(reached) {
    for (const { element } of this.marks.values()) element.tabIndex = element === reached ? 0 : -1;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const marks = this.#inOrder;
    const next = way && marks[marks.indexOf(event.target) + way];
    if (!way) return;
    event.preventDefault(); // the page's arrows move the window
    if (!next) return;
    next.focus({ preventScroll: true });
    this.#rove(next);
  }

  /** Its sentence below the row. @param {EventTarget | null} target */
  #point(target) {
    const element = target instanceof Element ? target.closest(".found-mark") : null;
    const mark = [...this.marks.values()].find((other) => other.element === element);
    this.tip.hidden = !mark;
    if (!mark || !element) return;
    const shown = [...mark.several].sort(byWeight).slice(0, MAX_SAID);
    const rest = mark.several.length - shown.length;
    this.tip.replaceChildren(
      ...shown.map((found) => el("span", {}, el("b", {}, `${found.title}. `), found.sentence)),
      ...(rest ? [el("span", { class: "dim" }, `and ${count(rest)} more`)] : []),
    );
    const [box, field] = [element.getBoundingClientRect(), /** @type {HTMLElement} */ (this.tip.parentElement).getBoundingClientRect()];
    this.tip.style.left = `${Math.max(8, Math.min(box.left - field.left, field.width - this.tip.offsetWidth - 8))}px`;
  }

  /** @param {Placed[]} placed @param {{lo: number, hi: number}} view @param {(at: number) => number} x @param {number} width */
  #drawBars(placed, view, x, width) {
    const parts = ["note", "alert"].flatMap((weight) =>
      stretches(placed.filter(({ found }) => found.weight === weight && !GOOD.has(found.rule)))
        .filter(({ from, to }) => to > view.lo && from < view.hi)
        .map(({ from, to }) => ({ weight, left: Math.max(0, x(from)), right: Math.min(width, x(to)) })),
    );
    while (this.bars.children.length > parts.length) this.bars.lastElementChild.remove();
    while (this.bars.children.length < parts.length) this.bars.append(el("i"));
    parts.forEach(({ weight, left, right }, i) => {
      const bar = this.bars.children[i];
      bar.className = `found-bar ${weight}`;
      bar.style.left = `${left.toFixed(1)}px`;
      bar.style.width = `${Math.max(2, right - left).toFixed(1)}px`;
    });
  }
}

// What a finding looks like, in what order findings come, and which window is selected for one (pure).

/** @typedef {import("../types/api").Row<"FindingRow">} Found */

const GOOD = new Set(["finished", "new_best"]);
const AROUND_S = 5; // of a moment, on either side
const AROUND_STEPS = 5;
const MIN_S = 1; // of a window

/** A note and an alert differ in their shape; the colour only repeats it. @param {Found} found @returns {{shape: "triangle" | "octagon" | "disc", tone: "ok" | "warn" | "bad", word: string}} */
export function looksOf({ weight, rule }) {
  const word = weight === "alert" ? "Alert" : "Note";
  if (GOOD.has(rule)) return { shape: "disc", tone: "ok", word };
  return weight === "alert" ? { shape: "octagon", tone: "bad", word } : { shape: "triangle", tone: "warn", word };
}

/** Alerts first and good news last; the newest first among equals. @param {Found} a @param {Found} b */
export const byWeight = (a, b) => rank(a) - rank(b) || b.start - a.start;

/** @param {Found} found */
const rank = ({ weight, rule }) => (weight === "alert" ? 0 : GOOD.has(rule) ? 2 : 1);

/** @param {Found} a @param {Found} b */
export const byTime = (a, b) => a.start - b.start || (a.id < b.id ? -1 : 1);

/** Where it lies on an axis; null where it has no place there. One that holds reaches to `now_s`. @param {Found} found @param {import("../lib/axis.js").Axis} axis @param {number} now_s @returns {{from: number, to: number} | null} */
export function placeOf({ start, end, over, step }, axis, now_s) {
  if (axis === STEP) return step === null ? null : { from: step, to: step };
  return { from: start, to: over ? end : Math.max(end, now_s) };
}

/** The window by which the profile answers for it. @param {Found} found @param {import("../lib/axis.js").Axis} axis @returns {{from: number, to: number} | null} */
export function windowOf(found, axis) {
  const place = placeOf(found, axis, found.end);
  if (place === null) return null;
  const { from, to } = place;
  if (axis === STEP) return { from: Math.max(0, from - AROUND_STEPS), to: to + AROUND_STEPS };
  return to - from >= MIN_S ? place : { from: from - AROUND_S, to: to + AROUND_S };
}

/**
 * Findings that would cover each other are one mark. Which ones depends on the scale only, so that a mark does not fall apart while the axis moves.
 * @param {{found: Found, from: number, to: number}[]} placed by their start @param {number} least distance of two marks on the axis
 * @returns {{found: Found, from: number, to: number}[][]}
 */
export function together(placed, least) {
  /** @type {{found: Found, from: number, to: number}[][]} */
  const marks = [];
  for (const place of placed) {
    const mark = marks.at(-1);
    if (mark && place.from - mark[0].from < least) mark.push(place);
    else marks.push([place]);
  }
  return marks;
}

/** Where any of them lasts, as stretches that do not touch. @param {{from: number, to: number}[]} placed by their start @returns {{from: number, to: number}[]} */
export function stretches(placed) {
  /** @type {{from: number, to: number}[]} */
  const found = [];
  for (const { from, to } of placed) {
    const last = found.at(-1);
    if (last && from <= last.to) last.to = Math.max(last.to, to);
    else if (to > from) found.push({ from, to });
  }
  return found;
}
