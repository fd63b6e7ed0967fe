/** What charts on a canvas of their own have in common: the canvas, a tip beside the pointer, and the last drawing. */

import { el, setText } from "../../lib/dom.js";
import { AXIS_PX } from "../../lib/format.js";
import { titleOf } from "../model.js";
import { Canvas } from "./canvas.js";

export const LEFT_PX = AXIS_PX;
export const FOOT_PX = 18;

/** @typedef {import("./kinds.js").Drawing} Drawing */

export class DrawnChart {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor(chart) {
    this.fields = chart.fields;
    /** @type {Drawing | null} */
    this.drawing = null;
    this.canvas = new Canvas(titleOf(chart.fields), (context, width, height) => this.drawing && this.paint(context, width, height, this.drawing));
    this.tip = el("div", { class: "tip", hidden: true, role: "tooltip" });
    this.element = el("div", { class: "board-drawn" }, this.canvas.element, this.tip);
    this.element.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.#point(event));
    this.element.addEventListener("pointerleave", () => (this.tip.hidden = true));
  }

  /** @param {CanvasRenderingContext2D} _context @param {number} _width @param {number} _height @param {Drawing} _drawing */
  paint(_context, _width, _height, _drawing) {}

  /** What stands below the pointer, or "". @param {number} _x @param {number} _y CSS pixels @returns {string} */
  at(_x, _y) {
    return "";
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const { left, top, width } = this.element.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const text = this.drawing ? this.at(x, y) : "";
    this.tip.hidden = !text;
    setText(this.tip, text);
    Object.assign(this.tip.style, { left: `${Math.max(0, Math.min(x + 12, width - this.tip.offsetWidth))}px`, top: `${Math.max(0, y - 30)}px` });
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    this.canvas.fit(width, height);
  }

  /** @param {Drawing} drawing */
  show(drawing) {
    this.drawing = drawing;
    this.canvas.draw();
  }

  redraw() {
    this.canvas.draw();
  }

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}
