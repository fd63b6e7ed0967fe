/** Curves as lines and areas in pixels, for a canvas and for SVG alike (pure). */

import { stretches } from "../timeline/marks.js";

/** @typedef {import("./curve.js").Curve} Curve */

/**
 * @typedef {Object} Shape
 * @property {"area" | "line"} kind
 * @property {string} colour a token
 * @property {number} alpha
 * @property {number} width of the line; 0 for an area
 * @property {boolean} dash
 * @property {number[][]} parts flat: x, y, x, y; of an area, closed; a line of one point is a dot
 */
/** @typedef {{x: (value: number) => number, y: (value: number) => number, span: import("./view.js").Span, left: number, right: number, top: number, bottom: number, ylog: boolean}} Place in pixels */
/** @typedef {{from: number, to: number, text: string}} Bad values that are not finite, from pixel to pixel */

const FEW = 4; // curves that have a strong band each, and their restarts marked
const SOME = 12; // more have thin lines
const SPIKE = 6; // a bucket that reaches so many times as far as is usual has its whole reach drawn
const SPIKE_PX = 6;
const CLOSE_PX = 4;
const FAR_PX = 1e5; // canvases do not draw farther

/** @param {Curve[]} curves @param {(curve: Curve) => string} colourOf @param {Place} place @returns {Shape[]} the bands first */
export function shapesOf(curves, colourOf, place) {
  const [areas, lines, marks] = /** @type {[Shape[], Shape[], Shape[]]} */ ([[], [], []]);
  for (const curve of curves) {
    const colour = colourOf(curve);
    const band = curves.length > SOME ? 0.07 : curves.length > FEW ? 0.12 : 0.24;
    areas.push({ kind: "area", colour, alpha: curve.smooth ? band * 0.7 : band, width: 0, dash: false, parts: bandOf(curve, place) });
    const strong = curves.length > SOME ? 1 : 1.4;
    const raw = { kind: /** @type {"line"} */ ("line"), colour, dash: false };
    lines.push({ ...raw, alpha: curve.smooth ? 0.35 : 1, width: curve.smooth ? 1 : strong, parts: lineOf(curve, curve.mean, 0, place) });
    if (curve.smooth) lines.push({ ...raw, alpha: 1, width: strong + 0.4, parts: lineOf(curve, curve.smooth, 0, place) });
    if (curve.old.includes(1)) lines.push({ ...raw, alpha: 0.35, width: 1, dash: true, parts: lineOf(curve, curve.mean, 1, place) });
    marks.push({ ...raw, alpha: 0.9, width: 1, parts: spikesOf(curve, place) });
    if (curves.length <= FEW) marks.push({ ...raw, colour: "ink-3", alpha: 0.8, width: 1, dash: true, parts: beginnings(curve, place) });
  }
  return [...areas, ...lines, ...marks].filter(({ parts }) => parts.length);
}

/** @param {number} pixel */
const near = (pixel) => Math.max(-FAR_PX, Math.min(FAR_PX, pixel));

/** The y of a value; what a log axis has no place for lies at its foot. @param {Place} place @param {number} value */
const yOf = (place, value) => near(place.ylog && value <= 0 ? place.bottom : place.y(value));

/** Whether a bucket, or a neighbour of it, can be seen. @param {Curve} curve @param {number} i @param {Place} place */
function seen({ x }, i, { span }) {
  const inside = (/** @type {number} */ at) => x[at] >= span.lo && x[at] <= span.hi;
  return inside(i) || inside(i - 1) || inside(i + 1) || x[i - 1] <= span.lo === x[i] >= span.hi;
}

/** From the lowest to the highest of each bucket, where there is a difference. @param {Curve} curve @param {Place} place */
function bandOf(curve, place) {
  const { x, min, max, old, begins } = curve;
  /** @type {number[][]} */
  const parts = [];
  let [above, below] = /** @type {[number[], number[]]} */ ([[], []]);
  let wide = false;
  const end = () => {
    if (wide) parts.push(above.length > 2 ? [...above, ...backwards(below)] : [above[0] - 0.5, above[1], above[0] + 0.5, above[1], below[0] + 0.5, below[1], below[0] - 0.5, below[1]]);
    [above, below, wide] = [[], [], false];
  };
  for (let i = 0; i < x.length; i++) {
    if (old[i] || Number.isNaN(x[i]) || Number.isNaN(min[i]) || begins[i]) end();
    if (old[i] || Number.isNaN(x[i]) || Number.isNaN(min[i]) || !seen(curve, i, place)) continue;
    const at = near(place.x(x[i]));
    above.push(at, yOf(place, max[i]));
    below.push(at, yOf(place, min[i]));
    wide ||= max[i] > min[i];
  }
  end();
  return parts;
}

/** @param {number[]} points */
function backwards(points) {
  const out = [];
  for (let i = points.length - 2; i >= 0; i -= 2) out.push(points[i], points[i + 1]);
  return out;
}

/** @param {Curve} curve @param {Float64Array} values @param {0 | 1} old which part of it @param {Place} place */
function lineOf(curve, values, old, place) {
  const { x, begins } = curve;
  /** @type {number[][]} */
  const parts = [];
  /** @type {number[]} */
  let part = [];
  const end = () => {
    if (part.length) parts.push(part);
    part = [];
  };
  for (let i = 0; i < x.length; i++) {
    const drawn = curve.old[i] === old && !Number.isNaN(x[i]) && !Number.isNaN(values[i]) && !(place.ylog && values[i] <= 0);
    if (!drawn || begins[i]) end();
    if (drawn && seen(curve, i, place)) part.push(near(place.x(x[i])), yOf(place, values[i]));
  }
  end();
  return parts;
}

/** The whole reach of buckets that stand out, so that one step is seen among thousands, smoothed or not. @param {Curve} curve @param {Place} place */
function spikesOf({ x, min, max, old }, place) {
  const reach = Float64Array.from(x, (_, i) => (Number.isNaN(min[i]) ? 0 : yOf(place, min[i]) - yOf(place, max[i])));
  const usual = [...reach].sort((a, b) => a - b)[reach.length >> 1] ?? 0;
  /** @type {number[][]} */
  const parts = [];
  for (let i = 0; i < x.length; i++) {
    if (old[i] || reach[i] <= SPIKE * usual + SPIKE_PX || !(x[i] >= place.span.lo && x[i] <= place.span.hi)) continue;
    const at = near(place.x(x[i]));
    parts.push([at, yOf(place, max[i]), at, yOf(place, min[i])]);
  }
  return parts;
}

/** @param {Curve} curve @param {Place} place */
function beginnings({ from, begins }, place) {
  /** @type {number[][]} */
  const parts = [];
  begins.forEach((begun, i) => {
    if (!begun || !(from[i] >= place.span.lo && from[i] <= place.span.hi)) return;
    const at = near(place.x(from[i]));
    parts.push([at, place.top, at, place.bottom]);
  });
  return parts;
}

/** @param {Curve[]} curves @param {Place} place @returns {Bad[]} */
export function badOf(curves, place) {
  const all = curves.flatMap(({ bad }) => bad.filter(({ x }) => x >= place.span.lo && x <= place.span.hi));
  const marks = all.map(({ x, text }) => ({ x: near(place.x(x)), text: nameOf(text) })).filter(({ x }) => Number.isFinite(x));
  return stretches(marks.sort((a, b) => a.x - b.x), CLOSE_PX);
}

/** @param {string} text */
const nameOf = (text) => (text === "Infinity" ? "inf" : text === "-Infinity" ? "−inf" : text);
