/** One curve as it was read: columns of buckets, what is near a place, and the ranges of many (pure). */

import { counted } from "../lib/format.js";
import { robust } from "../lib/scale.js";
import { visibleName } from "../lib/visible.js";

/** @typedef {import("./view.js").View} View */
/** @typedef {import("./view.js").Span} Span */

/**
 * @typedef {Object} Row a curve of `GET /curves`
 * @property {string} run "" where it stands for a group
 * @property {string} group
 * @property {string} [key] of the configuration, whose value the group is
 * @property {string[]} runs
 * @property {string} series
 * @property {Record<string, string>} labels
 * @property {string} unit
 * @property {(number | null)[]} x
 * @property {(number | null)[]} x_end
 * @property {(number | null)[]} step
 * @property {(number | null)[]} segment
 * @property {(number | null)[]} min
 * @property {(number | null)[]} max
 * @property {(number | null)[]} mean
 * @property {(number | string | null)[]} last
 * @property {(number | null)[]} count
 * @property {(number | null)[]} non_finite
 * @property {(number | null)[] | null} smooth
 * @property {boolean[]} superseded
 * @property {number} points_total
 */

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
    runs: row.runs?.length ? row.runs : [row.run],
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

/** `baseline`, `ddp, rank 1`, `optimizer.lr 0.001 (3 runs)` @param {Row} row @param {string} [title] the name that users gave the run */
export function labelOf({ run, group, key, runs, labels }, title) {
  const name = title || visibleName(run) || `${key ? `${key} ` : ""}${group} (${counted(runs.length, "run")})`;
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
