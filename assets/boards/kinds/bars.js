/** A bar per series, as long as its value. */

import { figure } from "../../lib/format.js";
import { faded, token } from "../../lib/theme.js";
import { endsOf, thresholdsOf } from "../scaling.js";
import { toneOf, valuesOf } from "../values.js";
import { fitted } from "./canvas.js";
import { DrawnChart } from "./drawn.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */

const [ROW_PX, LEAST_PX, VALUE_PX] = [24, 12, 84];

export class BarChart extends DrawnChart {
  /** @type {{label: string, value: number, colour: string}[]} */
  rows = [];

  /** @param {Drawing} drawing */
  show(drawing) {
    const { value = "last" } = this.fields;
    const thresholds = thresholdsOf(this.fields.thresholds, drawing.by);
    this.rows = drawing.curves.map((curve) => {
      const found = valuesOf(curve, drawing.span)[/** @type {import("../values.js").ValueName} */ (value)];
      return { label: curve.label, value: found, colour: toneOf(found, thresholds) || (curve.colour ?? "accent") };
    });
    super.show(drawing);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {Drawing} drawing */
  paint(context, width, height, { unit, by }) {
    const rows = this.rows;
    const [low, high] = endsOf(this.fields.range, by);
    const known = rows.map(({ value }) => value).filter(Number.isFinite);
    const lo = low ?? Math.min(0, ...known);
    const hi = high ?? Math.max(0, ...known);
    const step = Math.max(LEAST_PX, Math.min(ROW_PX, height / Math.max(1, rows.length)));
    const label = Math.min(width * 0.4, Math.max(40, ...rows.map((row) => context.measureText(row.label).width + 8)));
    const inner = Math.max(10, width - label - VALUE_PX);
    const x = (/** @type {number} */ value) => label + (hi > lo ? Math.max(0, Math.min(1, (value - lo) / (hi - lo))) : 0) * inner;
    const fits = Math.floor(height / step);
    rows.slice(0, fits).forEach(({ label: name, value, colour }, i) => {
      const y = i * step;
      const last = i === fits - 1 && rows.length > fits;
      context.fillStyle = token("ink-2");
      context.fillText(last ? `${rows.length - i} more` : fitted(context, name, label - 8), 0, y + step / 2);
      if (last || !Number.isFinite(value)) return void (last || context.fillText("–", label, y + step / 2));
      const [from, to] = [x(Math.min(0, value)), x(Math.max(0, value))];
      context.fillStyle = faded(token(colour), 0.85);
      context.fillRect(from, y + 2, Math.max(1, to - from), step - 5);
      context.fillStyle = token("ink");
      context.fillText(fitted(context, `${figure(value)} ${unit}`.trim(), VALUE_PX - 8), Math.max(from, to) + 6, y + step / 2);
    });
  }

  /** @param {number} _x @param {number} y */
  at(_x, y) {
    const step = Math.max(LEAST_PX, Math.min(ROW_PX, this.canvas.height / Math.max(1, this.rows.length)));
    const row = this.rows[Math.floor(y / step)];
    return row ? `${row.label}: ${figure(row.value)} ${this.drawing?.unit ?? ""}`.trim() : "";
  }
}
