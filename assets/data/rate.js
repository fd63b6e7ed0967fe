/** How many steps a run takes a second, from the times and steps of one of its series (pure). */

import { stepRate } from "./progress.js";

/** @typedef {import("./series.js").Series} Series */
/** @typedef {import("./columns.js").Columns} Columns */

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
