/** A window compared with the rest of the view: the lanes that differ most (pure). */

import { average } from "../../data/columns.js";
import { capital } from "../../lib/format.js";
import { counterOf, stepRate } from "../../data/progress.js";

/** @typedef {{name: string, window: number, rest: number, digits?: number}} Fact */
/** @typedef {import("../../data/lanes.js").Lane} Lane */
/** @typedef {import("../../data/series.js").Series} Series */

const MOST = 5;
const SLACK = 0.02; // differences below this share of the value, or of the least that the lane shows, are noise even if the rest is constant

/**
 * @param {Lane[]} lanes @param {Map<string, Series>} series @param {Series | null} stepper
 * @param {{lo: number, hi: number}} view @param {{from: number, to: number}} window
 * @returns {Fact[]} in the order of the lanes
 */
export function evidence(lanes, series, stepper, view, window) {
  const facts = subjects(lanes).flatMap(({ name, keys, scale, digits, least }) => {
    const members = keys.flatMap((key) => series.get(key) ?? []);
    const inside = members.map((member) => average(member, view, window, false)).filter(({ points }) => points > 0);
    const outside = members.map((member) => average(member, view, window, true)).filter(({ points }) => points > 0);
    if (!inside.length || !outside.length) return [];
    const [a, b, spread] = [
      mean(inside.map((side) => side.mean)),
      mean(outside.map((side) => side.mean)),
      mean(outside.map((side) => side.spread)),
    ];
    return [
      {
        name,
        window: a * scale,
        rest: b * scale,
        digits,
        score: Math.abs(a - b) / (spread + SLACK * (Math.abs(b) + least / scale) || 1),
      },
    ];
  });
  const kept = new Set([...facts].sort((a, b) => b.score - a.score).slice(0, MOST));
  return [...rate(stepper, counterOf(series, stepper), view, window), ...facts.filter((fact) => kept.has(fact))];
}

/** One row per lane, or per layer or line where these mean different things. @param {Lane[]} lanes */
function subjects(lanes) {
  return lanes
    .filter(({ kind, rate }) => kind !== "heat" && !rate)
    .flatMap((lane) => {
      const { title, traces, scale, digits, kind, least = 0 } = lane;
      const [what, unit] = title.split(", ");
      const same = traces.every((trace) => /^GPU |^\w+ \d+$/.test(trace.label)) || traces.length === 1;
      if (same) return [{ name: title, keys: traces.flatMap((trace) => trace.keys), scale, digits, least }];
      return traces.map((trace) => ({
        name: `${kind === "stack" ? capital(trace.label) : `${what} ${trace.label}`}${unit ? `, ${unit}` : ""}`,
        keys: trace.keys,
        scale,
        digits,
        least,
      }));
    });
}

/** @param {Series | null} stepper @param {Series | null} counter of its units @param {{lo: number, hi: number}} view @param {{from: number, to: number}} window @returns {Fact[]} */
function rate(stepper, counter, view, window) {
  if (stepper?.axis.name === "step") return [];
  const inside = stepRate(stepper, window.from, window.to, counter);
  const before = stepRate(stepper, view.lo, window.from, counter);
  const after = stepRate(stepper, window.to, view.hi, counter);
  const [b, a] = [Math.max(0, window.from - view.lo), Math.max(0, view.hi - window.to)];
  const rest = before !== null && after !== null ? (before * b + after * a) / (a + b) : (before ?? after);
  return inside === null || rest === null ? [] : [{ name: "Steps/s", window: inside, rest, digits: 2 }];
}

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
