/** Steps over time, as the run's own points tell them (pure). */

/** @typedef {import("./series.js").Series} Series */

/** The step at a moment, or null. @param {Series | null} series @param {number} time_s */
export function stepAt(series, time_s) {
  if (!series) return null;
  const at = series.at(time_s);
  return at < 0 ? null : series.step[at];
}

/** Steps per second over [from, to]; null where fewer than two steps are known. @param {Series | null} series @param {number} from @param {number} to */
export function stepRate(series, from, to) {
  if (!series) return null;
  const [a, b] = [Math.max(0, series.at(from)), series.at(to)];
  if (b <= a) return null;
  const [steps, seconds] = [Number(series.step[b]) - Number(series.step[a]), series.t[b] - series.t[a]];
  return steps > 0 && seconds > 0 ? steps / seconds : null;
}

const PACE_S = 30;

/** Steps per second just now, whatever stretch of time is shown. */
export class Pace {
  /** @type {{t: number, step: number}[]} */
  #seen = [];

  /** @param {number} t @param {number | null} step */
  add(t, step) {
    const last = this.#seen.at(-1);
    if (step === null || (last && t <= last.t)) return;
    if (last && step < last.step) this.#seen = []; // started again
    this.#seen.push({ t, step });
    const old = this.#seen.findIndex((one) => one.t >= t - PACE_S);
    this.#seen.splice(0, old);
  }

  /** @returns {number | null} null where fewer than two steps were seen */
  get rate() {
    const [first, last] = [this.#seen[0], this.#seen.at(-1)];
    return first && last && last.t > first.t && last.step > first.step ? (last.step - first.step) / (last.t - first.t) : null;
  }
}

const TOTAL_NAMES = ["steps", "max_steps", "total_steps", "max_iters", "num_steps"];

/** How many steps the run's configuration promises, or null. @param {any} info run.json */
export function totalSteps(info) {
  const config = { ...info, ...info?.config };
  const known = TOTAL_NAMES.map((name) => config[name]).find((value) => Number.isFinite(value) && value > 0);
  return known ?? null;
}
