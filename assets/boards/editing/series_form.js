/** The series of a chart: a line each, by name, glob, regex or expression, with its label and colour. */

import { COLOURS } from "../../data/run_colours.js";
import { el } from "../../lib/dom.js";
import { button, choiceField, textField } from "./fields.js";

/** @typedef {import("../../types/api").Row<"SeriesFields">} SeriesFields */
/** @typedef {string | SeriesFields} Entry */

const SELECTORS = /** @type {const} */ (["name", "glob", "regex", "expr"]);
const WORDS = { name: "name", glob: "glob", regex: "regex", expr: "expression" };
const PLAIN_NAME = /^[A-Za-z_][\w.:/]*$/; // as in dashboard/boards/board.py

/** @param {Entry} entry @returns {SeriesFields & {by: typeof SELECTORS[number], text: string}} */
function open(entry) {
  if (typeof entry === "string") return { by: PLAIN_NAME.test(entry) ? "name" : "expr", text: entry };
  const by = SELECTORS.find((name) => entry[name] !== undefined) ?? "name";
  return { ...entry, by, text: entry[by] ?? "" };
}

/** As in the file: a word where there is nothing else to say. @param {ReturnType<typeof open>} entry @returns {Entry} */
export function closed({ by, text, name: _n, glob: _g, regex: _r, expr: _e, ...rest }) {
  const more = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== "" && value !== undefined && value !== null));
  const word = (by === "name") === PLAIN_NAME.test(text) && (by === "name" || by === "expr");
  return word && !Object.keys(more).length ? text : /** @type {SeriesFields} */ ({ [by]: text, ...more });
}

/** @param {Entry[]} series @param {() => string[]} names @param {(series: Entry[]) => void} report @returns {HTMLElement} */
export function seriesForm(series, names, report) {
  const entries = series.map(open);
  const list = el("datalist", { id: "board-series" }, ...names().map((name) => el("option", { value: name })));
  const put = (/** @type {number} */ i, /** @type {Partial<ReturnType<typeof open>>} */ part) => {
    entries[i] = { ...entries[i], ...part };
    report(entries.filter(({ text }) => text).map(closed));
  };
  const row = (/** @type {ReturnType<typeof open>} */ entry, /** @type {number} */ i) =>
    el(
      "div",
      { class: "board-series" },
      choiceField(entry.by, SELECTORS.map((by) => [by, WORDS[by]]), (by) => put(i, { by: /** @type {typeof SELECTORS[number]} */ (by), ...(by === "expr" ? { runs: undefined, labels: undefined } : {}) }), { "aria-label": "How the series are named" }),
      textField(entry.text, (text) => put(i, { text }), { list: "board-series", spellcheck: "false", "aria-label": "Series" }),
      button("×", () => report(entries.filter((_, k) => k !== i).map(closed)), "Remove the series"),
      textField(entry.label ?? "", (label) => put(i, { label }), { placeholder: "label: GPU {gpu}", "aria-label": "Label" }),
      choiceField(String(entry.colour ?? ""), [["", "colour"], .../** @type {[string, string][]} */ (Array.from({ length: COLOURS }, (_, k) => [String(k + 1), String(k + 1)]))], (colour) => put(i, { colour: colour ? Number(colour) : undefined }), { "aria-label": "Colour", style: entry.colour ? `border-left: 6px solid var(--run-${entry.colour - 1})` : null }),
      entry.by === "expr" ? null : textField(Object.entries(entry.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(", "), (text) => put(i, { labels: labelsOf(text) }), { placeholder: "only gpu=0", "aria-label": "Labels" }),
      entry.by === "expr" ? null : textField((entry.runs ?? []).join(", "), (text) => put(i, { runs: text ? text.split(",").map((run) => run.trim()).filter(Boolean) : undefined }), { placeholder: "runs: a*", "aria-label": "Runs" }),
    );
  const add = textField("", (text) => text && report([...entries.map(closed), closed(open(text))]), { list: "board-series", placeholder: "add: a name or an expression", spellcheck: "false", "aria-label": "Add a series" });
  return el("div", { class: "board-series-list" }, list, ...entries.map(row), add);
}

/** `gpu=0, host=a*` @param {string} text */
function labelsOf(text) {
  const found = text.split(",").map((part) => part.split("=").map((word) => word.trim())).filter(([key]) => key);
  return found.length ? Object.fromEntries(found.map(([key, value = ""]) => [key, value])) : undefined;
}
