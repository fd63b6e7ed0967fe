/** What the Training page shows, as one record: from the address, to the address, and as a question to the server (pure). */

import { TIME, logTicks, stepTicks, ticks } from "../lib/axis.js";
import { clock, count, day, duration, figure, tick } from "../lib/format.js";

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
 * The parameters of `GET /curves`, without the series and the number of buckets.
 * @param {View} view @param {string[]} runs @param {Span | null} span @param {number} amount where the view names none
 * @returns {Record<string, string | number | string[] | null>}
 */
export function questionOf(view, runs, span, amount) {
  return {
    run: runs,
    x: view.x,
    from: span?.lo ?? null,
    to: span?.hi ?? null,
    smooth: view.smooth === "none" ? null : `${view.smooth}:${view.amount ?? amount}`,
    group: view.group || null,
    band: view.spread === PLAIN.spread ? null : view.spread,
    baseline: view.baseline || null,
    ranks: view.ranks,
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

// The x axis of curves: its ticks and the words for its places (pure).

const DAY_S = 86400;

/** Round places inside a range, at most about `wanted`. @param {string} x as in a view @param {boolean} xlog @param {Span} span @param {number} wanted @returns {{at: number, word: string}[]} */
export function xTicks(x, xlog, span, wanted) {
  if (xlog) return logTicks(span, wanted).map((at) => ({ at, word: tick(at) }));
  if (x === "time") return TIME.ticks(span, wanted);
  if (x === "step") return stepTicks(span, wanted + 1).map((at) => ({ at, word: tick(at) }));
  if (x === "relative") return lengths(span, wanted);
  return ticks(span, wanted).map((at) => ({ at, word: tick(at) }));
}

const STEPS_S = [0.001, 0.01, 0.1, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, DAY_S, 2 * DAY_S, 7 * DAY_S, 28 * DAY_S];

/** @param {Span} span seconds @param {number} wanted */
function lengths({ lo, hi }, wanted) {
  const step_s = STEPS_S.find((step) => (hi - lo) / step <= wanted) ?? 10 ** Math.ceil(Math.log10((hi - lo) / wanted));
  const out = [];
  for (let k = Math.ceil(lo / step_s); k * step_s <= hi && out.length <= 2 * wanted; k++) out.push({ at: k * step_s, word: k ? duration(Math.abs(k * step_s)) : "0" });
  return out;
}

/** `step 1,200`, `14:25:03`, `2 h 34 min`, `tokens 1.2M` @param {string} x @param {number} place */
export function xWord(x, place) {
  if (x === "step") return `step ${count(Math.round(place))}`;
  if (x === "time") return `${day(place)} ${clock(place)}`;
  if (x === "relative") return place < 0 ? `−${duration(-place)}` : duration(place);
  return `${x} ${figure(place)}`;
}

/** `steps 1,200 – 1,800`, `14:25:03 – 14:26:11` @param {string} x @param {Span} span */
export function spanWord(x, { lo, hi }) {
  if (x === "step") return `steps ${count(Math.ceil(lo))} – ${count(Math.floor(hi))}`;
  if (x === "time") return TIME.range(lo, hi);
  return `${xWord(x, lo)} – ${x === "relative" ? xWord(x, hi) : figure(hi)}`;
}

/** What a length of x is measured in. @param {string} x */
export const xUnit = (x) => (x === "step" ? "steps" : x === "time" || x === "relative" ? "s" : "");

/** `EMA, half-life 500 steps`, or "" @param {View} view @param {number} usual the amount where the view names none */
export function smoothWord({ smooth, amount, x }, usual) {
  if (smooth === "none") return "";
  const size = amount ?? usual;
  const length = x === "step" ? `${count(size)} steps` : x === "time" || x === "relative" ? duration(size) : `${figure(size)} of ${x}`;
  return smooth === "ema" ? `EMA, half-life ${length}` : `Gaussian, sigma ${length}`;
}
