/** Tables out of CSV, TSV and JSON, as far as they are shown: text in cells, and nothing else. */

import { el } from "../lib/dom.js";
import { count } from "../lib/format.js";

/** @typedef {{columns: string[], rows: string[][], total: number}} Table */

const MOST_ROWS = 200;
const MOST_COLUMNS = 50;
const MOST_CELL = 500; // characters

/** `{"columns": [...], "rows": [...]}`, a list of objects or of lists, or one object. Null for what is none of these. @param {string} text @returns {Table | null} */
export function tableOfJson(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (Array.isArray(value?.rows)) return cut((value.columns ?? []).map(word), value.rows.map(cells), Number(value.total) || value.rows.length);
  if (Array.isArray(value)) {
    const objects = value.filter((item) => item !== null && typeof item === "object" && !Array.isArray(item));
    if (objects.length === value.length && value.length) {
      const columns = [...new Set(objects.slice(0, MOST_ROWS).flatMap((item) => Object.keys(item)))];
      return cut(columns, objects.slice(0, MOST_ROWS).map((item) => columns.map((name) => Object.hasOwn(item, name) ? word(item[name]) : "")), value.length);
    }
    return cut([], value.slice(0, MOST_ROWS).map(cells), value.length);
  }
  if (value === null || typeof value !== "object") return null;
  const entries = Object.entries(value);
  return cut(["name", "value"], entries.slice(0, MOST_ROWS).map(([name, item]) => [name, word(item)]), entries.length);
}

/** The first line names the columns; cells may be quoted and span lines. @param {string} text @param {string} separator @returns {Table} */
export function tableOfText(text, separator) {
  /** @type {string[][]} */
  const rows = [[]];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    if (quoted && char === '"' && text[i + 1] === '"') (cell += '"'), (i += 1);
    else if (char === '"' && (quoted || !cell)) quoted = !quoted;
    else if (quoted || (char !== separator && char !== "\n")) cell += char === "\r" && text[i + 1] === "\n" ? "" : char;
    else {
      rows[rows.length - 1].push(cell);
      cell = "";
      if (char === "\n") rows.push([]);
    }
  }
  if (cell || rows[rows.length - 1].length) rows[rows.length - 1].push(cell);
  const filled = rows.filter((row) => row.some(Boolean));
  const [columns = [], ...others] = filled;
  return cut(columns, others, others.length);
}

/** @param {Table} table @param {string} label */
export function tableElement({ columns, rows, total }, label) {
  const numeric = columns.map((_, i) => rows.length > 0 && rows.every((row) => row[i] === "" || Number.isFinite(Number(row[i] ?? "x"))));
  const shown = rows.length < total ? el("p", { class: "sub" }, `${count(rows.length)} of ${count(total)} rows`) : null;
  return el(
    "div",
    { class: "sample-table", tabindex: "0", role: "region", "aria-label": label },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...columns.map((name, i) => el("th", { scope: "col", class: numeric[i] ? "num" : "" }, name)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell, i) => el("td", { class: numeric[i] ? "num" : "" }, cell))))),
    ),
    shown,
  );
}

/** @param {string[]} columns @param {string[][]} rows @param {number} total @returns {Table} */
function cut(columns, rows, total) {
  const kept = rows.slice(0, MOST_ROWS).map((row) => row.slice(0, MOST_COLUMNS).map((cell) => cell.slice(0, MOST_CELL)));
  const width = Math.max(0, ...kept.map((row) => row.length));
  const names = columns.length ? columns : Array.from({ length: width }, (_, i) => String(i + 1));
  return { columns: names.slice(0, MOST_COLUMNS).map((name) => name.slice(0, MOST_CELL)), rows: kept, total };
}

/** @param {unknown} row @returns {string[]} */
const cells = (row) => (Array.isArray(row) ? row.map(word) : [word(row)]);

/** @param {unknown} value */
const word = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
