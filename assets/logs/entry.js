/** An entry of the list as an element, and its line when it is opened. */

import { get, sentenceOf } from "../lib/api.js";
import { copyButton } from "../lib/clipboard.js";
import { el } from "../lib/dom.js";
import { clock, count, day, duration } from "../lib/format.js";
import { lastOf, marked, nodesOf, partsOf, stampOf } from "./line.js";

// An entry as an element: its line, how many lines it stands for, its hits. Nothing of a line becomes a part of the page but its text.

/** @typedef {import("./line.js").Line} Line */
/** @typedef {{run: boolean, file: boolean, rank: boolean, day: boolean, ms: boolean}} Columns that are shown beside time, level and text; `ms`: some times have milliseconds */

const LEVELS = /** @type {[number, string, string][]} */ ([
  [50, "CRIT", "bad"],
  [40, "ERROR", "bad"],
  [30, "WARN", "warn"],
  [20, "INFO", ""],
  [10, "DEBUG", "faint"],
]);

const STAMPED = /^.{0,40}?\b\d\d:\d\d:\d\d([.,]\d)?/;

/** Whether the log says milliseconds of it: in its stamp, or, where it has none, by when it came. @param {Line} line */
export function hasMilliseconds({ text, time_s }) {
  const stamp = STAMPED.exec(text);
  return stamp ? stamp[1] !== undefined : Math.abs(time_s - Math.round(time_s)) > 0.0005;
}

/** `14:25:03.071`, or without milliseconds where the log has none. @param {Line} line */
function exact(line) {
  const { time_s } = line;
  return hasMilliseconds(line) ? `${clock(time_s)}.${String(Math.floor((((time_s % 1) + 1) % 1) * 1000)).padStart(3, "0")}` : clock(time_s);
}

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
    el("span", { class: columns.ms ? "t ms" : "t" }, `${columns.day ? `${day(lines[0].time_s)} ` : ""}${exact(lines[0])}`),
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
function textOf(line, bare) {
  const unmarked = line.hit && !line.spans.length;
  return el("span", { class: unmarked ? "m hit" : "m" }, ...shownText(line.text, line.spans, bare ? stampOf(line.text) : 0));
}

/** @param {string} text @param {[number, number][]} spans of hits @param {number} skip @returns {(Node | string)[]} */
function shownText(text, spans, skip) {
  const first = spans.length ? Math.min(skip, spans[0][0]) : skip;
  return nodesOf(marked(partsOf(text), spans, first));
}

/** What stands where a line is not read yet. @returns {HTMLElement} */
export const placeholder = () => el("div", { class: "l awaited" }, el("span", { class: "t" }, "…"));

// An opened line: all of its text, its numbers, which can become curves, its fields, which filter, and where it comes from.

/** @typedef {import("../types/api").Answer<"logs/line">} Opened */

/**
 * @typedef {Object} Actions
 * @property {(opened: Opened, field: number) => void} plot a number of the line over time
 * @property {(text: string) => void} search
 * @property {(opened: Opened, only: boolean) => void} filter by the line's template, or leave it out
 * @property {(line: Line) => void} select a window around the line
 * @property {() => void} grown the element is as tall as it will be
 */

const MAX_BUTTONS = 60; // numbers of a line that are buttons
/** @type {Map<string, Opened>} answers of lines that were opened, the newest last */
const known = new Map();
const MAX_KNOWN = 50;

/** @param {Line} line @param {Actions} actions @param {boolean} single one run is shown: templates filter @returns {HTMLElement} */
export function detailOf(line, actions, single) {
  const element = el("div", { class: "detail" }, el("p", { class: "dim" }, "Reading the line …"));
  const key = `${line.number} ${line.run}`;
  const fill = (/** @type {Opened} */ opened) => {
    known.delete(key);
    known.set(key, opened);
    if (known.size > MAX_KNOWN) known.delete(known.keys().next().value ?? "");
    element.replaceChildren(...parts(opened, line, actions, single));
  };
  const before = known.get(key);
  if (before) fill(before);
  else
    get("logs/line", { run: line.run, number: line.number })
      .then(fill, (error) => element.replaceChildren(el("p", { class: "warn" }, sentenceOf(error))))
      .then(actions.grown);
  return element;
}

/** @param {Opened} opened @param {Line} line @param {Actions} actions @param {boolean} single @returns {Node[]} */
function parts(opened, line, actions, single) {
  const { fields, template, line: whole } = opened;
  const where = [`${day(whole.time_s)} ${exact(line)}`, whole.run, whole.file, whole.rank === null ? "" : `rank ${whole.rank}`];
  const button = (/** @type {string} */ label, /** @type {() => void} */ run) => el("button", { class: "btn", type: "button", onclick: run }, label);
  const chips = fields.map(({ text }) => el("button", { class: "chip", type: "button", title: "Show the lines that have it", onclick: () => actions.search(text) }, text));
  const filter = single && template !== null ? [button("Only lines like this", () => actions.filter(opened, true)), button("Hide lines like this", () => actions.filter(opened, false))] : [];
  return [
    el("p", { class: "whole" }, ...numbered(opened, actions)),
    ...(opened.numbers.length && template !== null ? [el("p", { class: "dim" }, "A click on a number draws it as a curve.")] : []),
    ...(chips.length ? [el("div", { class: "chips" }, ...chips)] : []),
    el("p", { class: "dim" }, where.filter(Boolean).join(" · ")),
    el("div", { class: "actions" }, ...filter, button("Window of 10 s around it", () => actions.select(line)), copyButton("Copy", () => whole.text)),
  ];
}

/** The text with its numbers as buttons. @param {Opened} opened @param {Actions} actions @returns {(Node | string)[]} */
function numbered(opened, actions) {
  const { line, numbers } = opened;
  /** @type {(Node | string)[]} */
  const out = [];
  let at = 0;
  numbers.slice(0, MAX_BUTTONS).forEach(([from, to], field) => {
    if (to <= from) return;
    const text = line.text.slice(from, to);
    out.push(line.text.slice(at, from), el("button", { class: "number", type: "button", title: `Plot ${fieldName(opened.template_text, field)} over time`, onclick: () => actions.plot(opened, field) }, text));
    at = to;
  });
  return [...out, line.text.slice(at)];
}

/** What stands before a number, else behind it: `fieldName("step # loss #", 1) -> "loss"`, `fieldName("lr # # it/s", 1) -> "it/s"`. @param {string} template @param {number} field */
export function fieldName(template, field) {
  if (template.includes("<left out>")) return `number ${field + 1}`; // numbers of the line are no longer those of the text
  const parts = template.replace(/<(?:time|path|text|hex|id)>/g, " ").split("#");
  const words = (/** @type {string | undefined} */ part) => part?.match(/[^\s=:()[\]{}|,;]*[A-Za-z][^\s=:()[\]{}|,;]*/g) ?? [];
  return words(parts[field]).at(-1) ?? words(parts[field + 1])[0] ?? `number ${field + 1}`;
}
