/** Phases as layers of a step: the time of each bin's steps in them, and the phases that contain others (pure). */

import { unitsIn } from "./progress.js";

/** @typedef {import("./series.js").Series} Series */
/** @typedef {(number | null | undefined)[]} Layer */
/** @typedef {{first: number, length: number}} Grid number of the first bin, and how many there are */

const SLACK = 1.1; // phases that add up to this much more than the step are nested
const HOLDS = 0.85; // a phase that is shorter than this share of what is left does not contain it
const BESIDE = /data|load|fetch/i; // it may run in threads of its own, beside the step
const WHOLE = /^(train(ing)?[ _-]?)?(step|iter(ation)?|total|batch)$/i; // names of a whole step

/**
 * Seconds per step, a layer for each series. A phase that some steps lack took no time in them; where a bin holds no step of a
 * phase that the others have (a phase with a line of its own falls between their lines) its layer continues unchanged.
 * @param {(Series | undefined)[]} members one for each phase, all of one width @param {Grid} grid @param {Series | null} [counter] of their units
 * @returns {{layers: Layer[], longest: Float64Array[], regular: boolean[]}} `longest`: of the steps of a bin, 0 where there are none; `regular`: the phase stands on most lines
 */
export function layersOf(members, grid, counter = null) {
  const binned = members.map((phase) => bins(phase, grid));
  const steps = new Float64Array(grid.length); // in a bin: the most points of any phase
  for (const { points } of binned) for (let i = 0; i < points.length; i++) if (points[i] > steps[i]) steps[i] = points[i];
  if (counter) steps.forEach((lines, i) => (steps[i] = unitsIn(lines, counter, grid.first + i)));
  const totals = binned.map(({ total }) => total);
  const most = Math.max(0, ...totals);
  const regular = totals.map((total) => total > 0 && 2 * total > most);
  if (counter) for (const { max, points } of binned) max.forEach((v, i) => (max[i] = steps[i] ? (v * points[i]) / steps[i] : 0)); // of a unit
  return { layers: binned.map((phase, k) => layer(phase, steps, regular[k])), longest: binned.map(({ max }) => max), regular };
}

const STANDS_OUT = 1.05; // a step that is so much longer than its bin's others

/**
 * The longest step of each bin, where it stands out: a bin's mean hides a spike. It is the bin's mean with one phase as long as it ever was
 * there, the one that adds most.
 * @param {Layer[]} layers those that are drawn; an empty one is left out @param {Float64Array[]} longest
 * @returns {({seconds: number, phase: number} | null)[]}
 */
export function peaksOf(layers, longest) {
  const length = Math.max(0, ...layers.map((layer) => layer.length));
  return Array.from({ length }, (_, i) => {
    let [mean, most, phase] = [0, 0, -1];
    layers.forEach((layer, k) => {
      const own = layer[i];
      if (typeof own !== "number") return;
      mean += own;
      if (longest[k][i] - own > most) [most, phase] = [longest[k][i] - own, k];
    });
    return phase >= 0 && mean + most > STANDS_OUT * mean ? { seconds: mean + most, phase } : null;
  });
}

/** @typedef {{sum: Float64Array, max: Float64Array, points: Float64Array, total: number, gap: Uint8Array}} Binned `total`: all points; `gap`: 1 where nothing is known */

/** @param {Series | undefined} phase @param {Grid} grid @returns {Binned} */
function bins(phase, { first, length }) {
  const [sum, max, points, gap] = [new Float64Array(length), new Float64Array(length), new Float64Array(length), new Uint8Array(length)];
  let total = 0;
  if (!phase) return { sum, max, points, total, gap };
  const { t, bin, finite, gap: longest } = phase;
  for (let at = Math.max(0, phase.at(first * phase.width)); at < bin.length && bin[at] - first < length; at++) {
    const i = bin[at] - first;
    if (at && t[at] - t[at - 1] > longest) gap.fill(1, Math.max(0, bin[at - 1] - first + 1), Math.max(0, i));
    if (i < 0) continue;
    sum[i] = phase.sum[at];
    if (phase.finite[at]) max[i] = phase.max[at];
    points[i] = finite[at];
    total += finite[at];
  }
  return { sum, max, points, total, gap };
}

/** @param {Binned} binned @param {Float64Array} steps @param {boolean} regular @returns {Layer} */
function layer({ sum, points, gap }, steps, regular) {
  let last = /** @type {number | undefined} */ (undefined);
  /** @type {Layer} */
  const out = new Array(sum.length);
  for (let i = 0; i < sum.length; i++) {
    if (points[i]) out[i] = last = sum[i] / steps[i];
    else if (gap[i] && regular) out[i] = null;
    else if (steps[i]) out[i] = regular ? last : 0;
  }
  return out;
}

/**
 * Phases that contain others, so that only their parts are drawn: one whose name is the folder of another's; and the longest
 * ones, as long as all together are longer than the step, if they are long enough to contain the rest.
 * @param {string[]} names @param {number[]} seconds typical of a step; 0 for a phase that most steps lack
 * @param {number | null} step_s how long a step takes; null where no times are known
 * @returns {Set<number>}
 */
export function holders(names, seconds, step_s) {
  const held = new Set(names.flatMap((name, i) => (names.some((other) => other.startsWith(`${name}/`)) ? [i] : [])));
  const left = names.map((_, i) => i).filter((i) => !held.has(i) && seconds[i] > 0);
  left.sort((a, b) => seconds[b] - seconds[a]);
  const sum = () => left.reduce((all, i) => all + seconds[i], 0);
  const fits = (/** @type {number} */ i) => seconds[i] <= SLACK * Number(step_s); // else the phases are of other steps
  const known = step_s !== null && left.every(fits);
  /** @type {number[]} */
  const taken = [];
  while (left.length > 1 && (known ? sum() > SLACK * Number(step_s) : WHOLE.test(names[left[0]]))) taken.push(left.splice(0, 1)[0]);
  const steps = left.filter((i) => !BESIDE.test(names[i])).reduce((all, i) => all + seconds[i], 0); // a whole step may exclude the loading
  for (const i of taken)
    if (!BESIDE.test(names[i]) && seconds[i] >= HOLDS * (WHOLE.test(names[i]) && steps ? steps : sum())) held.add(i);
  return held;
}

/** The typical seconds of a step, or of a unit of work, or null. @param {Series[]} members phases; the one with most points counts the steps @param {Series | null} [counter] of their units */
export function stepSeconds(members, counter = null) {
  const [phase] = [...members].sort((a, b) => b.points - a.points);
  if (!phase || phase.axis.name !== "time") return null;
  /** @type {number[]} */
  const all = [];
  for (let i = 1; i < phase.bin.length; i++) {
    const [before, now] = [phase.step[i - 1], phase.step[i]];
    if (before === null || now === null || now <= before) continue;
    const units = counter ? unitsIn(phase.finite[i], counter, phase.bin[i]) : now - before;
    if (units) all.push((phase.t[i] - phase.t[i - 1]) / units);
  }
  return median(all);
}

/** @param {number[]} values @returns {number | null} */
export function median(values) {
  return values.length ? [...values].sort((a, b) => a - b)[values.length >> 1] : null;
}
