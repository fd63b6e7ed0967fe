/** Bytes and seconds in the unit in which they can be read (pure). */

/** @typedef {import("./rows.js").CurveRow} CurveRow */

const SCALES = /** @type {Record<string, [number, string][]>} */ ({
  B: [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]],
  s: [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]],
  "B/s": [[1e12, "TB/s"], [1e9, "GB/s"], [1e6, "MB/s"], [1e3, "kB/s"]],
});
const VALUE_COLUMNS = /** @type {const} */ (["min", "max", "mean", "last"]);

/** What values are divided by, and their unit then. @param {CurveRow[]} rows of one unit @param {string} unit @returns {{by: number, unit: string}} */
export function scaleOf(rows, unit) {
  const scales = Object.hasOwn(SCALES, unit) ? SCALES[unit] : [];
  if (!scales.length) return { by: 1, unit };
  let most = 0;
  for (const { max } of rows) for (const value of max) if (value !== null && Math.abs(value) > most) most = Math.abs(value);
  const [by, name] = scales.find(([size]) => most >= size) ?? [1, unit];
  return { by, unit: name };
}

/** @param {CurveRow} row @param {number} by @returns {CurveRow} */
export function scaled(row, by) {
  if (by === 1) return row;
  const out = /** @type {any} */ ({ ...row });
  for (const name of VALUE_COLUMNS) out[name] = row[name].map((value) => (typeof value === "number" ? value / by : value));
  return out;
}

/** The ends of a range in the file's units, in those that are drawn; null where the values decide. @param {(number | string)[] | undefined} range @param {number} by @returns {[number | null, number | null]} */
export function endsOf(range, by) {
  const [low, high] = (range ?? ["auto", "auto"]).map((end) => (typeof end === "number" ? end / by : null));
  return [low, high];
}

/** @param {Record<string, string> | undefined} thresholds @param {number} by */
export const thresholdsOf = (thresholds, by) => (by === 1 || !thresholds ? thresholds : Object.fromEntries(Object.entries(thresholds).map(([at, tone]) => [String(Number(at) / by), tone])));
