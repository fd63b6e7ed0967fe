/** How often which values occur in the shown range. */

import { count, counted, figure, tick } from "../../lib/format.js";
import { ticks } from "../../lib/scale.js";
import { faded, token } from "../../lib/theme.js";
import { binned } from "../values.js";
import { DrawnChart, FOOT_PX, LEFT_PX } from "./drawn.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */

const TOP_PX = 6;
const BINS = 40;

export class HistogramChart extends DrawnChart {
  legend = true;
  /** @type {ReturnType<typeof binned>} */
  found = null;

  /** @param {Drawing} drawing */
  show(drawing) {
    this.found = binned(drawing.curves, drawing.span, this.fields.bins ?? BINS);
    super.show(drawing);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {Drawing} drawing */
  paint(context, width, height, { curves }) {
    const { found } = this;
    if (!found) return;
    const totals = found.counts[0].map((_, i) => found.counts.reduce((sum, row) => sum + row[i], 0));
    const most = Math.max(1, ...totals);
    const [inner, foot] = [width - LEFT_PX - 8, height - FOOT_PX];
    const y = (/** @type {number} */ n) => foot - (n / most) * (foot - TOP_PX);
    context.strokeStyle = token("line");
    context.fillStyle = token("ink-3");
    context.textAlign = "right";
    for (const at of ticks({ lo: 0, hi: most }, 3)) {
      context.beginPath();
      context.moveTo(LEFT_PX, Math.round(y(at)) + 0.5);
      context.lineTo(width - 8, Math.round(y(at)) + 0.5);
      context.stroke();
      context.fillText(tick(at), LEFT_PX - 6, y(at));
    }
    const wide = inner / totals.length;
    totals.forEach((_, i) => {
      let below = 0;
      found.counts.forEach((row, r) => {
        if (!row[i]) return;
        context.fillStyle = faded(token(curves[r].colour ?? "accent"), 0.8);
        context.fillRect(LEFT_PX + i * wide + 0.5, y(below + row[i]), Math.max(1, wide - 1), y(below) - y(below + row[i]));
        below += row[i];
      });
    });
    context.fillStyle = token("ink-3");
    context.textAlign = "center";
    for (const at of ticks({ lo: found.lo, hi: found.hi }, Math.max(2, Math.floor(inner / 64)))) {
      context.fillText(tick(at), LEFT_PX + ((at - found.lo) / (found.hi - found.lo)) * inner, height - FOOT_PX / 2);
    }
    context.textAlign = "left";
  }

  /** @param {number} x */
  at(x) {
    const { found, canvas, drawing } = this;
    if (!found || !drawing) return "";
    const bins = found.counts[0].length;
    const i = Math.floor(((x - LEFT_PX) / (canvas.width - LEFT_PX - 8)) * bins);
    if (i < 0 || i >= bins) return "";
    const width = (found.hi - found.lo) / bins;
    const n = found.counts.reduce((sum, row) => sum + row[i], 0);
    const about = found.whole ? "" : "; of points that are read together the mean counts";
    return `${figure(found.lo + i * width)} to ${figure(found.lo + (i + 1) * width)} ${drawing.unit}: ${counted(n, "point")} of ${count(found.points)}${about}`;
  }
}
