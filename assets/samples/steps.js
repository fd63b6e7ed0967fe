/** Which samples belong to a step: the nearest to it that there are (pure). */

/** @typedef {import("./loading.js").Sample} Sample */

/**
 * The samples nearest to a step, one a rank, the newest of each; of the last step without one.
 * @param {Sample[]} rows by step, those without a step first @param {number | null} step
 * @returns {Sample[]}
 */
export function samplesAt(rows, step) {
  if (!rows.length) return [];
  const at = nearest(rows, step);
  /** @type {Map<number, Sample>} */
  const ranks = new Map();
  for (const row of rows) if (row.step === at && (ranks.get(row.rank)?.id ?? -1) < row.id) ranks.set(row.rank, row);
  return [...ranks.values()].sort((a, b) => a.rank - b.rank);
}

/** @param {Sample[]} rows @param {number | null} wanted @returns {number | null} */
function nearest(rows, wanted) {
  const last = rows[rows.length - 1].step;
  if (wanted === null) return last;
  let best = last;
  for (const { step } of rows) if (step !== null && (best === null || Math.abs(step - wanted) < Math.abs(best - wanted))) best = step;
  return best;
}

/** All different steps, in order. @param {Iterable<Sample[]>} lists @returns {number[]} */
export function allSteps(lists) {
  const found = new Set();
  for (const rows of lists) for (const { step } of rows) if (step !== null) found.add(step);
  return [...found].sort((a, b) => a - b);
}

/** The index of the step nearest to one; the last for null. @param {number[]} steps @param {number | null} step */
export function indexOf(steps, step) {
  if (step === null) return steps.length - 1;
  let best = 0;
  for (let i = 1; i < steps.length; i += 1) if (Math.abs(steps[i] - step) < Math.abs(steps[best] - step)) best = i;
  return best;
}

/** At most so many of a list, evenly, always the first, the last and `kept`. @template T @param {T[]} list @param {number} most @param {T} kept @returns {T[]} */
export function some(list, most, kept) {
  if (list.length <= most) return list;
  const chosen = new Set(Array.from({ length: most - 1 }, (_, i) => Math.round((i * (list.length - 1)) / (most - 2))));
  const at = list.indexOf(kept);
  if (at >= 0) chosen.add(at);
  return [...chosen].sort((a, b) => a - b).map((i) => list[i]);
}
