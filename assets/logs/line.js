/** Log lines as elements: their colours, and those that are shown as one. */

import { el, setClass } from "../lib/dom.js";
import { clock } from "../lib/format.js";

/** @typedef {import("../types/api").Row<"LogLine">} LogLine */
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

/** The state of a progress bar, below the lines. @param {import("../types/api").Row<"ProgressBar">} bar */
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

// Escape sequences of terminals in a line: colours become classes, everything else of them is left out.

/** @typedef {{text: string, from: number, classes: string}} Part `from`: where it begins in the line */
/** @typedef {{text: string, classes: string, hit: boolean}} Shown */
/** @typedef {{colour: string, bold: boolean, faint: boolean}} Style */

const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]/g;
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const CODE = { reset: 0, bold: 1, faint: 2, notBold: 22, foreground: 30, extended: 38, normal: 39, background: 40, extendedBackground: 48, bright: 90 };
const PLAIN = { colour: "", bold: false, faint: false };
const CUBE = 6; // colours 16 to 231 of 256

/**
 * `"\x1b[31mbad\x1b[0m end" -> [{text: "bad", from: 5, classes: "ansi-red"}, {text: " end", from: 12, classes: ""}]`
 * @param {string} text @returns {Part[]}
 */
export function partsOf(text) {
  if (!text.includes("\x1b")) return text ? [{ text, from: 0, classes: "" }] : [];
  /** @type {Part[]} */
  const out = [];
  let style = PLAIN;
  let from = 0;
  const push = (/** @type {number} */ to) => {
    if (to > from) out.push({ text: text.slice(from, to), from, classes: classesOf(style) });
  };
  for (const match of text.matchAll(SEQUENCE)) {
    push(match.index);
    from = match.index + match[0].length;
    if (match[1] !== undefined) style = restyled(style, match[1]);
  }
  push(text.length);
  return out;
}

/** Cut where hits begin and end. @param {Part[]} parts @param {[number, number][]} spans in order, places in the line @param {number} [skip] what stands before it is left out @returns {Shown[]} */
export function marked(parts, spans, skip = 0) {
  /** @type {Shown[]} */
  const out = [];
  for (const { text, from, classes } of parts) {
    const end = from + text.length;
    let at = Math.max(from, skip);
    for (const [lo, hi] of spans) {
      if (hi <= at || lo >= end) continue;
      if (lo > at) out.push({ text: text.slice(at - from, lo - from), classes, hit: false });
      out.push({ text: text.slice(Math.max(lo, at) - from, Math.min(hi, end) - from), classes, hit: true });
      at = Math.min(hi, end);
    }
    if (at < end) out.push({ text: text.slice(at - from), classes, hit: false });
  }
  return out;
}

/**
 * A span for what has a colour, plain text for the rest; control characters are shown by `el`.
 * @param {Shown[]} parts @returns {(Node | string)[]}
 */
export const nodesOf = (parts) =>
  parts.map(({ text, classes, hit }) => (hit ? el("mark", { class: classes }, text) : classes ? el("span", { class: classes }, text) : text));

/** A template, whose numbers are masked, without what is left of them. `"\x1b[#msaved #" -> "saved #"` @param {string} template */
export const withoutSequences = (template) => template.replace(/\x1b\[[#\d;:]*[A-Za-z]/g, "").replace(SEQUENCE, "");

/** @param {Style} style */
const classesOf = ({ colour, bold, faint }) => [colour && `ansi-${colour}`, bold && "strong", faint && "dim"].filter(Boolean).join(" ");

/** @param {Style} style @param {string} codes @returns {Style} */
function restyled(style, codes) {
  let next = { ...style };
  const numbers = codes.split(/[;:]/).map(Number);
  for (let i = 0; i < numbers.length; i++) {
    const code = numbers[i];
    if (code === CODE.reset) next = { ...PLAIN };
    else if (code === CODE.bold) next.bold = true;
    else if (code === CODE.faint) next.faint = true;
    else if (code === CODE.notBold) next.bold = next.faint = false;
    else if (code === CODE.normal) next.colour = "";
    else if (code === CODE.extended || code === CODE.extendedBackground) {
      const [colour, length] = extended(numbers.slice(i + 1));
      if (code === CODE.extended) next.colour = colour;
      i += length;
    } else next.colour = COLOURS[code - CODE.foreground] ?? COLOURS[code - CODE.bright] ?? next.colour;
  }
  return next;
}

/** The nearest of the eight, which are readable in both themes; and how many numbers say it. @param {number[]} rest behind 38 @returns {[string, number]} */
function extended([kind, ...rest]) {
  if (kind === 2) return [nearest(rest.slice(0, 3)), 4];
  if (kind !== 5) return ["", 1];
  const [index = 0] = rest;
  if (index < 16) return [COLOURS[index % 8], 2];
  const cube = index - 16;
  const levels = index < 232 ? [Math.floor(cube / CUBE / CUBE), Math.floor(cube / CUBE) % CUBE, cube % CUBE].map((level) => (level * 255) / (CUBE - 1)) : [0, 0, 0].fill(((index - 232) * 255) / 23);
  return [nearest(levels), 2];
}

/** @param {number[]} channels 0 to 255 */
function nearest([red = 0, green = 0, blue = 0]) {
  const [least, most] = [Math.min(red, green, blue), Math.max(red, green, blue)];
  if (most - least < 0.25 * most || most < 48) return most > 128 ? "white" : "black";
  const bright = [red, green, blue].map((channel, i) => (channel - least > (most - least) / 2 ? 2 ** i : 0));
  return COLOURS[bright.reduce((sum, bit) => sum + bit, 0)];
}

// Which lines are shown as one: equal messages in a row, and tracebacks (pure). What joins two lines depends on the lines before them only, so that entries stay as they are while others are read.

/** @typedef {import("../types/api").Row<"PlacedLine">} Line */

export const PAGE = 256; // lines; equal ones are counted within a page, so that no page depends on those far before it
export const BEGINS = 0; // an entry
const SAME = 1; // as the line before
export const TRACE = 2; // goes on with a traceback

/** The part that the columns show already: `2026-11-24 17:48:37.354+00:00 INFO `, also in brackets. */
const STAMP =
  /^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?[\s:-]*(?:\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL)\]?[\s:-]+)?/;
const HEAD = /^(.*?)(?:\+ Exception Group )?Traceback \(most recent call last\):\s*$/;
const LINK = /^(?:During handling of the above exception|The above exception was the direct cause)/;
const INDENTED = /^[\s|+]/;
const MAX_PREFIX = 80; // of the lines of a traceback

/** How many characters of a line its columns show already. @param {string} text */
export const stampOf = (text) => STAMP.exec(text)?.[0].length ?? 0;

/**
 * @param {Line[]} lines of the page before, if there is one, and of a page
 * @param {number} from where that page begins among them
 * @param {boolean} [folds] equal messages, too
 * @returns {Uint8Array} an entry per line of the page
 */
export function joinsOf(lines, from, folds = true) {
  const out = new Uint8Array(lines.length - from);
  /** @type {{prefix: string, hasEnded: boolean} | null} */
  let trace = null;
  for (let i = 0; i < lines.length; i++) {
    const [line, before] = [lines[i], lines[i - 1]];
    const opens = beginsTrace(line.text);
    const goesOn = trace !== null && before !== undefined && fromOneSource(line, before) && continued(trace, line.text);
    let join = BEGINS;
    if (goesOn) join = TRACE;
    else {
      trace = opens;
      if (folds && i > 0 && i !== from && !opens && isSame(line, before)) join = SAME;
    }
    if (i >= from) out[i - from] = join;
  }
  return out;
}

/** @param {string} text */
function beginsTrace(text) {
  if (!text.includes("Traceback (most recent call last)")) return null;
  const prefix = HEAD.exec(text)?.[1];
  return prefix === undefined || prefix.length > MAX_PREFIX ? null : { prefix: prefix.trimEnd() === "" ? "" : prefix, hasEnded: false };
}

/** Whether this line belongs to it, too; notes where its exception is named. @param {{prefix: string, hasEnded: boolean}} trace @param {string} text */
function continued(trace, text) {
  if (!text.startsWith(trace.prefix.trimEnd())) return false;
  const rest = text.slice(trace.prefix.length);
  if (LINK.test(rest)) return true;
  if (beginsTrace(rest)) {
    trace.hasEnded = false;
    return true;
  }
  if (rest.trim() === "") return true;
  if (INDENTED.test(rest)) return !trace.hasEnded;
  if (trace.hasEnded) return false;
  trace.hasEnded = true;
  return true;
}

/** @param {Line} a @param {Line} b */
const fromOneSource = (a, b) => a.run === b.run && a.file === b.file && a.rank === b.rank;

/** Of several ranks, too. @param {Line} a @param {Line} b */
const isSame = (a, b) => a.run === b.run && a.level === b.level && a.text.slice(stampOf(a.text)) === b.text.slice(stampOf(b.text));

/** Of a traceback the line that names the last exception. @param {Line[]} lines @returns {Line} */
export function lastOf(lines) {
  const frame = lines.findLastIndex(({ text }) => /^.*File "/.test(text));
  const prefix = beginsTrace(lines[0].text)?.prefix ?? "";
  return lines.slice(frame + 1).find(({ text }) => !INDENTED.test(text.slice(prefix.length) || " ")) ?? lines[lines.length - 1];
}
