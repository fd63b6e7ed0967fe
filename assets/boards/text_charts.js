/** Charts that are text: numbers, tables, log lines and notes. */

import { lineKey } from "../curves/tip.js";
import { get, newest, sentenceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { behind } from "../lib/figures.js";
import { count, counted, figure } from "../lib/format.js";
import { faded, token } from "../lib/theme.js";
import { folded, logLine } from "../logs/line.js";
import { Canvas } from "./canvas_charts.js";
import { thresholdsOf, toneOf, valuesOf } from "./model.js";

// A value per series, with a small line of the shown range and the tone of its threshold.

/** @typedef {import("./kinds.js").Drawing} Drawing */
/** @typedef {import("../curves/curve.js").Curve} Curve */

/** A whole number without decimals. @param {number} value */
const numberOf = (value) => (Number.isNaN(value) ? "–" : Number.isInteger(value) ? count(value) : figure(value));

const MAX_NUMBERS = 16; // numbers of a chart
const TONE_WORDS = /** @type {Record<string, string>} */ ({ ok: "fine", warn: "warning", bad: "bad" });

export class NumberChart {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor(chart) {
    this.fields = chart.fields;
    this.element = el("div", { class: "board-numbers" });
    /** @type {{cell: HTMLElement, value: HTMLElement, unit: HTMLElement, label: HTMLElement, tone: HTMLElement, spark: Canvas, curve: Curve | null, colour: string}[]} */
    this.cells = [];
    /** @type {Drawing | null} */
    this.drawing = null;
    this.width = 0;
    this.height = 0;
  }

  /** @param {Drawing} drawing */
  show(drawing) {
    this.drawing = drawing;
    const { value = "last" } = this.fields;
    const thresholds = thresholdsOf(this.fields.thresholds, drawing.by);
    const curves = drawing.curves.slice(0, MAX_NUMBERS);
    while (this.cells.length < curves.length) this.#add();
    while (this.cells.length > curves.length) this.cells.pop()?.cell.remove();
    this.cells.forEach((cell, i) => {
      const found = valuesOf(curves[i], drawing.span)[/** @type {import("./model.js").ValueName} */ (value)];
      const tone = toneOf(found, thresholds);
      setText(cell.value, numberOf(found));
      setText(cell.unit, behind(drawing.unit));
      setText(cell.label, curves.length > 1 || curves[i].label !== this.fields.title ? curves[i].label : "");
      setText(cell.tone, TONE_WORDS[tone] ?? "");
      cell.value.className = `board-value ${tone}`;
      Object.assign(cell, { curve: curves[i], colour: tone || (curves[i].colour ?? "accent") });
    });
    this.fit(this.width, this.height);
    for (const { spark } of this.cells) spark.draw();
  }

  /** Its values are words. */
  paper() {
    return this.cells.length ? { canvas: null, legend: wordsOf(this.cells, this.fields.title ?? "") } : null;
  }

  #add() {
    const [value, unit, label, tone] = [el("b", { class: "board-value" }), el("span", { class: "dim" }), el("span", { class: "board-label" }), el("span", { class: "unseen" })];
    /** @type {Canvas} */
    const spark = new Canvas("", (context, width, height) => this.#spark(context, width, height, cell));
    spark.element.setAttribute("aria-hidden", "true");
    spark.element.removeAttribute("role");
    spark.element.removeAttribute("aria-label");
    const element = el("div", { class: "board-number" }, label, el("span", {}, value, unit, tone), spark.element);
    /** @type {typeof this.cells[number]} */
    const cell = { cell: element, value, unit, label, tone, spark, curve: null, colour: "accent" };
    this.cells.push(cell);
    this.element.append(element);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {{curve: Curve | null, colour: string}} cell */
  #spark(context, width, height, { curve, colour }) {
    const span = this.drawing?.span;
    if (!curve || !span) return;
    const shown = [...curve.x.keys()].filter((i) => curve.x[i] >= span.lo && curve.x[i] <= span.hi && Number.isFinite(curve.mean[i]));
    if (shown.length < 2) return;
    const [lo, hi] = [Math.min(...shown.map((i) => curve.min[i])), Math.max(...shown.map((i) => curve.max[i]))];
    const x = (/** @type {number} */ i) => ((curve.x[i] - span.lo) / (span.hi - span.lo)) * width;
    const y = (/** @type {number} */ value) => (hi > lo ? 2 + (1 - (value - lo) / (hi - lo)) * (height - 4) : height / 2);
    context.beginPath();
    for (const i of shown) context.lineTo(x(i), y(curve.max[i]));
    for (const i of shown.toReversed()) context.lineTo(x(i), y(curve.min[i]));
    context.fillStyle = faded(token(colour), 0.25);
    context.fill();
    context.beginPath();
    for (const i of shown) context.lineTo(x(i), y(curve.mean[i]));
    context.strokeStyle = token(colour);
    context.lineWidth = 1.5;
    context.stroke();
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    Object.assign(this, { width, height });
    const count = Math.max(1, this.cells.length);
    const across = Math.max(1, Math.min(count, Math.floor(width / 130)));
    const down = Math.ceil(count / across);
    this.element.style.gridTemplateColumns = `repeat(${across}, minmax(0, 1fr))`;
    const room = height / down;
    this.element.classList.toggle("small", room < 64);
    for (const { spark } of this.cells) spark.fit(Math.max(20, width / across - 12), Math.max(8, room - (room < 64 ? 36 : 52)));
  }

  redraw() {
    for (const { spark } of this.cells) spark.draw();
  }

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}

/** @param {{label: HTMLElement, value: HTMLElement, unit: HTMLElement, colour: string}[]} cells @param {string} title */
const wordsOf = (cells, title) => cells.map(({ label, value, unit, colour }) => ({ label: `${label.textContent || title}: ${value.textContent}${unit.textContent}`, colour }));

// A row per series: last, least, mean and greatest value of the shown range.

const COLUMNS = /** @type {const} */ (["last", "min", "mean", "max"]);
const VALUE_WORDS = { last: "last", min: "least", mean: "mean", max: "greatest" };

export class TableChart {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor(chart) {
    this.fields = chart.fields;
    this.body = el("tbody");
    this.element = el("div", { class: "board-table", tabindex: "0", role: "region", "aria-label": chart.fields.title ?? "Values" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "series"), ...COLUMNS.map((name) => el("th", { class: "num" }, VALUE_WORDS[name])))), this.body));
  }

  table() {
    return { columns: ["series", ...COLUMNS.map((name) => VALUE_WORDS[name])], rows: [...this.body.rows].map((row) => [...row.cells].map(({ textContent }) => textContent)) };
  }

  paper() {
    const legend = [...this.body.rows].map((row) => ({ label: [...row.cells].map(({ textContent }) => textContent).join("   "), colour: "ink-3" }));
    return legend.length ? { canvas: null, legend } : null;
  }

  /** @param {Drawing} drawing */
  show({ curves, span, unit, by }) {
    const thresholds = thresholdsOf(this.fields.thresholds, by);
    while (this.body.children.length > curves.length) this.body.lastChild?.remove();
    curves.forEach((curve, i) => {
      let row = /** @type {any} */ (this.body.children[i]);
      if (!row || row.dataset.label !== curve.label) {
        const made = el("tr", { "data-label": curve.label }, el("td", {}, lineKey(curve.colour ?? "accent"), curve.label), ...COLUMNS.map(() => el("td", { class: "num" })));
        if (row) row.replaceWith(made);
        else this.body.append(made);
        row = made;
      }
      const found = valuesOf(curve, span);
      COLUMNS.forEach((name, k) => {
        const cell = row.children[k + 1];
        setText(cell, Number.isNaN(found[name]) ? "–" : `${Number.isInteger(found[name]) ? count(found[name]) : figure(found[name])}${k === 0 ? behind(unit) : ""}`);
        cell.className = `num ${toneOf(found[name], thresholds)}`;
      });
    });
  }

  /** @param {number} _width @param {number} height */
  fit(_width, height) {
    this.element.style.height = `${height}px`;
  }

  redraw() {}

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}

// The newest log lines of the shown range, of the shown run.

/** @typedef {{run: string, from: number, to: number, q: string | null, limit: number}} Question */

const EVERY_MS = 1000; // while the range grows
const MAX_LINES = 100; // lines
const MAX_PICTURED = 40;
const NO_RUN = "There is no run to show lines of. Choose one above.";
const BY_STEP = "Lines have a time. Choose time as the board's axis.";

export class LogLines {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor({ fields }) {
    this.text = fields.text ?? "";
    this.log = el("div", { class: "log board-log", tabindex: "0", role: "log", "aria-live": "off", "aria-label": fields.title ?? "Log lines" });
    this.said = el("p", { class: "chart-instead", role: "status", hidden: true });
    this.element = el("div", { class: "board-lines" }, this.log, this.said);
    this.asked_ms = -Infinity;
    this.asked = "";
    this.last = -1; // number of the newest line
    this.ask = newest(
      (/** @type {Question} */ question) => get("logs", question),
      ({ lines, total }) => this.#show(lines, total),
      (error) => this.#say(sentenceOf(error)),
    );
  }

  table() {
    return { columns: ["time_s", "text"], rows: this.lines.map(({ time_s, text }) => [time_s, text]) };
  }

  paper() {
    return this.lines.length ? { canvas: null, legend: this.lines.slice(-MAX_PICTURED).map(({ text }) => ({ label: text, colour: "ink-3" })) } : null;
  }

  /** @type {import("../logs/line.js").LogLine[]} */
  lines = [];

  /** @param {import("../logs/line.js").LogLine[]} lines @param {number} total */
  #show(lines, total) {
    this.lines = lines;
    this.#say(lines.length ? "" : this.text ? `No line of this range has “${this.text}”.` : "No log line in this range.");
    this.log.title = total > lines.length ? `the newest ${lines.length} of ${counted(total, "line")}` : "";
    const newestLine = lines.at(-1)?.number ?? -1;
    if (newestLine === this.last) return;
    this.last = newestLine;
    const below = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 20;
    this.log.replaceChildren(...folded(lines).map((line) => logLine(line, { file: false })));
    if (below) this.log.scrollTop = this.log.scrollHeight; // who has scrolled up stays there
  }

  /** @param {Drawing} drawing */
  show({ run, span: { lo, hi }, axis }) {
    if (run === null || axis === "step") return this.#say(run === null ? NO_RUN : BY_STEP);
    const key = `${run} ${Math.round(lo)}`;
    if (!(hi > lo) || (key === this.asked && performance.now() - this.asked_ms < EVERY_MS)) return undefined;
    Object.assign(this, { asked: key, asked_ms: performance.now() });
    this.ask({ run, from: lo, to: hi, q: this.text || null, limit: MAX_LINES });
    return undefined;
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.said.hidden = !sentence;
    setText(this.said, sentence);
    if (sentence) this.log.replaceChildren();
    if (sentence) this.last = -1;
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    Object.assign(this.element.style, { width: `${width}px`, height: `${height}px` });
  }

  redraw() {}

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}

// A note: paragraphs, which are text and nothing else.

export class NoteChart {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor({ fields }) {
    const paragraphs = (fields.text ?? "").trim().split(/\n{2,}/);
    this.element = el("div", { class: "board-note", tabindex: "0", role: "region", "aria-label": fields.title ?? "Note" }, ...paragraphs.map((text) => el("p", {}, text)));
  }

  /** @param {number} _width @param {number} height */
  fit(_width, height) {
    this.element.style.height = `${height}px`;
  }

  show() {}

  redraw() {}

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}
