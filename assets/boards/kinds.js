/** What draws each kind of chart: a row a kind, as in `dashboard/boards/board.py`. */

import { Chart, FOOT_PX, HEAD_PX } from "../curves/chart.js";
import { yRangeOf } from "../curves/curve.js";
import { PLAIN } from "../curves/training_view.js";
import { FlameGraph } from "../flame/flame.js";
import { Tree, tableOf } from "../flame/tree.js";
import { get, newest, sentenceOf } from "../lib/api.js";
import { isFlipped } from "../lib/chart_tools.js";
import { el, setText } from "../lib/dom.js";
import { BarChart, HeatMap, HistogramChart, ScatterChart } from "./canvas_charts.js";
import { endsOf, filled, logIdOf, stacked, titleOf } from "./model.js";
import { LogLines, NoteChart, NumberChart, TableChart } from "./text_charts.js";

// Lines, areas and areas on top of each other: one chart of curves, as on the Training page.

/** @typedef {import("../curves/curve.js").YRange} YRange */

const FEW = 4; // curves; more have thin lines

class CurveChart {
  legend = true;

  /** @param {PlacedChart} chart @param {Scene} scene */
  constructor(chart, scene) {
    this.fields = chart.fields;
    const name = titleOf(chart.fields);
    const tag = { key: chart.key, name, title: name, unit: "", machine: true, runs: 0, points: 0, ranks: 0, direction: null };
    this.chart = new Chart(/** @type {any} */ (tag), { ...scene, point: (at, x, event) => scene.hover(at, x, event), act: () => {} });
    this.element = this.chart.place;
    this.logId = chart.fields.kind === "stacked" ? null : logIdOf(chart.fields);
  }

  get isLog() {
    return Boolean(this.fields.log) !== (this.logId !== null && isFlipped(this.logId));
  }

  get canvas() {
    return this.chart.plot?.ctx.canvas ?? null;
  }

  /** The chart's own head and foot are not shown: the board has its own. @param {number} width @param {number} height */
  fit(width, height) {
    this.chart.fit(width, height + HEAD_PX + FOOT_PX);
  }

  /** @param {Drawing} drawing */
  show({ curves, span, axis, by, stale }) {
    const { kind } = this.fields;
    const drawn = kind === "stacked" ? stacked(curves) : kind === "area" ? curves.map(filled) : curves;
    const view = { ...PLAIN, x: axis, ylog: this.isLog };
    const y = this.#range(yRangeOf(drawn, span, view), kind !== "line", by);
    this.chart.show({ curves: drawn, view, span, colourOf: ({ colour }) => colour ?? "accent", lit: "", trouble: "", stale, y, thin: drawn.length > FEW });
  }

  /** @param {YRange} found @param {boolean} down filled down to 0 @param {number} by @returns {YRange} */
  #range(found, down, by) {
    const [low, high] = endsOf(this.fields.range, by);
    const y = down && !this.isLog ? { ...found, lo: Math.min(0, found.lo), hi: Math.max(0, found.hi) } : found;
    const lo = low !== null && !(this.isLog && low <= 0) ? low : y.lo;
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

// The Python stacks of the shown range, of the shown run.

/** @typedef {{run: string, from: number, to: number}} Question */

const EVERY_MS = 3000; // while the range grows
const NO_RUN = "There is no run to show stacks of. Choose one above.";
const BY_STEP = "Stacks are of a time. Choose time as the board's axis.";

class FlameChart {
  legend = false;

  constructor() {
    this.graph = new FlameGraph();
    this.said = el("p", { class: "chart-instead", role: "status", hidden: true });
    this.element = el("div", { class: "board-flame" }, this.graph.element, this.said);
    this.asked_ms = -Infinity;
    this.asked = "";
    this.ask = newest(
      (/** @type {Question} */ question) => get("flame", question),
      (answer) => {
        const some = answer.samples > 0;
        this.graph.show(some ? new Tree(answer) : null);
        this.#say(some ? "" : (answer.note?.sentence ?? "No stacks were sampled in this range."));
      },
      (error) => this.#say(sentenceOf(error)),
    );
  }

  table() {
    return this.graph.tree && tableOf(this.graph.tree);
  }

  paper() {
    return this.graph.tree ? { canvas: this.graph.canvas, legend: [] } : null;
  }

  /** @param {Drawing} drawing */
  show({ run, span: { lo, hi }, axis }) {
    if (run === null || axis === "step") return this.#say(run === null ? NO_RUN : BY_STEP);
    const key = `${run} ${Math.round(lo)}`;
    if (!(hi > lo) || (key === this.asked && performance.now() - this.asked_ms < EVERY_MS)) return undefined;
    Object.assign(this, { asked: key, asked_ms: performance.now() });
    this.ask({ run, from: lo, to: hi });
    return undefined;
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.said.hidden = !sentence;
    this.graph.element.hidden = Boolean(sentence);
    setText(this.said, sentence);
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    Object.assign(this.element.style, { width: `${width}px`, height: `${height}px` });
    this.graph.draw();
  }

  redraw() {
    this.graph.draw();
  }

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}

// A row a kind.

/** @typedef {import("./model.js").PlacedChart} PlacedChart */
/** @typedef {import("../curves/curve.js").Curve} Curve */
/** @typedef {import("../curves/training_view.js").Span} Span */
/** @typedef {{curves: Curve[], span: Span, axis: "time" | "step", unit: string, by: number, run: string | null, stale: boolean}} Drawing what a chart is to draw; a curve has its label and its colour; `by`: what the values were divided by */

/**
 * @typedef {Object} Scene what charts of a board have in common
 * @property {(chart: import("../curves/chart.js").Chart | null, x: number | null, event: MouseEvent | null) => void} hover
 * @property {(span: Span) => void} zoom
 * @property {(factor: number, x: number) => void} scale
 * @property {() => void} whole
 */

/**
 * @typedef {Object} Drawer
 * @property {HTMLElement} element
 * @property {boolean} legend whether the curves' names stand below it
 * @property {(width: number, height: number) => void} fit
 * @property {(drawing: Drawing) => void} show
 * @property {() => void} redraw the theme has changed
 * @property {(x: number | null) => void} crosshair
 * @property {() => void} destroy
 * @property {HTMLCanvasElement | null} [canvas] on which it is drawn
 * @property {() => import("../lib/chart_tools.js").Table | null} [table] where that is not the values of its curves
 * @property {() => import("../lib/chart_tools.js").Picture | null} [paper] where that is not its canvas with the names of its curves
 * @property {string | null} [logId] by which a reader's choice of a log axis is kept; null where it can have none
 * @property {boolean} [isLog]
 */

/** @type {Record<string, new (chart: PlacedChart, scene: Scene) => Drawer>} */
export const KINDS = {
  line: CurveChart,
  area: CurveChart,
  stacked: CurveChart,
  "heat map": HeatMap,
  histogram: HistogramChart,
  bar: BarChart,
  scatter: ScatterChart,
  number: NumberChart,
  table: TableChart,
  text: NoteChart,
  "flame graph": FlameChart,
  "log lines": LogLines,
};
