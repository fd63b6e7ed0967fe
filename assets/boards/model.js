/** A board as the server describes it, and the numbers, units and colours of its charts (pure). */

import { nearest } from "../curves/curve.js";
import { COLOURS, coloursOf } from "../data/run_colours.js";

// A board as the server describes it, with what is usual filled in (pure).

/** @typedef {import("../types/api").Row<"BoardFields">} BoardFields */
/** @typedef {import("../types/api").Row<"ChartFields">} ChartFields */
/** @typedef {{key: string, row: number, chart: number, fields: ChartFields, width: number}} PlacedChart `width`: of 12 columns */
/** @typedef {{title: string, height: number, charts: PlacedChart[]}} PlacedRow */

export const COLUMNS = 12;
const HEIGHT = 220;
const LINE_BREAKS = /[\u0085\u2028\u2029\ufeff]/g; // of YAML: within JSON they would end a line

/** The rows with the widths of their charts: those without one share what the others leave. @param {BoardFields} board @returns {PlacedRow[]} */
export function rowsOf(board) {
  return (board.rows ?? []).map(({ title = "", height = HEIGHT, charts = [] }, row) => {
    const taken = charts.reduce((sum, { width }) => sum + (width ?? 0), 0);
    const open = charts.filter(({ width }) => width === undefined).length;
    const share = Math.max(2, Math.floor((COLUMNS - (taken % COLUMNS)) / Math.max(1, open)));
    return { title, height, charts: charts.map((fields, chart) => ({ key: `${row}.${chart}`, row, chart, fields, width: fields.width ?? share })) };
  });
}

/** Whether it draws series. @param {ChartFields} fields */
export const asks = ({ kind }) => !["text", "flame graph", "log lines"].includes(kind ?? "");

/** What a chart is asked with: what changes its data, and nothing of its looks. @param {ChartFields} fields */
export function questionOf(fields) {
  let question = questions.get(fields);
  if (question === undefined) questions.set(fields, (question = written(fields)));
  return question;
}

/** @type {WeakMap<ChartFields, string>} */
const questions = new WeakMap();

/** @param {ChartFields} fields */
function written({ kind, series, x, axis, smooth }) {
  const plain = Object.fromEntries(Object.entries({ kind: kind === "scatter" ? kind : "line", series, x, axis, smooth }).filter(([, value]) => value !== undefined));
  return JSON.stringify(plain).replace(LINE_BREAKS, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const UNITS = /** @type {Record<string, number>} */ ({ s: 1, min: 60, h: 3600, d: 86400, w: 604800 });

/** `15 min -> 900`; null for `all`. @param {string | undefined} text */
export function secondsOf(text) {
  const found = /^(\d+(?:\.\d+)?) ?([a-z]+)$/i.exec(text ?? "");
  return found ? Number(found[1]) * (UNITS[found[2].toLowerCase()] ?? NaN) || null : null;
}

/** @param {ChartFields} fields */
export const titleOf = ({ title, series, kind }) => title || (series ?? []).map((entry) => (typeof entry === "string" ? entry : entry.label || entry.name || entry.glob || entry.regex || entry.expr || "")).join(", ").slice(0, 200) || kind || "";

// What a curve comes to in a range: last, mean, least, greatest, sum, change (pure).

/** @typedef {import("../curves/curve.js").Curve} Curve */
/** @typedef {import("../curves/training_view.js").Span} Span */
/** @typedef {"last" | "mean" | "min" | "max" | "sum" | "change"} ValueName */
/** @typedef {Record<ValueName, number>} Values NaN where there is none */

/** Of the buckets that reach into the range. @param {Curve} curve @param {Span} span @returns {Values} */
export function valuesOf({ from, to, min, max, mean, row }, { lo, hi }) {
  let [total, count, least, most, first, last] = [0, 0, Infinity, -Infinity, NaN, NaN];
  for (let i = 0; i < from.length; i++) {
    if (to[i] < lo || from[i] > hi) continue;
    const end = row.last[i];
    if (end !== null && row.count[i]) last = Number(end);
    if (Number.isNaN(mean[i])) continue;
    const points = Math.max(1, Number(row.count[i] ?? 1) - Number(row.non_finite[i] ?? 0));
    total += mean[i] * points;
    count += points;
    if (min[i] < least) least = min[i];
    if (max[i] > most) most = max[i];
    if (Number.isNaN(first)) first = points > 1 && max[i] > min[i] ? firstOf(min[i], max[i], mean[i], last) : mean[i];
  }
  const none = count === 0;
  return { last, mean: none ? NaN : total / count, min: none ? NaN : least, max: none ? NaN : most, sum: none ? NaN : total, change: last - first };
}

/** The first value of a bucket of several: a rising one begins at its least, a falling one at its greatest. @param {number} min @param {number} max @param {number} mean @param {number} last */
const firstOf = (min, max, mean, last) => (last === max ? min : last === min ? max : mean);

/** The tone of the highest threshold that a value reaches, "" below all of them. @param {number} value @param {Record<string, string> | undefined} thresholds */
export function toneOf(value, thresholds) {
  let [best, tone] = [-Infinity, ""];
  for (const [at, name] of Object.entries(thresholds ?? {})) if (Number(at) <= value && Number(at) >= best) [best, tone] = [Number(at), name];
  return tone;
}

/**
 * How many points have which values: of buckets of several points, their means count. @param {Curve[]} curves @param {Span} span @param {number} bins
 * @returns {{lo: number, hi: number, counts: number[][], points: number, whole: boolean} | null} counts by curve; `whole`: every point counts as itself
 */
export function binned(curves, { lo, hi }, bins) {
  let [least, most, points, whole] = [Infinity, -Infinity, 0, true];
  const inside = (/** @type {Curve} */ curve, /** @type {number} */ i) => curve.to[i] >= lo && curve.from[i] <= hi && Number.isFinite(curve.mean[i]);
  for (const curve of curves)
    for (let i = 0; i < curve.x.length; i++) {
      if (!inside(curve, i)) continue;
      if (curve.mean[i] < least) least = curve.mean[i];
      if (curve.mean[i] > most) most = curve.mean[i];
    }
  if (!(least <= most)) return null;
  if (least === most) {
    const half = Math.min(Math.abs(least) / 2, Number.MAX_VALUE - Math.abs(least)) || 0.5;
    [least, most] = [least - half, most + half]; // one value stands in the middle of a range of its own size
  }
  const width = (most - least) / bins || Number.MIN_VALUE;
  const counts = curves.map((curve) => {
    const found = new Array(bins).fill(0);
    for (let i = 0; i < curve.x.length; i++) {
      if (!inside(curve, i)) continue;
      const n = Math.max(1, Number(curve.row.count[i] ?? 1) - Number(curve.row.non_finite[i] ?? 0));
      if (n > 1 && curve.max[i] > curve.min[i]) whole = false;
      found[Math.min(bins - 1, Math.floor((curve.mean[i] - least) / width))] += n;
      points += n;
    }
    return found;
  });
  return { lo: least, hi: least + width * bins, counts, points, whole };
}

// The columns of a board's curves, to which what is new is added at their end (pure).

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
  const out = /** @type {HeldRow} */ ({ ...row });
  for (const name of CURVE_COLUMNS) {
    const old = /** @type {any[]} */ (row[name]);
    /** @type {any} */ (out)[name] = tail ? old.slice(first, kept).concat(/** @type {any[]} */ (tail[name]).slice(begin)) : first ? old.slice(first) : old;
  }
  out.cut = out.x.length;
  return out;
}

// Curves on top of each other, on common places (pure).

const HOLD = 2.5; // a value counts for so many of the usual distances of its own places

/** Filled down to 0. @param {Curve} curve @returns {Curve} */
export const filled = (curve) => ({ ...curve, floor: new Float64Array(curve.x.length) });

/**
 * Each curve from the sum of those before it up to that sum and its own, at the places of the curve that has the most. A curve without a value there counts as 0.
 * @param {Curve[]} curves @returns {Curve[]}
 */
export function stacked(curves) {
  const known = curves.filter(({ x }) => x.length);
  if (!known.length) return curves;
  const places = known.reduce((best, curve) => (curve.x.length > best.x.length ? curve : best));
  const { x, from, to, begins } = places;
  let below = new Float64Array(x.length);
  return known.map((curve) => {
    const reach = curve === places ? 0 : HOLD * usual(curve.x);
    const own = curve === places ? curve.mean : Float64Array.from(x, (place) => valueAt(curve, place, reach));
    const mean = Float64Array.from(below, (floor, i) => floor + (Number.isNaN(own[i]) ? 0 : own[i]));
    const floor = below;
    below = mean;
    return { ...curve, x, from, to, begins, mean, min: mean, max: mean, floor, smooth: null, old: new Uint8Array(x.length), bad: [], order: Int32Array.from(x, (_, i) => i), step: new Float64Array(x.length).fill(NaN) };
  });
}

/** @param {Curve} curve @param {number} place @param {number} reach */
function valueAt(curve, place, reach) {
  const i = nearest(curve, place, reach);
  if (i < 0) return NaN;
  const away = place < curve.from[i] ? curve.from[i] - place : place > curve.to[i] ? place - curve.to[i] : 0;
  return away <= Math.max(reach, curve.to[i] - curve.from[i]) ? curve.mean[i] : NaN;
}

/** The median distance of two places. @param {Float64Array} x */
function usual(x) {
  const steps = Float64Array.from({ length: Math.max(0, x.length - 1) }, (_, i) => x[i + 1] - x[i]).sort();
  return steps[steps.length >> 1] ?? 0;
}

// Bytes and seconds in the unit in which they can be read (pure).

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

// The colours of a chart's curves: what its file says, else the card's or the run's own, else one after the other (pure).

const GPUS = 8;

/** A token a curve. @param {CurveRow[]} rows @returns {string[]} */
export function tokensOf(rows) {
  const drawn = rows.filter(({ item }) => item >= 0);
  if (drawn.length !== rows.length) {
    const tokens = tokensOf(drawn);
    return rows.map(({ item }) => (item < 0 ? "ink-3" : (tokens.shift() ?? "accent"))); // what lies along x is not drawn
  }
  const runs = rows.map(({ run }) => run);
  const byRun = new Set(runs).size === rows.length && rows.length > 1 && runs.every(Boolean);
  const cards = rows.map(({ labels }) => labels.gpu);
  const byGpu = new Set(cards).size === rows.length && cards.every((gpu) => gpu !== undefined && Number(gpu) < GPUS);
  const ofRuns = byRun ? coloursOf(runs) : new Map();
  return rows.map(({ colour, run }, i) => (colour ? `run-${colour - 1}` : byRun ? (ofRuns.get(run) ?? "accent") : byGpu ? `gpu-${Number(cards[i])}` : rows.length === 1 ? "accent" : `run-${i % COLOURS}`));
}
