/** One series as the page keeps it: bins of equal width, cut at whole multiples of it, each with the lowest, the highest and the mean. */

/**
 * @typedef {Object} Meta
 * @property {string | null} run null for the machine's own
 * @property {string} name
 * @property {Record<string, string>} labels
 * @property {number} [points] in the store
 * @property {number | null} [first_time_s]
 */

/** @param {Meta} meta */
export const keyOf = ({ run, name, labels }) =>
  `${run ?? ""}\n${name}\n${Object.keys(labels)
    .sort()
    .map((label) => `${label}=${labels[label]}`)
    .join(",")}`;

/** Numbers travel as numbers, non-finite ones as strings, missing ones as null. @param {number | string | null} told */
const numeric = (told) => (told === null ? NaN : Number(told));

const GAP_LEAST_S = 3; // a shorter silence is a slow step, not a missing source
const TRIM_AT = 64; // bins; cutting an array's front costs its whole length

export class Series {
  /** @param {Meta} meta @param {number} width seconds a bin */
  constructor(meta, width) {
    this.meta = meta;
    this.width = width;
    this.points = 0;
    this.newest = { t: -Infinity, v: NaN, step: /** @type {number | null} */ (null) };
    /** Columns, one entry a bin that holds a point. */
    this.bin = /** @type {number[]} */ ([]);
    this.t = /** @type {number[]} */ ([]); // of the last point
    this.min = /** @type {number[]} */ ([]);
    this.max = /** @type {number[]} */ ([]);
    this.sum = /** @type {number[]} */ ([]);
    this.finite = /** @type {number[]} */ ([]);
    this.step = /** @type {(number | null)[]} */ ([]);
    this.bad = /** @type {string[]} */ ([]); // what a non-finite point of the bin was, else ""
  }

  /** Take over what `GET /points` answered. @param {any} told */
  fill(told) {
    for (let i = 0; i < told.t.length; i++) {
      if (told.t[i] === null) continue;
      const bad = told.non_finite[i] ? (typeof told.last[i] === "string" ? told.last[i] : "NaN") : "";
      this.#merge(
        told.t_end[i],
        numeric(told.min[i]),
        numeric(told.max[i]),
        numeric(told.mean[i]),
        told.count[i] - told.non_finite[i],
        told.step[i],
        bad,
      );
      this.newest = { t: told.t_end[i], v: numeric(told.last[i]), step: told.step[i] };
    }
    this.points = told.points_total;
  }

  /** Take over new points. A point that is not newer than the last one is already here. @param {{t: number[], v: (number | string)[], step: (number | null)[]}} told */
  append(told) {
    for (let i = 0; i < told.t.length; i++) {
      if (told.t[i] === null || told.t[i] <= this.newest.t) continue;
      const v = numeric(told.v[i]);
      const ok = Number.isFinite(v);
      this.#merge(told.t[i], ok ? v : NaN, ok ? v : NaN, ok ? v : NaN, ok ? 1 : 0, told.step[i], ok ? "" : String(told.v[i]));
      this.newest = { t: told.t[i], v, step: told.step[i] };
      this.points++;
    }
  }

  /** Remember the newest value without drawing it: the view is held. @param {{t: number[], v: (number | string)[], step: (number | null)[]}} told */
  glance(told) {
    const i = told.t.length - 1;
    if (i >= 0) this.newest = { t: told.t[i], v: numeric(told.v[i]), step: told.step[i] };
  }

  /** Forget what ended before `time_s`. @param {number} time_s */
  trim(time_s) {
    const first = this.t.findIndex((t) => t >= time_s);
    if (first < TRIM_AT) return;
    for (const column of [this.bin, this.t, this.min, this.max, this.sum, this.finite, this.step, this.bad])
      column.splice(0, first);
  }

  /** Index of the newest bin that starts at or before `time_s`, or -1. @param {number} time_s */
  at(time_s) {
    const wanted = Math.floor(time_s / this.width);
    let [low, high] = [0, this.bin.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bin[middle] <= wanted) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** @param {number} index */
  mean(index) {
    return this.finite[index] ? this.sum[index] / this.finite[index] : NaN;
  }

  /** Longest distance between two points that is no gap. */
  get gap_s() {
    const n = this.t.length;
    return n < 3 ? Infinity : Math.max(GAP_LEAST_S, 2.5 * this.width, (5 * (this.t[n - 1] - this.t[0])) / (n - 1));
  }

  /**
   * @param {number} t @param {number} min @param {number} max @param {number} mean
   * @param {number} finite @param {number | null} step @param {string} bad
   */
  #merge(t, min, max, mean, finite, step, bad) {
    const bin = Math.floor(t / this.width);
    const last = this.bin.length - 1;
    if (last >= 0 && bin <= this.bin[last]) return this.#widen(last, t, min, max, mean, finite, step, bad);
    this.bin.push(bin);
    this.t.push(t);
    this.min.push(min);
    this.max.push(max);
    this.sum.push(finite ? mean * finite : 0);
    this.finite.push(finite);
    this.step.push(step);
    this.bad.push(bad);
  }

  /**
   * @param {number} i @param {number} t @param {number} min @param {number} max @param {number} mean
   * @param {number} finite @param {number | null} step @param {string} bad
   */
  #widen(i, t, min, max, mean, finite, step, bad) {
    this.t[i] = Math.max(this.t[i], t);
    this.step[i] = step;
    this.bad[i] ||= bad;
    if (!finite) return;
    this.min[i] = this.finite[i] ? Math.min(this.min[i], min) : min;
    this.max[i] = this.finite[i] ? Math.max(this.max[i], max) : max;
    this.sum[i] += mean * finite;
    this.finite[i] += finite;
  }
}
