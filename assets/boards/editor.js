/** The editor beside a board: the board shows each change at once, and its text is the file that will be saved. */

import { change, get, sentenceOf } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { count, counted } from "../lib/format.js";
import { guard } from "../lib/life.js";
import { areaField, button, chartForm, choiceField, focusOf, labelled, textField } from "./forms.js";
import { COLUMNS } from "./model.js";

/** @typedef {import("../types/api").Row<"BoardAnswer">} BoardAnswer */
/** @typedef {import("../types/api").Row<"ChartKindRow">} Kind */

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

const [MAX_FOUND, MANY_IN_A_ROW, TYPED_MS] = [12, 3, 350];
const LEAVE = "There are changes that are not saved. Leave without them?";

export class Editor {
  /** @param {import("./board.js").BoardView} board @param {About} about */
  constructor(board, about) {
    this.board = board;
    this.about = about;
    this.draft = new Draft(about.file, () => this.#changed());
    /** @type {string | null} of the chart whose form is open */
    this.chosen = null;
    /** @type {Kind[]} */
    this.kinds = [];
    /** @type {Map<string, number>} how many points each series with data has */
    this.points = new Map();
    this.asText = Boolean(about.file?.trouble);
    this.arranger = new ChartArranger(board.field, { apply: (edits, chart) => this.apply(edits, chart), choose: (chart) => this.choose(chart) });
    this.back = button("Undo", () => this.undo(), "Undo (u)");
    this.keep = button("Save", () => this.save(), "Save (Ctrl S)", "btn pri");
    this.gone = button("Delete", () => this.#remove(), "Delete the board's file");
    this.name = el("input", { class: "input", type: "text", maxlength: 80, "aria-label": "Name of the file", spellcheck: "false", placeholder: "File name, else from the title" });
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
    this.isClosed = false;
    guard(() => (this.draft.isChanged && !this.isClosed ? "changes of the board" : ""));
  }

  async begin() {
    this.name.value = this.draft.name;
    this.name.disabled = Boolean(this.draft.name);
    this.#changed();
    const run = this.about.run();
    try {
      const [{ kinds }, machine, own] = await Promise.all([get("boards"), get("series"), run === null ? null : get("series", { run })]);
      this.kinds = kinds;
      this.points = new Map();
      for (const { name, points } of [...(own?.series ?? []), ...machine.series]) if (points) this.points.set(name, (this.points.get(name) ?? 0) + points);
    } catch (error) {
      this.#say(sentenceOf(error));
    }
    if (!this.about.file) await this.draft.apply([]);
    this.#fill();
    if (!this.draft.name) /** @type {HTMLElement | null} */ (this.body.querySelector("[type=search]"))?.focus(); // a new board begins with a metric
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
      this.board.show(board, content.exprs, true);
    }
    if (this.text !== document.activeElement) this.text.value = typed;
    this.arranger.mount();
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
    this.draft.typed = this.text.value; // it counts at once, and is sent with the next pause
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

  /** @param {number} row @param {number} chart @param {import("./model.js").ChartFields} fields */
  #chart(row, chart, fields) {
    const { title = "", height } = this.draft.board.rows?.[row] ?? {};
    const set = (/** @type {string} */ key, /** @type {unknown} */ value) => this.apply([value === "" ? { kind: "remove", place: ["rows", row, key] } : { kind: "set", place: ["rows", row, key], value }]);
    const acts = { apply: (/** @type {Edit[]} */ edits, /** @type {string | null | undefined} */ chosen) => this.apply(edits, chosen), move: (/** @type {[number, number]} */ by) => this.#move(row, chart, by), names: () => [...this.points.keys()], exprs: this.draft.content.exprs.filter((expr) => expr.row === row && expr.chart === chart).map(({ expr }) => expr) };
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
    const addLine = (/** @type {string} */ name) => this.#add({ kind: "line", series: [name] });
    const hits = () => {
      const words = input.value.toLowerCase().split(/\s+/);
      return [...this.points.keys()].filter((name) => words.every((/** @type {string} */ word) => name.toLowerCase().includes(word)));
    };
    const list = () => {
      const names = hits();
      const used = JSON.stringify(this.draft.board.rows ?? []);
      const hit = (/** @type {string} */ name) => {
        const row = button(name, () => addLine(name), `Add a chart of ${name}`, "board-hit");
        row.replaceChildren(el("code", {}, name), el("span", { class: "dim" }, counted(this.points.get(name) ?? 0, "point")), used.includes(JSON.stringify(name)) ? el("span", { class: "dim" }, "in use") : el("span", { class: "acc" }, "Add"));
        return row;
      };
      found.replaceChildren(...names.slice(0, MAX_FOUND).map(hit), names.length > MAX_FOUND ? el("span", { class: "dim" }, `${names.length - MAX_FOUND} more: type a part of the name`) : names.length ? "" : el("span", { class: "dim" }, "No metric with data has that in its name."));
    };
    const input = el("input", { class: "input", type: "search", placeholder: "Filter metrics; Enter adds the first", "aria-label": "Find a series to add", value: this.searched, oninput: () => ((this.searched = input.value), list()) });
    input.addEventListener("keydown", (/** @type {KeyboardEvent} */ { key }) => {
      const [first] = hits();
      if (key === "Enter" && first) addLine(first);
    });
    list();
    return el("section", { class: "board-form", "aria-label": "Add a chart" }, el("h3", {}, "Add a chart", el("span", { class: "dim" }, `${count(this.points.size)} metrics, all have data`)), input, found, el("div", { class: "actions" }, button("Note", () => this.#add({ kind: "text", text: "A note." })), button("Flame graph", () => this.#add({ kind: "flame graph" })), button("Log lines", () => this.#add({ kind: "log lines" }))));
  }
  searched = "";

  /** At the end of the last row, or in a row of its own. @param {import("./model.js").ChartFields} value */
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
    const slug = slugOf(this.draft.board.title ?? "");
    const name = this.name.value.trim() || (this.about.names().includes(slug) ? freeName(slug, this.about.names()) : slug);
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
      this.draft.replace(file);
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
      this.draft.replace(file);
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
    if (this.draft.isChanged && !confirm(LEAVE)) return false;
    this.close();
    return true;
  }

  close() {
    this.isClosed = true;
    this.arranger.close();
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

// A board that is being changed: its text and what that says, the way back, and what is saved.

/** @typedef {import("./model.js").BoardFields} BoardFields */
/** @typedef {{kind: "set" | "remove" | "insert" | "move", place: (string | number)[], value?: unknown, to?: (string | number)[]}} Edit */
/** @typedef {{text: string, board: BoardFields, exprs: import("./model.js").ChartExpression[]}} Content */

const MAX_BACK = 200;
const EMPTY = "title: New board\n";

class Draft {
  /** @param {BoardAnswer | null} file null for a new one @param {() => void} changed */
  constructor(file, changed) {
    this.changed = changed;
    this.name = file?.name ?? "";
    this.version = file?.version ?? "";
    /** @type {Content} */
    this.content = { text: file?.text ?? EMPTY, board: file?.board ?? {}, exprs: file?.exprs ?? [] };
    this.typed = file?.text ?? EMPTY; // also where it is no board
    this.saved = file?.text ?? "";
    /** @type {Content[]} */
    this.back = [];
    this.trouble = file?.trouble ?? "";
    /** @type {unknown} what the last change has met */
    this.failed = null;
    /** @type {Promise<void>} one change after the other */
    this.last = Promise.resolve();
  }

  get board() {
    return this.content.board;
  }

  /** Something would be lost without saving. */
  get dirty() {
    return this.typed !== this.saved;
  }

  /** Something of the user's would be lost: a change, or text that is no board yet. */
  get isChanged() {
    return this.dirty && (this.back.length > 0 || this.typed !== this.content.text);
  }

  /** Change the text at some places; comments stay. @param {Edit[]} edits */
  apply(edits) {
    return this.#next(() => this.#send(this.content.text, edits));
  }

  /** The text as a user types it: taken once it is a board. @param {string} text */
  type(text) {
    this.typed = text;
    return this.#next(() => (this.typed === text ? this.#send(text, []) : Promise.resolve()));
  }

  /** @param {() => Promise<void>} work */
  #next(work) {
    this.last = this.last.then(work);
    return this.last;
  }

  /** @param {string} text @param {Edit[]} edits */
  async #send(text, edits) {
    try {
      const { typed } = this;
      const answer = /** @type {Content} */ (await change("board_edits", { text, edits }));
      this.trouble = "";
      this.failed = null;
      if (answer.text !== this.content.text) this.back = [...this.back.slice(1 - MAX_BACK), this.content];
      this.content = answer;
      if (this.typed === typed || edits.length) this.typed = answer.text; // what is typed meanwhile comes next
    } catch (error) {
      this.trouble = sentenceOf(error);
      this.failed = error;
    }
    this.changed();
  }

  undo() {
    return this.#next(async () => {
      const before = this.back.pop();
      if (!before && this.typed === this.content.text) return;
      if (this.typed === this.content.text && before) this.content = before;
      else if (before) this.back.push(before); // what was typed last was no board
      this.typed = this.content.text;
      this.trouble = "";
      this.failed = null;
      this.changed();
    });
  }

  /** @param {string} name @returns {Promise<BoardAnswer>} throws Refused and Unreachable, and what the last change has met */
  async save(name) {
    await this.last;
    if (this.failed) throw this.failed; // the board would be saved without that change
    const version = name === this.name ? this.version : "";
    const saved = /** @type {BoardAnswer} */ (await change(`boards/${encodeURIComponent(name)}`, { text: this.typed, version }));
    this.#hold(saved);
    return saved;
  }

  /** What another editor, or a user's hand, has made of the file. @param {BoardAnswer} file */
  replace(file) {
    if (this.content.text !== file.text && file.board) this.back = [...this.back, this.content];
    if (file.board && !file.trouble) this.content = { text: file.text, board: file.board, exprs: file.exprs };
    this.trouble = file.trouble;
    this.failed = null;
    this.#hold(file);
    this.changed();
  }

  /** @param {BoardAnswer} file */
  #hold({ name, version, text }) {
    Object.assign(this, { name, version, saved: text, typed: text });
  }

  /** @returns {Promise<BoardAnswer | null>} the board that stands behind it */
  async remove() {
    return (await change(`boards/${encodeURIComponent(this.name)}/delete`, { version: this.version })).board;
  }
}

// Charts change their place and their size by hand: dragged by the head, and by the corner.

const DRAG_PX = 5; // less is a click
const [MIN_PX, MAX_PX, STEP_PX] = [80, 1200, 10]; // heights of rows

/**
 * @typedef {Object} Acts
 * @property {(edits: Edit[], chart: string) => void} apply
 * @property {(chart: string) => void} choose
 */

/** @param {HTMLElement} element @returns {[number, number]} row and place of a chart */
const placeOf = (element) => /** @type {[number, number]} */ ((element.dataset.chart ?? "0.0").split(".").map(Number));

class ChartArranger {
  /** @param {HTMLElement} field of the board @param {Acts} acts */
  constructor(field, acts) {
    this.field = field;
    this.acts = acts;
    this.mark = el("i", { class: "board-drop", hidden: true });
    this.control = new AbortController();
    const { signal } = this.control;
    field.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    field.addEventListener("click", (event) => this.#click(event), { signal });
  }

  /** Each chart has a corner to be dragged by. */
  mount() {
    for (const chart of this.field.querySelectorAll(".board-chart")) if (!chart.querySelector(".board-corner")) chart.append(el("i", { class: "board-corner", title: "Drag to change the size" }));
  }

  close() {
    this.control.abort();
    this.mark.remove();
    for (const corner of this.field.querySelectorAll(".board-corner")) corner.remove();
    for (const chart of this.field.querySelectorAll(".chosen")) chart.classList.remove("chosen");
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const chart = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest(".board-chart"));
    if (chart?.dataset.chart && !this.#dragged) this.acts.choose(chart.dataset.chart);
  }

  #dragged = false;

  /** @param {PointerEvent} event */
  #down(event) {
    this.#dragged = false;
    const target = /** @type {HTMLElement} */ (event.target);
    const chart = /** @type {HTMLElement | null} */ (target.closest(".board-chart"));
    if (event.button !== 0 || !chart) return;
    if (target.closest(".board-corner")) this.#drag(event, chart, (move, done) => this.#size(chart, event, move, done));
    else if (target.closest(".chart-head") && !target.closest("button")) this.#drag(event, chart, (move, done) => this.#carry(chart, move, done));
  }

  /** @param {PointerEvent} down @param {HTMLElement} chart @param {(move: PointerEvent, done: boolean) => void} act */
  #drag(down, chart, act) {
    down.preventDefault();
    const control = new AbortController();
    const { signal } = control;
    /** @type {PointerEvent | null} */
    let last = null;
    const end = (/** @type {boolean} */ done) => {
      control.abort();
      chart.classList.remove("moving");
      if (last) act(last, done);
    };
    addEventListener("pointermove", (move) => {
      if (!last && Math.hypot(move.clientX - down.clientX, move.clientY - down.clientY) < DRAG_PX) return;
      this.#dragged = true;
      last = move;
      chart.classList.add("moving");
      act(move, false);
    }, { signal });
    addEventListener("pointerup", () => end(true), { signal });
    addEventListener("pointercancel", () => ((this.mark.hidden = true), control.abort(), chart.classList.remove("moving")), { signal });
  }

  // A place

  /** @param {HTMLElement} chart @param {PointerEvent} move @param {boolean} done */
  #carry(chart, { clientX, clientY }, done) {
    const found = this.#target(clientX, clientY);
    this.mark.hidden = done || !found;
    if (!found) return;
    if (!done) {
      this.field.append(this.mark);
      const area = this.field.getBoundingClientRect();
      Object.assign(this.mark.style, { left: `${found.line.left - area.left}px`, top: `${found.line.top - area.top}px`, width: `${found.line.width}px`, height: `${found.line.height}px` });
      return;
    }
    this.mark.remove();
    const [row, place] = placeOf(chart);
    if (found.row === null) return this.#newRow(row, place, found.before);
    const to = found.row === row && found.place > place ? found.place - 1 : found.place;
    if (found.row === row && to === place) return;
    this.acts.apply([{ kind: "move", place: ["rows", row, "charts", place], to: ["rows", found.row, "charts", to] }], `${found.row}.${to}`);
  }

  /** @param {number} row @param {number} place @param {number} before which row */
  #newRow(row, place, before) {
    const from = row >= before ? row + 1 : row;
    this.acts.apply([{ kind: "insert", place: ["rows", before], value: { charts: [] } }, { kind: "move", place: ["rows", from, "charts", place], to: ["rows", before, "charts", 0] }], `${before}.0`);
  }

  /** Before or behind the chart below the pointer; between two rows a row of its own. @param {number} x @param {number} y */
  #target(x, y) {
    const rows = /** @type {HTMLElement[]} */ ([...this.field.querySelectorAll(".board-row")]);
    for (const row of rows) {
      const charts = /** @type {HTMLElement[]} */ ([...row.querySelectorAll(".board-chart")]);
      for (const chart of charts) {
        const { left, right, top, bottom, width, height } = chart.getBoundingClientRect();
        if (x < left || x > right || y < top || y > bottom) continue;
        const [at, place] = placeOf(chart);
        const behind = x > left + width / 2;
        return { row: at, place: place + Number(behind), before: 0, line: { left: (behind ? right : left) - 2, top, width: 4, height } };
      }
    }
    const area = this.field.getBoundingClientRect();
    const before = rows.findIndex((row) => y < row.getBoundingClientRect().top + row.offsetHeight / 2);
    const edge = before < 0 ? (rows.at(-1)?.getBoundingClientRect().bottom ?? area.top) : rows[before].getBoundingClientRect().top;
    return { row: null, place: 0, before: before < 0 ? rows.length : before, line: { left: area.left, top: edge - 6, width: area.width, height: 4 } };
  }

  // A size

  /** @param {HTMLElement} chart @param {PointerEvent} down @param {PointerEvent} move @param {boolean} done */
  #size(chart, down, move, done) {
    const row = /** @type {HTMLElement} */ (chart.parentElement);
    const [at, place] = placeOf(chart);
    const [left, top] = [chart.getBoundingClientRect().left, chart.getBoundingClientRect().top];
    const width = Math.max(1, Math.min(COLUMNS, Math.round(((move.clientX - left) / row.clientWidth) * COLUMNS)));
    const height = Math.max(MIN_PX, Math.min(MAX_PX, STEP_PX * Math.round((move.clientY - top) / STEP_PX)));
    chart.style.gridColumn = `span ${width}`;
    const taller = Math.abs(move.clientY - down.clientY) > STEP_PX;
    if (taller) row.style.setProperty("--row-height", `${height}px`);
    if (!done) return;
    /** @type {Edit[]} */
    const edits = [{ kind: "set", place: ["rows", at, "charts", place, "width"], value: width }];
    if (taller) edits.push({ kind: "set", place: ["rows", at, "height"], value: height });
    this.acts.apply(edits, `${at}.${place}`);
  }
}
