/** What stretch of time is shown: it follows the newest point until a person sets it, and then never moves by itself (pure). */

/** @typedef {{from: number, to: number}} Window Unix seconds */
/** @typedef {{lo: number, hi: number}} View Unix seconds */

export const SPANS_S = [60, 120, 300, 600, 3600, 21600, 86400];
export const DEFAULT_SPAN_S = 600; // of a run that is that old; a younger one fills the page
const LEAST_FIT_S = 10;
const ROOM = 1.05; // around a run that is over
const LEAST_S = 0.05;
const MOST_S = 90 * 86400;

export class Range {
  /** @param {import("./url.js").Address} address */
  constructor({ from, to, span, at }) {
    this.span_s = span !== null && span >= LEAST_S ? Math.min(span, MOST_S) : DEFAULT_SPAN_S;
    /** @type {Window | null} */
    this.window = from !== null && to !== null && to > from ? { from, to } : null;
    const hi = at ?? (this.window ? this.window.to + Math.max(this.span_s - (this.window.to - this.window.from), 0) / 2 : null);
    /** @type {View | null} */
    this.frozen = hi === null ? null : { lo: Math.min(hi - this.span_s, this.window?.from ?? Infinity), hi };
    this.held = at !== null && this.window === null;
    this.fitting = span === null && this.frozen === null; // until a person sets the span
  }

  /** A young run fills the page, one that is over exactly. @param {number} age_s @param {boolean} over @returns {boolean} whether the view has another span now */
  fit(age_s, over) {
    if (!this.fitting || !this.following) return false;
    const before = this.span_s;
    const grown = SPANS_S.find((span) => span >= age_s) ?? DEFAULT_SPAN_S;
    this.span_s = Math.min(DEFAULT_SPAN_S, over ? Math.max(LEAST_FIT_S, Math.ceil(age_s * ROOM)) : grown);
    return this.span_s !== before;
  }

  get following() {
    return this.frozen === null;
  }

  /** @param {number} end_s what "now" is for the run @returns {View} */
  view(end_s) {
    return this.frozen ?? { lo: end_s - this.span_s, hi: end_s };
  }

  /** @param {Window} window @param {number} end_s */
  select(window, end_s) {
    this.frozen = this.view(end_s);
    this.window = window;
  }

  /** Without the window, the view moves again unless a person held it. */
  clear() {
    this.window = null;
    if (!this.held) this.frozen = null;
  }

  /** @param {View} view */
  hold(view) {
    const span = Math.max(LEAST_S, Math.min(MOST_S, view.hi - view.lo));
    this.frozen = { lo: view.hi - span, hi: view.hi };
    this.held = true;
  }

  /** A held view keeps its end. @param {number} span_s */
  setSpan(span_s) {
    this.span_s = span_s;
    this.fitting = false;
    if (this.frozen) this.hold({ lo: this.frozen.hi - span_s, hi: this.frozen.hi });
  }

  follow() {
    this.window = this.frozen = null;
    this.held = false;
  }

  /** Keep `time_s` where it is on the screen. @param {number} time_s @param {number} factor @param {number} end_s */
  zoom(time_s, factor, end_s) {
    const { lo, hi } = this.view(end_s);
    this.hold({ lo: time_s - (time_s - lo) * factor, hi: time_s + (hi - time_s) * factor });
  }

  /** The window moves by half its length, the view by a quarter when there is no window. @param {-1 | 1} way @param {number} end_s */
  move(way, end_s) {
    const view = this.view(end_s);
    if (!this.window) {
      const by = (way * (view.hi - view.lo)) / 4;
      return this.hold({ lo: view.lo + by, hi: view.hi + by });
    }
    const by = (way * (this.window.to - this.window.from)) / 2;
    this.window = { from: this.window.from + by, to: this.window.to + by };
    if (this.window.from < view.lo || this.window.to > view.hi) this.frozen = { lo: view.lo + by, hi: view.hi + by };
    return undefined;
  }

  /** What the address says of it. @param {number} end_s */
  address(end_s) {
    const { lo, hi } = this.view(end_s);
    const span = this.following ? this.span_s : hi - lo;
    return {
      from: this.window?.from ?? null,
      to: this.window?.to ?? null,
      span: this.fitting && this.following ? null : span,
      at: this.following ? null : hi,
    };
  }
}
