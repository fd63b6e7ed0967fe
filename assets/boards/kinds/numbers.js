/** A value per series, with a small line of the shown range and the tone of its threshold. */

import { el, setText } from "../../lib/dom.js";
import { count, figure } from "../../lib/format.js";
import { faded, token } from "../../lib/theme.js";
import { thresholdsOf } from "../scaling.js";
import { toneOf, valuesOf } from "../values.js";
import { Canvas } from "./canvas.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */
/** @typedef {import("../../curves/curve.js").Curve} Curve */

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
      const found = valuesOf(curves[i], drawing.span)[/** @type {import("../values.js").ValueName} */ (value)];
      const tone = toneOf(found, thresholds);
      setText(cell.value, numberOf(found));
      setText(cell.unit, drawing.unit);
      setText(cell.label, curves.length > 1 || curves[i].label !== this.fields.title ? curves[i].label : "");
      setText(cell.tone, TONE_WORDS[tone] ?? "");
      cell.value.className = `board-value ${tone}`;
      Object.assign(cell, { curve: curves[i], colour: tone || (curves[i].colour ?? "accent") });
    });
    this.fit(this.width, this.height);
    for (const { spark } of this.cells) spark.draw();
  }

  #add() {
    const [value, unit, label, tone] = [el("b", { class: "board-value" }), el("span", { class: "dim" }), el("span", { class: "board-label" }), el("span", { class: "unseen" })];
    /** @type {Canvas} */
    const spark = new Canvas("", (context, width, height) => this.#spark(context, width, height, cell));
    spark.element.setAttribute("aria-hidden", "true");
    spark.element.removeAttribute("role");
    spark.element.removeAttribute("aria-label");
    const element = el("div", { class: "board-number" }, label, el("span", {}, value, " ", unit, tone), spark.element);
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
