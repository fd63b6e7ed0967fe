/** What the Training page shows, as one record: from the address, to the address, and as a question to the server (pure). */

/**
 * @typedef {Object} View
 * @property {string[]} runs those that are overlaid; none: the selected run
 * @property {string} x `step`, `relative`, `time`, or the name of a series
 * @property {"none" | "ema" | "gauss"} smooth
 * @property {number | null} amount half-life or sigma in units of x; null: a hundredth of the range
 * @property {boolean} ylog
 * @property {boolean} xlog
 * @property {boolean} clip values far outside are cut, and said
 * @property {string} group a key of the configuration, or ""
 * @property {"minmax" | "stderr"} spread
 * @property {string} baseline a run, or ""
 * @property {"mean" | "each"} ranks
 * @property {string} q what tags are searched for
 * @property {"text" | "glob" | "regex"} match how
 * @property {"s" | "m" | "l" | null} size of the charts; null: as the browser remembers
 */

/** @typedef {{lo: number, hi: number}} Span a range of the x axis */

/** @type {View} */
export const PLAIN = {
  runs: [],
  x: "step",
  smooth: "none",
  amount: null,
  ylog: false,
  xlog: false,
  clip: false,
  group: "",
  spread: "minmax",
  baseline: "",
  ranks: "mean",
  q: "",
  match: "text",
  size: null,
};

/** @template T @param {string | null} value @param {T[]} allowed @param {T} otherwise @returns {T} */
const among = (value, allowed, otherwise) => (allowed.includes(/** @type {any} */ (value)) ? /** @type {any} */ (value) : otherwise);

/** @param {string | null} text */
const number = (text) => (text !== null && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null);

/** @param {string} search of an address @returns {View} */
export function viewOf(search) {
  const query = new URLSearchParams(search);
  const [smooth, amount = null] = (query.get("smooth") ?? "").split(":");
  const given = number(amount);
  return {
    runs: [...new Set(query.getAll("runs").filter(Boolean))],
    x: query.get("x") || PLAIN.x,
    smooth: among(smooth, ["none", "ema", "gauss"], PLAIN.smooth),
    amount: given !== null && given > 0 ? given : null,
    ylog: query.get("ylog") === "1",
    xlog: query.get("xlog") === "1",
    clip: query.get("clip") === "1",
    group: query.get("by") ?? "",
    spread: among(query.get("spread"), ["minmax", "stderr"], PLAIN.spread),
    baseline: query.get("base") ?? "",
    ranks: among(query.get("ranks"), ["mean", "each"], PLAIN.ranks),
    q: query.get("q") ?? "",
    match: among(query.get("match"), ["text", "glob", "regex"], PLAIN.match),
    size: among(query.get("size"), ["s", "m", "l"], null),
  };
}

/** @param {string} search @returns {{span: Span | null, chart: string | null, off: string[]}} the zoomed range, the chart that is open, and the runs or groups whose curves are hidden */
export function placeOf(search) {
  const query = new URLSearchParams(search);
  const [lo, hi] = [number(query.get("lo")), number(query.get("hi"))];
  return { span: lo !== null && hi !== null && lo < hi ? { lo, hi } : null, chart: query.get("chart") || null, off: query.getAll("off").filter(Boolean) };
}

/** Its part of the address; what is usual is left out. @param {View} view @returns {Record<string, string | string[] | null>} */
export function addressOf(view) {
  const unless = (/** @type {string} */ value, /** @type {string} */ usual) => (value === usual ? null : value);
  return {
    runs: view.runs,
    x: unless(view.x, PLAIN.x),
    smooth: view.smooth === "none" ? null : view.smooth + (view.amount === null ? "" : `:${view.amount}`),
    ylog: view.ylog ? "1" : null,
    xlog: view.xlog ? "1" : null,
    clip: view.clip ? "1" : null,
    by: view.group || null,
    spread: unless(view.spread, PLAIN.spread),
    base: view.baseline || null,
    ranks: unless(view.ranks, PLAIN.ranks),
    q: view.q || null,
    match: unless(view.match, PLAIN.match),
    size: view.size,
  };
}

/** What charts mean by "all of it": other runs or another axis have another range. @param {View} view @param {string[]} runs */
export const axisKey = (view, runs) => JSON.stringify([view.x, runs]);

/** Time along x, where the machine's series have a place, too. @param {View} view */
export const onTime = ({ x }) => x === "time" || x === "relative";

/**
 * The parameters of `GET /curves`, without the series.
 * @param {View} view @param {string[]} runs @param {Span | null} span @param {number} amount where the view names none @param {number} buckets
 * @returns {Record<string, string | number | string[] | null>}
 */
export function questionOf(view, runs, span, amount, buckets) {
  return {
    run: runs,
    x: view.x,
    from: span?.lo ?? null,
    to: span?.hi ?? null,
    buckets,
    smooth: view.smooth === "none" ? null : `${view.smooth}:${view.amount ?? amount}`,
    group: view.group || null,
    spread: view.spread === PLAIN.spread ? null : view.spread,
    baseline: view.baseline || null,
    ranks: view.ranks === PLAIN.ranks ? null : view.ranks,
  };
}

/** A hundredth of a range, rounded to 1, 2 or 5: `41_280 -> 500`. @param {number} length */
export function roundAmount(length) {
  if (!(length > 0) || !Number.isFinite(length)) return 1;
  const rough = length / 100;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const nearest = [1, 2, 5, 10].reduce((best, next) => (Math.abs(Math.log(next * unit / rough)) < Math.abs(Math.log(best * unit / rough)) ? next : best));
  return Number((nearest * unit).toPrecision(1));
}

/** How long the longest run is on the axis, about. @param {View} view @param {import("../types/api").Run[]} rows */
export function lengthOf(view, rows) {
  const all = rows.map(({ started_s, last_time_s, last_step }) => (view.x === "step" || !onTime(view) ? last_step : started_s === null || last_time_s === null ? null : last_time_s - started_s));
  return Math.max(0, ...all.map((length) => length ?? 0));
}
