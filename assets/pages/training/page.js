/** The Training page: every curve of one run or of several. Its controls are Dash's; the charts are drawn before these are there. */

import { ChartGrid } from "../../curves/chart_grid.js";
import { addressOf, onTime, placeOf, viewOf } from "../../curves/training_view.js";
import { Retry, retryText } from "../../data/refresh.js";
import { sentenceOf } from "../../lib/api.js";
import { DashControls } from "../../lib/dash_controls.js";
import { el, setText } from "../../lib/dom.js";
import { count, duration } from "../../lib/format.js";
import { every, listen } from "../../lib/life.js";
import { readAddress } from "../../lib/url.js";
import { Viewer } from "../../samples/viewer.js";
import { PageView } from "../session.js";
import { firstRun } from "../first_run.js";

/** @typedef {import("../../curves/training_view.js").View} View */

const MAX_RUNS = 200; // as `GET /curves` takes
const MAX_WISHES = 100; // runs that the live socket takes
const MAX_NAMES = 4000;
const MAX_BYTES = 60_000; // of its message
const ALIVE = ["running", "stalled"];
const HISTOGRAMS_MS = 10_000; // how often those of a living run are looked for
/** @type {[string, string][]} */
const HINTS = [
  ["drag", "zoom"],
  ["0", "whole range"],
  ["/", "search"],
  ["y", "log y"],
  ["a", "x axis"],
  ["s", "smoothing"],
  ["?", "all keys"],
];
/** @type {[string, string][]} */
const GESTURES = [
  ["drag", "zoom all charts to this range"],
  ["double click", "whole range"],
  ["click", "what happened here: the window on Live and Flame"],
  ["Ctrl wheel", "zoom at the cursor"],
  ["click a name", "open the chart to full size"],
  ["click a name of the legend", "hide its curves, or show them; double click, Alt and a click or Alt Enter: only these"],
  ["drag a name", "move the chart in its group; Shift and an arrow key on a name, too"],
];
/** @type {View["x"][]} */
const AXES = ["step", "relative", "time"];
/** @type {View["smooth"][]} */
const SMOOTHINGS = ["none", "ema", "gauss"];

export default class TrainingPage extends PageView {
  /** @param {import("../session.js").Session} session */
  constructor(session) {
    super(session, readAddress().run, HINTS);
    this.view = viewOf(location.search);
    this.grid = new ChartGrid({ changed: () => this.keepAddress(), follow: (cursor) => this.#follow(cursor), drawn: () => this.#drew() }, placeOf(location.search));
    this.notice = el("p", { class: "notice", role: "status", hidden: true });
    this.histograms = new Viewer({ step: null, find: "", pixels: false }, () => {}, "histogram");
    this.grid.scroller.element.append(el("section", { class: "training-histograms", "aria-label": "Histograms" }, el("h2", {}, "Histograms"), this.histograms.element));
    this.parts = { TrainingCharts: this.grid.element };
    this.ahead = el("div", { class: "training-layout" }, el("div", { class: "training-controls" }), this.grid.element);
    this.controls = new DashControls(CONTROLS, (view) => this.#show(view));
    listen(document, "pointerdown", ({ target }) => target.closest?.(".training-options, .dash-dropdown-content") || closeOptions());
    this.retry = new Retry(() => this.#begin());
    this.grid.element.append(this.notice);
    if (this.shown.length) this.#show(this.view); // the address names them: no need to wait for the list of runs
    this.#begin();
    every(HISTOGRAMS_MS, () => document.hidden || this.runs.over || this.#showHistograms(true));
  }

  get isKept() {
    return true;
  }

  moving = ["chart"];

  onReturn() {
    const { chart } = placeOf(location.search);
    if (chart !== this.grid.opened) this.grid.open(chart);
    this.grid.reader.touch(() => true);
    this.#begin();
  }

  async #begin() {
    try {
      await this.runs.choose();
      this.retry.done();
    } catch (error) {
      this.grid.say(retryText(sentenceOf(error), this.retry.failed()));
      return;
    }
    this.#show(this.view);
  }

  /** What the controls say, by a callback. @param {string} _part @param {{view?: View & {answer: number}}} props */
  onProps(_part, { view }) {
    if (view) this.controls.described(view);
  }

  /** @param {View} view */
  #show(view) {
    this.view = view;
    if (view.runs.length && !view.runs.includes(this.runs.name ?? "")) this.runs.name = view.runs[0];
    this.grid.setView(view, this.shown, this.runs.read_once ? this.rows : null);
    this.#sayEmpty();
    this.keepAddress();
    if (this.#drawn) this.#showHistograms();
  }

  /** Below the charts: of the first two runs, by what the charts are searched for. @param {boolean} [again] there may be new ones */
  #showHistograms(again = false) {
    this.histograms.search(this.view.match === "text" ? this.view.q : "");
    const runs = this.rows.slice(0, 2).map(({ run }) => run);
    if (again || runs.join("\n") !== this.histograms.runs.join("\n")) this.histograms.show(runs);
  }

  /** It alone is drawn. @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.#show({ ...this.view, runs: [] });
    this.controls.set(this.view);
  }

  /** The runs whose curves are drawn. @returns {string[]} */
  get shown() {
    const { runs } = this.view;
    return runs.length ? runs.slice(0, MAX_RUNS) : this.runs.name === null ? [] : [this.runs.name];
  }

  get rows() {
    const shown = new Set(this.shown);
    return this.runs.list.filter(({ run }) => shown.has(run));
  }

  /** Why there are no charts, and what helps. */
  #sayEmpty() {
    const { runs } = this;
    if (!runs.read_once) return;
    if (!this.shown.length) {
      const { sentence, more } = firstRun(runs.message?.log_dir);
      this.grid.say(sentence, ...more);
    } else if (!this.rows.length) this.grid.say(`There is no run “${this.shown[0]}” in this log folder. Choose one above.`);
    else if (this.rows.every(({ series }) => !series)) this.grid.say("The run has no series yet. They appear here with its first numbers.");
    else this.grid.say("");
  }

  /** A key has changed something. @param {Partial<View>} part */
  #change(part) {
    this.#show({ ...this.view, ...part });
    this.controls.set(this.view);
  }

  // Messages of the server

  /** @param {import("../../types/api").Delta} delta */
  onDelta({ series }) {
    const keys = new Set(series.map(({ run, name }) => (run === null ? `\n${name}` : name)));
    if (keys.size) this.grid.reader.touch(({ key }) => keys.has(key));
  }

  /** @param {import("../../types/api").State} _state @param {import("../../data/runs.js").News} news */
  onState(_state, { more }) {
    if (!this.runs.read_once) return; // the list is on its way
    if (more) this.#newRuns();
    this.grid.measure(this.rows);
    this.#sayEmpty();
    if (this.#drawn) this.grid.grown(this.rows); // the list that the first picture is of is new
    this.#follow(0);
  }

  #drawn = false;

  #drew() {
    this.#drawn = true;
    this.markReady();
    this.#showHistograms();
  }

  async #newRuns() {
    try {
      await this.runs.readList();
      await this.runs.choose();
      this.#show(this.view);
    } catch (error) {
      this.grid.say(sentenceOf(error));
    }
  }

  onReset() {
    this.grid.reader.touch(() => true);
  }

  draw() {
    super.draw();
    const { lost_s, now_s } = this.runs;
    const left = this.view.runs.length - MAX_RUNS;
    const cut = left > 0 ? `Not drawn: ${count(left)} of the ${count(this.view.runs.length)} chosen runs. A page shows at most ${MAX_RUNS}.` : "";
    const sentence = lost_s === null ? this.grid.trouble || cut : `Connection lost ${duration(Math.max(1, Math.round(now_s - lost_s)))} ago, retrying. The charts stop at the last point.`;
    this.notice.hidden = !sentence;
    setText(this.notice, sentence);
  }

  /** Hear of new points of the charts in view. @param {number} cursor 0: as before */
  #follow(cursor) {
    if (cursor) this.#cursor = cursor;
    if (!this.#cursor) return;
    const alive = this.rows.filter(({ state }) => ALIVE.includes(state)).slice(0, MAX_WISHES);
    const inView = this.grid.inView;
    const [own, beside] = [false, true].map((machine) => inView.filter((tag) => tag.machine === machine).map(({ name }) => name));
    /** @type {import("../../data/feed.js").Wish[]} */
    const wishes = [];
    let [bytes, names] = [0, beside.length];
    for (const { run } of alive) {
      const wish = { run, series: own };
      bytes += 2 * JSON.stringify(wish).length; // some characters are three bytes
      names += own.length;
      if (bytes < MAX_BYTES && names < MAX_NAMES) wishes.push(wish);
    }
    if (alive.length && beside.length && onTime(this.view)) wishes.push({ source: "host", series: beside });
    if (wishes.length) this.feed?.subscribe(wishes, this.#cursor);
  }

  #cursor = 0;

  // The address, and the keys

  address() {
    return { ...super.address(), ...addressOf(this.view), ...this.grid.address() };
  }

  /** A zoomed range is a view, not a window that a user selected. */
  selection() {
    const axis = /** @type {"step" | "time"} */ (this.view.x === "time" ? "time" : "step");
    return { ...super.selection(), runs: this.shown, axis };
  }

  gestures() {
    return GESTURES;
  }

  keys() {
    const after = (/** @type {any[]} */ all, /** @type {unknown} */ now) => all[(all.indexOf(now) + 1) % all.length];
    const { grid } = this;
    const key = (/** @type {string[]} */ keys, /** @type {string} */ shown, /** @type {string} */ says, /** @type {() => void} */ run) => ({ keys, shown, says, run });
    return [
      key(["y"], "y", "log y, or linear", () => this.#change({ ylog: !this.view.ylog })),
      key(["x"], "x", "log x, or linear", () => this.#change({ xlog: !this.view.xlog })),
      key(["a"], "a", "x axis: steps, relative time, time", () => this.#change({ x: after(AXES, this.view.x) })),
      key(["s"], "s", "smoothing: none, EMA, Gaussian", () => this.#change({ smooth: after(SMOOTHINGS, this.view.smooth) })),
      key(["o"], "o", "clip outliers, or not", () => this.#change({ clip: !this.view.clip })),
      key(["/"], "/", "search the series", () => this.controls.focusSearch()),
      key(["0"], "0", "whole range", () => grid.zoom(null)),
      key(["+", "="], "+", "zoom in", () => grid.scale(0.5)),
      key(["-"], "-", "zoom out", () => grid.scale(2)),
      key(["ArrowLeft"], "←", "move the range back", () => grid.pan(-0.25)),
      key(["ArrowRight"], "→", "move it forward", () => grid.pan(0.25)),
      key(["Escape"], "Esc", "back to all charts, else the whole range", () => closeOptions() || (grid.full.chart ? grid.open(null) : grid.zoom(null))),
    ];
  }
}

// The controls of the Training page (`dashboard/pages/training.py`).

/** @returns {boolean} whether they were open */
function closeOptions() {
  const open = document.querySelector(".training-options[open]");
  open?.removeAttribute("open");
  return open !== null;
}

/** @type {import("../../lib/dash_controls.js").About} */
const CONTROLS = {
  area: ".training-controls",
  search: "training-q",
  valuesOf: (/** @type {View} */ view) => ({
    "training-x": view.x,
    "training-smooth": view.smooth,
    "training-ylog": view.ylog ? ["ylog"] : [],
    "training-flags": [...(view.xlog ? ["xlog"] : []), ...(view.clip ? ["clip"] : []), ...(view.ranks === "each" ? ["each"] : [])],
  }),
};
