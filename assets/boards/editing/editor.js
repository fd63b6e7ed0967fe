/** The editor beside a board: the board shows each change at once, and its text is the file that will be saved. */

import { get, sentenceOf } from "../../lib/api.js";
import { el } from "../../lib/dom.js";
import { Arranging } from "./arranging.js";
import { chartForm } from "./chart_form.js";
import { Draft } from "./draft.js";
import { areaField, button, choiceField, focusOf, labelled, textField } from "./fields.js";

/** @typedef {import("../../types/api").Row<"BoardAnswer">} BoardAnswer */
/** @typedef {import("../../types/api").Row<"ChartKindRow">} Kind */
/** @typedef {import("./draft.js").Edit} Edit */

/**
 * @typedef {Object} About
 * @property {BoardAnswer | null} file null for a new board
 * @property {() => string[]} names of boards
 * @property {() => string | null} readOnly why nothing can be saved
 * @property {() => string | null} run the shown one
 * @property {(saved: BoardAnswer) => void} saved
 * @property {(behind: BoardAnswer | null) => void} deleted
 * @property {() => void} closed
 */

const [MOST_FOUND, MANY_IN_A_ROW, TYPED_MS] = [12, 3, 350];
const LEAVE = "There are changes that are not saved. Leave without them?";

export class Editor {
  /** @param {import("../board.js").BoardView} board @param {About} about */
  constructor(board, about) {
    this.board = board;
    this.about = about;
    this.draft = new Draft(about.file, () => this.#changed());
    /** @type {string | null} of the chart whose form is open */
    this.chosen = null;
    /** @type {Kind[]} */
    this.kinds = [];
    /** @type {string[]} */
    this.series = [];
    this.asText = Boolean(about.file?.trouble);
    this.arranging = new Arranging(board.field, { apply: (edits, chart) => this.apply(edits, chart), choose: (chart) => this.choose(chart) });
    this.back = button("Undo", () => this.undo(), "Undo (u)");
    this.keep = button("Save", () => this.save(), "Save (Ctrl S)", "btn pri");
    this.gone = button("Delete", () => this.#remove(), "Delete the board's file");
    this.name = el("input", { class: "input", type: "text", maxlength: 80, "aria-label": "Name of the file", spellcheck: "false", placeholder: "name of the file" });
    this.tabs = el("div", { class: "actions", role: "group", "aria-label": "How to edit" }, button("Form", () => this.#turn(false)), button("YAML", () => this.#turn(true)));
    this.said = el("p", { class: "board-edit-said", role: "status" });
    this.body = el("div", { class: "board-edit-body" });
    this.text = el("textarea", { class: "input board-yaml", spellcheck: "false", "aria-label": "The board as YAML", oninput: () => this.#typed() });
    this.element = el("aside", { class: "board-editor", "aria-label": "Editor" }, el("header", {}, this.name, this.back, this.keep, button("Close", () => this.leave(), "Close the editor (Esc)")), el("div", { class: "board-edit-line" }, this.tabs, this.gone), this.said, this.body);
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      /** @type {HTMLElement | null} */ (document.activeElement)?.blur(); // what is typed is taken first
      this.save();
    });
    this.body.addEventListener("focusout", () => setTimeout(() => this.#waits && this.#fill()));
    this.leaving = (/** @type {BeforeUnloadEvent} */ event) => this.draft.dirty && event.preventDefault();
    addEventListener("beforeunload", this.leaving);
  }

  async begin() {
    this.name.value = this.draft.name;
    this.name.disabled = Boolean(this.draft.name);
    this.#changed();
    const run = this.about.run();
    try {
      const [{ kinds }, machine, own] = await Promise.all([get("boards"), get("series"), run === null ? null : get("series", { run })]);
      this.kinds = kinds;
      this.series = [...new Set([...(own?.series ?? []), ...machine.series].map(({ name }) => name))];
    } catch (error) {
      this.#say(sentenceOf(error));
    }
    if (!this.about.file) await this.draft.apply([]);
    this.#fill();
  }

  // Changes

  /** @param {Edit[]} edits @param {string | null} [chart] that is chosen then */
  apply(edits, chart) {
    if (chart !== undefined) this.chosen = chart;
    return this.draft.apply(edits);
  }

  undo() {
    return this.draft.undo();
  }

  /** @param {string} chart */
  choose(chart) {
    if (this.asText || chart === this.chosen) return;
    this.chosen = chart;
    this.#fill();
    this.#mark();
  }

  #changed() {
    const { board, trouble, back, dirty, typed, content } = this.draft;
    this.back.disabled = !back.length && typed === content.text;
    this.keep.disabled = Boolean(this.about.readOnly()) || Boolean(trouble);
    this.gone.hidden = this.about.file?.source !== "data";
    this.#say(trouble || this.about.readOnly() || (dirty ? "Not saved yet." : ""));
    if (!trouble) {
      const some = (board.rows ?? []).some(({ charts }) => charts?.length);
      this.board.say(some ? "" : "This board has no charts yet. Find a series in the editor to add one.");
      this.board.show(board);
    }
    if (this.text !== document.activeElement) this.text.value = typed;
    this.arranging.mount();
    this.#fill();
    this.#mark();
  }

  /** @param {string} sentence @param {...Node} more */
  #say(sentence, ...more) {
    this.said.replaceChildren(sentence, ...more);
    this.said.classList.toggle("warn", sentence !== "" && sentence !== "Not saved yet." && !sentence.startsWith("Saved"));
  }

  #mark() {
    for (const chart of this.board.field.querySelectorAll(".board-chart")) chart.classList.toggle("chosen", /** @type {HTMLElement} */ (chart).dataset.chart === this.chosen);
  }

  /** @param {boolean} asText */
  #turn(asText) {
    this.asText = asText;
    this.#fill();
  }

  #typed() {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.draft.type(this.text.value), TYPED_MS);
  }
  #later = 0;

  #waits = false; // the form is made anew when its field is left

  // What is in the panel

  #fill() {
    [...this.tabs.children].forEach((tab, i) => tab.setAttribute("aria-pressed", String(Boolean(i) === this.asText)));
    if (this.asText) {
      if (this.body.firstChild !== this.text) this.body.replaceChildren(this.text);
      return;
    }
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    this.#waits = isTyping(focused) && this.body.contains(focused);
    if (this.#waits) return; // until what is typed is reported
    const focusAgain = focusOf(this.body);
    const [row, chart] = (this.chosen ?? "").split(".").map(Number);
    const fields = this.draft.board.rows?.[row]?.charts?.[chart];
    this.body.replaceChildren(...(fields && this.kinds.length ? this.#chart(row, chart, fields) : this.#whole()));
    focusAgain();
  }

  /** @param {number} row @param {number} chart @param {import("../model.js").ChartFields} fields */
  #chart(row, chart, fields) {
    const { title = "", height } = this.draft.board.rows?.[row] ?? {};
    const set = (/** @type {string} */ key, /** @type {unknown} */ value) => this.apply([value === "" ? { kind: "remove", place: ["rows", row, key] } : { kind: "set", place: ["rows", row, key], value }]);
    const acts = { apply: (/** @type {Edit[]} */ edits, /** @type {string | null | undefined} */ chosen) => this.apply(edits, chosen), move: (/** @type {[number, number]} */ by) => this.#move(row, chart, by), names: () => this.series };
    return [
      button("← All of the board", () => ((this.chosen = null), this.#fill(), this.#mark()), "", "link"),
      chartForm(fields, [row, chart], this.kinds, acts),
      el("section", { class: "board-form", "aria-label": "Row" }, el("h3", {}, "Its row"), el("div", { class: "board-pairs" }, labelled("Title", textField(title, (value) => set("title", value))), labelled("Height", textField(String(height ?? ""), (value) => set("height", value === "" ? "" : Number(value) || value), { placeholder: "220", inputmode: "numeric" })))),
    ];
  }

  /** @param {number} row @param {number} chart @param {[number, number]} by rows and places */
  #move(row, chart, [rows, places]) {
    const all = this.draft.board.rows ?? [];
    const from = ["rows", row, "charts", chart];
    if (places) {
      const to = Math.max(0, Math.min((all[row]?.charts?.length ?? 1) - 1, chart + places));
      if (to !== chart) this.apply([{ kind: "move", place: from, to: ["rows", row, "charts", to] }], `${row}.${to}`);
      return;
    }
    const to = row + rows;
    if (to < 0) this.apply([{ kind: "insert", place: ["rows", 0], value: { charts: [] } }, { kind: "move", place: ["rows", 1, "charts", chart], to: ["rows", 0, "charts", 0] }], "0.0");
    else if (to >= all.length) this.apply([{ kind: "insert", place: ["rows", to], value: { charts: [] } }, { kind: "move", place: from, to: ["rows", to, "charts", 0] }], `${to}.0`);
    else this.apply([{ kind: "move", place: from, to: ["rows", to, "charts", all[to].charts?.length ?? 0] }], `${to}.${all[to].charts?.length ?? 0}`);
  }

  #whole() {
    const { title = "", about = "", window = "", axis = "time", runs = [] } = this.draft.board;
    const set = (/** @type {string} */ key, /** @type {unknown} */ value) => this.apply([value === "" ? { kind: "remove", place: [key] } : { kind: "set", place: [key], value }]);
    return [
      this.#search(),
      el(
        "section",
        { class: "board-form", "aria-label": "The board" },
        el("h3", {}, "The board"),
        labelled("Title", textField(title, (value) => set("title", value))),
        labelled("About", areaField(about, (value) => set("about", value.trim()), { rows: 2 })),
        el("div", { class: "board-pairs" }, labelled("Shows", textField(window, (value) => set("window", value), { placeholder: "the whole run" }), "so much up to now, such as 15 min; all for the whole run"), labelled("Axis", choiceField(axis, [["time", "time"], ["step", "step"]], (value) => set("axis", value === "time" ? "" : value)))),
        labelled("Runs", textField(runs.join(", "), (value) => set("runs", value ? value.split(",").map((run) => run.trim()).filter(Boolean) : ""), { placeholder: "the run that the page shows" }), "names or globs, separated by commas"),
      ),
      el("p", { class: "dim" }, "Click a chart to change it. Drag its head to move it, its corner to size it."),
    ];
  }

  /** A chart by search. */
  #search() {
    const found = el("div", { class: "board-found" });
    const list = () => {
      const words = input.value.toLowerCase().split(/\s+/);
      const names = this.series.filter((name) => words.every((/** @type {string} */ word) => name.toLowerCase().includes(word)));
      found.replaceChildren(...names.slice(0, MOST_FOUND).map((name) => button(name, () => this.#add({ kind: "line", series: [name] }), `Add a chart of ${name}`, "board-hit")), names.length > MOST_FOUND ? el("span", { class: "dim" }, `${names.length - MOST_FOUND} more: type a part of the name`) : names.length ? "" : el("span", { class: "dim" }, "No series has that in its name."));
    };
    const input = el("input", { class: "input", type: "search", placeholder: "find a series", "aria-label": "Find a series to add", value: this.searched, oninput: () => ((this.searched = input.value), list()) });
    list();
    return el("section", { class: "board-form", "aria-label": "Add a chart" }, el("h3", {}, "Add a chart"), input, found, el("div", { class: "actions" }, button("Note", () => this.#add({ kind: "text", text: "A note." })), button("Flame graph", () => this.#add({ kind: "flame graph" })), button("Log lines", () => this.#add({ kind: "log lines" }))));
  }
  searched = "";

  /** At the end of the last row, or in a row of its own. @param {import("../model.js").ChartFields} value */
  #add(value) {
    const rows = this.draft.board.rows ?? [];
    const last = rows.length - 1;
    const charts = rows[last]?.charts?.length ?? MANY_IN_A_ROW;
    const [row, chart] = charts < MANY_IN_A_ROW ? [last, charts] : [rows.length, 0];
    const edits = /** @type {Edit[]} */ (chart || charts === 0 ? [{ kind: "insert", place: ["rows", row, "charts", chart], value }] : [{ kind: "insert", place: ["rows", row], value: { charts: [value] } }]);
    this.apply(edits, `${row}.${chart}`).then(() => this.board.field.querySelector(`[data-chart="${row}.${chart}"]`)?.scrollIntoView({ block: "nearest" }));
  }

  // The file

  async save() {
    const name = this.name.value.trim() || slugOf(this.draft.board.title ?? "");
    this.name.value = name;
    try {
      const saved = await this.draft.save(name);
      this.about.file = saved;
      this.name.disabled = true;
      this.about.saved(saved);
      this.#changed();
      this.#say("Saved.");
    } catch (error) {
      this.#say(sentenceOf(error), ...(this.elsewhere ? this.#choices(this.elsewhere) : []));
    }
  }

  /** @type {BoardAnswer | null} what the file has become while there are changes here */
  elsewhere = null;

  /** The file is another one than the one that was opened. @param {BoardAnswer} file */
  changedOutside(file) {
    if (file.version === this.draft.version) return;
    if (!this.draft.dirty) {
      this.about.file = file;
      this.draft.take(file);
      this.#say("The file was changed elsewhere, and is shown as it is now.");
      return;
    }
    this.elsewhere = file;
    this.#say("The file was changed elsewhere meanwhile; what you have here is not lost, and not saved.", ...this.#choices(file));
  }

  /** @param {BoardAnswer} file */
  #choices(file) {
    const take = () => {
      this.elsewhere = null;
      this.about.file = file;
      this.draft.take(file);
      this.#say("This is the file as it is now; Undo brings back yours.");
    };
    const other = () => {
      this.elsewhere = null;
      this.draft.name = this.draft.version = "";
      this.name.disabled = false;
      this.name.value = freeName(file.name, this.about.names());
      this.save();
    };
    return [el("span", { class: "actions" }, button("Take theirs", take), button("Save mine under another name", other))];
  }

  async #remove() {
    if (!confirm(`Delete the board ${this.draft.name}?`)) return;
    try {
      const behind = await this.draft.remove();
      this.draft.saved = this.draft.typed;
      this.about.deleted(behind);
    } catch (error) {
      this.#say(sentenceOf(error));
    }
  }

  /** @returns {boolean} whether it is closed */
  leave() {
    if (this.draft.dirty && this.draft.back.length && !confirm(LEAVE)) return false;
    this.close();
    return true;
  }

  close() {
    removeEventListener("beforeunload", this.leaving);
    this.arranging.close();
    this.about.closed();
  }
}

/** Whether a field has what is not reported yet. @param {any} field */
const isTyping = (field) => field instanceof HTMLElement && field.matches("input:not([type=search], [type=checkbox]), textarea") && /** @type {HTMLInputElement} */ (field).value !== /** @type {HTMLInputElement} */ (field).defaultValue;

/** @param {string} title */
const slugOf = (title) => title.toLowerCase().replace(/[^a-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 80) || "board";

/** @param {string} name @param {string[]} names */
function freeName(name, names) {
  for (let n = 2; ; n++) if (!names.includes(`${name}-${n}`)) return `${name}-${n}`;
}

