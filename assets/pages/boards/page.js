/** The Boards page: one board, live; which there are, the range, and the way to change it. */

import { BoardView } from "../../boards/board.js";
import { spanWord } from "../../curves/training_view.js";
import { Retry, retryText } from "../../data/refresh.js";
import { get, isOwner, sentenceOf } from "../../lib/api.js";
import { leaveFull } from "../../lib/chart_tools.js";
import { el, setText } from "../../lib/dom.js";
import { duration } from "../../lib/format.js";
import { FullAddress } from "../../lib/full_address.js";
import { every } from "../../lib/life.js";
import { keepBack, readAddress } from "../../lib/url.js";
import { PageView } from "../session.js";

/** @typedef {import("../../types/api").Row<"BoardAnswer">} BoardAnswer */
/** @typedef {import("../../types/api").Row<"BoardRowOfList">} ListRow */

const OVERVIEW = "overview"; // as in dashboard/boards/overview.py
const EVERY_MS = 1000; // the files are looked at again
const REDRAW_MS = 900; // the axis of a live board moves, whether there are new points or not
const MAX_NAMES = 16; // of a run, on the live socket: that something is new is enough, since the charts read their points themselves
const MAX_RUNS = 100;
/** @type {[string, string][]} */
const HINTS = [
  ["drag", "zoom"],
  ["0", "live"],
  ...(isOwner ? [/** @type {[string, string]} */ (["e", "edit"])] : []),
  ["[ ]", "board before, after"],
  ["?", "all keys"],
];
/** @type {[string, string][]} */
const GESTURES = [
  ["drag", "zoom all charts to this range"],
  ["double click", "back to the live range"],
  ["Ctrl wheel", "zoom at the cursor"],
  ["drag a chart’s head", "while editing: move it; its edges change its size"],
];

export default class BoardsPage extends PageView {
  /** @param {import("../session.js").Session} session */
  constructor(session) {
    super(session, readAddress().run, HINTS);
    const query = new URLSearchParams(location.search);
    const number = (/** @type {string} */ name) => (query.get(name) !== null && Number.isFinite(Number(query.get(name))) ? Number(query.get(name)) : null);
    this.name = query.get("board") || OVERVIEW;
    /** @type {ListRow[]} */
    this.list = [];
    /** @type {BoardAnswer | null} as it was last read */
    this.file = null;
    /** @type {import("../../boards/editor.js").Editor | null} */
    this.editor = null;
    this.board = new BoardView({
      shown: () => this.shown,
      follow: (series, cursor) => this.#follow(series, cursor),
      changed: () => this.keepAddress(),
      drawn: () => this.markReady(),
      edit: (chart) => this.edit(chart.key),
    });
    const [lo, hi] = [number("lo"), number("hi")];
    this.board.span = lo !== null && hi !== null && lo < hi ? { lo, hi } : null;
    this.board.window_s = number("window");
    this.tools = new Tools(session.scope.when, {
      open: (name) => this.open(name),
      window: (window_s) => this.board.choose(window_s),
      live: () => this.board.zoom(null),
      edit: () => this.edit(null),
      make: () => this.make(),
    });
    this.full = new FullAddress("panel", this.board.element, {
      idOf: (chart) => chart.dataset.chart,
      find: (id) => this.board.elementOf(id),
      isAway: () => this.isAway || this.editor !== null, // going back would leave the editor
    });
    this.notice = el("p", { class: "notice", role: "status", hidden: true });
    this.side = el("div", { class: "board-side", hidden: true });
    this.main = el("div", { class: "board-scroll" }, this.board.element);
    this.element = el("div", { class: "boards-page" }, this.tools.element, el("div", { class: "boards-body" }, this.main, this.side), this.notice);
    this.retry = new Retry(() => this.#begin());
    this.parts = { BoardsView: this.element };
    this.ahead = this.element;
    this.#begin();
    every(EVERY_MS, () => document.hidden || this.#reloadBoards());
  }

  get isKept() {
    return !this.editor;
  }

  onReturn() {
    this.board.reader.refresh();
    this.#begin();
    setTimeout(() => this.full.fill());
  }

  placed() {
    super.placed();
    this.full.fill();
  }

  async #begin() {
    try {
      await this.runs.choose().catch((error) => void sentenceOf(error)); // a board of the machine stands without
      await this.#loadBoards();
      this.retry.done();
      this.keepAddress();
    } catch (error) {
      this.board.say(retryText(sentenceOf(error), this.retry.failed()));
    }
    this.invalidate();
  }

  /** The run of which the charts are that name none. */
  get shown() {
    const { name, over, now_s, current, last_s } = this.runs;
    return { run: current ? name : null, over, now_s, begin_s: current?.started_s ?? null, end_s: last_s };
  }

  // Files

  /** Which boards there are, and the shown one. */
  async #loadBoards() {
    const { boards } = await get("boards");
    this.list = boards;
    const row = boards.find(({ name }) => name === this.name);
    if (!row) {
      this.file = null;
      if (!this.editor) this.board.say(`There is no board “${this.name}”. Choose one above, or press n to make one.`);
      return;
    }
    const { current } = this.runs;
    const has = `${current?.run} ${current?.series}`; // with another run, or another series of it, other charts have data
    if (row.version === this.file?.version && row.name === this.file.name && row.source === this.file.source && row.trouble === this.file.trouble && has === this.#has) return;
    const file = /** @type {BoardAnswer} */ (await get(/** @type {any} */ (`boards/${encodeURIComponent(this.name)}`), { run: this.shown.run }));
    this.#has = has;
    this.#setFile(file);
  }

  #has = ""; // the run and how many series it has, of which the file was read

  /** @param {BoardAnswer} file */
  #setFile(file) {
    if (file.name !== this.name) return;
    const before = this.file;
    this.file = file;
    if (this.editor) this.editor.changedOutside(file);
    else this.#show(file);
    if (before && before.name === file.name && before.version !== file.version) this.invalidate();
  }

  /** @param {BoardAnswer} file */
  #show({ board, exprs, trouble }) {
    if (!board) return this.board.say(`This board cannot be read: ${trouble}. Correct the file, and it appears here at once.`);
    if (!(board.rows ?? []).some(({ charts }) => charts?.length)) return this.board.say("This board has no charts yet. Press e to add one.");
    this.board.say("");
    this.board.show(board, exprs);
    return this.full.fill();
  }

  async #reloadBoards() {
    try {
      await this.#loadBoards();
      this.trouble = "";
    } catch (error) {
      this.trouble = sentenceOf(error);
    }
    this.invalidate();
  }

  trouble = "";

  /** @param {string} name */
  open(name) {
    if (this.editor && !this.editor.leave()) return;
    leaveFull(this.element);
    if (name !== this.name) keepBack();
    this.name = name;
    this.file = null;
    this.board.span = null;
    this.board.window_s = null;
    this.main.scrollTop = 0;
    this.keepAddress();
    this.#reloadBoards();
  }

  /** @param {number} by */
  step(by) {
    const at = this.list.findIndex(({ name }) => name === this.name);
    const next = this.list[(at + by + this.list.length) % this.list.length];
    if (next) this.open(next.name);
  }

  /** @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.board.restart();
    this.keepAddress();
    this.invalidate();
    this.#reloadBoards();
  }

  // Editing

  /** @param {string | null} chart the one whose fields are opened */
  async edit(chart) {
    if (!this.file) await this.#reloadBoards(); // it is still on its way
    if (!this.editor && this.file) await this.#openEditor(false);
    if (chart !== null) this.editor?.choose(chart);
  }

  /** A new board. */
  async make() {
    if (this.editor && !this.editor.leave()) return;
    await this.#openEditor(true);
  }

  /** @param {boolean} fresh */
  async #openEditor(fresh) {
    const { Editor } = await import("../../boards/editor.js").catch(() => ({ Editor: null }));
    if (!Editor) return void (this.trouble = "The dashboard does not answer.");
    if (this.editor) return; // the key was pressed twice
    const isMade = this.file?.name === OVERVIEW && !this.file.version;
    const file = fresh ? null : this.file && isMade ? { ...this.file, name: "" } : this.file; // the overview has no file: a copy gets one
    this.fresh = file?.name ? "" : isMade && file ? "New board, a copy of Overview" : "New board";
    this.editor = new Editor(this.board, {
      file,
      names: () => this.list.map(({ name }) => name),
      readOnly: () => this.runs.message?.read_only ?? null,
      run: () => this.shown.run,
      saved: (saved) => {
        this.fresh = "";
        this.name = saved.name;
        this.file = saved;
        this.keepAddress();
        this.#reloadBoards();
      },
      deleted: (behind) => {
        this.file = behind;
        if (!behind) this.name = OVERVIEW;
        this.editor?.close();
        this.#reloadBoards();
      },
      closed: () => {
        this.editor = null;
        this.fresh = "";
        this.side.hidden = true;
        this.side.replaceChildren();
        this.element.classList.remove("editing");
        if (this.file) this.#show(this.file);
        else this.#reloadBoards();
        this.invalidate();
      },
    });
    this.side.replaceChildren(this.editor.element);
    this.side.hidden = false;
    this.element.classList.add("editing");
    this.editor.begin();
    this.invalidate();
  }

  fresh = ""; // what the menu says of a board that has no file yet

  // Messages of the server

  drawsDeltas = false;

  /** @param {import("../../types/api").Delta} delta */
  onDelta({ series }) {
    if (series.length) this.board.reader.touch();
    this.#drawn_ms = performance.now();
  }
  #drawn_ms = 0;
  #points = 0;

  /** @param {import("../../types/api").State} state @param {import("../../data/runs.js").News} news */
  onState(state, news) {
    const points = state.runs.reduce((sum, run) => sum + run.points, 0);
    if (points !== this.#points) this.board.reader.touch(); // of a series that is not on the socket
    this.#points = points;
    if (news.more) this.runs.readList().then(() => this.runs.choose()).then(() => this.invalidate(), () => {});
    if (performance.now() - this.#drawn_ms > REDRAW_MS && !this.board.span) this.board.redraw();
  }

  onReset() {
    this.board.reader.refresh();
  }

  /** @param {import("../../data/curve_reader.js").Followed[]} series @param {number} cursor */
  #follow(series, cursor) {
    /** @type {Map<string | null, string[]>} */
    const names = new Map();
    for (const { run, name } of series) if ((names.get(run)?.length ?? 0) < MAX_NAMES) names.set(run, [...(names.get(run) ?? []), name]);
    const own = [...names].filter(([run]) => run !== null).slice(0, MAX_RUNS - 1);
    const machine = names.get(null);
    /** @type {import("../../data/feed.js").Wish[]} */
    const wishes = own.map(([run, all]) => ({ run: /** @type {string} */ (run), series: all }));
    if (machine) wishes.push({ source: "host", series: machine });
    if (wishes.length) this.feed?.subscribe(wishes, cursor);
  }

  draw() {
    super.draw();
    const { lost_s, now_s } = this.runs;
    this.tools.draw({ list: this.list, name: this.name, runs: this.runs, window_s: this.board.window_s, fields: this.board.fields, held: this.board.span, editing: this.editor !== null, fresh: this.fresh });
    const broken = this.file?.trouble && this.file.board ? `The charts show the last good version. ${this.file.name}.yaml is broken, ${this.file.trouble}` : "";
    const sentence = lost_s === null ? this.trouble || (this.editor ? "" : broken) : `Connection lost ${duration(Math.max(1, Math.round(now_s - lost_s)))} ago, retrying. The charts stop at the last point.`;
    this.notice.hidden = !sentence;
    setText(this.notice, sentence);
  }

  // The address, and the keys

  address() {
    return { ...super.address(), board: this.name === OVERVIEW ? null : this.name, ...this.board.address() };
  }

  gestures() {
    return GESTURES;
  }

  keys() {
    const key = (/** @type {string[]} */ keys, /** @type {string} */ shown, /** @type {string} */ says, /** @type {() => void} */ run) => ({ keys, shown, says, run });
    return [
      ...(isOwner ? [key(["e"], "e", "edit the board", () => this.edit(null)), key(["n"], "n", "a new board", () => this.make())] : []),
      key(["["], "[", "the board before", () => this.step(-1)),
      key(["]"], "]", "the board after", () => this.step(1)),
      key(["0"], "0", "back to the live range", () => this.board.zoom(null)),
      key(["+", "="], "+", "zoom in", () => this.board.scale(0.5)),
      key(["-"], "-", "zoom out", () => this.board.scale(2)),
      key(["u"], "u", "while editing: undo", () => this.editor?.undo()),
      key(["Escape"], "Esc", "close the editor, else back to the live range", () => (this.editor ? this.editor.leave() : this.board.zoom(null))),
    ];
  }
}

// The line above a board: which board, whose run, which range, and the buttons that change it.

/** @typedef {{open: (name: string) => void, window: (window_s: number | null) => void, live: () => void, edit: () => void, make: () => void}} Acts */
/** @typedef {{list: ListRow[], name: string, runs: import("../../data/runs.js").Runs, window_s: number | null, fields: import("../../boards/model.js").BoardFields, held: {lo: number, hi: number} | null, editing: boolean, fresh: string}} Shown `fresh`: what a board without a file is called */

const WINDOWS_S = [60, 300, 900, 3600, 6 * 3600, 86400];
const SOURCES = /** @type {const} */ ([
  ["data", "Your boards"],
  ["log", "Boards of the log folder"],
  ["template", "Boards that come along"],
]);

class Tools {
  /** @param {HTMLElement} when the range's place in the row of the scope @param {Acts} acts */
  constructor(when, acts) {
    this.boards = el("select", { class: "input", "aria-label": "Board", onchange: () => acts.open(this.boards.value) });
    this.window = el("select", { class: "input", "aria-label": "Range", onchange: () => acts.window(this.window.value === "" ? null : Number(this.window.value)) });
    this.held = el("span", { class: "mid" });
    this.live = el("button", { class: "back held", type: "button", title: "Back to the live range (0)", onclick: () => acts.live() }, "Go live");
    when.append(this.held, this.window, this.live);
    this.edit = el("button", { class: "btn", type: "button", "data-owners": "", onclick: () => acts.edit() }, "Edit ", el("kbd", {}, "e"));
    this.make = el("button", { class: "btn", type: "button", "data-owners": "", onclick: () => acts.make() }, "New ", el("kbd", {}, "n"));
    this.element = el("section", { class: "boards-tools", "aria-label": "Which board" }, this.boards, el("span", { class: "room" }), this.edit, this.make);
    this.seen = "";
  }

  /** @param {Shown} shown */
  draw({ list, name, window_s, fields, held, editing, fresh }) {
    const key = JSON.stringify([fresh, list.map((row) => [row.name, row.title, row.source, Boolean(row.trouble)]), name, window_s, fields.window]);
    if (key !== this.seen) {
      this.seen = key;
      const option = (/** @type {ListRow} */ row) => el("option", { value: row.name, title: row.about }, `${row.title}${row.trouble ? " (broken)" : ""}`);
      const groups = SOURCES.map(([source, label]) => ({ label, rows: list.filter((row) => row.source === source && row.name !== OVERVIEW) })).filter(({ rows }) => rows.length);
      const gone = fresh ? [el("option", { value: "" }, fresh)] : !list.length || list.some((row) => row.name === name) ? [] : [el("option", { value: name }, name)];
      this.boards.replaceChildren(...gone, ...list.filter((row) => row.name === OVERVIEW).map(option), ...groups.map(({ label, rows }) => el("optgroup", { label }, ...rows.map(option))));
      this.boards.value = fresh ? "" : name;
      const own = fields.window && fields.window !== "all" ? `last ${fields.window}` : "whole run";
      const more = window_s !== null && !WINDOWS_S.includes(window_s) ? [window_s] : [];
      this.window.replaceChildren(el("option", { value: "" }, own), ...[...WINDOWS_S, ...more].map((seconds) => el("option", { value: String(seconds) }, `last ${duration(seconds)}`)));
      this.window.value = window_s === null ? "" : String(window_s);
    }
    this.window.hidden = held !== null || fields.axis === "step";
    this.held.hidden = this.live.hidden = held === null;
    setText(this.held, held ? spanWord(fields.axis ?? "time", held) : "");
    this.edit.hidden = this.make.hidden = editing;
    this.boards.disabled = editing;
  }
}
