/** Curves as lines and areas in pixels, for a canvas and for SVG alike (pure). */

import { isDashed } from "../data/run_colours.js";

/** @typedef {import("./curve.js").Curve} Curve */

/**
 * @typedef {Object} Shape
 * @property {"area" | "line"} kind
 * @property {string} colour a token
 * @property {number} alpha of an area; of a line how strong its colour is, which is mixed with the background: lines are opaque, so that two never mix
 * @property {number} width of the line; 0 for an area
 * @property {number[]} dash pixels drawn and left out, in turn; [] for all of it
 * @property {number[][]} parts flat: x, y, x, y; of an area, closed; a line of one point is a dot
 */
/** @typedef {{x: (value: number) => number, y: (value: number) => number, span: import("./view.js").Span, left: number, right: number, top: number, bottom: number, ylog: boolean}} Place in pixels */
/** @typedef {{from: number, to: number, text: string}} Bad values that are not finite, from pixel to pixel */

const FEW = 4; // curves that have a strong band each, and their restarts marked
const SOME = 12; // more have thin lines
const SPIKE = 6; // a bucket that reaches so many times as far as is usual has its whole reach drawn
const SPIKE_PX = 6;
const CLOSE_PX = 4;
const FAINT = 0.35; // of a colour
const FILLED = 0.3; // of a curve with a floor
const DASHED = [7, 3];
const SUPERSEDED = [3, 3];
const FAR_PX = 1e5; // canvases do not draw farther

/** How strong bands are: of many that overlap none hides the lines. @param {number} curves @param {boolean} smooth */
const bandAlpha = (curves, smooth) => (curves > SOME ? 0.04 : curves > FEW ? 0.07 : curves > 1 ? 0.12 : 0.24) * (smooth ? 0.7 : 1);

/**
 * Bands below raw values that are smoothed, these below the lines that count, spikes on top.
 * @param {Curve[]} curves @param {(curve: Curve) => string} colourOf @param {Place} place @param {string} lit the name whose curves stand out, or "" for all @param {boolean} thin lines of a pixel, which a browser without a GPU draws several times as fast
 * @returns {Shape[]}
 */
export function shapesOf(curves, colourOf, place, lit = "", thin = false) {
  const [areas, faint, lines, marks] = /** @type {[Shape[], Shape[], Shape[], Shape[]]} */ ([[], [], [], []]);
  const strong = thin ? 1 : curves.length > SOME ? 1.2 : 1.5;
  for (const curve of inTurn(curves, lit)) {
    const px = pixelsOf(curve, place);
    const out = lit !== "" && curve.name !== lit && !curve.colour;
    const colour = out ? "line-strong" : colourOf(curve);
    const raw = { kind: /** @type {"line"} */ ("line"), colour, dash: curves.length > 1 && curve.name !== lit && isDashed(colour) ? DASHED : [] };
    if (curve.floor) {
      if (!out) areas.push({ kind: "area", colour, alpha: FILLED, width: 0, dash: [], parts: bandOf({ ...curve, min: curve.floor, max: curve.mean }, place, px) });
      lines.push({ ...raw, alpha: 1, width: strong, parts: lineOf(curve, curve.mean, 0, place, px) });
      continue;
    }
    if (!out) areas.push({ kind: "area", colour, alpha: bandAlpha(lit ? 2 : curves.length, curve.smooth !== null), width: 0, dash: [], parts: bandOf(curve, place, px) });
    const wide = strong + (curve.name === lit ? 0.7 : 0);
    if (!curve.smooth) lines.push({ ...raw, alpha: 1, width: wide, parts: lineOf(curve, curve.mean, 0, place, px) });
    else if (!out) faint.push({ ...raw, dash: [], alpha: FAINT, width: 1, parts: lineOf(curve, curve.mean, 0, place, px) });
    if (curve.smooth) lines.push({ ...raw, alpha: 1, width: wide + 0.4, parts: lineOf(curve, curve.smooth, 0, place, px) });
    if (curve.old.includes(1)) faint.push({ ...raw, alpha: FAINT, width: 1, dash: SUPERSEDED, parts: lineOf(curve, curve.mean, 1, place, px) });
    if (!out) marks.push({ ...raw, alpha: 1, width: 1, dash: [], parts: spikesOf(curve, place) });
    if (curves.length <= FEW) marks.push({ ...raw, colour: "ink-3", alpha: 0.8, width: 1, dash: SUPERSEDED, parts: beginnings(curve, place) });
  }
  return [...areas, ...faint, ...lines, ...marks].filter(({ parts }) => parts.length);
}

/** Those that stand out last, above the others. @param {Curve[]} curves @param {string} lit */
const inTurn = (curves, lit) => (lit ? [...curves.filter(({ name }) => name !== lit), ...curves.filter(({ name }) => name === lit)] : curves);

/** @param {number} pixel */
const near = (pixel) => Math.max(-FAR_PX, Math.min(FAR_PX, pixel));

/** The y of a value; what a log axis has no place for lies at its foot. @param {Place} place @param {number} value */
const yOf = (place, value) => near(place.ylog && value <= 0 ? place.bottom : place.y(value));

/** Whether a bucket, or a neighbour of it, can be seen. @param {Curve} curve @param {number} i @param {Place} place */
function seen({ x }, i, { span }) {
  if (x[i] >= span.lo && x[i] <= span.hi) return true;
  const inside = (/** @type {number} */ at) => x[at] >= span.lo && x[at] <= span.hi;
  return inside(i) || inside(i - 1) || inside(i + 1) || x[i - 1] <= span.lo === x[i] >= span.hi;
}

/** The places of the buckets; NaN of those that cannot be seen. @param {Curve} curve @param {Place} place */
function pixelsOf(curve, place) {
  const px = new Float64Array(curve.x.length).fill(NaN);
  for (let i = 0; i < px.length; i++) if (seen(curve, i, place)) px[i] = near(place.x(curve.x[i]));
  return px;
}

/** From the lowest to the highest of each bucket, where there is a difference. @param {Curve} curve @param {Place} place @param {Float64Array} px */
function bandOf({ x, min, max, old, begins }, place, px) {
  /** @type {number[][]} */
  const parts = [];
  let [above, below] = /** @type {[number[], number[]]} */ ([[], []]);
  let wide = false;
  const end = () => {
    if (wide) parts.push(above.length > 2 ? around(above, below) : [above[0] - 0.5, above[1], above[0] + 0.5, above[1], below[0] + 0.5, below[1], below[0] - 0.5, below[1]]);
    if (above.length) [above, below] = [[], []];
    wide = false;
  };
  for (let i = 0; i < x.length; i++) {
    const none = old[i] || Number.isNaN(x[i]) || Number.isNaN(min[i]);
    if (none || begins[i]) end();
    if (none || Number.isNaN(px[i])) continue;
    above.push(px[i], yOf(place, max[i]));
    below.push(px[i], yOf(place, min[i]));
    wide ||= max[i] > min[i];
  }
  end();
  return parts;
}

/** Along the upper edge, and back along the lower one. @param {number[]} above becomes it @param {number[]} below */
function around(above, below) {
  for (let i = below.length - 2; i >= 0; i -= 2) above.push(below[i], below[i + 1]);
  return above;
}

/** @param {Curve} curve @param {Float64Array} values @param {0 | 1} old which part of it @param {Place} place @param {Float64Array} px */
function lineOf(curve, values, old, place, px) {
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
    if (drawn && !Number.isNaN(px[i])) part.push(px[i], yOf(place, values[i]));
  }
  end();
  return parts;
}

/**
 * The whole reach of buckets that stand out, so that one step is seen among thousands, smoothed or not. Where a curve is smoothed, the reach is from its line.
 * @param {Curve} curve @param {Place} place
 */
function spikesOf({ x, min, max, mean, smooth, old }, place) {
  const known = (/** @type {number} */ i) => !old[i] && !Number.isNaN(min[i]);
  const top = (/** @type {number} */ i) => yOf(place, smooth && smooth[i] > max[i] ? smooth[i] : max[i]);
  const foot = (/** @type {number} */ i) => yOf(place, smooth && smooth[i] < min[i] ? smooth[i] : min[i]);
  const reach = new Float64Array(x.length);
  let farthest = 0;
  for (let i = 0; i < x.length; i++) {
    if (!known(i)) continue;
    reach[i] = foot(i) - top(i);
    if (reach[i] > farthest) farthest = reach[i];
  }
  if (farthest <= SPIKE_PX) return []; // as most curves are
  const jumps = Float64Array.from(x, (_, i) => (i && known(i) && known(i - 1) ? Math.abs(yOf(place, mean[i]) - yOf(place, mean[i - 1])) : 0));
  const usual = Math.max(median(reach), median(jumps)); // many buckets of one point, which reach nowhere, say nothing of the others
  /** @type {number[][]} */
  const parts = [];
  for (let i = 0; i < x.length; i++) {
    if (reach[i] <= SPIKE * usual + SPIKE_PX || !(x[i] >= place.span.lo && x[i] <= place.span.hi)) continue;
    const at = near(place.x(x[i]));
    parts.push([at, top(i), at, foot(i)]);
  }
  return parts;
}

/** @param {Float64Array} values */
const median = (values) => Float64Array.from(values).sort()[values.length >> 1] ?? 0;

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

/** Neighbouring values of a curve that are not finite are one mark, however far they lie apart. @param {Curve[]} curves @param {Place} place @returns {Bad[]} */
export function badOf(curves, place) {
  const { lo, hi } = place.span;
  const all = curves.flatMap(({ bad }) => bad.filter(({ from, to }) => to >= lo && from <= hi));
  const marks = all.map(({ from, to, text }) => ({ from: near(place.x(Math.max(lo, from))), to: near(place.x(Math.min(hi, to))), text: nameOf(text) }));
  /** @type {Bad[]} */
  const out = [];
  for (const mark of marks.filter(({ from, to }) => Number.isFinite(from) && Number.isFinite(to)).sort((a, b) => a.from - b.from)) {
    const last = out.at(-1);
    if (last && mark.from - last.to <= CLOSE_PX) last.to = Math.max(last.to, mark.to);
    else out.push(mark);
  }
  return out;
}

/** @param {string} text */
const nameOf = (text) => (text === "Infinity" ? "inf" : text === "-Infinity" ? "−inf" : text);
