/** One series as the page keeps it, in bins of equal width, and several side by side on one grid (pure). */

import { STEP, TIME } from "../lib/axis.js";

// One series as the page keeps it: bins of equal width, cut at whole multiples of it, each with the lowest, the highest and the mean.

/** @typedef {{run: string | null} & Pick<Known, "name" | "labels"> & Partial<Known>} Meta a series; `run` is null for the machine's own */
/** @typedef {import("../types/api").Row<"SeriesRow">} Known */

/** @typedef {{t: (number | null)[], v: (number | string)[], step: (number | null)[], segment?: number[]}} NewPoints of a series, from a delta */

/** @param {Meta} meta */
export const keyOf = ({ run, name, labels }) =>
  `${run ?? ""}\n${name}\n${Object.keys(labels)
    .sort()
    .map((label) => `${label}=${labels[label]}`)
    .join(",")}`;

/** Numbers travel as numbers, non-finite ones as strings, missing ones as null. @param {number | string | null} value */
const numeric = (value) => (value === null ? NaN : Number(value));

const TRIM_AT = 64; // bins; cutting an array's front costs its whole length
const DISORDER = 100; // steps; a larger step back is a restart

export class Series {
  /** @param {Meta} meta @param {number} width seconds, or steps, a bin @param {import("../lib/axis.js").Axis} [axis] that `t` lies on */
  constructor(meta, width, axis = TIME) {
    this.meta = meta;
    this.width = width;
    this.axis = axis;
    this.points = 0;
    this.newest = { t: -Infinity, v: NaN, step: /** @type {number | null} */ (null) };
    /** Columns, one entry per bin that holds a point. */
    this.bin = /** @type {number[]} */ ([]);
    this.t = /** @type {number[]} */ ([]); // the place of the last point
    this.min = /** @type {number[]} */ ([]);
    this.max = /** @type {number[]} */ ([]);
    this.sum = /** @type {number[]} */ ([]);
    this.finite = /** @type {number[]} */ ([]);
    this.step = /** @type {(number | null)[]} */ ([]);
    this.bad = /** @type {string[]} */ ([]); // a non-finite value of the bin, else ""
    this.segment = /** @type {number[]} */ ([]); // rises where the run restarted
  }

  /** Add the points of a `GET /curves` answer. @param {Pick<import("./curve_reader.js").CurveRow, "x" | "x_end" | "min" | "max" | "mean" | "last" | "count" | "non_finite" | "step" | "segment" | "points_total">} row */
  fill(row) {
    for (let i = 0; i < row.x.length; i++) {
      if (row.x[i] === null) continue;
      const last = row.last[i];
      const bad = row.non_finite[i] ? (typeof last === "string" ? last : "NaN") : "";
      this.#merge(
        row.x_end[i],
        numeric(row.min[i]),
        numeric(row.max[i]),
        numeric(row.mean[i]),
        row.count[i] - row.non_finite[i],
        row.step[i],
        bad,
        row.segment?.[i] ?? 0,
      );
      this.newest = { t: row.x_end[i], v: numeric(row.last[i]), step: row.step[i] };
    }
    this.points = row.points_total;
  }

  /** Add new points. A point that is not newer than the last one is already known. @param {NewPoints} points */
  append(points) {
    const places = this.#places(points);
    for (let i = 0; i < places.length; i++) {
      const place = places[i];
      if (place === null || this.#known(place)) continue;
      const v = numeric(points.v[i]);
      const ok = Number.isFinite(v);
      const value = ok ? v : NaN;
      this.#merge(place, value, value, value, ok ? 1 : 0, points.step[i], ok ? "" : String(points.v[i]), points.segment?.[i] ?? 0);
      this.newest = { t: place, v, step: points.step[i] };
      this.points++;
    }
  }

  /** Remember the newest value without drawing it: the view is held. @param {NewPoints} points */
  glance(points) {
    const places = this.#places(points);
    const i = places.length - 1;
    const place = places[i];
    if (i >= 0 && place !== null && !this.#known(place)) this.newest = { t: place, v: numeric(points.v[i]), step: points.step[i] };
  }

  /** @param {NewPoints} points @returns {(number | null)[]} */
  #places({ t, step }) {
    return this.axis === STEP ? step : t;
  }

  /** On steps, a large step back is a restart. @param {number} place */
  #known(place) {
    return place <= this.newest.t && !(this.axis === STEP && place < this.newest.t - DISORDER);
  }

  /** Forget what ended before `time_s`. @param {number} time_s */
  trim(time_s) {
    const first = this.t.findIndex((t) => t >= time_s);
    if (first < TRIM_AT) return;
    for (const column of [this.bin, this.t, this.min, this.max, this.sum, this.finite, this.step, this.bad, this.segment])
      column.splice(0, first);
  }

  /** Index of the newest bin that starts at or before `time_s`, or -1. @param {number} time_s */
  at(time_s) {
    return this.#before(Math.floor(time_s / this.width));
  }

  /** Index of the newest bin up to this one, or -1. @param {number} wanted */
  #before(wanted) {
    let [low, high] = [0, this.bin.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bin[middle] <= wanted) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Clamped between the lowest and the highest, because of rounding: a constant is drawn constant. @param {number} index */
  mean(index) {
    if (!this.finite[index]) return NaN;
    return Math.min(this.max[index], Math.max(this.min[index], this.sum[index] / this.finite[index]));
  }

  /** Longest distance between two points that is not a gap. */
  get gap() {
    const n = this.t.length;
    return n < 3 ? Infinity : Math.max(this.axis.leastGap, 2.5 * this.width, (5 * (this.t[n - 1] - this.t[0])) / (n - 1));
  }

  /**
   * @param {number} t @param {number} min @param {number} max @param {number} mean
   * @param {number} finite @param {number | null} step @param {string} bad @param {number} segment
   */
  #merge(t, min, max, mean, finite, step, bad, segment) {
    const bin = Math.floor(t / this.width);
    const at = this.#place(bin);
    if (at < this.bin.length && this.bin[at] === bin) return this.#widen(at, t, min, max, mean, finite, step, bad, segment);
    this.#insert(this.bin, at, bin);
    this.#insert(this.t, at, t);
    this.#insert(this.min, at, min);
    this.#insert(this.max, at, max);
    this.#insert(this.sum, at, finite ? mean * finite : 0);
    this.#insert(this.finite, at, finite);
    this.#insert(this.step, at, step);
    this.#insert(this.bad, at, bad);
    this.#insert(this.segment, at, segment);
  }

  /** @template T @param {T[]} column @param {number} at @param {T} value */
  #insert(column, at, value) {
    if (at === column.length) column.push(value);
    else column.splice(at, 0, value);
  }

  /** The index of a bin, existing or new: after all others, unless its points are late or the run's steps went back. @param {number} bin */
  #place(bin) {
    const last = this.bin.length - 1;
    if (last < 0 || bin > this.bin[last]) return last + 1;
    if (bin === this.bin[last]) return last;
    const before = this.#before(bin);
    return before >= 0 && this.bin[before] === bin ? before : before + 1;
  }

  /**
   * @param {number} i @param {number} t @param {number} min @param {number} max @param {number} mean
   * @param {number} finite @param {number | null} step @param {string} bad @param {number} segment
   */
  #widen(i, t, min, max, mean, finite, step, bad, segment) {
    this.t[i] = Math.max(this.t[i], t);
    this.step[i] = step;
    this.bad[i] ||= bad;
    this.segment[i] = segment;
    if (!finite) return;
    this.min[i] = this.finite[i] ? Math.min(this.min[i], min) : min;
    this.max[i] = this.finite[i] ? Math.max(this.max[i], max) : max;
    this.sum[i] += mean * finite;
    this.finite[i] += finite;
  }
}

// Series side by side on one grid of bins, as a lane draws and averages them (pure).

/**
 * @typedef {Object} Columns
 * One entry per bin of the grid: a number; undefined without a point (the line continues); null where the line must break.
 * @property {(number | null | undefined)[]} min
 * @property {(number | null | undefined)[]} max
 * @property {(number | null | undefined)[]} mean
 * @property {{t: number, text: string}[]} bad non-finite points
 * @property {number[]} cuts entries that a run begins anew at, where the line must break though no entry is empty
 * @property {number[]} lone entries that no line reaches, which are drawn as dots
 */

/**
 * One or several series as one line: over several, the lowest, the highest and the mean of means.
 * @param {Series[]} series all of the grid's width
 * @param {number} first number of the grid's first bin
 * @param {number} length bins
 * @param {number} scale factor from the series' unit to the lane's
 * @returns {Columns}
 */
export function columns(series, first, length, scale) {
  /** @type {Columns} */
  const out = { min: new Array(length), max: new Array(length), mean: new Array(length), bad: [], cuts: [], lone: [] };
  const members = new Uint8Array(length);
  const breaks = new Uint8Array(length);
  for (const member of series) addSeries(member, first, scale, out, members, breaks);
  for (let i = 0; i < length; i++) {
    if (members[i] > 1) out.mean[i] = within(out.min[i], /** @type {number} */ (out.mean[i]) / members[i], out.max[i]);
    else if (breaks[i] && !members[i]) out.min[i] = out.max[i] = out.mean[i] = null;
  }
  out.lone = lone(out.mean, out.cuts);
  return out;
}

/** Numbers without a neighbour before them or behind them. @param {Columns["mean"]} mean @param {number[]} cuts */
function lone(mean, cuts) {
  /** @type {number[]} */
  const out = [];
  let joined = false; // to the number before it
  let last = -1;
  const begins = new Set(cuts);
  mean.forEach((value, i) => {
    if (begins.has(i) || value === null) {
      if (last >= 0 && !joined) out.push(last);
      [last, joined] = [-1, false];
    }
    if (typeof value !== "number") return;
    joined = last >= 0;
    last = i;
  });
  if (last >= 0 && !joined) out.push(last);
  return out;
}

/** A mean does not leave its points by rounding. @param {any} min @param {number} mean @param {any} max */
const within = (min, mean, max) => Math.min(max, Math.max(min, mean));

/**
 * @param {Series} member @param {number} first @param {number} scale @param {Columns} out
 * @param {Uint8Array} members how many series have a value in a bin @param {Uint8Array} breaks 1 where a line must not pass
 */
function addSeries(member, first, scale, out, members, breaks) {
  const gap = member.gap;
  for (let at = Math.max(0, member.at(first * member.width)); at < member.bin.length; at++) {
    const i = member.bin[at] - first;
    if (i >= members.length) break;
    if (i < 0) continue;
    if (at && member.t[at] - member.t[at - 1] > gap) breaks.fill(1, Math.max(0, member.bin[at - 1] - first + 1), i);
    if (at && member.segment[at] !== member.segment[at - 1]) out.cuts.push(i);
    if (member.bad[at]) out.bad.push({ t: member.t[at], text: member.bad[at] });
    if (!member.finite[at]) {
      breaks[i] = 1;
      continue;
    }
    const [min, max, mean] = [member.min[at] * scale, member.max[at] * scale, member.mean(at) * scale];
    const more = members[i]++ > 0;
    out.min[i] = more ? Math.min(/** @type {number} */ (out.min[i]), min) : min;
    out.max[i] = more ? Math.max(/** @type {number} */ (out.max[i]), max) : max;
    out.mean[i] = more ? /** @type {number} */ (out.mean[i]) + mean : mean;
  }
}

/**
 * Mean and spread of a series over [from, to], or over the rest of [lo, hi] when `outside`.
 * @param {Series} series @param {{lo: number, hi: number}} view @param {{from: number, to: number}} range @param {boolean} outside
 * @returns {{mean: number, spread: number, points: number}} NaN where there is nothing
 */
export function average(series, view, range, outside) {
  let [points, sum, squares] = [0, 0, 0];
  for (let i = Math.max(0, series.at(view.lo)); i < series.bin.length && series.t[i] <= view.hi; i++) {
    const inside = series.t[i] >= range.from && series.t[i] - range.to <= 0;
    if (inside === outside || !series.finite[i]) continue;
    const mean = series.mean(i);
    points += series.finite[i];
    sum += series.sum[i];
    squares += series.finite[i] * mean * mean;
  }
  const mean = sum / points;
  return { mean, spread: Math.sqrt(Math.max(0, squares / points - mean * mean)), points };
}
