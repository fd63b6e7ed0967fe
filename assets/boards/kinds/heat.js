/** A row of cells per series; the colour is the mean of a cell. */

import { figure } from "../../lib/format.js";
import { faded, mixed, token } from "../../lib/theme.js";
import { xTicks, xWord } from "../../curves/xaxis.js";
import { endsOf } from "../scaling.js";
import { FONT_PX, fitted } from "./canvas.js";
import { DrawnChart, FOOT_PX } from "./drawn.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */

const [LABEL_PX, CELL_PX, GAP_PX, KEY_PX] = [88, 4, 1, 14];
const STOPS = ["heat-0", "heat-1", "heat-2", "heat-3", "heat-4"];

/**
 * The mean of each cell of equal width, NaN where there is none (pure).
 * @param {import("../../curves/curve.js").Curve} curve @param {{lo: number, hi: number}} span @param {number} cells
 */
export function cellsOf({ from, to, mean, old }, { lo, hi }, cells) {
  const [sum, seen] = [new Float64Array(cells), new Float64Array(cells)];
  const at = (/** @type {number} */ place) => Math.floor(((place - lo) / (hi - lo)) * cells);
  for (let i = 0; i < from.length; i++) {
    if (old[i] || Number.isNaN(mean[i]) || to[i] < lo || from[i] > hi) continue;
    const [first, last] = [Math.max(0, Math.min(cells - 1, at(from[i]))), Math.max(0, Math.min(cells - 1, at(to[i])))];
    for (let k = first; k <= last; k++) {
      sum[k] += mean[i];
      seen[k] += 1;
    }
  }
  const held = holdOf(from, (hi - lo) / cells);
  let [before, since] = [NaN, Infinity];
  return sum.map((total, k) => {
    if (seen[k]) [before, since] = [total / seen[k], 0];
    else since += 1;
    return since <= held ? before : NaN;
  });
}

/** For how many cells a value stands, as series are read less often than cells are wide. @param {Float64Array} from @param {number} width */
function holdOf(from, width) {
  const steps = Float64Array.from({ length: Math.max(0, from.length - 1) }, (_, i) => from[i + 1] - from[i]).sort();
  return Math.ceil((1.5 * (steps[steps.length >> 1] ?? 0)) / width);
}

export class HeatMap extends DrawnChart {
  /** @type {Float64Array[]} */
  cells = [];
  least = 0;
  most = 1;

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {Drawing} drawing */
  paint(context, width, height, { curves, span, axis, by }) {
    const inner = Math.max(1, width - LABEL_PX - 8);
    const count = Math.max(1, Math.floor(inner / CELL_PX));
    this.cells = curves.map((curve) => cellsOf(curve, span, count));
    const values = this.cells.flatMap((row) => [...row].filter(Number.isFinite));
    const [low, high] = endsOf(this.fields.range, by);
    this.least = low ??  values.reduce((a, b) => Math.min(a, b), Infinity);
    this.most = high ??  values.reduce((a, b) => Math.max(a, b), -Infinity);
    const rowHeight = Math.max(2, (height - FOOT_PX - KEY_PX) / Math.max(1, curves.length));
    this.cells.forEach((row, r) => {
      const y = r * rowHeight;
      if (rowHeight >= FONT_PX) {
        context.fillStyle = token("ink-2");
        context.fillText(fitted(context, curves[r].label, LABEL_PX - 8), 0, y + rowHeight / 2);
      }
      row.forEach((value, k) => {
        context.fillStyle = Number.isNaN(value) ? faded(token("line"), 0.5) : this.#colour(value);
        context.fillRect(LABEL_PX + k * CELL_PX, y, CELL_PX, Math.max(1, rowHeight - GAP_PX));
      });
    });
    context.fillStyle = token("ink-3");
    context.textAlign = "center";
    for (const { at, word } of xTicks(axis, false, span, Math.max(2, Math.floor(inner / 72)))) {
      const x = LABEL_PX + ((at - span.lo) / (span.hi - span.lo)) * inner;
      if (x < width - 20) context.fillText(word, x, height - KEY_PX - FOOT_PX / 2);
    }
    context.textAlign = "left";
    this.#key(context, width, height);
  }

  /** What the colours mean. @param {CanvasRenderingContext2D} context @param {number} width @param {number} height */
  #key(context, width, height) {
    if (!(this.least <= this.most)) return;
    const unit = this.drawing?.unit ?? "";
    const [from, to] = [figure(this.least), `${figure(this.most)} ${unit}`.trim()];
    const y = height - KEY_PX / 2;
    context.fillText(from, LABEL_PX, y);
    let x = LABEL_PX + context.measureText(from).width + 6;
    for (let i = 0; i <= 8; i++, x += 10) {
      context.fillStyle = this.#colour(this.least + ((this.most - this.least) * i) / 8);
      context.fillRect(x, y - 4, 10, 8);
    }
    context.fillStyle = token("ink-3");
    if (x + 6 < width) context.fillText(to, x + 6, y);
  }

  /** @param {number} value */
  #colour(value) {
    const share = this.most > this.least ? Math.max(0, Math.min(1, (value - this.least) / (this.most - this.least))) : 0.5;
    const at = Math.min(STOPS.length - 2, Math.floor(share * (STOPS.length - 1)));
    return mixed(token(STOPS[at + 1]), token(STOPS[at]), share * (STOPS.length - 1) - at);
  }

  /** @param {number} x @param {number} y */
  at(x, y) {
    const { drawing, canvas, cells } = this;
    if (!drawing || x < LABEL_PX) return "";
    const { curves, span, axis, unit } = drawing;
    const rowHeight = Math.max(2, (canvas.height - FOOT_PX - KEY_PX) / Math.max(1, curves.length));
    const [r, k] = [Math.floor(y / rowHeight), Math.floor((x - LABEL_PX) / CELL_PX)];
    const value = cells[r]?.[k];
    if (value === undefined) return "";
    const place = span.lo + ((k + 0.5) / cells[r].length) * (span.hi - span.lo);
    return `${curves[r].label}: ${Number.isNaN(value) ? "no point" : `${figure(value)} ${unit}`.trim()}, ${xWord(axis, place)}`;
  }
}
