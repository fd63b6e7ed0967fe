/**
 * The list of lines: of millions only those in view are elements. Its place is an entry and how many pixels of it are above the view, not a
 * number of pixels from the top: so nothing moves when entries above fold, open or arrive. The scroll bar shows the share.
 */

import { el, onResize, setClass } from "../lib/dom.js";
import { entryRow, placeholder } from "./entry.js";

/** @typedef {import("./line_cache.js").LineCache} LineCache */
/** @typedef {import("./line.js").Line} Line */
/** @typedef {{run: string, number: number}} Key of a line */

const ROW_PX = 18; // of a line that is neither open nor wrapped
const ROOM_PX = 4e6; // browsers draw no taller elements
const JUMP = 3; // views: a greater change of the scroll bar is a jump
const [TOUCHED_MS, LATEST_MS] = [300, 2000];
const IDLE_MS = 160; // after which the scroll bar is put where the list stands
const EDGE_PX = 400; // that remain to be scrolled while there are lines beyond
const MEASURES = 3; // of a picture: entries that come into view by one are measured by the next
const ABOVE = 0.3; // of the view, above a line that is shown

export class LineList {
  /**
   * @param {LineCache} cache
   * @param {{hover: (time_s: number | null) => void, chosen: (line: Line, start: number) => void, detail: (line: Line) => HTMLElement, followed: () => void, gone: (end: "start" | "end") => void}} page `gone`: by a key, to the first or last line
   */
  constructor(cache, page) {
    this.cache = cache;
    this.page = page;
    this.anchor = { offset: 0, shift: 0 };
    this.following = false; // the end stays in view
    this.wraps = false;
    /** @type {import("./entry.js").Columns} */
    this.columns = { run: false, file: false, rank: false, day: false, ms: false };
    this.#columns = "";
    /** @type {Key | null} */
    this.current = null;
    /** @type {Set<string>} keys of entries that are open */
    this.opened = new Set();
    /** @type {Map<string, HTMLElement>} the elements in view, by key */
    this.elements = new Map();
    /** @type {Map<string, number>} pixels of entries that are not as tall as a line */
    this.heights = new Map();
    this.shown = { lo: 0, hi: 0 }; // places in view
    /** @type {Key | null} the first line in view */
    this.held = null;
    this.isDrawn = true; // where it stands; else `held` is where it was
    this.rows = el("div", { class: "log-rows" });
    this.sheet = el("div", { class: "log-sheet" }, this.rows);
    this.room = el("div", { class: "log-room" }, this.sheet);
    this.scroll = el("div", { class: "log-scroll log", role: "log", "aria-label": "Log lines", "aria-live": "off", tabindex: "0" }, this.room);
    this.element = this.scroll;
    this.scroll.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.scroll.addEventListener("scrollend", () => this.#align());
    this.scroll.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#ends(event));
    this.scroll.addEventListener("wheel", (/** @type {WheelEvent} */ event) => event.deltaY < 0 && this.#leave(), { passive: true });
    for (const kind of ["wheel", "pointerdown", "touchmove", "keydown"]) this.scroll.addEventListener(kind, () => this.#touch(kind !== "wheel"), { passive: true });
    this.rows.addEventListener("pointerdown", () => (this.#pressed = true));
    for (const kind of ["pointerup", "pointercancel", "contextmenu", "blur"]) addEventListener(kind, () => this.#pressed && this.#release());
    this.rows.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#clicked(event));
    this.rows.addEventListener("pointerover", (/** @type {PointerEvent} */ event) => page.hover(this.#lineAt(event.target)?.line.time_s ?? null));
    this.scroll.addEventListener("pointerleave", () => page.hover(null));
    onResize(this.scroll, () => this.#resized());
  }

  #columns; // as a text
  #top = 0; // of the scroll bar, when it was last looked at
  #height = 0; // of the view
  #touched_ms = -Infinity; // when the user last scrolled, or began to
  #grabbed_ms = -Infinity; // in a way that can jump
  #frame = 0;
  #timer = 0;
  #pressed = false; // a pointer is down on a line: the browser forgets a click, or a selection, whose element is drawn anew

  /** Draw in the next frame. */
  invalidate() {
    this.#frame ||= requestAnimationFrame(() => ((this.#frame = 0), this.#pressed || this.draw()));
  }

  #release() {
    this.#pressed = false;
    this.invalidate();
  }

  // Where it stands

  /** Stay at the end, or not any more. @param {boolean} on */
  follow(on) {
    this.following = on;
    if (on) this.anchor = { offset: this.cache.total, shift: 0 };
    this.invalidate();
  }

  /** The user scrolls up. */
  #leave() {
    if (!this.following) return;
    this.following = false;
    this.page.followed();
  }

  /** Other lines are to be shown. @param {boolean} follows */
  leave(follows) {
    this.current = this.held = null;
    this.opened.clear();
    this.heights.clear();
    this.follow(follows);
  }

  /** To the last lines, without staying there. */
  goToEnd() {
    this.following = this.isDrawn = false;
    this.anchor = { offset: this.cache.total, shift: 0 };
    this.invalidate();
  }

  /** Bring a place into view. @param {number} offset @param {number} [above] share of the view above it */
  go(offset, above = ABOVE) {
    this.following = this.isDrawn = false;
    this.anchor = { offset, shift: -Math.round((this.#height * above) / ROW_PX) * ROW_PX }; // the first line in view is not cut
    this.invalidate();
    this.#alignWhenIdle();
  }

  /** The list stands still at a line that stands elsewhere among the lines now. @param {number} offset */
  hold(offset) {
    this.anchor = { offset, shift: this.anchor.shift };
    this.invalidate();
  }

  /** The first line in view, as far as it is known. @returns {Line | undefined} */
  get first() {
    return this.cache.lines(this.shown.lo, this.shown.hi)[0];
  }

  /** @returns {Line | undefined} */
  get last() {
    return this.cache.lines(this.shown.lo, this.shown.hi).at(-1);
  }

  /** @param {boolean} grabbed */
  #touch(grabbed) {
    this.#touched_ms = performance.now();
    if (grabbed) this.#grabbed_ms = this.#touched_ms;
  }

  #scrolled() {
    const top = this.scroll.scrollTop;
    const by = top - this.#top;
    this.#top = top;
    this.#doubts = false;
    if (Math.abs(by) < 1) return; // the browser rounds where the bar was put
    const now_ms = performance.now();
    const jumps = Math.abs(by) > JUMP * this.#height;
    if (top === 0 && now_ms - (jumps ? this.#grabbed_ms : this.#touched_ms) > TOUCHED_MS) return this.#align(); // the element has moved into Dash's layout, not the user
    this.#touch(jumps);
    this.#revealed = "";
    if (jumps) this.#jump(top);
    else this.#move(by);
    this.#alignWhenIdle(LATEST_MS); // `scrollend` comes before, where the browser has it
    return this.draw();
  }

  /** To the first or the last line at once. @param {KeyboardEvent} event */
  #ends(event) {
    if (event.target !== this.scroll || !["Home", "End"].includes(event.key)) return;
    event.preventDefault();
    event.key === "End" ? this.goToEnd() : this.go(0, 0);
    this.page.gone(event.key === "End" ? "end" : "start");
    this.page.followed();
  }

  /** @param {number} top */
  #jump(top) {
    const share = Math.min(1, top / Math.max(1, this.scroll.scrollHeight - this.#height));
    if (share < 1) this.#leave();
    this.anchor = share >= 1 ? { offset: this.cache.total, shift: 0 } : { offset: Math.floor(share * this.cache.total), shift: 0 };
  }

  /** @param {number} by pixels */
  #move(by) {
    if (by < 0) this.#leave();
    this.anchor.shift += by;
  }

  /** Once it stands still, the scroll bar shows where. @param {number} [idle_ms] */
  #alignWhenIdle(idle_ms = IDLE_MS) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#align(), idle_ms);
  }

  #isFirst = true;
  #isLast = true;
  #doubts = false; // whether the scroll bar stands where it was put

  #align() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#doubts = !this.#doubts && Math.abs(this.scroll.scrollTop - this.#top) >= 1;
    if (this.#doubts) return this.#alignWhenIdle(); // the user has scrolled just now, and the event is on its way; or the element has moved into Dash's layout
    const most = this.scroll.scrollHeight - this.#height;
    const share = this.anchor.offset / Math.max(1, this.cache.total - (this.shown.hi - this.shown.lo));
    const edge = Math.min(EDGE_PX, most / 4);
    const top = this.#isFirst ? 0 : this.#isLast ? most : Math.max(edge, Math.min(most - edge, share * most));
    if (Math.abs(top - this.scroll.scrollTop) >= 1) this.scroll.scrollTop = top;
    this.#top = this.scroll.scrollTop;
    return undefined;
  }

  #resized() {
    this.#top = this.scroll.scrollTop; // a higher view moves the bar by itself
    if (this.wraps || this.opened.size) this.heights.clear();
    this.invalidate();
  }

  // What is drawn

  /** @param {number} offset */
  #key(offset) {
    const line = this.cache.line(offset);
    return line ? `${line.number} ${line.run}` : `? ${offset}`;
  }

  /** @param {number} offset of an entry */
  #tall(offset) {
    return this.heights.size ? (this.heights.get(this.#key(offset)) ?? ROW_PX) : ROW_PX;
  }

  draw() {
    const { cache } = this;
    const height = this.scroll.clientHeight;
    if (!height) return;
    if (this.#height) this.anchor.shift += this.#height - height; // what stands above the list has grown: the lines stay where they are
    this.#height = height;
    this.#columns = JSON.stringify(this.columns);
    const room = `${Math.max(this.#height, Math.min(ROOM_PX, cache.total * ROW_PX))}px`;
    if (this.room.style.height !== room) {
      this.room.style.height = room;
      this.#top = this.scroll.scrollTop; // a lower room moves the bar by itself
    }
    if (this.sheet.style.height !== `${this.#height}px`) this.sheet.style.height = `${this.#height}px`;
    if (this.following) this.anchor = { offset: cache.total, shift: 0 };
    const { offset, shift } = this.anchor; // of an entry that was in view: it does not move, whatever those above it turn out to be
    this.anchor = settled(this.#spans, this.anchor, this.#height);
    this.#fill(this.#entries());
    for (let times = 0; times < MEASURES && this.#measure(); times++) {
      this.anchor = settled(this.#spans, { offset, shift }, this.#height);
      this.#fill(this.#entries());
    }
    this.#reveal();
    this.rows.style.transform = `translateY(${-this.anchor.shift}px)`;
    const { first } = this;
    if (first) this.held = { run: first.run, number: first.number };
    this.isDrawn = true;
    cache.want(this.shown.lo, this.shown.hi);
    if (this.#isStuck) this.#align();
    else if (!this.#timer) this.#alignWhenIdle();
  }

  /** Whether the bar stands at an end that is not the list's, as before it was ever put anywhere: nothing could be scrolled that way. */
  get #isStuck() {
    const { scrollTop, scrollHeight } = this.scroll;
    return performance.now() - this.#touched_ms > TOUCHED_MS && ((scrollTop < 1 && !this.#isFirst) || (scrollTop > scrollHeight - this.#height - 1 && !this.#isLast));
  }

  /** The entries in view. @returns {number[]} */
  #entries() {
    const { starts, end, isFirst, isLast } = entriesInView(this.#spans, this.anchor, this.#height);
    this.shown = { lo: this.anchor.offset, hi: end };
    this.#isFirst = isFirst;
    this.#isLast = isLast;
    return starts;
  }

  /** @returns {Entries} */
  get #spans() {
    const { cache } = this;
    return { total: cache.total, startOf: (at) => cache.startOf(at), endOf: (at) => cache.endOf(at), tall: (at) => this.#tall(at) };
  }

  /** @param {number[]} entries */
  #fill(entries) {
    /** @type {Map<string, HTMLElement>} */
    const kept = new Map();
    entries.forEach((start, i) => {
      const key = this.#key(start);
      const element = this.#element(key, start);
      kept.set(key, element);
      if (this.rows.children[i] !== element) this.rows.insertBefore(element, this.rows.children[i] ?? null);
    });
    while (this.rows.children.length > entries.length) this.rows.lastElementChild?.remove();
    this.elements = kept;
  }

  /** @param {string} key @param {number} start @returns {HTMLElement} */
  #element(key, start) {
    const { cache } = this;
    const line = cache.line(start);
    const end = line ? cache.endOf(start) : start + 1;
    const open = this.opened.has(key);
    const looks = line ? `${end - start}${open ? "open" : ""}${line.hit ? line.spans : ""}${this.#columns}` : "";
    let element = this.elements.get(key);
    if (!element || element.dataset.looks !== looks) {
      element = line ? this.#made(line, start, open) : el("div", { class: "entry" }, placeholder());
      /** @type {HTMLElement} */ (element).dataset.looks = looks;
    }
    const made = /** @type {HTMLElement} */ (element);
    made.dataset.offset = String(start);
    const { current } = this;
    setClass(made, "at", current !== null && line !== undefined && cache.holds(start, end, current));
    return made;
  }

  /** @param {Line} line @param {number} start @param {boolean} open @returns {HTMLElement} */
  #made(line, start, open) {
    const lines = this.cache.entry(start);
    const row = entryRow(lines, this.cache.isTrace(start), this.columns);
    if (!open) return el("div", { class: "entry" }, row);
    const rest = this.cache.isTrace(start) ? lines.map(({ text }) => el("div", { class: "whole" }, text)) : [];
    return el("div", { class: "entry open" }, row, ...rest, this.page.detail(line));
  }

  /** An entry that was opened at the foot of the view comes up. */
  #reveal() {
    const element = this.elements.get(this.#revealed);
    if (!element || this.following) return;
    const [top, bottom] = [element.offsetTop - this.anchor.shift, element.offsetTop + element.offsetHeight - this.anchor.shift];
    const by = Math.min(bottom - this.#height, top);
    if (by <= 0) return;
    this.anchor = settled(this.#spans, { offset: this.anchor.offset, shift: this.anchor.shift + by }, this.#height);
    this.#fill(this.#entries());
  }

  #revealed = ""; // key of an entry, until the user scrolls

  /** Entries that are open or wrap are as tall as they are. @returns {boolean} whether they are not as tall as was thought */
  #measure() {
    if (!this.wraps && !this.opened.size && !this.heights.size) return false;
    let changed = false;
    for (const element of /** @type {HTMLCollectionOf<HTMLElement>} */ (this.rows.children)) {
      const start = Number(element.dataset.offset);
      const tall = element.offsetHeight;
      if (tall === this.#tall(start)) continue;
      changed = true;
      if (tall === ROW_PX) this.heights.delete(this.#key(start));
      else this.heights.set(this.#key(start), tall);
    }
    return changed;
  }

  // What the user does

  /** @param {EventTarget | null} target @returns {{line: Line, start: number} | null} */
  #lineAt(target) {
    const entry = target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest(".entry")) : null;
    const start = Number(entry?.dataset.offset ?? NaN);
    const line = this.cache.line(start);
    return line ? { line, start } : null;
  }

  /** The moment of the line below the pointer; not while lines pass below it. @param {EventTarget | null} target */
  #hover(target) {
    if (performance.now() - this.#touched_ms > TOUCHED_MS) this.page.hover(this.#lineAt(target)?.line.time_s ?? null);
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = /** @type {Element} */ (event.target);
    if (target.closest(".detail, .whole") || !getSelection()?.isCollapsed) return; // text is being selected
    const found = this.#lineAt(target);
    if (found) this.toggle(found.line, found.start);
  }

  /** Choose the entry, open it or close it. @param {Line} line @param {number} start */
  toggle(line, start) {
    const key = this.#key(start);
    if (this.opened.delete(key)) this.heights.delete(key);
    else {
      this.opened.add(key);
      this.#revealed = key;
    }
    this.current = { run: line.run, number: line.number };
    this.page.chosen(line, start);
    this.invalidate();
  }

  /** Choose a line. @param {Key | null} key */
  choose(key) {
    this.current = key;
    this.invalidate();
  }

  /** @param {boolean} on */
  wrap(on) {
    this.wraps = on;
    this.heights.clear();
    setClass(this.rows, "wraps", on);
    this.invalidate();
  }
}

// Where a list stands: at an entry, so many pixels of which are above the view (pure).

/** @typedef {{offset: number, shift: number}} Anchor `offset`: of a line, `shift`: pixels from its entry's top to the top of the view, also negative or beyond the entry */
/** @typedef {{total: number, startOf: (offset: number) => number, endOf: (start: number) => number, tall: (start: number) => number}} Entries of one line or several, by the place of their first; `tall`: pixels */

/**
 * The same place, at the first entry in view; neither end of the list is left.
 * @param {Entries} entries @param {Anchor} anchor @param {number} height of the view @returns {Anchor}
 */
export function settled(entries, anchor, height) {
  const { total, endOf, tall } = entries;
  let place = anchor.offset >= total ? { offset: total, shift: Math.min(anchor.shift, 0) - height } : { offset: entries.startOf(anchor.offset), shift: anchor.shift };
  place = upwards(entries, place);
  while (place.offset < total && place.shift >= tall(place.offset)) place = { offset: endOf(place.offset), shift: place.shift - tall(place.offset) };
  let free = height + place.shift; // below the last entry
  for (let at = place.offset; at < total && free > 0; at = endOf(at)) free -= tall(at);
  if (free > 0) place = upwards(entries, { offset: place.offset, shift: place.shift - free });
  return { offset: place.offset, shift: Math.max(0, place.shift) };
}

/** @param {Entries} entries @param {Anchor} anchor @returns {Anchor} */
function upwards({ startOf, tall }, { offset, shift }) {
  while (shift < 0 && offset > 0) {
    offset = startOf(offset - 1);
    shift += tall(offset);
  }
  return { offset, shift };
}

/** @param {Entries} entries @param {Anchor} anchor settled @param {number} height of the view */
export function entriesInView({ total, endOf, tall }, { offset, shift }, height) {
  /** @type {number[]} */
  const starts = [];
  let [at, y] = [offset, -shift];
  while (at < total && y < height) {
    starts.push(at);
    y += tall(at);
    at = endOf(at);
  }
  return { starts, end: at, isFirst: offset === 0 && shift === 0, isLast: at >= total && y <= height + 1 };
}

// From entry to entry with the keyboard.

const AFTER = 0.8; // of the view, above an entry that is reached downwards
const BEFORE = 0.15;

/** Choose the next entry, or the one before. @param {LineList} list @param {-1 | 1} way */
export function step(list, way) {
  const { current, cache, shown } = list;
  const at = current ? cache.find(current.number, current.run) : null;
  const from = at === null ? (way > 0 ? shown.lo - 1 : shown.hi) : way > 0 ? cache.endOf(cache.startOf(at)) - 1 : cache.startOf(at);
  const to = way > 0 ? from + 1 : cache.startOf(from - 1);
  const line = cache.line(to);
  if (to < 0 || to === from || !line) return;
  if (to < shown.lo + 1 || to >= shown.hi - 1) list.go(to, way > 0 ? AFTER : BEFORE);
  list.choose({ run: line.run, number: line.number });
  list.page.chosen(line, to);
}

/** Open the chosen entry, or close it. @param {LineList} list */
export function openChosen(list) {
  const { current, cache } = list;
  const at = current && cache.find(current.number, current.run);
  if (at === null) return;
  const start = cache.startOf(at);
  const line = cache.line(start);
  if (line) list.toggle(line, start);
}
