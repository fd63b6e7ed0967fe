/** Where the bars of a Gantt chart stand: a lane a slot, jobs that share one stacked, those too short to see joined (pure). */

/** @typedef {import("../../types/api").Row<"JobAttemptAnswer">} Attempt */
/** @typedef {{id: string, name: string}} Slot */

/**
 * @typedef {Object} Bar
 * @property {string} key
 * @property {Attempt[]} attempts one, or those that are too short to be seen alone
 * @property {number} from Unix seconds, not before the view
 * @property {number} to not after the view
 * @property {number} row from the top
 * @property {number} rows of the lane at this place
 */

const LEAST_PX = 4; // a shorter bar is joined with its neighbour
const GAP_PX = 3; // where there is less than this between them

/** The slots of the host in their order, then those that only attempts know: a card that is gone, a host of Slurm's. @param {Slot[]} slots @param {Attempt[]} attempts @returns {Slot[]} */
export function lanesOf(slots, attempts) {
  const known = new Set(slots.map(({ id }) => id));
  const others = new Set(attempts.flatMap((attempt) => attempt.slots).filter((id) => !known.has(id)));
  return [...slots, ...[...others].sort().map((id) => ({ id, name: id }))];
}

/**
 * The bars of a lane, from left to right.
 * @param {Attempt[]} attempts of all lanes @param {string} slot @param {{lo: number, hi: number}} view @param {number} now @param {number} width in pixels
 * @returns {Bar[]}
 */
export function barsOf(attempts, slot, { lo, hi }, now, width) {
  const px = width / (hi - lo);
  const bars = attempts
    .filter((attempt) => attempt.slots.includes(slot))
    .map((attempt) => ({ attempt, from: Math.max(lo, attempt.started ?? attempt.start), to: Math.min(hi, attempt.end ?? now) }))
    .filter(({ from, to }) => to >= lo && from <= hi && to >= from)
    .sort((a, b) => a.from - b.from || a.attempt.job - b.attempt.job);
  /** @type {Bar[]} */
  const placed = [];
  for (const group of groupsOf(bars)) {
    const rows = stacked(group);
    const several = Math.max(...rows) + 1;
    group.forEach(({ attempt, from, to }, i) => {
      const before = placed.at(-1);
      const short = (to - from) * px < LEAST_PX;
      if (before && several === 1 && before.rows === 1 && short && (before.to - before.from) * px < LEAST_PX * before.attempts.length && (from - before.to) * px < GAP_PX) {
        before.attempts.push(attempt);
        before.to = to;
      } else placed.push({ key: `${attempt.job}.${attempt.number}`, attempts: [attempt], from, to, row: rows[i], rows: several });
    });
  }
  return placed;
}

/** Bars that overlap, directly or by others. @template {{from: number, to: number}} T @param {T[]} bars by their start @returns {T[][]} */
function groupsOf(bars) {
  /** @type {T[][]} */
  const groups = [];
  let reached = -Infinity;
  for (const bar of bars) {
    if (bar.from >= reached) groups.push([]);
    /** @type {T[]} */ (groups.at(-1)).push(bar);
    reached = Math.max(reached, bar.to);
  }
  return groups;
}

/** For each bar the first row that is free. @param {{from: number, to: number}[]} bars */
function stacked(bars) {
  /** @type {number[]} */
  const ends = [];
  return bars.map(({ from, to }) => {
    const free = ends.findIndex((end) => end <= from);
    const row = free < 0 ? ends.length : free;
    ends[row] = to;
    return row;
  });
}
