/** The Runs page: tools above the grid, the grid's rows and keys, ticks, and the changes that users make in the side panel. */

import { runColours } from "../../data/colours.js";
import { Refused, get, newest, sentenceOf } from "../../lib/api.js";
import { el } from "../../lib/dom.js";
import { FullAddress } from "../../lib/full_address.js";
import { listen } from "../../lib/life.js";
import { go } from "../../lib/url.js";
import { PageView } from "../session.js";
import { Grid, registerCells } from "./grid.js";
import { Overlay } from "./overlay.js";
import { Panel, setProps } from "./panel.js";
import { ColumnChoice, Tools } from "./tools.js";

/** @typedef {import("../../types/api").Answer<"table">} Table */

/** @type {[string, string][]} */
const HINTS = [
  ["j k", "move"],
  ["x", "tick"],
  ["Enter", "open"],
  ["i", "name, note, what ran"],
  ["/", "filter"],
  ["?", "all keys"],
];
const COMPARISON = "comparison"; // what the address calls it where it fills the window
const USUAL_SORT = "started"; // descending: the address leaves it out
const REFRESH_MS = 2000; // between two looks at living runs

export default class RunsPage extends PageView {
  get about() {
    return "All runs";
  }

  /** @param {import("../session.js").Session} session */
  constructor(session) {
    const asked = readQuestion();
    super(session, asked.run, HINTS);
    /** @type {Question} */
    this.question = asked;
    this.taken = ""; // the last filter that the server has taken: its rows stay while another one is mistaken
    /** @type {string[]} */
    this.ticked = asked.ticked;
    runColours.choose(this.ticked);
    this.columns = new ColumnChoice((keys) => this.choose(keys), (key) => this.grid.reveal(key));
    this.tools = new Tools({
      change: (change) => this.change(change),
      columns: () => this.columns.open(),
    });
    this.grid = new Grid({
      rows: (start, end, sort) => this.rows(start, end, sort),
      open: (run) => this.open(run),
      focus: (run) => this.panel.show(run),
      tick: (run) => this.toggle(run),
      unfold: (group) => this.unfold(group),
      ticked: () => this.ticked,
      order: () => (this.question.sort ? this.question : { sort: USUAL_SORT, desc: true }),
      isAway: () => this.isAway,
      moved: (keys) => this.columns.moved(keys),
    });
    this.panel = new Panel(
      () => this.reloadRows(true),
      (sentence, undo) => this.tools.offer(sentence, undo),
    );
    registerCells(this.grid);
    this.overlay = new Overlay({
      title: (run) => this.grid.titleOf(run),
      chosen: (metric) => {
        this.question = { ...this.question, metric };
        this.keepAddress();
      },
      clear: () => this.tick([]),
    });
    this.overlay.choose(asked.metric);
    this.overlay.setRuns(this.ticked);
    this.full = new FullAddress("panel", this.overlay.element, { idOf: () => COMPARISON, find: (id) => (id === COMPARISON && this.ticked.length ? this.overlay.element : null), isAway: () => this.isAway });
    this.element = el("div", { class: "runs-head" }, this.tools.element, this.tools.done, this.tools.none);
    this.ask = newest(
      (/** @type {Question} */ question) => get("table", this.#parameters(question, 0, Grid.BLOCK)),
      (answer, question) => this.#showRows(answer, question),
      (error) => this.tools.mistake(sentenceOf(error)),
    );
    /** @type {{question: Question, answer: Table} | null} the first rows, asked for before the grid was there */
    this.first = null;
    this.refreshed_ms = -REFRESH_MS;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.later = undefined;
    this.signature = "";
    this.total = 0; // runs
    this.tools.draw(this.question);
    const filling = el("span", { hidden: true }); // draws nothing: its properties say that the panel was filled
    this.parts = { RunFilling: filling, RunsHead: this.element, RunsCompared: this.overlay.head, RunsCurves: this.overlay.element, RunProvenance: this.panel.ran, RunShares: this.panel.shares };
    listen(document, "visibilitychange", () => document.hidden || this.reloadRows());
    this.markReady();
    this.ask(this.question);
    this.grid.ready.then(() => {
      setProps("columns", { data: this.columns.keys });
      if (this.ticked.length) this.#tell();
    });
    this.panel.offerDeleted();
  }

  // Questions

  /** Change some of the question; the rows follow once the server has taken it. @param {Partial<Question>} change */
  change(change) {
    this.question = { ...this.question, ...change };
    this.tools.draw(this.question);
    this.ask(this.question);
  }

  /** @param {Table} answer @param {Question} question */
  #showRows(answer, question) {
    this.taken = question.q;
    this.first = { question, answer };
    this.tools.showCounts(answer, true);
    this.grid.renew(answer.total);
    this.keepAddress();
  }

  /** @param {Question} question @param {number} offset @param {number} limit */
  #parameters({ q, chip, sort, desc, archived, deleted, group, opened }, offset, limit) {
    const flags = { desc: String(desc), archived: String(archived), deleted: String(deleted) };
    return { q, state: chip, sort, ...flags, group, open: opened, columns: this.columns.asked, offset, limit };
  }

  /**
   * A block of rows for the grid. What was asked for last is at hand.
   * @param {number} start @param {number} end @param {{colId: string, sort: string} | undefined} sort
   * @returns {Promise<Table>}
   */
  async rows(start, end, sort) {
    const usual = sort?.colId === USUAL_SORT && sort.sort === "desc";
    const [key, desc] = sort && !usual ? [sort.colId, sort.sort === "desc"] : ["", false];
    if (key !== this.question.sort || desc !== this.question.desc) {
      this.question = { ...this.question, sort: key, desc };
      this.tools.draw(this.question);
      this.first = null;
    }
    const { first } = this;
    this.first = null;
    if (start === 0 && first?.question === this.question) return first.answer;
    const { question } = this;
    const ask = (/** @type {string} */ q) => get("table", this.#parameters({ ...question, q }, start, end - start));
    let taken = true;
    const answer = await ask(question.q).catch((error) => {
      if (!(error instanceof Refused) || question.q === this.taken) throw error;
      taken = false;
      return ask(this.taken);
    });
    if (taken) this.taken = question.q;
    this.tools.showCounts(answer, taken);
    this.keepAddress();
    return answer;
  }

  /** Read the shown rows again: now, or once the last look is old enough. @param {boolean} [now] */
  reloadRows(now = false) {
    if (document.hidden || this.isAway) return; // once it is looked at again
    const wait_ms = this.grid.filled ? this.refreshed_ms + REFRESH_MS - performance.now() : REFRESH_MS; // its first rows are on their way
    if ((!now || !this.grid.filled) && wait_ms > 0) {
      this.later ??= setTimeout(() => {
        this.later = undefined;
        this.reloadRows(true);
      }, wait_ms);
      return;
    }
    clearTimeout(this.later);
    this.later = undefined;
    this.refreshed_ms = performance.now();
    this.first = null;
    this.grid.reload();
  }

  // What users do

  /** @param {string[]} keys of columns */
  choose(keys) {
    setProps("columns", { data: keys });
    this.reloadRows(true);
  }

  /** @param {string} run */
  toggle(run) {
    this.tick(this.ticked.includes(run) ? this.ticked.filter((name) => name !== run) : [...this.ticked, run]);
  }

  /** @param {string[]} runs */
  tick(runs) {
    this.ticked = runs;
    runColours.choose(runs);
    this.#tell();
    this.grid.tickedChanged();
    this.overlay.setRuns(runs);
    this.keepAddress();
  }

  /** The comparison draws the ticked runs in the same colours. */
  #tell() {
    setProps("ticked", { data: this.ticked.map((run) => [run, runColours.numberOf(run)]) });
  }

  /** @param {string} group */
  unfold(group) {
    const { opened } = this.question;
    this.question = { ...this.question, opened: opened.includes(group) ? opened.filter((other) => other !== group) : [...opened, group] };
    this.reloadRows(true);
    this.keepAddress();
  }

  /** On Live. @param {{run: string}} row */
  open({ run }) {
    go(`/?${new URLSearchParams({ run })}`);
  }

  // The server's state

  /** @param {import("../../types/api").State} message */
  onState(message) {
    this.tools.log_dir = message.log_dir ?? "logs";
    const living = message.runs.map(({ run, state, doing, last_step, last_time_s }) => [run, state, doing, last_step, last_time_s]);
    const signature = JSON.stringify([message.runs_total, living]);
    if (signature === this.signature) return;
    const first = this.signature === "";
    if (message.runs_total !== this.total) this.panel.others();
    this.total = message.runs_total;
    this.signature = signature;
    this.overlay.touch();
    if (!first || living.length) this.reloadRows(); // what lives may have grown since the rows were read
  }

  /** @param {string} part @param {{run?: string | null, metrics?: import("./overlay.js").Metric[] | null}} props */
  onProps(part, { run = null, metrics = null }) {
    if (part === "RunFilling") this.panel.filled(run);
    if (part !== "RunsCurves" || !metrics) return;
    this.overlay.setMetrics(metrics);
    this.full.fill();
  }

  chartRuns() {
    return this.ticked;
  }

  close() {
    this.overlay.close();
    super.close();
  }

  keepAddress() {
    if (this.isAway) return;
    writeQuestion(this.question, this.ticked);
    super.keepAddress();
  }

  keys() {
    return [
      { keys: ["/"], shown: "/", says: "filter", run: () => this.tools.focus() },
      { keys: ["j", "J"], shown: "j", says: "next run", run: () => this.grid.move(1) },
      { keys: ["k", "K"], shown: "k", says: "previous run", run: () => this.grid.move(-1) },
      { keys: ["x"], shown: "x", says: "tick the run, or untick it", run: () => this.grid.toggle() },
      { keys: ["Enter"], shown: "Enter", says: "open the run", run: () => this.grid.openFocused() },
      { keys: ["i"], shown: "i", says: "the run: name, tags, note, what ran", run: () => this.grid.about() },
      { keys: ["Escape"], shown: "Esc", says: "close the panel, or clear the filter", run: () => this.panel.close() || this.change({ q: "", chip: "" }) },
    ];
  }
}

// What is asked of the table, and how it stands in the address.

/**
 * @typedef {Object} Question
 * @property {string | null} run the selected run, as on all pages
 * @property {string} q the filter
 * @property {string} chip "" for all states
 * @property {string} sort key of a column, "" for the usual order
 * @property {boolean} desc
 * @property {boolean} archived with archived runs
 * @property {boolean} deleted with deleted runs
 * @property {string} group key of a column
 * @property {string[]} opened groups
 * @property {string} metric of the comparison: the name of a series, "" for the loss
 */

const MAX_TICKED = 50; // that the address holds
const CHIPS = ["running", "finished", "stalled", "crashed"];

/** @returns {Question & {ticked: string[]}} */
function readQuestion() {
  const query = new URLSearchParams(location.search);
  const text = (/** @type {string} */ name) => query.get(name) ?? "";
  const chip = text("state");
  return {
    run: query.get("run"),
    q: text("q"),
    chip: CHIPS.includes(chip) ? chip : "",
    sort: text("sort"),
    desc: text("desc") === "true",
    archived: text("archived") === "true",
    deleted: text("deleted") === "true",
    group: text("group"),
    opened: query.getAll("open"),
    metric: text("metric"),
    ticked: [...new Set(query.getAll("runs"))],
  };
}

/** Replaces this page's parameters; others stay. @param {Question} question @param {string[]} ticked */
function writeQuestion({ q, chip, sort, desc, archived, deleted, group, opened, metric }, ticked) {
  const query = new URLSearchParams(location.search);
  const words = { q, state: chip, sort, desc: desc && "true", archived: archived && "true", deleted: deleted && "true", group, metric: ticked.length ? metric : "" };
  for (const [name, value] of Object.entries(words)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  for (const [name, values] of Object.entries({ open: group ? opened : [], runs: ticked.slice(0, MAX_TICKED) })) {
    query.delete(name);
    for (const value of values) query.append(name, value);
  }
  const search = query.toString();
  history.replaceState(history.state, "", search ? `?${search}` : location.pathname);
}
