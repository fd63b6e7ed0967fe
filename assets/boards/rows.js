/** The columns of a board's curves, to which what is new is added at their end (pure). */

/** @typedef {import("../types/api").Row<"BoardCurveRow">} CurveRow */
/** @typedef {CurveRow & {cut: number}} HeldRow `cut`: from this bucket on, it is read again */

const CURVE_COLUMNS = /** @type {const} */ (["x", "x_end", "segment", "min", "max", "mean", "last", "count", "non_finite"]);

/** Which curve it is. @param {CurveRow} row */
export const rowKey = ({ item, run, series, labels }) => JSON.stringify([item, run, series, labels]);

/**
 * Where the next reading begins so that nothing after `since` is missed: the first place of the buckets that reach there.
 * Each row remembers from which bucket on it is read again. @param {HeldRow[]} rows @param {number} since
 */
export function cutAt(rows, since) {
  let from = since;
  for (const row of rows) {
    let cut = row.x.length;
    while (cut > 0 && (row.x_end[cut - 1] ?? 0) >= since) cut--;
    row.cut = cut;
    if (cut < row.x.length) from = Math.min(from, row.x[cut]);
  }
  return from;
}

/**
 * The row with what was read of its end, without what lies before `lo`. A bucket that was read as a whole is not there twice.
 * @param {HeldRow} row @param {CurveRow | undefined} tail @param {number} lo @returns {HeldRow}
 */
export function joined(row, tail, lo) {
  const kept = row.cut;
  const end = kept ? row.x_end[kept - 1] : -Infinity;
  let begin = 0;
  while (tail && begin < tail.x.length && tail.x_end[begin] <= end) begin++;
  let first = 0;
  while (first + 1 < kept && row.x_end[first + 1] < lo) first++; // one before it is kept, so that the line comes in from the edge
  const out = /** @type {HeldRow} */ ({ ...row, ...(tail ? { exact: row.exact && tail.exact, reason: row.reason || tail.reason } : {}) });
  for (const name of CURVE_COLUMNS) {
    const old = /** @type {any[]} */ (row[name]);
    /** @type {any} */ (out)[name] = tail ? old.slice(first, kept).concat(/** @type {any[]} */ (tail[name]).slice(begin)) : first ? old.slice(first) : old;
  }
  out.cut = out.x.length;
  return out;
}
