/** Series side by side on one grid of bins, as a lane draws and averages them (pure). */

/** @typedef {import("./series.js").Series} Series */

/**
 * @typedef {Object} Columns
 * One entry per bin of the grid: a number; undefined without a point (the line continues); null where the line must break.
 * @property {(number | null | undefined)[]} min
 * @property {(number | null | undefined)[]} max
 * @property {(number | null | undefined)[]} mean
 * @property {{t: number, text: string}[]} bad non-finite points
 * @property {number[]} cuts entries that a run begins anew at, where the line must break though no entry is empty
 * @property {number[]} lone entries that no line reaches, which are drawn as dots
 */

/**
 * One or several series as one line: over several, the lowest, the highest and the mean of means.
 * @param {Series[]} series all of the grid's width
 * @param {number} first number of the grid's first bin
 * @param {number} length bins
 * @param {number} scale factor from the series' unit to the lane's
 * @returns {Columns}
 */
export function columns(series, first, length, scale) {
  /** @type {Columns} */
  const out = { min: new Array(length), max: new Array(length), mean: new Array(length), bad: [], cuts: [], lone: [] };
  const members = new Uint8Array(length);
  const breaks = new Uint8Array(length);
  for (const member of series) addSeries(member, first, scale, out, members, breaks);
  for (let i = 0; i < length; i++) {
    if (members[i] > 1) out.mean[i] = within(out.min[i], /** @type {number} */ (out.mean[i]) / members[i], out.max[i]);
    else if (breaks[i] && !members[i]) out.min[i] = out.max[i] = out.mean[i] = null;
  }
  out.lone = lone(out.mean, out.cuts);
  return out;
}

/** Numbers without a neighbour before them or behind them. @param {Columns["mean"]} mean @param {number[]} cuts */
function lone(mean, cuts) {
  /** @type {number[]} */
  const out = [];
  let joined = false; // to the number before it
  let last = -1;
  const begins = new Set(cuts);
  mean.forEach((value, i) => {
    if (begins.has(i) || value === null) {
      if (last >= 0 && !joined) out.push(last);
      [last, joined] = [-1, false];
    }
    if (typeof value !== "number") return;
    joined = last >= 0;
    last = i;
  });
  if (last >= 0 && !joined) out.push(last);
  return out;
}

/** A mean does not leave its points by rounding. @param {any} min @param {number} mean @param {any} max */
const within = (min, mean, max) => Math.min(max, Math.max(min, mean));

/**
 * @param {Series} member @param {number} first @param {number} scale @param {Columns} out
 * @param {Uint8Array} members how many series have a value in a bin @param {Uint8Array} breaks 1 where a line must not pass
 */
function addSeries(member, first, scale, out, members, breaks) {
  const gap = member.gap;
  for (let at = Math.max(0, member.at(first * member.width)); at < member.bin.length; at++) {
    const i = member.bin[at] - first;
    if (i >= members.length) break;
    if (i < 0) continue;
    if (at && member.t[at] - member.t[at - 1] > gap) breaks.fill(1, Math.max(0, member.bin[at - 1] - first + 1), i);
    if (at && member.segment[at] !== member.segment[at - 1]) out.cuts.push(i);
    if (member.bad[at]) out.bad.push({ t: member.t[at], text: member.bad[at] });
    if (!member.finite[at]) {
      breaks[i] = 1;
      continue;
    }
    const [min, max, mean] = [member.min[at] * scale, member.max[at] * scale, member.mean(at) * scale];
    const more = members[i]++ > 0;
    out.min[i] = more ? Math.min(/** @type {number} */ (out.min[i]), min) : min;
    out.max[i] = more ? Math.max(/** @type {number} */ (out.max[i]), max) : max;
    out.mean[i] = more ? /** @type {number} */ (out.mean[i]) + mean : mean;
  }
}

/**
 * Mean and spread of a series over [from, to], or over the rest of [lo, hi] when `outside`.
 * @param {Series} series @param {{lo: number, hi: number}} view @param {{from: number, to: number}} range @param {boolean} outside
 * @returns {{mean: number, spread: number, points: number}} NaN where there is nothing
 */
export function average(series, view, range, outside) {
  let [points, sum, squares] = [0, 0, 0];
  for (let i = Math.max(0, series.at(view.lo)); i < series.bin.length && series.t[i] <= view.hi; i++) {
    const inside = series.t[i] >= range.from && series.t[i] - range.to <= 0;
    if (inside === outside || !series.finite[i]) continue;
    const mean = series.mean(i);
    points += series.finite[i];
    sum += series.sum[i];
    squares += series.finite[i] * mean * mean;
  }
  const mean = sum / points;
  return { mean, spread: Math.sqrt(Math.max(0, squares / points - mean * mean)), points };
}
