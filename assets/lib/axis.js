/** The axis of lanes: time, or steps if a run's log has no times. Places on an axis are numbers: Unix seconds, or steps (pure). */

import { clock, count, day, duration, minute, sameDay } from "./format.js";
import { stepTicks, timeTicks } from "./scale.js";

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
 * @property {(event: import("../timeline/events.js").Event) => number | null} place where an event stands
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
