/** One series against another: a point per place of the series, at the value that x has there. */

import { nearest } from "../../curves/curve.js";
import { figure, tick } from "../../lib/format.js";
import { logTicks, ticks } from "../../lib/scale.js";
import { faded, token } from "../../lib/theme.js";
import { xWord } from "../../curves/xaxis.js";
import { endsOf } from "../scaling.js";
import { DrawnChart, FOOT_PX, LEFT_PX } from "./drawn.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */
/** @typedef {import("../../curves/curve.js").Curve} Curve */
/** @typedef {{x: number, y: number, place: number, curve: Curve}} Dot */

const [DOT_PX, FEW_PX, FRONT_PX, NEAR_PX] = [1.8, 2.6, 3.5, 10];
const FEW = 200; // dots that do not cover each other
const X_ITEM = -1; // of a curve that lies along x
const REACH = 0.01; // of the range: so far beside its points x has no value

/** The curve of x that belongs to another: with the same labels as far as both have them (pure). @param {Curve} curve @param {Curve[]} xs */
function partner({ row }, xs) {
  const fits = xs.filter((x) => Object.entries(x.row.labels).every(([key, value]) => row.labels[key] === undefined || row.labels[key] === value) && (!x.row.run || !row.run || x.row.run === row.run));
  return fits.find((x) => x.row.run === row.run) ?? fits[0] ?? null;
}

/** @param {Curve[]} curves @param {{lo: number, hi: number}} span @returns {Dot[]} */
export function dotsOf(curves, span) {
  const item = (/** @type {Curve} */ { row }) => /** @type {any} */ (row).item;
  const xs = curves.filter((curve) => item(curve) === X_ITEM);
  return curves
    .filter((curve) => item(curve) !== X_ITEM)
    .flatMap((curve) => {
      const along = partner(curve, xs);
      if (!along) return [];
      return [...curve.x.keys()].flatMap((i) => {
        if (!(curve.x[i] >= span.lo && curve.x[i] <= span.hi) || curve.old[i]) return [];
        const j = nearest(along, curve.x[i], (span.hi - span.lo) * REACH);
        return j >= 0 && Number.isFinite(along.mean[j]) && Number.isFinite(curve.mean[i]) ? [{ x: along.mean[j], y: curve.mean[i], place: curve.x[i], curve }] : [];
      });
    });
}

/** Those that no other beats in both values, from left to right (pure). @param {Dot[]} dots @param {string} best the corner where good ones lie, `top left` @returns {Dot[]} */
export function frontOf(dots, best) {
  const [up, right] = [best.startsWith("top") ? 1 : -1, best.endsWith("right") ? 1 : -1];
  const sorted = [...dots].sort((a, b) => right * (b.x - a.x) || up * (b.y - a.y));
  let most = -Infinity;
  const front = sorted.filter(({ y }) => up * y > most && ((most = up * y), true));
  return right > 0 ? front.reverse() : front;
}

export class ScatterChart extends DrawnChart {
  legend = true;
  /** @type {Dot[]} */
  dots = [];
  /** @type {(dot: Dot) => [number, number]} */
  pixel = () => [0, 0];

  /** @param {Drawing} drawing */
  show(drawing) {
    this.dots = dotsOf(drawing.curves, drawing.span);
    super.show(drawing);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {Drawing} drawing */
  paint(context, width, height, { by }) {
    const { log } = this.fields;
    const dots = log ? this.dots.filter(({ x, y }) => x > 0 && y > 0) : this.dots;
    if (!dots.length) return;
    const scale = log ? Math.log10 : (/** @type {number} */ value) => value;
    const [low, high] = endsOf(this.fields.range, by);
    const xs = spread(dots.map(({ x }) => x), Boolean(log));
    const found = spread(dots.map(({ y }) => y), Boolean(log));
    const ys = { lo: low !== null && !(log && low <= 0) ? low : found.lo, hi: high ?? found.hi };
    const [inner, foot] = [width - LEFT_PX - 12, height - FOOT_PX];
    const share = (/** @type {number} */ value, /** @type {{lo: number, hi: number}} */ { lo, hi }) => (scale(value) - scale(lo)) / (scale(hi) - scale(lo));
    this.pixel = ({ x, y }) => [LEFT_PX + share(x, xs) * inner, foot - share(y, ys) * (foot - 6)];
    context.strokeStyle = token("line");
    context.fillStyle = token("ink-3");
    context.textAlign = "right";
    for (const at of log ? logTicks(ys, 3) : ticks(ys, 3)) {
      const y = Math.round(foot - share(at, ys) * (foot - 6)) + 0.5;
      context.beginPath();
      context.moveTo(LEFT_PX, y);
      context.lineTo(width - 12, y);
      context.stroke();
      context.fillText(tick(at), LEFT_PX - 6, y);
    }
    context.textAlign = "center";
    for (const at of log ? logTicks(xs, 4) : ticks(xs, Math.max(2, Math.floor(inner / 64)))) context.fillText(tick(at), LEFT_PX + share(at, xs) * inner, height - FOOT_PX / 2);
    context.textAlign = "left";
    if (this.fields.best) this.paintFront(context, frontOf(dots, this.fields.best));
    for (const dot of dots) {
      const [x, y] = this.pixel(dot);
      context.fillStyle = faded(token(dot.curve.colour ?? "accent"), 0.6);
      context.beginPath();
      context.arc(x, y, dots.length > FEW ? DOT_PX : FEW_PX, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {Dot[]} front */
  paintFront(context, front) {
    context.strokeStyle = context.fillStyle = token("accent");
    context.beginPath();
    for (const [x, y] of front.map(this.pixel)) context.lineTo(x, y);
    context.stroke();
    for (const dot of front) {
      const [x, y] = this.pixel(dot);
      context.beginPath();
      context.arc(x, y, FRONT_PX, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** @param {number} x @param {number} y */
  at(x, y) {
    /** @type {Dot | null} */
    let best = null;
    let least = NEAR_PX;
    for (const dot of this.dots) {
      const [a, b] = this.pixel(dot);
      const away = Math.hypot(a - x, b - y);
      if (away < least) [best, least] = [dot, away];
    }
    return best && this.drawing ? `${best.curve.label}: ${figure(best.y)} at ${figure(best.x)}, ${xWord(this.drawing.axis, best.place)}` : "";
  }
}

/** @param {number[]} values @param {boolean} log */
function spread(values, log) {
  const [lo, hi] = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
  if (log) return hi > lo ? { lo: lo / 1.1, hi: hi * 1.1 } : { lo: lo / 10, hi: hi * 10 };
  const room = (hi - lo) * 0.05 || Math.abs(hi) * 0.1 || 1;
  return { lo: lo - room, hi: hi + room };
}
