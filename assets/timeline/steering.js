/** How the user changes the shown range: gestures and keys of a page of lanes. */

/**
 * @typedef {Object} Page
 * @property {() => number} end_s what "now" is
 * @property {() => number} first_s of what there is to show
 * @property {() => void} refresh the view has changed: read and draw it
 * @property {(done: boolean) => void} chosen a window was drawn, or is being drawn
 */

export class Steering {
  /** @param {import("../data/range.js").Range} range @param {Page} page */
  constructor(range, page) {
    this.range = range;
    this.page = page;
  }

  /** For `brush`. */
  gestures() {
    return {
      select: (/** @type {number} */ from, /** @type {number} */ to, /** @type {boolean} */ done) => this.select(from, to, done),
      whole: () => this.whole(),
      zoom: (/** @type {number} */ time_s, /** @type {number} */ factor) => this.zoom(time_s, factor),
      pan: (/** @type {number} */ by) => this.pan(by),
    };
  }

  /** @param {number} from @param {number} to @param {boolean} done */
  select(from, to, done) {
    this.range.select({ from, to }, this.page.end_s());
    this.page.chosen(done);
  }

  /** @param {import("../data/range.js").Window} window also where it is out of view */
  show(window) {
    const before = this.range.view(this.page.end_s());
    this.range.show(window, this.page.end_s());
    if (this.range.view(0).hi === before.hi) this.page.chosen(true);
    else this.page.refresh();
  }

  clear() {
    this.range.clear();
    this.page.refresh();
  }

  /** All stored data, in one view. */
  whole() {
    this.range.clear();
    const [lo, hi] = [this.page.first_s(), this.page.end_s()];
    if (Number.isFinite(hi - lo) && lo < hi) this.range.hold({ lo, hi });
    this.page.refresh();
  }

  /** @param {number} time_s @param {number} factor */
  zoom(time_s, factor) {
    this.range.zoom(time_s, factor, this.page.end_s());
    this.page.refresh();
  }

  /** Move the view, not the window. @param {number} by seconds, or steps */
  pan(by) {
    const { lo, hi } = this.range.view(this.page.end_s());
    this.range.hold({ lo: lo + by, hi: hi + by });
    this.page.refresh();
  }

  /** @param {number} factor */
  zoomCentre(factor) {
    const { lo, hi } = this.range.view(this.page.end_s());
    const { from, to } = this.range.window ?? { from: lo, to: hi };
    this.zoom((from + to) / 2, factor);
  }

  resume() {
    this.range.follow();
    this.page.refresh();
  }

  pause() {
    if (!this.range.following) return this.resume();
    this.range.hold(this.range.view(this.page.end_s()));
    return this.page.refresh();
  }

  /** @param {number} span_s */
  setSpan(span_s) {
    this.range.setSpan(span_s);
    this.page.refresh();
  }

  nextSpan() {
    const { spans } = this.range.axis;
    this.setSpan(spans[(spans.indexOf(this.range.span_s) + 1) % spans.length]);
  }

  /** @param {-1 | 1} way */
  move(way) {
    this.range.move(way, this.page.end_s());
    this.page.refresh();
  }

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    return [
      { keys: [" "], shown: "space", says: "pause, resume live", run: () => this.pause() },
      { keys: ["0"], shown: "0", says: "whole range", run: () => this.whole() },
      { keys: ["Escape"], shown: "Esc", says: "clear the window", run: () => this.clear() },
      { keys: ["r"], shown: "r", says: "next range", run: () => this.nextSpan() },
      { keys: ["+", "="], shown: "+", says: "zoom in", run: () => this.zoomCentre(0.5) },
      { keys: ["-"], shown: "-", says: "zoom out", run: () => this.zoomCentre(2) },
      { keys: ["ArrowLeft"], shown: "←", says: "move the window, or the view, back", run: () => this.move(-1) },
      { keys: ["ArrowRight"], shown: "→", says: "move it forward", run: () => this.move(1) },
    ];
  }
}
