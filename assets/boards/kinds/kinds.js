/** What draws each kind of chart: a row a kind, as in `dashboard/boards/board.py`. */

import { BarChart } from "./bars.js";
import { CurveChart } from "./curves.js";
import { FlameChart } from "./flame.js";
import { HeatMap } from "./heat.js";
import { HistogramChart } from "./histogram.js";
import { LogLines } from "./lines.js";
import { NoteChart } from "./note.js";
import { NumberChart } from "./numbers.js";
import { ScatterChart } from "./scatter.js";
import { TableChart } from "./table.js";

/** @typedef {import("../model.js").PlacedChart} PlacedChart */
/** @typedef {import("../../curves/curve.js").Curve} Curve */
/** @typedef {import("../../curves/view.js").Span} Span */
/** @typedef {{curves: Curve[], span: Span, axis: "time" | "step", unit: string, by: number, run: string | null, stale: boolean}} Drawing what a chart is to draw; a curve has its label and its colour; `by`: what the values were divided by */

/**
 * @typedef {Object} Scene what charts of a board have in common
 * @property {(chart: import("../../curves/chart.js").Chart | null, x: number | null, event: MouseEvent | null) => void} hover
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
