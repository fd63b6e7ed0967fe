/** How the user changes the shown range: gestures on the plots, and keys. */

/**
 * @typedef {Object} Page
 * @property {() => number} end_s what "now" is
 * @property {() => number} first_s of what there is to show
 * @property {() => void} moved the view has changed: read and draw it
 * @property {(done: boolean) => void} chosen a window was drawn, or is being drawn
 */

export class ViewController {
  /** @param {import("../data/view_range.js").ViewRange} range @param {Page} page */
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

  /** @param {import("../data/view_range.js").Window} window also where it is out of view */
  show(window) {
    const before = this.range.view(this.page.end_s());
    this.range.show(window, this.page.end_s());
    if (this.range.view(0).hi === before.hi) this.page.chosen(true);
    else this.page.moved();
  }

  clear() {
    this.range.clear();
    this.page.moved();
  }

  /** All stored data, in one view. */
  whole() {
    this.range.clear();
    const [lo, hi] = [this.page.first_s(), this.page.end_s()];
    if (Number.isFinite(hi - lo) && lo < hi) this.range.hold({ lo, hi });
    this.page.moved();
  }

  /** @param {number} time_s @param {number} factor */
  zoom(time_s, factor) {
    this.range.zoom(time_s, factor, this.page.end_s());
    this.page.moved();
  }

  /** Move the view, not the window. @param {number} by seconds, or steps */
  pan(by) {
    const { lo, hi } = this.range.view(this.page.end_s());
    this.range.hold({ lo: lo + by, hi: hi + by });
    this.page.moved();
  }

  /** @param {number} factor */
  zoomCentre(factor) {
    const { lo, hi } = this.range.view(this.page.end_s());
    const { from, to } = this.range.window ?? { from: lo, to: hi };
    this.zoom((from + to) / 2, factor);
  }

  resume() {
    this.range.follow();
    this.page.moved();
  }

  pause() {
    if (!this.range.following) return this.resume();
    this.range.hold(this.range.view(this.page.end_s()));
    return this.page.moved();
  }

  /** @param {number} span_s */
  setSpan(span_s) {
    this.range.setSpan(span_s);
    this.page.moved();
  }

  nextSpan() {
    const { spans } = this.range.axis;
    this.setSpan(spans[(spans.indexOf(this.range.span_s) + 1) % spans.length]);
  }

  /** @param {-1 | 1} way */
  move(way) {
    this.range.move(way, this.page.end_s());
    this.page.moved();
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

// Gestures on the plots: drag selects, an edge adjusts, a click points. A drag with Shift or the middle button moves the view, as does the wheel sideways or with Shift; the wheel with Ctrl zooms.

const CLICK_PX = 3; // less is a click, not a drag
const ZOOM_PER_PX = 1.002; // of the wheel
const EDGE_PX = { mouse: 6, pen: 8, touch: 18 };

/**
 * @typedef {Object} Gestures
 * @property {(time_s: number | null) => void} hover
 * @property {(from_s: number, to_s: number, done: boolean) => void} select during the drag, and once more at its end
 * @property {(time_s: number) => void} click
 * @property {() => void} whole
 * @property {(time_s: number, factor: number) => void} zoom
 * @property {(by: number) => void} pan the view, on
 * @property {() => {lo: number, hi: number}} view Unix seconds at the surface's left and right
 * @property {() => {from: number, to: number} | null} window
 */

/** @param {HTMLElement} surface the plots' area @param {Gestures} gestures */
export function brush(surface, gestures) {
  /** @type {{anchor_s: number, x: number, moved: boolean} | null} */
  let drag = null;
  /** @type {{x: number} | null} where the pointer was when the view last moved */
  let hold = null;
  let dragged = false;

  const x = (/** @type {MouseEvent} */ event) => event.clientX - surface.getBoundingClientRect().left;
  const time = (/** @type {MouseEvent} */ event) => {
    const { lo, hi } = gestures.view();
    return lo + Math.max(0, Math.min(1, x(event) / surface.clientWidth)) * (hi - lo);
  };
  const edge = (/** @type {PointerEvent} */ event) =>
    grabbed(
      x(event),
      surface.clientWidth,
      gestures,
      EDGE_PX[/** @type {keyof typeof EDGE_PX} */ (event.pointerType)] ?? EDGE_PX.mouse,
    );

  surface.addEventListener("pointerdown", (event) => {
    if (event.button === 1 || (event.button === 0 && event.shiftKey)) {
      event.preventDefault(); // the middle button would scroll by itself
      surface.setPointerCapture(event.pointerId);
      hold = { x: x(event) };
      dragged = true; // no click follows
      surface.style.cursor = "grabbing";
      return;
    }
    if (event.button !== 0) return;
    const held = edge(event);
    surface.setPointerCapture(event.pointerId);
    drag = { anchor_s: held ?? time(event), x: x(event), moved: held !== null };
    dragged = false;
  });
  surface.addEventListener("pointermove", (event) => {
    if (hold) {
      pan(hold.x - x(event));
      hold.x = x(event);
      return;
    }
    gestures.hover(time(event));
    if (!drag) surface.style.cursor = edge(event) === null ? "crosshair" : "ew-resize";
    else if ((drag.moved ||= Math.abs(x(event) - drag.x) > CLICK_PX)) {
      dragged = true;
      select(drag.anchor_s, time(event), false);
    }
  });
  surface.addEventListener("pointerup", (event) => {
    if (drag && dragged) select(drag.anchor_s, time(event), true);
    drag = hold = null;
  });
  surface.addEventListener("pointercancel", () => (drag = hold = null));
  surface.addEventListener("pointerleave", () => gestures.hover(null));
  surface.addEventListener("click", (event) => {
    if (!dragged && event.detail === 1) gestures.click(time(event));
  });
  surface.addEventListener("dblclick", () => gestures.whole());
  surface.addEventListener(
    "wheel",
    (event) => {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
      if (!event.ctrlKey && !sideways) return; // it scrolls the lanes
      event.preventDefault();
      if (event.ctrlKey) gestures.zoom(time(event), ZOOM_PER_PX ** event.deltaY);
      else pan(sideways);
    },
    { passive: false },
  );

  /** @param {number} by_px */
  function pan(by_px) {
    const { lo, hi } = gestures.view();
    if (by_px) gestures.pan((by_px / surface.clientWidth) * (hi - lo));
  }

  /** @param {number} a @param {number} b @param {boolean} done */
  function select(a, b, done) {
    gestures.select(Math.min(a, b), Math.max(a, b), done);
  }
}

/** The far edge of the window when the pointer is at the near one: it stays while the near one moves. @param {number} x @param {number} width @param {Gestures} gestures @param {number} reach_px */
function grabbed(x, width, gestures, reach_px) {
  const window = gestures.window();
  if (!window) return null;
  const { lo, hi } = gestures.view();
  const at = (/** @type {number} */ time_s) => ((time_s - lo) / (hi - lo)) * width;
  const [toFrom, toEnd] = [Math.abs(x - at(window.from)), Math.abs(x - at(window.to))];
  if (Math.min(toFrom, toEnd) > reach_px) return null;
  return toFrom < toEnd ? window.to : window.from;
}
