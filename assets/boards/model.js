/** A board as the server describes it, with what is usual filled in (pure). */

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
