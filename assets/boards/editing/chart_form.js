/** The form of one chart: what it draws and how. Each field changes one key of the file. */

import { el } from "../../lib/dom.js";
import { areaField, button, choiceField, flagField, labelled, textField } from "./fields.js";
import { seriesForm } from "./series_form.js";

/** @typedef {import("../model.js").ChartFields} ChartFields */
/** @typedef {import("../../types/api").Row<"ChartKindRow">} Kind */
/** @typedef {import("./draft.js").Edit} Edit */

/**
 * @typedef {Object} FormActs
 * @property {(edits: Edit[], chart?: string | null) => void} apply and which chart is chosen then
 * @property {(by: [number, number]) => void} move along its row, or to another row
 * @property {() => string[]} names of series that there are
 */

const REDUCTIONS = /** @type {[string, string][]} */ (["last", "mean", "min", "max", "sum", "change"].map((name) => [name, name]));
const CORNERS = /** @type {[string, string][]} */ (["top left", "top right", "bottom left", "bottom right"].map((name) => [name, name]));

/** @param {ChartFields} fields @param {[number, number]} at row and chart @param {Kind[]} kinds @param {FormActs} acts @returns {HTMLElement} */
export function chartForm(fields, [row, chart], kinds, acts) {
  const place = ["rows", row, "charts", chart];
  const kind = kinds.find(({ name }) => name === fields.kind) ?? kinds[0];
  const has = (/** @type {string} */ key) => kind.fields.includes(key);
  const set = (/** @type {string} */ key, /** @type {unknown} */ value) => acts.apply([value === "" || value === null || value === false ? { kind: "remove", place: [...place, key] } : { kind: "set", place: [...place, key], value }]);
  const number = (/** @type {string} */ text) => (text === "" ? "" : Number.isFinite(Number(text)) ? Number(text) : text);
  const [low, high] = (fields.range ?? ["", ""]).map((end) => (end === "auto" ? "" : String(end)));
  const range = (/** @type {string} */ a, /** @type {string} */ b) => set("range", a === "" && b === "" ? "" : [a === "" ? "auto" : number(a), b === "" ? "auto" : number(b)]);
  const ends = { low, high };
  return el(
    "section",
    { class: "board-form", "aria-label": "Chart" },
    labelled("Title", textField(fields.title ?? "", (value) => set("title", value), { placeholder: "the names of its series" })),
    labelled("Kind", choiceField(kind.name, kinds.map(({ name }) => [name, name]), (name) => acts.apply(kindEdits(fields, place, kinds, name))), kind.help),
    has("series") ? el("div", { class: "board-field" }, el("span", {}, "Series"), seriesForm(fields.series ?? [], acts.names, (series) => series.length && set("series", series))) : null,
    has("x") ? labelled("Along x", textField(typeof fields.x === "string" ? fields.x : (fields.x?.expr ?? fields.x?.name ?? ""), (value) => value && set("x", value), { list: "board-series", spellcheck: "false" })) : null,
    has("best") ? labelled("Best", choiceField(fields.best ?? "", [["", "no corner"], ...CORNERS], (value) => set("best", value)), "the corner where the best points lie: their front is drawn") : null,
    has("text") ? labelled(fields.kind === "text" ? "Text" : "Lines that have", fields.kind === "text" ? areaField(fields.text ?? "", (value) => value && set("text", value)) : textField(fields.text ?? "", (value) => set("text", value))) : null,
    el(
      "div",
      { class: "board-pairs" },
      labelled("Width", choiceField(String(fields.width ?? ""), [["", "shared"], .../** @type {[string, string][]} */ ([2, 3, 4, 5, 6, 7, 8, 9, 10, 12].map((n) => [String(n), `${n} of 12`]))], (value) => set("width", value === "" ? "" : Number(value)))),
      has("unit") ? labelled("Unit", textField(fields.unit ?? "", (value) => set("unit", value), { placeholder: "the series' own" })) : null,
      has("axis") ? labelled("Axis", choiceField(fields.axis ?? "", [["", "the board's"], ["time", "time"], ["step", "step"]], (value) => set("axis", value))) : null,
      has("smooth") ? labelled("Smooth", textField(fields.smooth ?? "", (value) => set("smooth", value), { placeholder: "10 s, 20 steps" }), "the half-life of an exponential average") : null,
      has("value") ? labelled("Value", choiceField(fields.value ?? "last", REDUCTIONS, (value) => set("value", value === "last" ? "" : value))) : null,
      has("range") ? labelled("From", textField(low, (value) => range((ends.low = value), ends.high), { placeholder: "auto", inputmode: "decimal" })) : null,
      has("range") ? labelled("To", textField(high, (value) => range(ends.low, (ends.high = value)), { placeholder: "auto", inputmode: "decimal" })) : null,
      has("bins") ? labelled("Bins", textField(String(fields.bins ?? ""), (value) => set("bins", number(value)), { placeholder: "40", inputmode: "numeric" })) : null,
      has("log") ? labelled("Log axis", flagField(Boolean(fields.log), (value) => set("log", value))) : null,
    ),
    has("thresholds") ? labelled("Thresholds", textField(thresholdText(fields.thresholds), (value) => set("thresholds", thresholdsOf(value)), { placeholder: "80: warn, 90: bad" }), "from which value on a number is ok, warn or bad") : null,
    el("div", { class: "actions" }, button("←", () => acts.move([0, -1]), "Move it to the left"), button("→", () => acts.move([0, 1]), "Move it to the right"), button("↑", () => acts.move([-1, 0]), "Move it to the row above"), button("↓", () => acts.move([1, 0]), "Move it to the row below"), button("Copy", () => acts.apply([{ kind: "insert", place: ["rows", row, "charts", chart + 1], value: fields }], `${row}.${chart + 1}`), "Another chart like this"), button("Remove", () => acts.apply([{ kind: "remove", place }], null), "Remove the chart")),
  );
}

/** Another kind keeps the fields that it has, and gets those that it needs. @param {ChartFields} fields @param {(string | number)[]} place @param {Kind[]} kinds @param {string} name @returns {Edit[]} */
export function kindEdits(fields, place, kinds, name) {
  const kind = kinds.find((known) => known.name === name);
  if (!kind) return [];
  const kept = new Set(["kind", "title", "width", ...kind.fields]);
  const gone = Object.keys(fields).filter((key) => !kept.has(key));
  const usual = /** @type {Record<string, unknown>} */ ({ text: "A note.", series: ["host/cpu_pct"], x: "host/cpu_pct" });
  const missing = kind.needed.filter((key) => /** @type {any} */ (fields)[key] === undefined);
  return [
    { kind: "set", place: [...place, "kind"], value: name },
    .../** @type {Edit[]} */ (gone.map((key) => ({ kind: "remove", place: [...place, key] }))),
    .../** @type {Edit[]} */ (missing.map((key) => ({ kind: "set", place: [...place, key], value: usual[key] }))),
  ];
}

/** @param {Record<string, string> | undefined} thresholds */
const thresholdText = (thresholds) => Object.entries(thresholds ?? {}).map(([at, tone]) => `${at}: ${tone}`).join(", ");

/** `80: warn, 90: bad` as a table; what it is not, the server says. @param {string} text */
function thresholdsOf(text) {
  if (!text) return "";
  return Object.fromEntries(text.split(",").map((part) => part.split(":").map((word) => word.trim())).map(([at, tone = ""]) => [at, tone]));
}
