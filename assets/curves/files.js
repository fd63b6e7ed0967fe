/** The menu that saves a chart as PNG, SVG, CSV or JSON. */

import { el, hang } from "../lib/dom.js";
import { tickWords } from "../lib/format.js";
import { yTicks } from "./chart.js";
import { csvOf, fileName, pngOf, save, svgOf } from "./exporting.js";
import { badOf, shapesOf } from "./shapes.js";
import { xTicks, xUnit } from "./xaxis.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./curve.js").Curve} Curve */

const COLUMNS = /** @type {const} */ (["run", "group", "series", "x", "x_end", "step", "segment", "min", "max", "mean", "last", "count", "non_finite", "smooth", "superseded"]);

export class Files {
  constructor() {
    /** @type {Chart | null} */
    this.chart = null;
    const item = (/** @type {string} */ label, /** @type {(chart: Chart) => void | Promise<void>} */ write) =>
      el("button", { type: "button", onclick: () => this.#write(write) }, label);
    this.element = el("div", { class: "curves-menu", popover: "auto", "aria-label": "Export" }, item("PNG", writePng), item("SVG", writeSvg), item("CSV of what is visible", writeCsv), item("JSON", writeJson));
    document.body.append(this.element);
  }

  /** @param {Chart} chart @param {HTMLElement} button */
  open(chart, button) {
    this.chart = chart;
    hang(this.element, button);
    this.element.firstElementChild?.focus();
  }

  /** @param {(chart: Chart) => void | Promise<void>} write */
  #write(write) {
    this.element.hidePopover();
    if (this.chart?.picture?.curves && this.chart.built) write(this.chart);
  }
}

/** @param {Chart} chart */
async function writePng(chart) {
  save(fileName(chart.tag.name, "png"), await pngOf(chart.plot.ctx.canvas, drawingOf(chart)));
}

/** @param {Chart} chart */
function writeSvg(chart) {
  save(fileName(chart.tag.name, "svg"), new Blob([svgOf(drawingOf(chart))], { type: "image/svg+xml" }));
}

/** @param {Chart} chart */
function writeCsv(chart) {
  save(fileName(chart.tag.name, "csv"), new Blob([csvOf([...COLUMNS], rowsOf(chart))], { type: "text/csv" }));
}

/** @param {Chart} chart */
function writeJson(chart) {
  save(fileName(chart.tag.name, "json"), new Blob([JSON.stringify(dataOf(chart))], { type: "application/json" }));
}

/** A row for each bucket that is visible. @param {Chart} chart */
export function rowsOf({ picture, span }) {
  return (picture?.curves ?? []).flatMap(({ row, x }) => {
    const inside = [...x.keys()].filter((i) => x[i] >= span.lo && x[i] <= span.hi);
    return inside.map((i) =>
      COLUMNS.map((name) => {
        const column = /** @type {any} */ (row)[name];
        return Array.isArray(column) ? column[i] : (column ?? "");
      }),
    );
  });
}

/** The chart's data as uPlot takes it (mode 2: each series with its own x), and the curves as they were read. @param {Chart} chart */
export function dataOf({ picture, span, tag }) {
  const curves = picture?.curves ?? [];
  const finite = (/** @type {Float64Array} */ values) => [...values].map((value) => (Number.isFinite(value) ? value : null));
  return {
    title: tag.name,
    unit: tag.unit,
    x: { name: picture?.view.x, unit: xUnit(picture?.view.x ?? ""), lo: span.lo, hi: span.hi },
    uplot: { mode: 2, series: [{}, ...curves.map(({ label }) => ({ label }))], data: [null, ...curves.map(({ x, mean, smooth }) => [finite(x), finite(smooth ?? mean)])] },
    curves: curves.map(({ row }) => row),
  };
}

/** @param {Chart} chart @returns {import("./exporting.js").Picture} */
export function drawingOf(chart) {
  const { plot, picture, pixels, y, tag, span } = chart;
  const curves = picture?.curves ?? [];
  const colourOf = picture?.colourOf ?? (() => "ink");
  const { ylog, xlog, x } = picture?.view ?? { ylog: false, xlog: false, x: "step" };
  const wanted = Math.max(2, Math.floor(plot.height / 40));
  const yAt = yTicks(y, ylog, wanted);
  const words = tickWords(yAt);
  const { left, right, top, bottom } = pixels;
  return {
    title: tag.unit ? `${tag.name}, ${tag.unit}` : tag.name,
    width: plot.width,
    height: plot.height,
    plot: { left, right, top, bottom },
    shapes: shapesOf(curves, colourOf, pixels),
    bad: badOf(curves, pixels),
    xTicks: xTicks(x, xlog, span, Math.max(2, Math.floor(plot.width / 90))).map(({ at, word }) => ({ at: pixels.x(at), word })),
    yTicks: yAt.map((value, i) => ({ at: pixels.y(value), word: words[i] })),
    legend: [...new Map(curves.map((curve) => [curve.label, colourOf(curve)]))].map(([label, colour]) => ({ label, colour })),
  };
}
