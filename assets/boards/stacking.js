/** Curves on top of each other, on common places (pure). */

import { nearest } from "../curves/curve.js";

/** @typedef {import("../curves/curve.js").Curve} Curve */

const HOLD = 2.5; // a value counts for so many of the usual distances of its own places

/** Filled down to 0. @param {Curve} curve @returns {Curve} */
export const filled = (curve) => ({ ...curve, floor: new Float64Array(curve.x.length) });

/**
 * Each curve from the sum of those before it up to that sum and its own, at the places of the curve that has the most. A curve without a value there counts as 0.
 * @param {Curve[]} curves @returns {Curve[]}
 */
export function stacked(curves) {
  const known = curves.filter(({ x }) => x.length);
  if (!known.length) return curves;
  const places = known.reduce((best, curve) => (curve.x.length > best.x.length ? curve : best));
  const { x, from, to, begins } = places;
  let below = new Float64Array(x.length);
  return known.map((curve) => {
    const reach = curve === places ? 0 : HOLD * usual(curve.x);
    const own = curve === places ? curve.mean : Float64Array.from(x, (place) => valueAt(curve, place, reach));
    const mean = Float64Array.from(below, (floor, i) => floor + (Number.isNaN(own[i]) ? 0 : own[i]));
    const floor = below;
    below = mean;
    return { ...curve, x, from, to, begins, mean, min: mean, max: mean, floor, smooth: null, old: new Uint8Array(x.length), bad: [], order: Int32Array.from(x, (_, i) => i), step: new Float64Array(x.length).fill(NaN) };
  });
}

/** @param {Curve} curve @param {number} place @param {number} reach */
function valueAt(curve, place, reach) {
  const i = nearest(curve, place, reach);
  if (i < 0) return NaN;
  const away = place < curve.from[i] ? curve.from[i] - place : place > curve.to[i] ? place - curve.to[i] : 0;
  return away <= Math.max(reach, curve.to[i] - curve.from[i]) ? curve.mean[i] : NaN;
}

/** The median distance of two places. @param {Float64Array} x */
function usual(x) {
  const steps = Float64Array.from({ length: Math.max(0, x.length - 1) }, (_, i) => x[i + 1] - x[i]).sort();
  return steps[steps.length >> 1] ?? 0;
}
