/** What a curve comes to in a range: last, mean, least, greatest, sum, change (pure). */

/** @typedef {import("../curves/curve.js").Curve} Curve */
/** @typedef {import("../curves/view.js").Span} Span */
/** @typedef {"last" | "mean" | "min" | "max" | "sum" | "change"} ValueName */
/** @typedef {Record<ValueName, number>} Values NaN where there is none */

/** Of the buckets that reach into the range. @param {Curve} curve @param {Span} span @returns {Values} */
export function valuesOf({ from, to, min, max, mean, row }, { lo, hi }) {
  let [total, count, least, most, first, last] = [0, 0, Infinity, -Infinity, NaN, NaN];
  for (let i = 0; i < from.length; i++) {
    if (to[i] < lo || from[i] > hi) continue;
    const end = row.last[i];
    if (end !== null && row.count[i]) last = Number(end);
    if (Number.isNaN(mean[i])) continue;
    const points = Math.max(1, Number(row.count[i] ?? 1) - Number(row.non_finite[i] ?? 0));
    total += mean[i] * points;
    count += points;
    if (min[i] < least) least = min[i];
    if (max[i] > most) most = max[i];
    if (Number.isNaN(first)) first = points > 1 && max[i] > min[i] ? firstOf(min[i], max[i], mean[i], last) : mean[i];
  }
  const none = count === 0;
  return { last, mean: none ? NaN : total / count, min: none ? NaN : least, max: none ? NaN : most, sum: none ? NaN : total, change: last - first };
}

/** The first value of a bucket of several: a rising one begins at its least, a falling one at its greatest. @param {number} min @param {number} max @param {number} mean @param {number} last */
const firstOf = (min, max, mean, last) => (last === max ? min : last === min ? max : mean);

/** The tone of the highest threshold that a value reaches, "" below all of them. @param {number} value @param {Record<string, string> | undefined} thresholds */
export function toneOf(value, thresholds) {
  let [best, tone] = [-Infinity, ""];
  for (const [at, name] of Object.entries(thresholds ?? {})) if (Number(at) <= value && Number(at) >= best) [best, tone] = [Number(at), name];
  return tone;
}

/**
 * How many points have which values: of buckets of several points, their means count. @param {Curve[]} curves @param {Span} span @param {number} bins
 * @returns {{lo: number, hi: number, counts: number[][], points: number, whole: boolean} | null} counts by curve; `whole`: every point counts as itself
 */
export function binned(curves, { lo, hi }, bins) {
  let [least, most, points, whole] = [Infinity, -Infinity, 0, true];
  const inside = (/** @type {Curve} */ curve, /** @type {number} */ i) => curve.to[i] >= lo && curve.from[i] <= hi && Number.isFinite(curve.mean[i]);
  for (const curve of curves)
    for (let i = 0; i < curve.x.length; i++) {
      if (!inside(curve, i)) continue;
      if (curve.mean[i] < least) least = curve.mean[i];
      if (curve.mean[i] > most) most = curve.mean[i];
    }
  if (!(least <= most)) return null;
  if (least === most) {
    const half = Math.min(Math.abs(least) / 2, Number.MAX_VALUE - Math.abs(least)) || 0.5;
    [least, most] = [least - half, most + half]; // one value stands in the middle of a range of its own size
  }
  const width = (most - least) / bins || Number.MIN_VALUE;
  const counts = curves.map((curve) => {
    const found = new Array(bins).fill(0);
    for (let i = 0; i < curve.x.length; i++) {
      if (!inside(curve, i)) continue;
      const n = Math.max(1, Number(curve.row.count[i] ?? 1) - Number(curve.row.non_finite[i] ?? 0));
      if (n > 1 && curve.max[i] > curve.min[i]) whole = false;
      found[Math.min(bins - 1, Math.floor((curve.mean[i] - least) / width))] += n;
      points += n;
    }
    return found;
  });
  return { lo: least, hi: least + width * bins, counts, points, whole };
}
