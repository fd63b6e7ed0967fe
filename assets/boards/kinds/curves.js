/** Lines, areas and areas on top of each other: one chart of curves, as on the Training page. */

import { Chart, FOOT_PX, HEAD_PX } from "../../curves/chart.js";
import { yRangeOf } from "../../curves/curve.js";
import { PLAIN } from "../../curves/view.js";
import { titleOf } from "../model.js";
import { endsOf } from "../scaling.js";
import { filled, stacked } from "../stacking.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */
/** @typedef {import("../../curves/curve.js").YRange} YRange */

const FEW = 4; // curves; more have thin lines

export class CurveChart {
  legend = true;

  /** @param {import("./kinds.js").PlacedChart} chart @param {import("./kinds.js").Scene} scene */
  constructor(chart, scene) {
    this.fields = chart.fields;
    const name = titleOf(chart.fields);
    const tag = { key: chart.key, name, title: name, unit: "", machine: true, runs: 0, points: 0, ranks: 0, direction: null };
    this.chart = new Chart(/** @type {any} */ (tag), { ...scene, point: (at, x, event) => scene.hover(at, x, event), act: () => {} }, false);
    this.element = this.chart.place;
  }

  /** The chart's own head and foot are not shown: the board has its own. @param {number} width @param {number} height */
  fit(width, height) {
    this.chart.fit(width, height + HEAD_PX + FOOT_PX);
  }

  /** @param {Drawing} drawing */
  show({ curves, span, axis, by, stale }) {
    const { kind, log } = this.fields;
    curves = curves.map((curve) => (/** @type {any} */ (curve.row)?.exact === false ? { ...curve, min: curve.mean, max: curve.mean } : curve)); // bounds are no values
    const drawn = kind === "stacked" ? stacked(curves) : kind === "area" ? curves.map(filled) : curves;
    const view = { ...PLAIN, x: axis, ylog: Boolean(log) };
    const y = this.#range(yRangeOf(drawn, span, view), kind !== "line", by);
    this.chart.show({ curves: drawn, view, span, colourOf: ({ colour }) => colour ?? "accent", lit: "", trouble: "", stale, y, thin: drawn.length > FEW });
  }

  /** @param {YRange} found @param {boolean} down filled down to 0 @param {number} by @returns {YRange} */
  #range(found, down, by) {
    const [low, high] = endsOf(this.fields.range, by);
    const y = down && !this.fields.log ? { ...found, lo: Math.min(0, found.lo), hi: Math.max(0, found.hi) } : found;
    const lo = low !== null && !(this.fields.log && low <= 0) ? low : y.lo;
    const hi = high ?? y.hi;
    return hi > lo ? { ...y, lo, hi } : { ...y, lo, hi: lo + (Math.abs(lo) || 1) };
  }

  redraw() {
    this.chart.recolour();
  }

  /** @param {number | null} x */
  crosshair(x) {
    if (this.chart.built) this.chart.crosshair(x);
  }

  destroy() {
    this.chart.destroy();
  }
}
