/** The tools of a chart of curves, and what it is as a file: a table of what is visible, a drawing in SVG, and JSON. */

import { chartTools, save } from "../lib/chart_tools.js";
import { visible } from "../lib/dom.js";
import { unitBeside } from "../lib/figures.js";
import { tickWords } from "../lib/format.js";
import { mixed, token } from "../lib/theme.js";
import { yTicks } from "./chart.js";
import { badOf, linesOf, shapesOf } from "./curve.js";
import { xTicks, xUnit } from "./training_view.js";

/** @typedef {import("./curve.js").Shape} Shape */

/**
 * @typedef {Object} Picture a chart in CSS pixels
 * @property {string} title
 * @property {number} width
 * @property {number} height
 * @property {{left: number, right: number, top: number, bottom: number}} plot
 * @property {Shape[]} shapes
 * @property {import("./curve.js").Bad[]} bad
 * @property {{at: number, word: string}[]} xTicks pixels
 * @property {{at: number, word: string}[]} yTicks
 * @property {{label: string, colour: string}[]} legend
 */

const SVG = "http://www.w3.org/2000/svg";
const ROW_PX = 16;
const TITLE_PX = 24;
const MAX_ROWS = 40; // of a legend

/** @param {string} name @param {Record<string, string | number>} attributes @param {...(Node | string)} children */
function part(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}

/** @param {number[]} points @param {boolean} closed */
function path(points, closed) {
  const at = (/** @type {number} */ i) => `${points[i].toFixed(1)} ${points[i + 1].toFixed(1)}`;
  const rest = [];
  for (let i = 2; i < points.length; i += 2) rest.push(`L${at(i)}`);
  return `M${at(0)}${rest.join("")}${points.length === 2 ? "h.01" : ""}${closed ? "Z" : ""}`;
}

/** Text is text: the serialiser escapes it. @param {Picture} picture @returns {string} */
export function svgOf(picture) {
  const { width, height, plot, title } = picture;
  const legend = picture.legend.slice(0, MAX_ROWS);
  const words = (/** @type {string} */ text, /** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ anchor, /** @type {string} */ colour) =>
    part("text", { x, y, "text-anchor": anchor, fill: token(colour) }, visible(text));
  const grid = picture.yTicks.map(({ at }) => part("line", { x1: plot.left, x2: plot.right, y1: at, y2: at, stroke: token("line") }));
  const drawn = picture.shapes.map(({ kind, colour, alpha, width: line, dash, parts }) =>
    part("path", {
      d: parts.map((points) => path(points, kind === "area")).join(""),
      fill: kind === "area" ? token(colour) : "none",
      stroke: kind === "area" ? "none" : mixed(token(colour), token("bg"), alpha),
      "stroke-width": line,
      "stroke-linejoin": "round",
      opacity: kind === "area" ? alpha : 1,
      ...(dash.length ? { "stroke-dasharray": dash.join(" ") } : {}),
    }),
  );
  const bad = picture.bad.map(({ from, text }) => part("g", {}, part("line", { x1: from, x2: from, y1: plot.top, y2: plot.bottom, stroke: token("bad") }), words(text, from, plot.top + 10, "middle", "bad")));
  const clip = part("clipPath", { id: "plot" }, part("rect", { x: plot.left, y: plot.top, width: plot.right - plot.left, height: plot.bottom - plot.top }));
  const all = height + TITLE_PX + legend.length * ROW_PX + 8;
  const svg = part(
    "svg",
    { xmlns: SVG, width, height: all, viewBox: `0 0 ${width} ${all}`, "font-family": "sans-serif", "font-size": 11 },
    part("defs", {}, clip),
    part("rect", { width, height: all, fill: token("bg") }),
    words(title, 8, 16, "start", "ink"),
    part(
      "g",
      { transform: `translate(0 ${TITLE_PX})` },
      ...grid,
      part("g", { "clip-path": "url(#plot)" }, ...drawn, ...bad),
      ...picture.xTicks.map(({ at, word }) => words(word, at, plot.bottom + 14, "middle", "ink-3")),
      ...picture.yTicks.map(({ at, word }) => words(word, plot.left - 4, at + 4, "end", "ink-3")),
      ...legend.map(({ label, colour }, i) => {
        const y = height + i * ROW_PX;
        return part("g", {}, part("rect", { x: 8, y: y + 4, width: 8, height: 8, fill: token(colour) }), words(label, 22, y + 12, "start", "ink-2"));
      }),
    ),
  );
  return new XMLSerializer().serializeToString(svg);
}

// Of a chart that is drawn.

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./curve.js").Curve} Curve */

const COLUMNS = /** @type {const} */ (["run", "group", "series", "x", "x_end", "step", "segment", "min", "max", "mean", "last", "count", "non_finite", "smooth", "superseded"]);

/** At the end of its head. @param {Chart} chart @param {Partial<import("../lib/chart_tools.js").Tooled>} [own] what its page does in another way, or beside */
export function addTools(chart, own = {}) {
  const files = () => /** @type {[string, () => void][]} */ (chart.picture?.curves && chart.built ? [["Save as SVG", () => saveSvg(chart)], ["Save as JSON", () => saveJson(chart)]] : []);
  const tools = chartTools({
    element: chart.element,
    focus: chart.place,
    title: () => chart.tag.name,
    table: () => (chart.picture?.curves ? tableOf(chart.picture.curves, chart.span) : null),
    picture: () => paperOf(chart),
    logY: { on: () => chart.picture?.view.ylog ?? false, turn: () => chart.gestures.act(chart, "log") },
    ...own,
    more: () => [...(own.more?.() ?? []), ...files()],
  });
  chart.head.append(tools);
}

/** @param {Chart} chart @returns {import("../lib/chart_tools.js").Picture | null} */
export const paperOf = (chart) => (chart.plot && chart.picture?.curves ? { canvas: chart.plot.ctx.canvas, legend: legendOf(chart) } : null);

/** @param {Chart} chart */
const saveSvg = (chart) => save(chart.tag.name, "svg", new Blob([svgOf(drawingOf(chart))], { type: "image/svg+xml" }));

/** @param {Chart} chart */
const saveJson = (chart) => save(chart.tag.name, "json", new Blob([JSON.stringify(dataOf(chart))], { type: "application/json" }));

/** A row for each bucket that is visible. @param {Curve[]} curves @param {{lo: number, hi: number}} span @returns {import("../lib/chart_tools.js").Table} */
export function tableOf(curves, span) {
  const rows = curves.flatMap(({ row, x, label }) => {
    const inside = [...x.keys()].filter((i) => x[i] >= span.lo && x[i] <= span.hi);
    return inside.map((i) =>
      COLUMNS.map((name) => {
        const column = name === "series" ? row.name || label : row[name];
        return Array.isArray(column) ? column[i] : (column ?? "");
      }),
    );
  });
  return { columns: [...COLUMNS], rows };
}

/** Its names and their colours. @param {Chart} chart */
function legendOf({ picture }) {
  const colourOf = picture?.colourOf ?? (() => "ink");
  return [...new Map((picture?.curves ?? []).map((curve) => [curve.label, colourOf(curve)]))].map(([label, colour]) => ({ label, colour }));
}

/** The chart's data as uPlot takes it (mode 2: each series with its own x), and the curves as they were read. @param {Chart} chart */
function dataOf({ picture, span, tag }) {
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

/** @param {Chart} chart @returns {Picture} */
function drawingOf(chart) {
  const { plot, picture, pixels, y, tag, span } = chart;
  const curves = picture?.curves ?? [];
  const colourOf = picture?.colourOf ?? (() => "ink");
  const { ylog, xlog, x } = picture?.view ?? { ylog: false, xlog: false, x: "step" };
  const wanted = Math.max(2, Math.floor(plot.height / 40));
  const yAt = yTicks(y, ylog, wanted);
  const words = tickWords(yAt);
  const { left, right, top, bottom } = pixels;
  return {
    title: unitBeside(tag.name, tag.unit) ? `${tag.name}, ${tag.unit}` : tag.name,
    width: plot.width,
    height: plot.height,
    plot: { left, right, top, bottom },
    shapes: [...shapesOf(curves, colourOf, pixels), ...linesOf(picture ?? {}, pixels)],
    bad: badOf(curves, pixels),
    xTicks: xTicks(x, xlog, span, Math.max(2, Math.floor(plot.width / 90))).map(({ at, word }) => ({ at: pixels.x(at), word })),
    yTicks: yAt.map((value, i) => ({ at: pixels.y(value), word: words[i] })),
    legend: legendOf(chart),
  };
}
