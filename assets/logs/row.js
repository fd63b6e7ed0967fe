/** An entry as an element: its line, how many lines it stands for, its hits. Nothing of a line becomes a part of the page but its text. */

import { el } from "../lib/dom.js";
import { clock, count, day, duration } from "../lib/format.js";
import { marked, nodesOf, partsOf } from "./ansi.js";
import { lastOf, stampOf } from "./folding.js";

/** @typedef {import("./folding.js").Line} Line */
/** @typedef {{run: boolean, file: boolean, rank: boolean, day: boolean}} Columns that are shown beside time, level and text */

const LEVELS = /** @type {[number, string, string][]} */ ([
  [50, "CRIT", "bad"],
  [40, "ERROR", "bad"],
  [30, "WARN", "warn"],
  [20, "INFO", ""],
  [10, "DEBUG", "faint"],
]);

/** `14:25:03.071` @param {number} time_s Unix seconds */
export const exact = (time_s) => `${clock(time_s)}.${String(Math.floor((((time_s % 1) + 1) % 1) * 1000)).padStart(3, "0")}`;

/** @param {number} level @returns {[string, string]} its word and its tone */
export function levelOf(level) {
  const [, word, tone] = LEVELS.find(([least]) => level >= least) ?? [0, "", ""];
  return [word, tone];
}

/** @param {Line[]} lines of the entry @param {boolean} isTrace @param {Columns} columns @returns {HTMLElement} */
export function entryRow(lines, isTrace, columns) {
  const shown = isTrace ? lastOf(lines) : lines[0];
  const level = Math.max(...lines.map((line) => line.level));
  const [word, tone] = levelOf(level);
  const ranks = [...new Set(lines.map(({ rank }) => rank).filter((rank) => rank !== null))];
  return el(
    "div",
    { class: `l ${tone}` },
    el("span", { class: "t" }, `${columns.day ? `${day(lines[0].time_s)} ` : ""}${exact(lines[0].time_s)}`),
    el("span", { class: "lv" }, word),
    columns.run ? el("span", { class: "f run" }, shown.run) : null,
    columns.file ? el("span", { class: "f" }, shown.file) : null,
    columns.rank ? el("span", { class: "r" }, ranks.length > 1 ? `${ranks.length} ranks` : ranks.length ? `rank ${ranks[0]}` : "") : null,
    lines.length > 1 ? el("span", { class: "fold" }, isTrace ? `▸ ${count(lines.length)} lines` : timesOf(lines)) : null,
    textOf(shown, !isTrace),
  );
}

/** `26 ×`, `26 × in 12 s` @param {Line[]} lines */
function timesOf(lines) {
  const lasted_s = lines[lines.length - 1].time_s - lines[0].time_s;
  return `${count(lines.length)} ×${lasted_s >= 1 ? ` in ${duration(lasted_s)}` : ""}`;
}

/** @param {Line} line @param {boolean} bare without what the columns show already @returns {HTMLElement} */
export function textOf(line, bare) {
  const unmarked = line.hit && !line.spans.length;
  return el("span", { class: unmarked ? "m hit" : "m" }, ...shownText(line.text, line.spans, bare ? stampOf(line.text) : 0));
}

/** @param {string} text @param {[number, number][]} spans of hits @param {number} skip @returns {(Node | string)[]} */
export function shownText(text, spans, skip) {
  const first = spans.length ? Math.min(skip, spans[0][0]) : skip;
  return nodesOf(marked(partsOf(text), spans, first));
}

/** What stands where a line is not read yet. @returns {HTMLElement} */
export const placeholder = () => el("div", { class: "l awaited" }, el("span", { class: "t" }, "…"));
