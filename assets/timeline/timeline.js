/** All lanes on one axis, with what lies over them: events, the selected window, the crosshair. */

import { copyButton } from "../lib/clipboard.js";
import { el, onResize, setClass, setText } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { onTheme } from "../lib/theme.js";
import { brush } from "./gestures.js";
import { LaneView } from "./lane.js";
import { movable, ordered, remember } from "./lane_order.js";
import { axisMark, laneMark, placed } from "./marks.js";

/** @typedef {import("../data/lanes.js").Lane} Lane */
/** @typedef {import("../data/series.js").Series} Series */

/**
 * @typedef {Object} Picture what is to be seen
 * @property {import("../lib/axis.js").Axis} axis
 * @property {{lo: number, hi: number}} view Unix seconds, or steps
 * @property {{from: number, to: number} | null} window
 * @property {number | null} cursor_s
 * @property {number | null} cursor_step
 * @property {Map<string, Series>} series
 * @property {Map<string, string>} failed by key of a series, why it cannot be shown
 * @property {import("../ledger/ledger_view.js").Shares | null} [shares] of the lane that shows them; null until they are known
 * @property {number} version rises when the series have something new
 * @property {import("./marks.js").Event[]} events
 * @property {string} end the word at the right end of the axis
 * @property {boolean} following
 */

const NARROW = matchMedia("(max-width: 639px)");
const TICK_PX = 64;
const SLOW_MS = 2000;

export class Timeline {
  /** @param {Omit<import("./gestures.js").Gestures, "view" | "window">} gestures @param {(lane: LaneView) => void} drawn */
  constructor(gestures, drawn) {
    this.drawn = drawn;
    /** @type {LaneView[]} */
    this.lanes = [];
    /** @type {Picture | null} */
    this.picture = null;
    this.caption = el("span", { class: "cap" });
    this.ticks = el("div", { class: "ticks" });
    this.marks = el("div", { class: "marks" });
    this.tag = el("div", { class: "tag" });
    this.now = el("span", { class: "now" });
    this.hour = el("span", { class: "hour" });
    this.axis = el(
      "div",
      { class: "axis", "aria-hidden": "true" },
      this.caption,
      el("div", { class: "scale" }, this.ticks, this.marks, this.tag, this.hour),
      this.now,
    );
    this.stack = el("div", { class: "lanes" });
    this.lines = el("div", { class: "events" });
    this.box = el("div", { class: "window" }, el("i", { class: "handle left" }), el("i", { class: "handle right" }));
    this.cross = el("div", { class: "cross" });
    this.surface = el(
      "div",
      {
        class: "surface",
        role: "img",
        "aria-label": "Time axis of all lanes: drag to select a window, arrow keys move it",
      },
      this.lines,
      this.box,
      this.cross,
    );
    this.notice = el("p", { class: "notice", role: "status", hidden: true });
    this.help = el("section", { class: "empty", hidden: true });
    this.element = el(
      "div",
      { class: "timeline" },
      el("div", { class: "field" }, this.axis, this.stack, this.surface),
      this.notice,
      this.help,
    );
    brush(this.surface, {
      ...gestures,
      view: () => this.picture?.view ?? { lo: 0, hi: 1 },
      window: () => this.picture?.window ?? null,
    });
    this.surface.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.#point(event.clientY));
    this.surface.addEventListener("pointerleave", () => this.#point(NaN));
    onResize(this.element, () => this.fit());
    onTheme(() => this.fit());
    NARROW.addEventListener("change", () =>
      this.setLanes(
        this.lanes.map((lane) => lane.spec),
        true,
      ),
    );
  }

  /** Lanes that stay the same keep their plots, and the name that has the focus keeps it. @param {Lane[]} specs @param {boolean} [anew] */
  setLanes(specs, anew = false) {
    const old = new Map(this.lanes.map((lane) => [lane.spec.id, lane]));
    const focused = this.lanes.find((lane) => lane.name === document.activeElement)?.spec.id;
    this.lanes = ordered(specs).map((spec) => {
      const known = old.get(spec.id);
      if (known && !anew && JSON.stringify(known.spec) === JSON.stringify(spec)) {
        old.delete(spec.id);
        return known;
      }
      return this.#lane(spec);
    });
    for (const lane of old.values()) lane.destroy();
    this.stack.replaceChildren(...this.lanes.map((lane) => lane.element));
    this.lanes.find((lane) => lane.spec.id === focused)?.name.focus({ preventScroll: true });
    for (const lane of this.lanes) {
      lane.ondrawn = this.drawn;
      this.#resized.observe(lane.plot);
    }
  }

  /** The surface covers the lane that a pointer is on, whose tools are shown. @param {number} y */
  #point(y) {
    for (const { element } of this.lanes) {
      const { top, bottom } = element.getBoundingClientRect();
      setClass(element, "pointed", y >= top && y < bottom);
    }
  }

  /** @param {Lane} spec */
  #lane(spec) {
    const { viewClass = LaneView } = spec;
    const lane = new viewClass(spec, NARROW.matches);
    movable(lane.element, lane.name, () => this.#reordered());
    return lane;
  }

  /** The user moved a lane. */
  #reordered() {
    const places = [...this.stack.children];
    this.lanes.sort((a, b) => places.indexOf(a.element) - places.indexOf(b.element));
    remember(this.lanes.map(({ spec }) => spec.id));
  }

  #resized = new ResizeObserver((entries) => {
    for (const { target } of entries) this.lanes.find((lane) => lane.plot === target)?.fit();
  });

  fit() {
    this.width = this.surface.clientWidth;
    for (const lane of this.lanes) lane.fit();
    if (this.picture) this.draw(this.picture);
  }

  /** @param {Picture} picture */
  draw(picture) {
    this.picture = picture;
    this.width ||= this.surface.clientWidth;
    for (const lane of this.lanes) if (!lane.folded) this.#drawLane(lane, picture);
    this.#drawAxis(picture);
    this.#drawEvents(picture);
    this.#drawWindow(picture);
    this.#drawCross(picture);
  }

  /** A lane that cannot be drawn affects only itself; the browser's console shows why. @param {LaneView} lane @param {Picture} picture */
  #drawLane(lane, picture) {
    try {
      lane.draw(picture);
    } catch (error) {
      lane.say(`${lane.spec.title} cannot be drawn: ${error instanceof Error ? error.message : error}. Please report it.`);
      reportError(error);
    }
  }

  /** Show why the server refused a request; "" clears it. @param {string} sentence */
  say(sentence) {
    this.notice.hidden = !sentence;
    setText(this.notice, sentence);
  }

  /**
   * Dim the lanes while they wait for an answer; show a sentence when that takes long.
   * @template T
   * @param {Promise<T>} answer @param {string} sentence
   * @returns {Promise<T>}
   */
  async during(answer, sentence) {
    setClass(this.element, "stale", true);
    const slow = setTimeout(() => this.say(sentence), SLOW_MS);
    try {
      return await answer;
    } finally {
      clearTimeout(slow);
      if (this.notice.textContent === sentence) this.say("");
      setClass(this.element, "stale", false);
    }
  }

  /** Shown instead of lanes while there is no run. @param {{sentence: string, code?: string, more?: Node[]} | null} help */
  showHelp(help) {
    this.help.hidden = help === null;
    const looks = JSON.stringify([help?.sentence, help?.code, help?.more?.length]);
    if (help === null || looks === this.#help) return;
    this.#help = looks;
    const { sentence, code, more = [] } = help;
    this.help.replaceChildren(
      ...(sentence ? [el("p", {}, sentence)] : []),
      ...(code ? [el("pre", {}, code), copyButton("Copy", () => code)] : []),
      ...more,
    );
  }

  #help = "";

  /** @param {number} time_s */
  x(time_s) {
    const { lo, hi } = /** @type {Picture} */ (this.picture).view;
    return ((time_s - lo) / (hi - lo)) * (this.width ?? 0);
  }

  /** @param {Picture} picture */
  #drawAxis({ axis, view, end, following }) {
    const width = this.width ?? 0;
    const ticks = axis.ticks(view, width / TICK_PX).filter(({ at }) => this.x(at) > 14 && this.x(at) < width - 20);
    while (this.ticks.children.length > ticks.length) this.ticks.lastElementChild?.remove();
    while (this.ticks.children.length < ticks.length) this.ticks.append(el("span"));
    ticks.forEach(({ at, word }, i) => {
      this.ticks.children[i].style.transform = `translateX(calc(${this.x(at).toFixed(1)}px - 50%))`;
      setText(this.ticks.children[i], word);
    });
    setText(this.caption, axis.caption(view));
    setText(this.now, end);
    setClass(this.now, "acc", following);
  }

  /** @param {Picture} picture */
  #drawEvents({ events, view, window }) {
    const tag = window ? { from: this.x(window.from), to: this.x(window.to) } : { from: Infinity, to: -Infinity };
    const marks = placed(events, view, this.width ?? 0, tag);
    const looks = marks.map(({ x, label, labelled }) => `${x.toFixed(0)}${label}${labelled}`).join();
    if (looks === this.#looks) return;
    this.#looks = looks;
    this.marks.replaceChildren(...marks.map(axisMark));
    this.lines.replaceChildren(...marks.map(laneMark).filter((line) => line !== null));
  }

  #looks = "";

  /** @param {Picture} picture */
  #drawWindow({ window, view, axis }) {
    const shown = window !== null && window.to > view.lo && window.from < view.hi;
    this.box.hidden = this.tag.hidden = !shown;
    if (!shown) return;
    const [x0, x1] = [Math.max(-1, this.x(window.from)), Math.min((this.width ?? 0) + 1, this.x(window.to))];
    this.box.style.left = `${x0}px`;
    this.box.style.width = this.tag.style.minWidth = `${Math.max(1, x1 - x0)}px`;
    this.tag.style.left = `${(x0 + x1) / 2}px`;
    setText(this.tag, axis.length(window.to - window.from));
  }

  /** @param {Picture} picture */
  #drawCross({ cursor_s, cursor_step, axis }) {
    this.cross.hidden = this.hour.hidden = cursor_s === null;
    if (cursor_s === null) return;
    this.cross.style.transform = `translateX(${this.x(cursor_s)}px)`;
    setText(this.hour, `${axis.word(cursor_s)}${cursor_step === null ? "" : `  step ${count(cursor_step)}`}`);
    const x = Math.max(60, Math.min((this.width ?? 0) - 60, this.x(cursor_s)));
    this.hour.style.transform = `translateX(calc(${x}px - 50%))`;
  }
}
