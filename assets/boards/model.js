/** A board as the server describes it, and the numbers, units and colours of its charts (pure). */

import { nearest } from "../curves/curve.js";
import { COLOURS, colourAt, phaseColours, runColours } from "../data/colours.js";

// A board as the server describes it, with what is usual filled in (pure).

/** @typedef {import("../types/api").Row<"BoardFields">} BoardFields */
/** @typedef {import("../types/api").Row<"ChartFields">} ChartFields */
/** @typedef {import("../types/api").Row<"ChartExpression">} ChartExpression */
/** @typedef {{key: string, row: number, chart: number, fields: ChartFields, width: number, asked: Asked | null}} PlacedChart `width`: of 12 columns; `asked`: null where it draws no series */
/** @typedef {{title: string, height: number, charts: PlacedChart[], left: string[]}} PlacedRow `left`: titles of charts that are left out */

/**
 * @typedef {Object} Asked what a chart asks: what changes its data, and nothing of its looks
 * @property {string} key charts of one key ask the same
 * @property {string[]} exprs
 * @property {number[]} items the entry of the chart that each belongs to; -1: its x
 * @property {"time" | "step"} axis
 * @property {string | null} smooth as a parameter
 * @property {string} trouble why it cannot be asked, or ""
 * @property {number} width
 */

export const COLUMNS = 12;
const HEIGHT = 220;

/**
 * The rows with the widths of their charts: those without one share what the others leave. Charts of which there is nothing are left out, and
 * those beside them take their room.
 * @param {BoardFields} board @param {ChartExpression[]} exprs of its charts @param {boolean} [all] also the charts without data
 * @returns {PlacedRow[]}
 */
export function rowsOf(board, exprs, all = true) {
  return (board.rows ?? []).map(({ title = "", height = HEIGHT, charts = [] }, row) => {
    const taken = charts.reduce((sum, { width }) => sum + (width ?? 0), 0);
    const open = charts.filter(({ width }) => width === undefined).length;
    const share = Math.max(2, Math.floor((COLUMNS - (taken % COLUMNS)) / Math.max(1, open)));
    const placed = charts.map((fields, chart) => {
      const own = exprs.filter((expr) => expr.row === row && expr.chart === chart);
      const width = fields.width ?? share;
      return { key: `${row}.${chart}`, row, chart, fields, width, asked: asks(fields) ? askedOf(fields, own, fields.axis ?? board.axis ?? "time", width) : null, absent: !all && isAbsent(own) };
    });
    const shown = placed.filter(({ absent }) => !absent);
    const left = placed.filter(({ absent }) => absent).map(({ fields }) => titleOf(fields));
    const sum = shown.reduce((wide, { width }) => wide + width, 0);
    const widened = left.length && sum < COLUMNS ? shown.map((chart) => ({ ...chart, width: Math.floor((chart.width * COLUMNS) / sum) })) : shown;
    return { title, height, charts: widened, left };
  });
}

/** Of a scatter chart also where nothing lies along x. @param {ChartExpression[]} own */
const isAbsent = (own) => own.length > 0 && (own.filter(({ item }) => item >= 0).every(({ absent }) => absent) || own.some(({ item, absent }) => item < 0 && absent));

/** Whether it draws series. @param {ChartFields} fields */
export const asks = ({ kind }) => !["text", "flame graph", "log lines"].includes(kind ?? "");

/** @param {ChartFields} fields @param {ChartExpression[]} own @param {"time" | "step"} axis @param {number} width @returns {Asked} */
function askedOf({ smooth }, own, axis, width) {
  const exprs = own.map(({ expr }) => expr);
  const [, half_life = "", unit = ""] = /^(\d+(?:\.\d+)?) ?([a-z]+)$/.exec(smooth ?? "") ?? [];
  const wrong = unit !== "" && unit.startsWith("step") !== (axis === "step");
  const trouble = wrong ? `the axis is ${axis}: write a half-life such as ${axis === "step" ? "20 steps" : "10 s"}` : "";
  const ema = unit ? `ema:${Number(half_life) * (UNITS[unit] ?? 1)}` : null;
  return { key: JSON.stringify([exprs, axis, smooth ?? ""]), exprs, items: own.map(({ item }) => item), axis, smooth: ema, trouble, width };
}

const UNITS = /** @type {Record<string, number>} */ ({ s: 1, min: 60, h: 3600, d: 86400, w: 604800 });

/** `15 min -> 900`; null for `all`. @param {string | undefined} text */
export function secondsOf(text) {
  const found = /^(\d+(?:\.\d+)?) ?([a-z]+)$/i.exec(text ?? "");
  return found ? Number(found[1]) * (UNITS[found[2].toLowerCase()] ?? NaN) || null : null;
}

/** @param {ChartFields} fields */
export const titleOf = ({ title, series, kind }) => title || (series ?? []).map((entry) => (typeof entry === "string" ? entry : entry.label || entry.name || entry.glob || entry.regex || entry.expr || "")).join(", ").slice(0, 200) || kind || "";

/** @param {ChartFields} fields */
export const logIdOf = (fields) => `board ${titleOf(fields)}`;

/** Names that stand side by side, without what all of them begin and end with: `host/pressure_cpu_pct`, `host/pressure_io_pct` are `cpu`, `io`. @param {string[]} names */
export function briefNames(names) {
  if (new Set(names).size < 2) return names;
  const parts = names.map((name) => name.split(/(?<=[/_.])|(?=[/_.])/)); // words, and what is between them
  const least = Math.min(...parts.map(({ length }) => length)) - 1;
  const same = (/** @type {(words: string[]) => string} */ of) => new Set(parts.map(of)).size === 1;
  let [begin, end] = [0, 0];
  while (begin < least && same((words) => words[begin])) begin++;
  while (end < least - begin && same((words) => words[words.length - 1 - end])) end++;
  const brief = parts.map((words) => words.slice(begin, words.length - end).join("").replace(/^[/_.]|[/_.]$/g, ""));
  return brief.every(Boolean) ? brief : names;
}

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

// The curves of a chart: what is drawn of what was read, their names, and what is not there (pure).

/** @typedef {import("../data/curve_reader.js").CurveRow} CurveRow */
/** @typedef {CurveRow & {item: number, series: string, label: string, colour: number | null}} BoardRow `item`: the entry that it belongs to, -1: along x */

const COLUMNS_OF_ROW = /** @type {const} */ (["x", "x_end", "step", "segment", "min", "max", "mean", "last", "count", "non_finite"]);
const WORDS = /** @type {Record<string, string>} */ ({ gpu: "GPU ", rank: "rank " }); // of labels that are no word by themselves
const PLACE = /\{([^{}]{1,100})\}/g;
const { compare } = new Intl.Collator("en", { numeric: true }); // GPU 2 before GPU 10

/**
 * In the order of the chart's entries, then by run and labels. Each is called what the file says, else that in which they differ:
 * `gpu/power_w` of eight GPUs are `GPU 0` to `GPU 7`; of two hosts `GPU 0, a`.
 * @param {CurveRow[]} read @param {Asked} asked @param {ChartFields} fields @returns {BoardRow[]}
 */
export function boardRows(read, { items, axis }, fields) {
  const rows = read.map((row) => {
    const item = items[row.expr];
    const entry = (item < 0 ? fields.x : fields.series?.[item]) ?? "";
    const given = typeof entry === "string" ? {} : entry;
    const series = given.expr ?? row.name;
    const values = /** @type {Record<string, string>} */ ({ series, ...(row.run ? { run: row.run } : {}), ...row.labels });
    const labels = Object.keys(row.labels).filter((key) => key !== "uuid").sort().map((key) => `${key}=${row.labels[key]}`);
    return { row: { ...drawn(row, axis), item, series, label: "", colour: given.colour ?? null }, values, template: given.label ?? "", order: [row.run ?? "", series, ...labels].join("\n") };
  });
  rows.sort((a, b) => a.row.item - b.row.item || compare(a.order, b.order));
  const shown = rows.filter(({ row }) => row.item >= 0); // what lies along x has no name on the chart
  const known = new Set(["run", "series", ...shown.flatMap(({ row }) => Object.keys(row.labels))]);
  const differing = [...known].filter((key) => new Set(shown.map(({ values }) => values[key] ?? "")).size > 1);
  const keys = differing.some((key) => key === "gpu" || key === "mig") ? differing.filter((key) => key !== "uuid") : differing;
  return rows.map(({ row, values, template }) => {
    const words = keys.filter((key) => values[key]).map((key) => (WORDS[key] ?? "") + values[key]);
    return { ...row, label: filled_in(template, values) || words.join(", ") || row.series };
  });
}

/** A part between commas that names a label which the curve lacks is left out: `rank {rank}, forward` of a single process is `forward`. @param {string} template @param {Record<string, string>} values */
function filled_in(template, values) {
  const parts = template.split(", ").filter((part) => [...part.matchAll(PLACE)].every(([, key]) => Object.hasOwn(values, key)));
  return parts.map((part) => part.replace(PLACE, (_, key) => values[key])).join(", ");
}

/** A smoothed curve is its smoothed values; on the step axis, what a newer attempt wrote again is left out. @param {CurveRow} row @param {"time" | "step"} axis @returns {CurveRow} */
function drawn(row, axis) {
  const { smooth, superseded } = row;
  const out = smooth ? { ...row, min: smooth, max: smooth, mean: smooth, last: smooth } : row;
  if (axis === "time" || !superseded.includes(true)) return out;
  const columns = COLUMNS_OF_ROW.map((name) => [name, /** @type {any[]} */ (out[name]).filter((_, i) => !superseded[i])]);
  return { ...out, ...Object.fromEntries(columns), smooth: null, superseded: [] };
}

/** What is not drawn of each entry: what fails, and where nothing is drawn, why not. @param {import("../data/curve_reader.js").Held} held @param {Asked} asked @returns {string[]} */
export function reasonsOf({ left, rows }, { items }) {
  return [...new Set(items)].flatMap((item) => {
    const missing = left.filter(({ expr }) => expr !== null && items[expr] === item);
    const failed = missing.filter(({ absent }) => !absent);
    const none = !rows.some(({ expr }) => items[expr] === item);
    return (failed.length ? failed : none ? missing.slice(0, 1) : []).map(({ reason }) => reason);
  });
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

/** @template {CurveRow} R @param {R} row @param {number} by @returns {R} */
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

// The colours of a chart's curves: what its file says, else the card's, the run's or the phase's own, else one after the other (pure).

const PHASE = /^(?:gpu_)?phase\/(.+)_s$/;

/** A token a curve. @param {BoardRow[]} rows @returns {string[]} */
export function tokensOf(rows) {
  const drawn = rows.filter(({ item }) => item >= 0);
  if (drawn.length !== rows.length) {
    const tokens = tokensOf(drawn);
    return rows.map(({ item }) => (item < 0 ? "ink-3" : (tokens.shift() ?? "accent"))); // what lies along x is not drawn
  }
  const runs = rows.map(({ run }) => run ?? "");
  const byRun = new Set(runs).size === rows.length && rows.length > 1 && runs.every(Boolean);
  const cards = rows.map(({ labels }) => labels.gpu);
  const byGpu = new Set(cards).size === rows.length && cards.every((gpu) => gpu !== undefined && Number(gpu) < COLOURS);
  const phases = rows.map(({ series }) => PHASE.exec(series)?.[1] ?? "");
  const byPhase = new Set(phases).size === rows.length && rows.length > 1 && phases.every(Boolean);
  const ofPhases = phaseColours(phases);
  return rows.map(({ colour }, i) => (colour ? colourAt(colour - 1) : byRun ? runColours.of(runs[i]) : byGpu ? colourAt(Number(cards[i])) : byPhase ? (ofPhases.get(phases[i]) ?? "accent") : rows.length === 1 ? "accent" : colourAt(i)));
}
