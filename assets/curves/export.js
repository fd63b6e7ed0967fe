/** A chart as a file: PNG, SVG, CSV of what is visible, or JSON, and the menu that saves it. */

import { el, hang, visible } from "../lib/dom.js";
import { tickWords } from "../lib/format.js";
import { mixed, token } from "../lib/theme.js";
import { yTicks } from "./chart.js";
import { badOf, shapesOf } from "./curve.js";
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

/** Hand a file to the browser's downloads. @param {string} name @param {Blob} content */
function save(name, content) {
  const url = URL.createObjectURL(content);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** `"train/loss" -> "train-loss.csv"` @param {string} title @param {string} ending */
const fileName = (title, ending) => `${title.replace(/[^\w.-]+/g, "-").slice(0, 100) || "chart"}.${ending}`;

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

/** Title, chart and legend as one picture. @param {HTMLCanvasElement} canvas as it is drawn @param {Picture} picture @returns {Promise<Blob>} */
function pngOf(canvas, picture) {
  const legend = picture.legend.slice(0, MAX_ROWS);
  const ratio = canvas.width / picture.width;
  const out = document.createElement("canvas");
  out.width = canvas.width;
  out.height = Math.round(canvas.height + (TITLE_PX + legend.length * ROW_PX + 8) * ratio);
  const ctx = /** @type {CanvasRenderingContext2D} */ (out.getContext("2d"));
  ctx.fillStyle = token("bg");
  ctx.fillRect(0, 0, out.width, out.height);
  ctx.drawImage(canvas, 0, TITLE_PX * ratio);
  ctx.scale(ratio, ratio);
  ctx.font = `12px ${token("font-ui")}`;
  ctx.fillStyle = token("ink");
  ctx.fillText(picture.title, 8, 16);
  legend.forEach(({ label, colour }, i) => {
    const y = picture.height + TITLE_PX + i * ROW_PX;
    ctx.fillStyle = token(colour);
    ctx.fillRect(8, y + 4, 8, 8);
    ctx.fillStyle = token("ink-2");
    ctx.fillText(label, 22, y + 12);
  });
  return new Promise((done, failed) => out.toBlob((blob) => (blob ? done(blob) : failed(new Error("the picture is too large")))));
}

/** Cells that a spreadsheet would run as a formula begin with an apostrophe. @param {unknown} value */
function csvCell(value) {
  if (value === null || value === undefined || (typeof value === "number" && Number.isNaN(value))) return "";
  if (typeof value === "number") return String(value);
  const text = String(value);
  const inert = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

/** @param {string[]} columns @param {unknown[][]} rows */
export const csvOf = (columns, rows) => [columns, ...rows].map((row) => row.map(csvCell).join(",")).join("\n") + "\n";

// The menu that saves a chart as PNG, SVG, CSV or JSON.

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
        const column = name === "series" ? row.name : row[name];
        return Array.isArray(column) ? column[i] : (column ?? "");
      }),
    );
  });
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
