/** The form of one chart of a board: each field changes one key of the file. */

import { COLOURS } from "../data/colours.js";
import { el } from "../lib/dom.js";
import { ALL, SUMMARIES, areKeys, divisorOf, shapeOf, textOf } from "./shape.js";

// The form of one chart: what it draws and how. Each field changes one key of the file.

/** @typedef {import("./model.js").ChartFields} ChartFields */
/** @typedef {import("../types/api").Row<"ChartKindRow">} Kind */
/** @typedef {import("./editor.js").Edit} Edit */

/**
 * @typedef {Object} FormActs
 * @property {(edits: Edit[], chart?: string | null) => void} apply and which chart is chosen then
 * @property {(by: [number, number]) => void} move along its row, or to another row
 * @property {() => string[]} names of series that have data
 * @property {string[]} exprs that it asks for
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
    acts.exprs.length ? el("details", { class: "board-expr" }, el("summary", {}, "Expression"), ...acts.exprs.map((expr) => el("code", {}, expr))) : null,
    el("div", { class: "actions" }, button("←", () => acts.move([0, -1]), "Move it to the left"), button("→", () => acts.move([0, 1]), "Move it to the right"), button("↑", () => acts.move([-1, 0]), "Move it to the row above"), button("↓", () => acts.move([1, 0]), "Move it to the row below"), button("Copy", () => acts.apply([{ kind: "insert", place: ["rows", row, "charts", chart + 1], value: fields }], `${row}.${chart + 1}`), "Another chart like this"), button("Remove", () => acts.apply([{ kind: "remove", place }], null), "Remove the chart")),
  );
}

/** Another kind keeps the fields that it has, and gets those that it needs. @param {ChartFields} fields @param {(string | number)[]} place @param {Kind[]} kinds @param {string} name @returns {Edit[]} */
function kindEdits(fields, place, kinds, name) {
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

// The series of a chart: a line each, by name, glob, regex or expression, with its label and colour.

/** @typedef {import("../types/api").Row<"SeriesFields">} SeriesFields */
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
function closed({ by, text, name: _n, glob: _g, regex: _r, expr: _e, ...rest }) {
  const more = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== "" && value !== undefined && value !== null));
  const word = (by === "name") === PLAIN_NAME.test(text) && (by === "name" || by === "expr");
  return word && !Object.keys(more).length ? text : /** @type {SeriesFields} */ ({ [by]: text, ...more });
}

/** Of which series, by place, the details are open: the form is made anew with each change. @type {Set<number>} */
const moreOpen = new Set();

/** @param {Entry[]} series @param {() => string[]} names @param {(series: Entry[]) => void} report @returns {HTMLElement} */
function seriesForm(series, names, report) {
  const entries = series.map(open);
  const list = el("datalist", { id: "board-series" }, ...names().map((name) => el("option", { value: name })));
  const labels = el("datalist", { id: "board-labels" }, ...["gpu", "host", "rank", "run", ALL].map((name) => el("option", { value: name })));
  const put = (/** @type {number} */ i, /** @type {Partial<ReturnType<typeof open>>} */ part) => {
    entries[i] = { ...entries[i], ...part };
    report(entries.filter(({ text }) => text).map(closed));
  };
  const row = (/** @type {ReturnType<typeof open>} */ entry, /** @type {number} */ i) =>
    el(
      "div",
      { class: "board-series" },
      textField(entry.text, (text) => put(i, { text }), { list: "board-series", spellcheck: "false", "aria-label": "Series" }),
      button("×", () => report(entries.filter((_, k) => k !== i).map(closed)), "Remove the series"),
      shapeFields(entry, () => entries[i].text, (text) => put(i, { text, by: PLAIN_NAME.test(text) ? "name" : "expr" })),
      el(
        "details",
        { open: moreOpen.has(i), ontoggle: (/** @type {Event} */ event) => moreOpen[/** @type {HTMLDetailsElement} */ (event.target).open ? "add" : "delete"](i) },
        el("summary", {}, "Label, colour, selection"),
        labelled("Label", textField(entry.label ?? "", (label) => put(i, { label }), { placeholder: "GPU {gpu}" })),
        labelled("Colour", choiceField(String(entry.colour ?? ""), [["", "automatic"], .../** @type {[string, string][]} */ (Array.from({ length: COLOURS }, (_, k) => [String(k + 1), String(k + 1)]))], (colour) => put(i, { colour: colour ? Number(colour) : undefined }), { style: entry.colour ? `border-left: 6px solid var(--c${entry.colour})` : null })),
        labelled("Named by", choiceField(entry.by, SELECTORS.map((by) => [by, WORDS[by]]), (by) => put(i, { by: /** @type {typeof SELECTORS[number]} */ (by), ...(by === "expr" ? { runs: undefined, labels: undefined } : {}) }))),
        entry.by === "expr" ? null : labelled("Only labels", textField(Object.entries(entry.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(", "), (text) => put(i, { labels: labelsOf(text) }), { placeholder: "all, or gpu=0, host=a*" })),
        entry.by === "expr" ? null : labelled("Runs", textField((entry.runs ?? []).join(", "), (text) => put(i, { runs: text ? text.split(",").map((run) => run.trim()).filter(Boolean) : undefined }), { placeholder: "the board's, or names such as sweep*" })),
      ),
    );
  const add = textField("", (text) => text && report([...entries.map(closed), closed(open(text))]), { list: "board-series", placeholder: "Add a metric or an expression", spellcheck: "false", "aria-label": "Add a series" });
  return el("div", { class: "board-series-list" }, list, labels, ...entries.map(row), add);
}

/** What many expressions are made of, as fields which write it; null where an entry is of another shape. @param {ReturnType<typeof open>} entry @param {() => string} now its text, after changes that are on their way @param {(text: string) => void} report */
function shapeFields({ by, text, labels, runs }, now, report) {
  const shape = by === "expr" || (by === "name" && PLAIN_NAME.test(text) && !labels && !runs) ? shapeOf(text) : null;
  if (!shape) return null;
  const put = (/** @type {Partial<import("./shape.js").Shape>} */ part) => report(textOf({ ...(shapeOf(now()) ?? shape), ...part }));
  const keys = textField(shape.keys, (typed) => {
    const wrong = !areKeys(typed);
    keys.setCustomValidity(wrong ? "Write labels such as gpu, or host, rank; or all." : "");
    if (wrong) keys.reportValidity();
    else put({ keys: typed });
  }, { list: "board-labels", placeholder: "none: each by itself", spellcheck: "false" });
  return el(
    "div",
    { class: "board-shape" },
    labelled("Divide by", textField(shape.by, (typed) => put({ by: divisorOf(typed) }), { list: "board-series", placeholder: "nothing; a metric, or 1 GiB", spellcheck: "false" })),
    labelled("Group by", keys, `labels, such as gpu or host, rank; ${ALL} for one line of all series`),
    shape.keys === "" ? null : labelled("Summary", choiceField(shape.summary, SUMMARIES.map((name) => [name, name]), (summary) => put({ summary }))),
  );
}

/** `gpu=0, host=a*` @param {string} text */
function labelsOf(text) {
  const found = text.split(",").map((part) => part.split("=").map((word) => word.trim())).filter(([key]) => key);
  return found.length ? Object.fromEntries(found.map(([key, value = ""]) => [key, value])) : undefined;
}

// The fields of a form: each shows a value and reports another one.

/** @param {string} label @param {HTMLElement} control @param {string} [help] */
export const labelled = (label, control, help = "") => el("label", { class: "board-field", title: help || null }, el("span", {}, label), control);

/** A change is reported when the field is left, or with Enter. @param {string} value @param {(value: string) => void} report @param {Record<string, any>} [more] */
export function textField(value, report, more = {}) {
  const input = el("input", { class: "input", type: "text", maxlength: 2000, value, ...more });
  input.addEventListener("change", () => {
    input.defaultValue = input.value; // it is reported: the form may be made anew
    report(input.value.trim());
  });
  return input;
}

/** @param {string} value @param {(value: string) => void} report @param {Record<string, any>} [more] */
export function areaField(value, report, more = {}) {
  const area = el("textarea", { class: "input", rows: 4, ...more });
  area.textContent = value;
  area.addEventListener("change", () => report(area.value));
  return area;
}

/** @param {string} value @param {[string, string][]} options value and label @param {(value: string) => void} report @param {Record<string, any>} [more] */
export function choiceField(value, options, report, more = {}) {
  const select = el("select", { class: "input", ...more }, ...options.map(([name, label]) => el("option", { value: name }, label)));
  select.value = value;
  select.addEventListener("change", () => report(select.value));
  return select;
}

/** @param {boolean} value @param {(value: boolean) => void} report */
function flagField(value, report) {
  const box = el("input", { type: "checkbox" });
  box.checked = value;
  box.addEventListener("change", () => report(box.checked));
  return box;
}

/** @param {string} label @param {() => void} act @param {string} [title] @param {string} [kind] */
export const button = (label, act, title = "", kind = "btn") => el("button", { class: kind, type: "button", title: title || null, "aria-label": title && !/\w/.test(label) ? title : null, onclick: act }, label);

/** Call what it returns once the form is made anew: the focus and what is selected stay in the field of the same name, else the focus goes to the form's first. @param {HTMLElement} form */
export function focusOf(form) {
  const focused = /** @type {any} */ (document.activeElement);
  if (!form.contains(focused)) return () => {};
  const name = nameOf(focused);
  const nth = namesakes(form, name).indexOf(focused);
  const { selectionStart = null, selectionEnd } = focused; // null of what is no text
  return () => {
    const field = namesakes(form, name)[nth];
    (field ?? controlsOf(form)[0])?.focus({ preventScroll: true });
    if (field && selectionStart !== null) field.setSelectionRange(selectionStart, selectionEnd);
  };
}

/** @param {HTMLElement} form @returns {any[]} */
const controlsOf = (form) => [...form.querySelectorAll("input, select, textarea, button")];

/** @param {HTMLElement} form @param {string} name */
const namesakes = (form, name) => controlsOf(form).filter((control) => nameOf(control) === name);

/** @param {any} control */
const nameOf = (control) => `${control.type} ${control.ariaLabel ?? control.labels?.[0]?.firstElementChild?.textContent ?? control.textContent}`;
