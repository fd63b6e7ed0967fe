/** Steps and units of work over time, and their rate, from the run's own points (pure). */

import { keyOf } from "./series.js";

/** @typedef {import("./series.js").Series} Series */

export const UNITS = "units"; // how many units of work a line stands for; the series has points only where that is not one

/** The series that counts the units on the lines of another. @param {Map<string, Series>} all @param {Series | null | undefined} series @returns {Series | null} */
export const counterOf = (all, series) => (series && all.get(keyOf({ ...series.meta, name: UNITS }))) ?? null;

/** Units of work on the lines of one bin. @param {number} lines how many the bin has @param {Series | null} counter of the same width @param {number} bin */
export function unitsIn(lines, counter, bin) {
  const i = counter ? counter.at((bin + 0.5) * counter.width) : -1;
  if (!counter || i < 0 || counter.bin[i] !== bin || !counter.finite[i]) return lines;
  const counted = counter.finite[i];
  return counted > lines ? (lines * counter.sum[i]) / counted : lines - counted + counter.sum[i];
}

/** Units between two bins: of the later one, not of the earlier one. @param {Series} series @param {Series | null} counter @param {number} a index @param {number} b index */
function unitsBetween(series, counter, a, b) {
  if (!counter) return Number(series.step[b]) - Number(series.step[a]);
  let sum = 0;
  for (let i = a + 1; i <= b; i++) sum += unitsIn(series.finite[i], counter, series.bin[i]);
  return sum;
}

const ENOUGH = 4;
const FINER = 2;
const OF_SAMPLES = /(?:^|[^a-z])(?:samples|tokens|images|examples)(?:$|[^a-z])/i;

/** Whether the axis of steps is rather that of `a` than that of `b`, by the rules of collectors/step_axis.py. @param {Series} a @param {Series} b */
export function leads(a, b) {
  const [ofSamples, other] = [OF_SAMPLES.test(a.meta.name), OF_SAMPLES.test(b.meta.name)];
  if (ofSamples !== other) return other;
  if (isFiner(a, b) || isFiner(b, a)) return isFiner(a, b);
  return a.points > b.points;
}

/** @param {Series} a @param {Series} b */
const isFiner = (a, b) => ENOUGH * a.points >= b.points && Number(a.newest.step) >= FINER * Math.max(Number(b.newest.step), 1);

/** Units for each step, over all bins; 1 where fewer than two are known. @param {Series} series @param {Series} counter */
export function unitsPerStep(series, counter) {
  const last = series.bin.length - 1;
  const steps = Number(series.step[last]) - Number(series.step[0]);
  return steps > 0 ? unitsBetween(series, counter, 0, last) / steps : 1;
}

/** The step at a moment, or null. @param {Series | null} series @param {number} time_s */
export function stepAt(series, time_s) {
  if (!series) return null;
  const at = series.at(time_s);
  return at < 0 ? null : series.step[at];
}

/** Units per second over [from, to]; null where fewer than two steps are known. @param {Series | null} series @param {number} from @param {number} to @param {Series | null} [counter] */
export function stepRate(series, from, to, counter = null) {
  if (!series) return null;
  const [a, b] = [Math.max(0, series.at(from)), series.at(to)];
  if (b <= a) return null;
  const [units, seconds] = [unitsBetween(series, counter, a, b), series.t[b] - series.t[a]];
  return units > 0 && seconds > 0 ? units / seconds : null;
}

const PACE_S = 30;
const BURST_S = 1.5; // lines that are read together get times within so many seconds

/** Units and steps per second in the last 30 s, whatever stretch of time is shown. */
export class Pace {
  /** @type {{t: number, step: number, units: number}[]} `units` up to there */
  #seen = [];

  /**
   * @param {number} t @param {number | null} step @param {number | null} [units] in (since, t]; null where each step is one
   * @param {number} [since] by default the time of the point before
   */
  add(t, step, units = null, since = -Infinity) {
    let last = this.#seen.at(-1);
    if (step === null || (last && t <= last.t)) return;
    if (last && step < last.step) [this.#seen, last] = [[], undefined]; // started again
    const part = last && since < last.t && since > -Infinity ? (t - last.t) / (t - since) : 1; // the rest was counted before
    const more = units === null ? step - (last?.step ?? step) : units * part;
    this.#seen.push({ t, step, units: (last?.units ?? step) + more });
    const old = this.#seen.findIndex((point) => point.t >= t - PACE_S);
    this.#seen.splice(0, Math.max(0, old - 1)); // the newest of the older ones stays
  }

  get step() {
    return this.#seen.at(-1)?.step ?? null;
  }

  /** Units per second. @returns {number | null} null where fewer than two steps were seen */
  get rate() {
    return this.#per_s("units");
  }

  /** Steps per second, for the time that the remaining steps take: the same unless lines stand for many units. @returns {number | null} */
  get steps_per_s() {
    return this.#per_s("step");
  }

  /** @param {"units" | "step"} what */
  #per_s(what) {
    const [older, next, last] = [this.#seen[0], this.#seen[1], this.#seen.at(-1)];
    // Lines that arrive in bursts are as far apart as the bursts; but a long pause before steady lines is not the present rate.
    const first = next && last && next.t - older.t > PACE_S && last.t - next.t > BURST_S ? next : older;
    return first && last && last.t > first.t && last[what] > first[what] ? (last[what] - first[what]) / (last.t - first.t) : null;
  }
}

const TOTAL_NAMES = ["steps", "max_steps", "total_steps", "max_iters", "num_steps"];

/** The number of steps in the run's configuration, or null. @param {any} info run.json */
export function totalSteps(info) {
  const config = { ...info, ...info?.config };
  const known = TOTAL_NAMES.map((name) => config[name]).find((value) => Number.isFinite(value) && value > 0);
  return known ?? null;
}

// How many steps a run takes a second, from the times and steps of one of its series (pure).

/** @typedef {import("./series.js").Columns} Columns */

const NOW_S = 5; // the present rate is that of so many seconds
const PRINTED_S = 1; // between two points at least, where lines have the time at which they were read: those read together share it out evenly

/**
 * Steps per second as a lane draws it: between two points the line keeps the rate of the steps between them, so that one long step is
 * as wide as it took. A run that begins anew breaks the line.
 * @param {Series | undefined} series on the axis of time @param {number} first number of the grid's first bin @param {number} length bins
 * @returns {Columns}
 */
export function rateColumns(series, first, length) {
  /** @type {(number | null | undefined)[]} */
  const mean = new Array(length);
  /** @type {number[]} */
  const cuts = [];
  if (series && series.axis.name === "time") {
    const apart_s = series.meta.labels.source === "text" ? PRINTED_S : 0;
    let before = Math.max(0, series.at(first * series.width - apart_s) - 1);
    for (let at = before + 1; at < series.bin.length; at++) {
      if (series.bin[before] - first >= length) break;
      if (series.t[at] - series.t[before] < apart_s && series.segment[at] === series.segment[before]) continue;
      const rate = rateBetween(series, before, at);
      const [from, to] = [Math.max(0, series.bin[before] + 1 - first), Math.min(length - 1, series.bin[at] - first)];
      if (rate === null && to >= 0 && to < length) cuts.push(to);
      if (rate !== null) mean.fill(rate, from, to + 1);
      before = at;
    }
  }
  return { mean, min: mean, max: mean, bad: [], cuts, lone: [] };
}

/** From one point to a later one, or null. @param {Series} series @param {number} before @param {number} at */
function rateBetween({ step, t, segment }, before, at) {
  const [steps, seconds] = [Number(step[at]) - Number(step[before]), t[at] - t[before]];
  const known = step[at] !== null && step[before] !== null && segment[at] === segment[before];
  return known && steps >= 0 && seconds > 0 ? steps / seconds : null;
}

/** Over the last seconds, or between the last two points where those are further apart. @param {Series | undefined} series */
export function rateNow(series) {
  const last = series ? series.t.length - 1 : 0;
  if (!series || last < 1) return null;
  return stepRate(series, Math.min(series.t[last] - NOW_S, series.t[last - 1]), series.t[last]);
}
