/** The x axis of curves: its ticks and the words for its places (pure). */

import { clock, count, day, duration, figure, tick } from "../lib/format.js";
import { TIME } from "../lib/axis.js";
import { logTicks, stepTicks, ticks } from "../lib/scale.js";

/** @typedef {import("./view.js").Span} Span */

const DAY_S = 86400;

/** Round places inside a range, at most about `wanted`. @param {string} x as in a view @param {boolean} xlog @param {Span} span @param {number} wanted @returns {{at: number, word: string}[]} */
export function xTicks(x, xlog, span, wanted) {
  if (xlog) return logTicks(span, wanted).map((at) => ({ at, word: tick(at) }));
  if (x === "time") return TIME.ticks(span, wanted);
  if (x === "step") return stepTicks(span, wanted + 1).map((at) => ({ at, word: tick(at) }));
  if (x === "relative") return lengths(span, wanted);
  return ticks(span, wanted).map((at) => ({ at, word: tick(at) }));
}

const STEPS_S = [0.001, 0.01, 0.1, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, DAY_S, 2 * DAY_S, 7 * DAY_S, 28 * DAY_S];

/** @param {Span} span seconds @param {number} wanted */
function lengths({ lo, hi }, wanted) {
  const step_s = STEPS_S.find((step) => (hi - lo) / step <= wanted) ?? 10 ** Math.ceil(Math.log10((hi - lo) / wanted));
  const out = [];
  for (let k = Math.ceil(lo / step_s); k * step_s <= hi && out.length <= 2 * wanted; k++) out.push({ at: k * step_s, word: k ? duration(Math.abs(k * step_s)) : "0" });
  return out;
}

/** `step 1,200`, `14:25:03`, `2 h 34 min`, `tokens 1.2M` @param {string} x @param {number} place */
export function xWord(x, place) {
  if (x === "step") return `step ${count(Math.round(place))}`;
  if (x === "time") return `${day(place)} ${clock(place)}`;
  if (x === "relative") return place < 0 ? `−${duration(-place)}` : duration(place);
  return `${x} ${figure(place)}`;
}

/** `steps 1,200 – 1,800`, `14:25:03 – 14:26:11` @param {string} x @param {Span} span */
export function spanWord(x, { lo, hi }) {
  if (x === "step") return `steps ${count(Math.ceil(lo))} – ${count(Math.floor(hi))}`;
  if (x === "time") return TIME.range(lo, hi);
  return `${xWord(x, lo)} – ${x === "relative" ? xWord(x, hi) : figure(hi)}`;
}

/** What a length of x is measured in. @param {string} x */
export const xUnit = (x) => (x === "step" ? "steps" : x === "time" || x === "relative" ? "s" : "");

/** `EMA, half-life 500 steps`, or "" @param {import("./view.js").View} view @param {number} usual the amount where the view names none */
export function smoothWord({ smooth, amount, x }, usual) {
  if (smooth === "none") return "";
  const size = amount ?? usual;
  const length = x === "step" ? `${count(size)} steps` : x === "time" || x === "relative" ? duration(size) : `${figure(size)} of ${x}`;
  return smooth === "ema" ? `EMA, half-life ${length}` : `Gaussian, sigma ${length}`;
}
