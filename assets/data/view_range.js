/** The shown range of an axis: it follows the newest point until the user sets it, and then never moves by itself (pure). */

import { STEP, TIME } from "../lib/axis.js";

/** @typedef {{from: number, to: number}} Window Unix seconds, or steps */
/** @typedef {import("../lib/axis.js").View} View */

const ROOM = 1.05; // around a run that is over
const SHOWN = 1.25; // of a window that is longer than the view
const SOME = 1000; // steps, until their number is known

export class ViewRange {
  /** @param {import("../lib/url.js").Address} address */
  constructor({ from, to, span, at, axis }) {
    this.axis = axis === "step" ? STEP : TIME;
    const { defaultSpan, leastSpan, mostSpan } = this.axis;
    this.span_s = span !== null && span >= leastSpan ? Math.min(span, mostSpan) : Math.min(defaultSpan, mostSpan, this.axis === STEP ? SOME : Infinity);
    /** @type {Window | null} */
    this.window = from !== null && to !== null && to > from ? { from, to } : null;
    const hi = at ?? (this.window ? this.window.to + Math.max(this.span_s - (this.window.to - this.window.from), 0) / 2 : null);
    /** @type {View | null} */
    this.frozen = hi === null ? null : { lo: Math.min(hi - this.span_s, this.window?.from ?? Infinity), hi };
    this.held = at !== null && this.window === null;
    this.fitting = span === null && this.frozen === null; // until a user sets the span
    this.centred = at === null && this.window !== null; // a link names only the window: we choose the view around it
  }

  /** The range of another address. @param {import("../lib/url.js").Address} address */
  take(address) {
    Object.assign(this, new ViewRange(address));
  }

  /** Show another axis, from its newest point on. @param {import("../lib/axis.js").Axis} axis */
  reset(axis) {
    this.axis = axis;
    this.span_s = axis === STEP ? SOME : axis.defaultSpan;
    this.fitting = true;
    this.centred = false;
    this.follow();
  }

  /** A view around a link's window does not show the future. @param {number} end what "now" is @returns {boolean} whether the view is another one now */
  cutFuture(end) {
    if (!this.centred || !this.frozen || !this.window) return false;
    this.centred = false;
    const late = this.frozen.hi - Math.max(end, this.window.to);
    if (late <= 0) return false;
    this.frozen = { lo: Math.min(this.frozen.lo - late, this.window.from), hi: this.frozen.hi - late };
    return true;
  }

  /**
   * A young run fills the page; a finished run fills it exactly.
   * @param {number} age seconds, or steps @param {boolean} over @param {number} [most] seconds, or steps @returns {boolean} whether the view has another span now
   */
  fit(age, over, most = this.axis.defaultSpan) {
    if (!this.fitting || !this.following || !Number.isFinite(this.axis === STEP ? age : 0)) return false;
    const before = this.span_s;
    const { leastFit, young, defaultSpan } = this.axis;
    if (!Number.isFinite(age)) most = Math.min(most, defaultSpan); // its length is not known yet
    const exact = this.axis === STEP ? Math.max(leastFit, Math.ceil(age * ROOM)) : Number((age * ROOM).toPrecision(4)) || leastFit;
    const grown = this.axis === STEP ? roomy(age, before) : (young.find((span) => span >= age) ?? most);
    this.span_s = Math.min(most, over ? exact : grown);
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

  /** Select a window that may be out of view: the view goes there only then, and keeps its length where that is enough. @param {Window} window @param {number} end_s */
  show(window, end_s) {
    const { lo, hi } = this.view(end_s);
    const span = Math.max(hi - lo, (window.to - window.from) * SHOWN);
    const to = Math.min((window.from + window.to + span) / 2, Math.max(end_s, window.to));
    this.frozen = window.from >= lo && window.to <= hi ? { lo, hi } : { lo: to - span, hi: to };
    this.window = window;
  }

  /** Without the window, the view moves again unless the user held it. */
  clear() {
    this.window = null;
    if (!this.held) this.frozen = null;
  }

  /** @param {View} view */
  hold(view) {
    const span = Math.max(this.axis.leastSpan, Math.min(this.axis.mostSpan, view.hi - view.lo));
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

  /** The range, for Dash's callbacks. */
  selection() {
    return { axis: this.axis.name, from: this.window?.from ?? null, to: this.window?.to ?? null, live: this.following };
  }

  /** Its part of the address. @param {number} end_s */
  address(end_s) {
    const { lo, hi } = this.view(end_s);
    const span = this.following ? this.span_s : hi - lo;
    return {
      from: this.window?.from ?? null,
      to: this.window?.to ?? null,
      span: this.fitting && this.following ? null : span,
      at: this.following ? null : hi,
      axis: this.axis === STEP ? "step" : null,
    };
  }
}

/** A span for growing steps: kept while they fill most of it, so that not every point re-reads all of them. @param {number} steps @param {number} now */
const roomy = (steps, now) => (now >= steps && now <= steps * 1.3 ? now : Math.max(STEP.leastFit, Math.ceil(steps * 1.1)));
