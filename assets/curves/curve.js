/** One curve as it was read, and as lines and areas in pixels, for a canvas and for SVG alike (pure). */

import { dashOf } from "../data/colours.js";
import { robust } from "../lib/axis.js";
import { visibleName } from "../lib/dom.js";
import { counted } from "../lib/format.js";

/** @typedef {import("./training_view.js").View} View */
/** @typedef {import("./training_view.js").Span} Span */

/** @typedef {import("../data/curve_reader.js").CurveRow & {key?: string}} Row a curve of `GET /curves`; `key`: of the configuration, whose value the group is */

/**
 * @typedef {Object} Curve
 * @property {string} name of the run or group
 * @property {string} label `name`, of a group with its key and its number of runs, and with the rank where each has its curve
 * @property {string[]} runs
 * @property {string} unit
 * @property {Float64Array} x the middle of each bucket; NaN where it has no place
 * @property {Float64Array} from where it begins
 * @property {Float64Array} to
 * @property {Float64Array} step
 * @property {Float64Array} min NaN where nothing is finite
 * @property {Float64Array} max
 * @property {Float64Array} mean
 * @property {Float64Array | null} smooth
 * @property {Uint8Array} old 1 where a newer attempt wrote these steps again
 * @property {Uint8Array} begins 1 where a segment begins
 * @property {{from: number, to: number, text: string}[]} bad stretches of values that are not finite, with no finite one between them
 * @property {Int32Array} order indices of what counts, by x
 * @property {number} total points behind it
 * @property {Row} row
 * @property {string} [colour] a token, where it is not the run's
 * @property {Float64Array} [floor] down to which it is filled; such a curve has no band
 */

/** @param {(number | string | null)[] | null | undefined} values @param {number} length */
function numbers(values, length) {
  const out = new Float64Array(length).fill(NaN);
  if (values) for (let i = 0; i < length; i++) if (values[i] !== null) out[i] = Number(values[i]);
  return out;
}

/** @param {Row} row @returns {Curve} */
export function curveOf(row) {
  const n = row.x.length;
  const from = numbers(row.x, n);
  const ends = numbers(row.x_end, n);
  const to = ends;
  for (let i = 0; i < n; i++) if (!Number.isFinite(ends[i])) to[i] = from[i];
  const name = row.run || row.group;
  const begins = new Uint8Array(n);
  for (let i = 1; i < n; i++) begins[i] = Number((row.segment?.[i] ?? 0) !== (row.segment?.[i - 1] ?? 0));
  const old = new Uint8Array(n);
  if (row.superseded) for (let i = 0; i < n; i++) old[i] = Number(row.superseded[i] ?? false);
  const x = new Float64Array(n);
  for (let i = 0; i < n; i++) x[i] = from[i] + (to[i] - from[i]) / 2;
  return {
    name,
    label: labelOf(row),
    runs: row.runs,
    unit: row.unit,
    x,
    from,
    to,
    step: numbers(row.step, n),
    min: numbers(row.min, n),
    max: numbers(row.max, n),
    mean: numbers(row.mean, n),
    smooth: row.smooth ? numbers(row.smooth, n) : null,
    old,
    begins,
    bad: badStretches(row, to),
    order: inOrder(x, old),
    total: row.points_total,
    row,
  };
}

/** A whole row. Columns of given data may be left out: without buckets, each place has one value. @param {Partial<Row>} row @returns {Row} */
export function rowOf(row) {
  const { x = [], mean = [], run = null, labels = {} } = row;
  const plain = { group: "", runs: [], name: "", unit: "", x_end: x, step: null, segment: null, min: mean, max: mean, last: mean, non_finite: null, smooth: null, superseded: null, points_total: x.length };
  return /** @type {any} */ ({ ...plain, ...row, x, mean, run, labels });
}

/** `baseline`, `ddp, rank 1`, `optimizer.lr 0.001 (3 runs)`, "" for given data without a name @param {Row} row @param {string} [title] the name that users gave the run */
export function labelOf({ run, group, key, runs, labels }, title) {
  const name = title || visibleName(run ?? "") || (runs.length ? `${key ? `${key} ` : ""}${group} (${counted(runs.length, "run")})` : "");
  return labels?.rank === undefined ? name : `${name}, rank ${labels.rank}`;
}

/** @param {Row} row @param {Float64Array} to @returns {Curve["bad"]} */
function badStretches({ non_finite, mean, last }, to) {
  /** @type {Curve["bad"]} */
  const out = [];
  let goes_on = false;
  non_finite?.forEach((count, i) => {
    const text = typeof last[i] === "string" ? String(last[i]) : "NaN";
    const before = out.at(-1);
    if (!count || Number.isNaN(to[i])) goes_on &&= Number.isNaN(to[i]);
    else if (goes_on && before?.text === text && mean[i] === null) before.to = to[i];
    else out.push({ from: to[i], to: to[i], text });
    if (count) goes_on = mean[i] === null;
  });
  return out;
}

/** @param {Float64Array} x @param {Uint8Array} old */
function inOrder(x, old) {
  const order = new Int32Array(x.length);
  let [sorted, n] = [true, 0];
  for (let i = 0; i < x.length; i++) {
    if (old[i] || Number.isNaN(x[i])) continue;
    if (n && x[i] < x[order[n - 1]]) sorted = false;
    order[n++] = i;
  }
  const all = order.subarray(0, n);
  return sorted ? all : all.sort((a, b) => x[a] - x[b]);
}

/** The bucket at a place, or the nearest to it within `reach`; -1 where there is none. @param {Curve} curve @param {number} place @param {number} reach */
export function nearest({ order, x, from, to }, place, reach) {
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[order[middle]] < place) low = middle + 1;
    else high = middle;
  }
  let [best, distance] = [-1, Infinity];
  for (const at of [low - 1, low]) {
    if (at < 0 || at >= order.length) continue;
    const i = order[at];
    const away = place < from[i] ? from[i] - place : place > to[i] ? place - to[i] : 0;
    if (away < distance) [best, distance] = [i, away];
  }
  const inside = order.length > 0 && place >= from[order[0]] && place <= to[order[order.length - 1]];
  return inside || distance <= reach ? best : -1;
}

const LEAST = 1e-9; // a narrower range, relative to its values, has no ticks that differ
const MOST = 8e307; // so that the difference of two is finite

/** A range with room, which can be drawn however narrow or wide its values are. @param {number} lo @param {number} hi @param {number} room share on either side @returns {Span} */
export function roomy(lo, hi, room) {
  if (!(lo <= hi)) return { lo: 0, hi: 1 };
  const [low, high] = [lo, hi].map((end) => Math.max(-MOST, Math.min(MOST, end)));
  const least = Math.max(Math.abs(low), Math.abs(high)) * LEAST;
  const pad = high - low > least ? (high - low) * room : Math.max(Math.abs(high) * 0.1, least) || 1;
  return { lo: Math.max(-MOST, low - pad), hi: Math.min(MOST, high + pad) };
}

/**
 * @typedef {Object} YRange
 * @property {number} lo
 * @property {number} hi
 * @property {number} cut buckets that reach beyond it, which a user asked for
 * @property {number} most the farthest value that is cut
 * @property {number} notPositive buckets with values that have no place on a log axis
 */

/** Of all that stands in a range of x. @param {Curve[]} curves @param {Span} span @param {Pick<View, "ylog" | "clip">} view @returns {YRange} */
export function yRangeOf(curves, span, { ylog, clip }) {
  let [lo, hi, notPositive] = [Infinity, -Infinity, 0];
  const lows = /** @type {number[]} */ ([]);
  const highs = /** @type {number[]} */ ([]);
  for (const { x, min, max, smooth } of curves) {
    for (let i = 0; i < x.length; i++) {
      if (!(x[i] >= span.lo && x[i] <= span.hi) || Number.isNaN(min[i])) continue;
      if (ylog && min[i] <= 0) notPositive++;
      const low = smooth && smooth[i] < min[i] ? smooth[i] : min[i];
      const high = smooth && smooth[i] > max[i] ? smooth[i] : max[i];
      const least = ylog && low <= 0 ? (high > 0 ? high : NaN) : low;
      if (Number.isNaN(least)) continue;
      if (least < lo) lo = least;
      if (high > hi) hi = high;
      if (clip) lows.push(ylog ? Math.log10(least) : least), highs.push(ylog ? Math.log10(high) : high);
    }
  }
  const inner = clip && lows.length > 4 ? robust(lows, highs) : null;
  if (inner) return { ...clipped(inner, lows, highs, ylog), notPositive };
  if (ylog) {
    if (!(lo <= hi)) return { lo: 0.1, hi: 10, cut: 0, most: NaN, notPositive };
    const { lo: low, hi: high } = roomy(Math.log10(lo), Math.log10(hi), 0.06);
    return { lo: 10 ** Math.max(-307, low), hi: 10 ** Math.min(307, high), cut: 0, most: NaN, notPositive };
  }
  return { ...roomy(lo, hi, 0.06), cut: 0, most: NaN, notPositive };
}

/** @param {Span} inner @param {number[]} lows @param {number[]} highs @param {boolean} ylog */
function clipped(inner, lows, highs, ylog) {
  const value = (/** @type {number} */ v) => (ylog ? 10 ** v : v);
  let [cut, most, away] = [0, NaN, 0];
  lows.forEach((low, i) => {
    const beyond = Math.max(highs[i] - inner.hi, inner.lo - low);
    if (beyond <= 0) return;
    cut++;
    if (beyond > away) [away, most] = [beyond, value(highs[i] - inner.hi > inner.lo - low ? highs[i] : low)];
  });
  return { lo: value(inner.lo), hi: value(inner.hi), cut, most };
}

/** Where all curves lie. @param {Curve[]} curves @param {boolean} positive only what a log axis has @returns {Span | null} */
export function extentOf(curves, positive) {
  let [lo, hi] = [Infinity, -Infinity];
  for (const { from, to } of curves)
    for (let i = 0; i < from.length; i++) {
      if (Number.isNaN(from[i])) continue;
      const low = positive && from[i] <= 0 ? to[i] : from[i];
      if (positive && low <= 0) continue;
      if (low < lo) lo = low;
      if (to[i] > hi) hi = to[i];
    }
  return lo <= hi ? { lo, hi } : null;
}

// Curves as lines and areas in pixels, for a canvas and for SVG alike (pure).

/**
 * @typedef {Object} Shape
 * @property {"area" | "line"} kind
 * @property {string} colour a token
 * @property {number} alpha of an area; of a line how strong its colour is, which is mixed with the background: lines are opaque, so that two never mix
 * @property {number} width of the line; 0 for an area
 * @property {number[]} dash pixels drawn and left out, in turn; [] for all of it
 * @property {number[][]} parts flat: x, y, x, y; of an area, closed; a line of one point is a dot
 */
/** @typedef {{x: (value: number) => number, y: (value: number) => number, span: import("./training_view.js").Span, left: number, right: number, top: number, bottom: number, ylog: boolean}} Place in pixels */
/** @typedef {{from: number, to: number, text: string}} Bad values that are not finite, from pixel to pixel */

/** A limit across and moments down, over the curves. @param {{limit?: number | null, moments?: number[]}} picture @param {Place} place @returns {Shape[]} */
export function linesOf({ limit = null, moments = [] }, { x, y, span, left, right, top, bottom, ylog }) {
  const across = limit === null || (ylog && limit <= 0) ? [] : [[left, y(limit), right, y(limit)]];
  const down = moments.filter((at) => at >= span.lo && at <= span.hi).map((at) => [x(at), top, x(at), bottom]);
  const line = { kind: /** @type {const} */ ("line"), alpha: 1, width: 1 };
  return [{ ...line, colour: "bad", dash: [4, 3], parts: across }, { ...line, colour: "warn", dash: [3, 3], parts: down }];
}

const FEW = 4; // curves that have a strong band each, and their restarts marked
const SOME = 12; // more have thin lines
const SPIKE = 6; // a bucket that reaches so many times as far as is usual has its whole reach drawn
const SPIKE_PX = 6;
const CLOSE_PX = 4;
const FAINT = 0.35; // of a colour
const FILLED = 0.3; // of a curve with a floor
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
    const raw = { kind: /** @type {"line"} */ ("line"), colour, dash: curves.length > 1 && curve.name !== lit ? dashOf(colour) : [] };
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
