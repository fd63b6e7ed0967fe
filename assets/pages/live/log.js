/** Log lines as elements: ANSI colours become classes, everything else stays inert text. */

import { el, setClass } from "../../lib/dom.js";
import { clock } from "../../lib/format.js";

/** @typedef {{time_s: number | null, level: number, file: string, text: string, rank: number | null, number: number}} Line */
/** @typedef {Line & {ranks: number[], files: string[], lines: number}} Fold one line that several ranks have written, or one program into several files */

const LEVELS = /** @type {[number, string, string][]} */ ([
  [40, "ERR", "bad"],
  [30, "WARN", "warn"],
  [20, "INFO", ""],
  [10, "DEBUG", "dim"],
]);
/** The part that the columns already show: `2026-11-24 17:48:37.354+00:00 INFO `, also in brackets. */
const STAMP =
  /^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?[\s:-]*(?:\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL)\]?[\s:-]+)?/;
const TOGETHER_S = 2; // lines of ranks that are one row were written within this time
const SEQUENCE = /\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b./g;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const CODE = { reset: 0, bold: 1, faint: 2, notBold: 22, foreground: 30, extended: 38, normal: 39, background: 48, bright: 90 };

/** Equal lines of several ranks, or in several files, as one. @param {Line[]} lines oldest first @returns {Fold[]} */
export function folded(lines) {
  /** @type {Map<string, Fold>} */
  const newest = new Map();
  /** @type {Fold[]} */
  const rows = [];
  for (const line of lines) {
    const { rank, text, level, time_s } = line;
    const key = `${level} ${text.replace(STAMP, "")}`;
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
  return el(
    "div",
    { class: `l ${tone}`, "data-time": time_s, title: text.replace(SEQUENCE, "").replace(CONTROL, "") },
    el("span", { class: "t" }, time_s === null ? "" : clock(time_s)),
    el("span", { class: "lv" }, name),
    show.file ? el("span", { class: "f" }, file) : null,
    ranks.length ? el("span", { class: "r" }, rankNames(ranks)) : null,
    el("span", { class: "m" }, ...coloured(text.replace(STAMP, ""))),
  );
}

/**
 * `"\x1b[31mbad\x1b[0m end" -> [<span class="ansi-red">bad</span>, " end"]`; other sequences are dropped.
 * @param {string} text @returns {(Node | string)[]}
 */
export function coloured(text) {
  /** @type {(Node | string)[]} */
  const out = [];
  let style = { colour: "", bold: false, faint: false };
  let from = 0;
  const push = (/** @type {number} */ to) => {
    const part = text.slice(from, to).replace(CONTROL, "");
    const names = [style.colour && `ansi-${style.colour}`, style.bold && "strong", style.faint && "dim"].filter(Boolean).join(" ");
    if (part) out.push(names ? el("span", { class: names }, part) : part);
  };
  for (const match of text.matchAll(SEQUENCE)) {
    push(match.index);
    from = match.index + match[0].length;
    if (match[1] !== undefined) style = restyled(style, match[1]);
  }
  push(text.length);
  return out;
}

/** @param {{colour: string, bold: boolean, faint: boolean}} style @param {string} codes */
function restyled(style, codes) {
  let next = { ...style };
  for (const code of codes.split(";").map(Number)) {
    if (code === CODE.reset) next = { colour: "", bold: false, faint: false };
    else if (code === CODE.bold) next.bold = true;
    else if (code === CODE.faint) next.faint = true;
    else if (code === CODE.notBold) next.bold = next.faint = false;
    else if (code === CODE.normal) next.colour = "";
    else if (code === CODE.extended || code === CODE.background)
      break; // the rest of the sequence is the number of a colour
    else next.colour = COLOURS[code - CODE.foreground] ?? COLOURS[code - CODE.bright] ?? next.colour;
  }
  return next;
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
