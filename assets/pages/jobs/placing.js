/** Where the bars of a Gantt chart stand: a lane a slot, jobs that share one stacked while they do, those too short to see joined (pure). */

/** @typedef {import("../../types/api").Row<"JobAttemptAnswer">} Attempt */
/** @typedef {{id: string, name: string}} NamedSlot */

/**
 * @typedef {Object} Bar
 * @property {string} key
 * @property {Attempt[]} attempts one, or those that are too short to be seen alone
 * @property {number} from Unix seconds, not before the view
 * @property {number} to not after the view
 * @property {number} row from the top
 * @property {number} rows of the lane at this place
 * @property {boolean} begins with its attempt
 * @property {boolean} ends with it
 * @property {boolean} main the longest bar of its attempt: where it shares the slot for a part of its time, it has several
 */

const LEAST_PX = 4; // a shorter bar is joined with its neighbour
const GAP_PX = 3; // where there is less than this between them

/** The slots of the host in their order, then those that only attempts know: a card that is gone, a host of Slurm's. @param {NamedSlot[]} slots @param {Attempt[]} attempts @returns {NamedSlot[]} */
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
    group.forEach(({ attempt, from, to }, i) => {
      const before = placed.at(-1);
      const short = (to - from) * px < LEAST_PX;
      if (before && group.length === 1 && before.rows === 1 && short && (before.to - before.from) * px < LEAST_PX * before.attempts.length && (from - before.to) * px < GAP_PX) {
        before.attempts.push(attempt);
        before.to = to;
        return;
      }
      const pieces = group.length === 1 ? [{ from, to, row: 0, rows: 1 }] : piecesOf(group, rows, i);
      const main = pieces.reduce((found, piece) => (piece.to - piece.from > found.to - found.from ? piece : found));
      pieces.forEach((piece, n) => placed.push({ ...piece, key: `${attempt.job}.${attempt.number}${piece === main ? "" : `.${n}`}`, attempts: [attempt], main: piece === main, begins: !n, ends: n === pieces.length - 1 }));
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

/**
 * A bar has the whole lane while it is alone, and its row while it is not.
 * @param {{from: number, to: number}[]} group bars that overlap @param {number[]} rows of each @param {number} at which of them
 */
function piecesOf(group, rows, at) {
  const { from, to } = group[at];
  const times = [...new Set([from, to, ...group.flatMap((bar) => [bar.from, bar.to]).filter((time) => time > from && time < to)])].sort((a, b) => a - b);
  /** @type {{from: number, to: number, row: number, rows: number}[]} */
  const pieces = [];
  for (let i = 0; i + 1 < times.length || !i; i++) {
    const [start, end] = [times[i], times[i + 1] ?? to];
    const there = rows.filter((_, n) => n === at || (group[n].from < end && group[n].to > start));
    const piece = { row: there.length > 1 ? rows[at] : 0, rows: there.length > 1 ? Math.max(...there) + 1 : 1 };
    const before = pieces.at(-1);
    if (before?.row === piece.row && before.rows === piece.rows) before.to = end;
    else pieces.push({ from: start, to: end, ...piece });
  }
  return pieces;
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
