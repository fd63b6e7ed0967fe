/** Log lines as elements. */

import { el, setClass } from "../../lib/dom.js";
import { clock } from "../../lib/format.js";
import { marked, nodesOf, partsOf } from "../../logs/ansi.js";
import { stampOf } from "../../logs/folding.js";

/** @typedef {{time_s: number | null, level: number, file: string, text: string, rank: number | null, number: number}} LogLine */
/** @typedef {LogLine & {ranks: number[], files: string[], lines: number}} Fold one line that several ranks have written, or one program into several files */

const LEVELS = /** @type {[number, string, string][]} */ ([
  [40, "ERR", "bad"],
  [30, "WARN", "warn"],
  [20, "INFO", ""],
  [10, "DEBUG", "dim"],
]);
const TOGETHER_S = 2; // lines of ranks that are one row were written within this time

/** Equal lines of several ranks, or in several files, as one. @param {LogLine[]} lines oldest first @returns {Fold[]} */
export function folded(lines) {
  /** @type {Map<string, Fold>} */
  const newest = new Map();
  /** @type {Fold[]} */
  const rows = [];
  for (const line of lines) {
    const { rank, text, level, time_s } = line;
    const key = `${level} ${text.slice(stampOf(text))}`;
    const row = newest.get(key);
    const alike = row && (rank === null) === !row.ranks.length && Math.abs((time_s ?? 0) - (row.time_s ?? 0)) <= TOGETHER_S;
    const newRank = rank !== null && !row?.ranks.includes(rank);
    const newFile = !row?.files.includes(line.file);
    if (alike && (newRank || newFile)) {
      if (newRank) row.ranks.push(rank);
      if (newFile) row.files.push(line.file);
      row.lines++;
      continue;
    }
    rows.push({ ...line, ranks: rank === null ? [] : [rank], files: [line.file], lines: 1 });
    newest.set(key, rows[rows.length - 1]);
  }
  return rows;
}

/** How many lines these rows are. @param {Fold[]} rows */
export const linesIn = (rows) => rows.reduce((sum, { lines }) => sum + lines, 0);

/** `[2, 0, 1, 5] -> "ranks 0-2, 5"` @param {number[]} ranks */
export function rankNames(ranks) {
  /** @type {[number, number][]} */
  const spans = [];
  for (const rank of [...ranks].sort((a, b) => a - b)) {
    const last = spans[spans.length - 1];
    if (last && rank === last[1] + 1) last[1] = rank;
    else spans.push([rank, rank]);
  }
  const names = spans.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  return ranks.length ? `${ranks.length > 1 ? "ranks" : "rank"} ${names.join(", ")}` : "";
}

/** @param {Fold} line @param {{file: boolean}} show */
export function logLine({ time_s, level, file, text, ranks }, show) {
  const [, name, tone] = LEVELS.find(([least]) => level >= least) ?? [0, "", ""];
  const parts = partsOf(text);
  return el(
    "div",
    { class: `l ${tone}`, "data-time": time_s, title: parts.map((part) => part.text).join("") },
    el("span", { class: "t" }, time_s === null ? "" : clock(time_s)),
    el("span", { class: "lv" }, name),
    show.file ? el("span", { class: "f" }, file) : null,
    ranks.length ? el("span", { class: "r" }, rankNames(ranks)) : null,
    el("span", { class: "m" }, ...nodesOf(marked(parts, [], stampOf(text)))),
  );
}

/** The state of a progress bar, below the lines. @param {import("../../types/api").Row<"BarRow">} bar */
export function barLine({ time_s, file, text }) {
  const cells = [el("span", { class: "t" }, clock(time_s)), el("span", { class: "lv" }), el("span", { class: "f" }, file)];
  return el("div", { class: "l bar", title: text }, ...cells, el("span", { class: "m" }, text));
}

/** In the log, the last line at or before the crosshair. @param {HTMLElement} log @param {number | null} time_s */
export function pointLine(log, time_s) {
  const lines = /** @type {HTMLElement[]} */ ([...log.children]);
  const at = time_s === null ? undefined : lines.findLast(({ dataset }) => dataset.time && Number(dataset.time) <= time_s);
  for (const line of lines) setClass(line, "at", line === at);
}

/** The time of the log line that a pointer is over. @param {PointerEvent} event */
export const timeOf = (event) =>
  Number(/** @type {HTMLElement} */ (event.target).closest(".l")?.getAttribute("data-time")) || null;
