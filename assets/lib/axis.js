/** The axis of lanes: time, or steps if a run's log has no times. Places on an axis are numbers: Unix seconds, or steps (pure). */

import { clock, count, day, duration, minute, offset, sameDay } from "./format.js";

/** @typedef {{lo: number, hi: number}} View places at the left and right edge */

/**
 * @typedef {Object} Axis
 * @property {"time" | "step"} name as `GET /points` calls it
 * @property {number[]} spans that a user may choose
 * @property {number[]} young spans of a run that does not reach that far yet; of steps, any
 * @property {number} defaultSpan of a run that reaches that far; a shorter one fills the page
 * @property {number} leastSpan
 * @property {number} mostSpan
 * @property {number} leastFit a run of fewer steps does not fill the page, nor one of a single moment
 * @property {number} leastGap a shorter silence is a slow step, not a missing source
 * @property {number} reach how far a click looks for the nearest step, at least
 * @property {(place: number) => string} word `14:25:03`, `step 512`
 * @property {(place: number) => string} brief the same at the axis' end
 * @property {(from: number, to: number) => string} range `14:25:03 – 14:25:09`
 * @property {(span: number) => string} length `48 s`, `1,200 steps`
 * @property {(view: View, wanted: number) => {at: number, word: string}[]} ticks at most about `wanted`
 * @property {(view: View) => string} caption how much is shown
 * @property {(event: import("../timeline/marks.js").Event) => number | null} place where an event stands
 */

const SPANS_S = [60, 120, 300, 600, 3600, 21600, 86400];
const YOUNG_S = [30, 60, 90, 120, 180, 240, 300, 450, 600]; // no more than a good third stays empty
const SPANS_STEPS = [100, 1000, 10_000, 100_000, 1_000_000];
const FINE_S = 10; // a shorter window is given in tenths

/** @param {number} t @param {number} step_s between two ticks */
function tickWord(t, step_s) {
  if (step_s >= 86400) return day(t);
  if (step_s >= 60) return minute(t);
  if (step_s >= 1) return clock(t);
  if (step_s >= 0.1) return `${clock(t)}.${Math.round((t % 1) * 10) % 10}`;
  return `${(((t % 60) + 60) % 60).toFixed(step_s >= 0.001 ? 3 : 4)} s`;
}

/** @type {Axis} */
export const TIME = {
  name: "time",
  spans: SPANS_S,
  young: YOUNG_S,
  defaultSpan: 600,
  leastSpan: 0.05,
  mostSpan: 10 * 365 * 86400,
  leastFit: 10,
  leastGap: 3,
  reach: 5,
  word: clock,
  brief: minute,
  range: (from, to) => {
    const tenth = (/** @type {number} */ t) => (to - from < FINE_S ? `${clock(t)}.${Math.floor((t % 1) * 10)}` : clock(t));
    return `${tenth(from)} – ${tenth(to)}`;
  },
  length: duration,
  ticks: (view, wanted) => {
    const { step_s, times } = timeTicks(view, wanted);
    return times.map((at) => ({ at, word: tickWord(at, step_s) }));
  },
  caption: ({ lo, hi }) => `${sameDay(lo, Date.now() / 1000) ? "" : `${day(lo)}, `}${duration(hi - lo)}`,
  place: ({ time_s }) => time_s,
};

/** @type {Axis} */
export const STEP = {
  name: "step",
  spans: SPANS_STEPS,
  young: [],
  defaultSpan: Infinity, // all of it
  leastSpan: 2,
  mostSpan: 1e15,
  leastFit: 10,
  leastGap: 0,
  reach: 10,
  word: (place) => `step ${count(Math.round(place))}`,
  brief: (place) => count(Math.round(place)),
  range: (from, to) => `steps ${count(Math.ceil(from))} – ${count(Math.floor(to))}`,
  length: (span) => (Math.round(span) === 1 ? "1 step" : `${count(Math.round(span))} steps`),
  ticks: (view, wanted) => stepTicks(view, wanted).map((at) => ({ at, word: count(at) })),
  caption: ({ lo, hi }) => STEP.length(hi - lo),
  place: ({ step }) => step ?? null,
};

// Ranges and ticks of a lane's axes.

const INNER = 0.02; // the share of bins at either end that may be cut off
const REACH = 1.5; // a value farther outside than this many inner spreads is cut

/** @typedef {{lo: number, hi: number, only?: number}} Range `only`: the one value that a constant has */

/**
 * The range that shows nearly everything; values far outside are cut and marked, so that one spike does not flatten the rest.
 * @param {number[]} lows finite, one per bin @param {number[]} highs finite, one per bin
 * @returns {Range}
 */
export function robust(lows, highs) {
  if (!lows.length) return { lo: 0, hi: 1 };
  const low = Float64Array.from(lows).sort();
  const high = Float64Array.from(highs).sort();
  const edge = Math.floor(low.length * INNER);
  const [inner, outer] = [low[edge], high[high.length - 1 - edge]];
  const reach = REACH * (outer - inner) || Math.abs(outer) * 0.05 || 1;
  const lo = Math.max(low[0], inner - reach);
  const hi = Math.min(high[high.length - 1], outer + reach);
  const pad = (hi - lo) * 0.08 || Math.abs(hi) * 0.1 || 1;
  const range = { lo: lo >= 0 && lo - pad < 0 ? 0 : lo - pad, hi: hi + pad };
  return lo === hi ? { ...range, only: lo } : range;
}

/** Robust in powers of ten. @param {number[]} lows @param {number[]} highs @returns {Range} */
export function robustLog(lows, highs) {
  const log = (/** @type {number[]} */ values) => values.filter((v) => v > 0).map(Math.log10);
  const [low, high] = [log(lows), log(highs)];
  if (!low.length) return { lo: 0.1, hi: 10 };
  const range = { lo: Math.min(...low), hi: Math.max(...high) }; // another power of ten takes little room: nothing is cut
  return { lo: 10 ** (range.lo - 0.15), hi: 10 ** Math.max(range.hi + 0.1, range.lo + 1) };
}

/** From zero to the limit, else to the highest value, at least to `least`. @param {number[]} highs @param {number | null} limit @param {number} least @returns {Range} */
export function fromZero(highs, limit, least) {
  const zeros = highs.map(() => 0); // what lies outside does so beside the whole height
  return { lo: 0, hi: limit === null ? Math.max(least, robust(zeros, highs).hi) : limit * 1.06 };
}

/** About `wanted` round numbers inside the range; more if these would miss it; for a constant, its value. @param {Range} range @param {number} wanted */
export function ticks({ lo, hi, only }, wanted) {
  if (only !== undefined) return [only];
  for (let parts = Math.max(1, wanted); ; parts++) {
    const rough = (hi - lo) / parts;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * unit).find((s) => s >= rough) ?? unit * 10;
    const out = multiples(step, { lo, hi }).map((v) => Number(v.toPrecision(12)));
    if (out.length > 1 || parts > wanted + 3) return out;
  }
}

/** Powers of ten inside the range, or 1, 2 and 5 of them where there are too few; at most `wanted` and one. @param {Range} range @param {number} wanted */
export function logTicks({ lo, hi }, wanted) {
  const inside = (/** @type {number[]} */ list) => list.filter((v) => v >= lo && v <= hi);
  const powers = [];
  if (!(lo > 0 && hi < Infinity)) return []; // of a lane that has no range yet
  for (let k = Math.floor(Math.log10(lo)); k <= Math.ceil(Math.log10(hi)); k++) powers.push(Number(`1e${k}`));
  const few = inside(powers);
  const all = few.length > 1 ? few : inside(powers.flatMap((p) => [p, p * 2, p * 5]));
  const every = Math.ceil(all.length / (wanted + 1));
  return all.filter((_, i) => i % every === 0);
}

const TIME_STEPS = [
  0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
];

const WEEKS_S = 2419200; // four: longer steps are a number of these
const MAX_TICKS = 1000;

/**
 * Round local times inside the range, at most about `wanted`.
 * @param {Range} range Unix seconds @param {number} wanted
 * @returns {{step_s: number, times: number[]}}
 */
export function timeTicks({ lo, hi }, wanted) {
  const step_s = TIME_STEPS.find((s) => (hi - lo) / s <= wanted) ?? WEEKS_S * Math.ceil((hi - lo) / WEEKS_S / Math.max(1, wanted));
  const zone = -offset(lo);
  return { step_s, times: multiples(step_s, { lo: lo - zone, hi: hi - zone }).map((t) => t + zone) };
}

/** Round steps inside the range, whole ones, at most about `wanted`. @param {Range} range @param {number} wanted */
export function stepTicks({ lo, hi }, wanted) {
  const rough = Math.max(1, (hi - lo) / Math.max(1, wanted));
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= rough) ?? unit * 10;
  return multiples(step, { lo: Math.max(0, lo), hi });
}

/** What a step counts inside the range; nothing of a range without ends, or of one that is too narrow for numbers of its size. @param {number} step @param {Range} range */
function multiples(step, { lo, hi }) {
  const first = Math.ceil(lo / step);
  const count = Math.floor(hi / step) - first + 1;
  if (!(count > 0 && count <= MAX_TICKS)) return [];
  return Array.from({ length: count }, (_, i) => (first + i) * step).filter((v) => v <= hi);
}

/** For uPlot, which looks for a step of the axis in a table that ends at 1e32 even where the ticks are ours: one that always fits. @param {() => {lo: number, hi: number}} range */
export const anyStep = (range) => ({ incrs: () => [Math.max(5, range().hi - range().lo)], space: 1 });
