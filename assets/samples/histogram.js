/** A histogram over steps: one ridge a step, the oldest on top, the chosen one in colour. */

import { el, emptyContext } from "../lib/dom.js";
import { count, figure, tick } from "../lib/format.js";
import { faded, token } from "../lib/theme.js";

/** @typedef {{edges: number[], counts: number[]}} Histogram */
/** @typedef {{step: number | null, histogram: Histogram}} Ridge */

const RIDGE_PX = 44; // height of the highest bar
const FOOT_PX = 18;
const LABEL_PX = 52;
const BUCKETS = 60; // of equal width, into which all histograms of a chart are spread: writers choose widths that differ a thousandfold

/** Null for what is none. @param {string} text @returns {Histogram | null} */
export function histogramOf(text) {
  try {
    const { edges, counts } = JSON.parse(text);
    if (!Array.isArray(edges) || !Array.isArray(counts)) return null;
    const found = { edges: edges.map(Number), counts: counts.map(Number) };
    const sound = found.edges.length === found.counts.length + 1 && found.counts.length > 0 && [...found.edges, ...found.counts].every(Number.isFinite);
    return sound ? found : null;
  } catch {
    return null;
  }
}

/** The same values in buckets of equal width between two values, each spread evenly over those that it meets (pure). @param {Histogram} histogram @param {number} lo @param {number} hi @param {number} [buckets] @returns {number[]} */
export function evened({ edges, counts }, lo, hi, buckets = BUCKETS) {
  const found = Array(buckets).fill(0);
  const place = (/** @type {number} */ value) => ((value - lo) / (hi - lo)) * buckets;
  counts.forEach((count, i) => {
    const [from, to] = [place(edges[i]), place(edges[i + 1])];
    const [first, last] = [from, to].map((at) => Math.max(0, Math.min(buckets - 1, Math.floor(at))));
    for (let k = first; k <= last; k += 1) {
      const part = to > from ? Math.max(0, Math.min(to, k + 1) - Math.max(from, k)) / (to - from) : k === first ? 1 : 0;
      found[k] += count * part;
    }
  });
  return found;
}

/** `10,000 values from −3.8 to 4.1` @param {Histogram} histogram */
export function wordsOf({ edges, counts }) {
  const total = counts.reduce((all, one) => all + one, 0);
  return `${count(total)} values from ${figure(edges[0])} to ${figure(edges[edges.length - 1])}`;
}

export class RidgeChart {
  constructor() {
    this.canvas = el("canvas", { role: "img" });
    /** @type {Ridge[]} */
    this.ridges = [];
    /** @type {number | null} */
    this.chosen = null;
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  /** @param {Ridge[]} ridges the oldest first @param {number | null} chosen step */
  show(ridges, chosen) {
    this.ridges = ridges;
    this.chosen = chosen;
    const shown = ridges.find(({ step }) => step === chosen);
    this.canvas.setAttribute("aria-label", shown ? `Histogram at step ${count(chosen)}: ${wordsOf(shown.histogram)}` : "Histogram");
    this.draw();
  }

  draw() {
    const { canvas, ridges } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !ridges.length) return;
    const context = emptyContext(canvas, width, height);
    const lo = Math.min(...ridges.map(({ histogram }) => histogram.edges[0]));
    const hi = Math.max(...ridges.map(({ histogram: { edges } }) => edges[edges.length - 1]));
    const plot = { lo, hi: hi > lo ? hi : lo + 1, width: width - LABEL_PX };
    const room = height - FOOT_PX - RIDGE_PX - 4;
    ridges.forEach((ridge, i) => {
      const foot_px = RIDGE_PX + 4 + (ridges.length > 1 ? (room * i) / (ridges.length - 1) : room);
      drawRidge(context, ridge, { ...plot, foot_px, isChosen: ridge.step === this.chosen });
    });
    drawAxis(context, plot, height);
  }
}

/** @typedef {{lo: number, hi: number, width: number}} Plot */

/** @param {CanvasRenderingContext2D} context @param {Ridge} ridge @param {Plot & {foot_px: number, isChosen: boolean}} place */
function drawRidge(context, { step, histogram }, { lo, hi, width, foot_px, isChosen }) {
  const counts = evened(histogram, lo, hi);
  const most = Math.max(...counts) || 1;
  context.beginPath();
  context.moveTo(0, foot_px);
  counts.forEach((count, i) => {
    const top = foot_px - (count / most) * RIDGE_PX;
    context.lineTo((i / BUCKETS) * width, top);
    context.lineTo(((i + 1) / BUCKETS) * width, top);
  });
  context.lineTo(width, foot_px);
  context.closePath();
  const colour = token(isChosen ? "accent" : "phase-backward");
  context.fillStyle = isChosen ? faded(colour, 0.55) : faded(colour, 0.18);
  context.fill();
  context.strokeStyle = isChosen ? colour : faded(colour, 0.6);
  context.lineWidth = isChosen ? 1.5 : 1;
  context.stroke();
  if (step === null) return;
  context.font = `10px ${token("font-ui")}`;
  context.fillStyle = token(isChosen ? "ink" : "ink-3");
  context.textAlign = "left";
  context.fillText(tick(step), width + 6, foot_px);
}

/** @param {CanvasRenderingContext2D} context @param {Plot} plot @param {number} height */
function drawAxis(context, { lo, hi, width }, height) {
  context.font = `10px ${token("font-ui")}`;
  context.fillStyle = token("ink-3");
  const at = [lo, (lo + hi) / 2, hi];
  at.forEach((value, i) => {
    context.textAlign = /** @type {CanvasTextAlign[]} */ (["left", "center", "right"])[i];
    context.fillText(tick(Number(value.toPrecision(3))), (width * i) / 2, height - 4);
  });
}
