/** A page about one run: its events, and the stacks and the verdict of a window beside a baseline. */

import { WindowRequests } from "../blame/requests.js";
import { stepAt } from "../data/progress.js";
import { Continuation } from "../data/refresh.js";
import { get, isOwner, newest, sentenceOf } from "../lib/api.js";
import { STEP, TIME } from "../lib/axis.js";
import { el, setText } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { every } from "../lib/life.js";
import { readAddress } from "../lib/url.js";
import { BaselinePicker } from "../timeline/baseline_picker.js";
import { addNew } from "../timeline/marks.js";
import { Pins } from "../timeline/pins.js";
import { TimePage } from "./time_page.js";

const NO_STACK = "No stack was sampled in this time: choose a window in which the dashboard saw the run.";
const ELSEWHERE = "No process on this machine writes this run, so it has no stacks.";
const FROM_ANOTHER_HOST = "Another host handed this run over: it has curves and lines. Stacks, GPUs and the host are seen by a dashboard on that host only.";
const NOT_THERE = "The dashboard was not running during this run, so there are curves and log lines but no stacks, GPU or host samples. To have them for the next run, start the dashboard first, or let it start the run:";
const START_IT = "deepseek-dashboard run -- python train.py";
const SAME_START_S = 5; // a start this near to the first point after it is the same
const NOW_EVERY_MS = 2000; // while nothing is selected, the flame graph is requested this often

/** Adds one run and its window to `TimePage`: the Live and the Flame page. */
export class RunPage extends TimePage {
  /** @param {import("./session.js").Session} session @param {number} [buckets] that a view is read in */
  constructor(session, buckets) {
    super(session, { address: readAddress, run: readAddress().run, buckets });
    this.baseline = new BaselinePicker(this.timeline, this.controller, () => this.compared());
    this.pins = new Pins(this.timeline, this.controller, () => this.pinned());
    this.requests = new WindowRequests(this);
    this.requests.baseline = this.baseline.value;
    this.untimed = new UntimedNote(() => this.turnAxis());
    this.timeline.element.prepend(this.untimed.element);
    this.continuation = new Continuation();
    this.windowSteps = new WindowSteps(() => this.invalidate());
    every(NOW_EVERY_MS, () => this.range.window || document.hidden || this.inquire());
  }

  onReturn() {
    super.onReturn();
    this.inquire();
  }

  async loadCatalogue() {
    const chosen = this.runs.choose().then((name) => (this.runs.missing ? null : name));
    await this.store.readCatalogue(chosen, () => this.#axis());
  }

  /** Steps if the run's log has no times; else the user's choice. */
  #axis() {
    if (this.runs.untimed && this.range.axis !== STEP) this.range.reset(STEP);
    return this.range.axis;
  }

  /** @param {import("../data/series.js").Meta[]} metas */
  lanesOf(metas) {
    return this.absent ? [] : super.lanesOf(metas);
  }

  /** The machine's series that were recorded during a finished run; none during one of another host. @param {import("../data/series.js").Meta[]} metas */
  watched(metas) {
    const { current: run, over } = this.runs;
    if (this.runs.isFromAnotherHost) return metas.filter((meta) => meta.run !== null);
    const last_s = over ? this.runs.last_s : null;
    if (last_s === null) return metas;
    const first_s = run?.started_s ?? this.store.origin;
    return metas.filter((meta) => meta.run !== null || ((meta.first_time_s ?? 0) <= last_s && (meta.last_time_s ?? Infinity) >= first_s));
  }

  /** Whether neither the machine nor its processes were recorded during the finished run. */
  get #unseen() {
    const { metas } = this.store;
    return this.runs.over && metas.length > 0 && this.watched(metas).every(({ run }) => run !== null);
  }

  /**
   * Why there are no stacks: no present remedy helps a run that cannot have any.
   * @param {import("../blame/requests.js").Question} question @param {import("../blame/requests.js").Trouble | null} trouble what the profiler says
   * @returns {import("../blame/requests.js").Trouble | null}
   */
  troubleOf({ now }, trouble) {
    const none = (/** @type {string} */ sentence, remedy = "") => ({ sentence, remedy, action: null });
    if (this.runs.isFromAnotherHost) return none(FROM_ANOTHER_HOST);
    if (now && this.#unseen) return none(NOT_THERE, START_IT);
    if (trouble) return trouble;
    if (this.runs.over) return none(NO_STACK);
    return this.runs.current?.pid === null ? none(ELSEWHERE) : null;
  }

  /** What the report of a window is about. @param {{from: number, to: number} | null} window @returns {import("./run_details.js").Reported | null} */
  reported(window) {
    const { name } = this.runs;
    return name === null ? null : { run: name, window: this.range.axis === TIME ? window : null };
  }

  get absent() {
    return this.runs.missing ? `There is no run “${this.runs.name}” in this log folder.` : "";
  }

  async loadExtras() {
    const run = this.runs.current?.run ?? null;
    await Promise.all([run === null ? null : this.#loadEvents(run), this.#countUntimed(run)]);
    this.invalidate();
  }

  /** @param {string} run */
  async #loadEvents(run) {
    this.continuation.begin();
    const { events, cursor } = await get("events", { run });
    const late = this.continuation.end(cursor);
    if (run !== this.runs.name) return;
    this.events = events;
    for (const delta of late) this.#addEvents(delta);
    this.feed?.follow(cursor);
  }

  /** @param {import("../types/api").Delta} delta */
  #addEvents({ events }) {
    addNew(this.events, events.filter(({ run }) => run === this.runs.name));
  }

  /** @param {string | null} run */
  async #countUntimed(run) {
    const densest = densestOf(this.store.metas);
    if (run === null || densest === null || this.range.axis === STEP) this.untimed.hide();
    else await this.untimed.countTimed(run, densest.name, densest.points ?? 0);
  }

  /** Request the profile of the window, or of now. @param {boolean} [done] false while it is being drawn */
  inquire(done = true) {
    const { name, current, over } = this.runs;
    if (name === null || this.runs.missing) return;
    const { window } = this.range;
    if (done || !window) this.askLog(window && this.range.axis === TIME ? { run: name, from: window.from, to: window.to } : null);
    if (this.range.axis === STEP) this.showNoTimes();
    else if (this.range.window) this.requests.ask(name, this.range.window, done);
    else this.requests.askNow(name, (over && this.runs.last_s) || this.end_s, this.runs.current?.started_s ?? undefined);
  }

  /** What the log says in a window that it does not say otherwise; null: there is no window. @param {import("../blame/log_difference.js").Asked | null} _asked */
  askLog(_asked) {}

  /** What shows the answers on a window; each page has its own. @returns {import("../blame/requests.js").Sink} */
  get sink() {
    throw new Error("a page of one run shows what Python did");
  }

  /** The window is blamed, or cannot be. @param {import("../blame/requests.js").Question} _question */
  judged(_question) {}

  /** Show that steps have no stacks. */
  showNoTimes() {}

  /** Why a window of steps has no stacks, and the remedy. */
  get noTimes() {
    return this.runs.untimed
      ? "The log of this run has no times, so no stacks can be found for its steps. Write time_s beside step to get them."
      : "These are steps. Press a for the time axis, where a window has its stacks.";
  }

  /** @param {"on" | "retry"} action */
  steerProfile(action) {
    this.requests.steer(action).catch((error) => this.failed(error));
  }

  /** @returns {import("../timeline/marks.js").Event[]} */
  marks() {
    const { axis } = this.range;
    const stepper = this.store.stepper();
    const events = [...restarted(this.events), ...resumes(stepper, this.events)];
    if (axis === TIME) return events;
    return events.flatMap((event) => (axis.place(event) === null ? [] : [{ ...event, time_s: Number(axis.place(event)) }]));
  }

  /** The steps of a window: exact once it is drawn, approximate while it is being drawn. @param {import("../data/view_range.js").Window | null | undefined} window @param {import("../data/series.js").Series | null} stepper */
  steps(window, stepper) {
    if (!window || this.range.axis === STEP) return { from: null, to: null };
    const exact = this.#drawing ? null : this.windowSteps.of(this.runs.name, this.store.metas, window);
    return exact ?? { from: stepAt(stepper, window.from), to: stepAt(stepper, window.to) };
  }

  #drawing = false;

  address() {
    return { run: this.runs.name, ...super.address(), ...this.baseline.address(), ...this.pins.address() };
  }

  /** @param {import("../lib/axis.js").View} _view @param {import("../data/series.js").Series | null} _stepper */
  drawMore(_view, _stepper) {
    this.baseline.draw();
    this.pins.draw();
  }

  // What the user does

  /** A moment pointed at outside the lanes. @param {number | null} time_s */
  hoverTime(time_s) {
    if (this.range.axis === TIME) this.hover(time_s);
  }

  /** @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.range.reset(TIME);
    this.cursor_s = null; // it points at a moment of the other run
    this.events = [];
    this.findings.forget();
    this.store.forget(this.range.axis);
    this.keepAddress();
    this.loadSeries().then(() => this.inquire());
  }

  /** Time or steps. */
  turnAxis() {
    if (this.runs.untimed || this.runs.current?.last_step == null) return;
    this.range.reset(this.range.axis === STEP ? TIME : STEP);
    this.cursor_s = null;
    this.store.forget(this.range.axis);
    this.keepAddress();
    this.loadSeries().then(() => this.inquire());
  }

  /** @param {number} from @param {number} to @param {boolean} done */
  select(from, to, done) {
    this.baseline.select(from, to, done);
  }

  moved() {
    super.moved();
    this.inquire();
  }

  /** @param {boolean} done */
  chosen(done) {
    this.#drawing = !done;
    this.inquire(done);
    super.chosen(done);
  }

  /** The user chose what to compare with. */
  compared() {
    this.requests.baseline = this.baseline.value;
    this.inquire(!this.baseline.pending);
    this.keepAddress();
    this.invalidate();
  }

  pinned() {
    this.keepAddress();
    this.invalidate();
  }

  /** Where a note would stand: the window, the moment pointed at, else now. @returns {import("../timeline/notes.js").Place | null} */
  noted() {
    const { name, missing } = this.runs;
    if (name === null || missing || this.range.axis !== TIME) return null;
    const { window } = this.range;
    return window ? { run: name, from: window.from, to: window.to } : { run: name, from: null, to: this.cursor_s ?? this.end_s };
  }

  /** Its dialog is loaded when it is first asked for. */
  async #note() {
    this.#notes ??= import("../timeline/notes.js").then(({ Notes }) => new Notes(() => this.noted()));
    const notes = await this.#notes.catch(() => (this.#notes = null)); // no connection: asked again at the next key
    notes?.open();
  }

  /** @type {Promise<import("../timeline/notes.js").Notes> | null} */
  #notes = null;

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    const axis = { keys: ["a"], shown: "a", says: "time or steps along the axis", run: () => this.turnAxis() };
    const note = { keys: ["n"], shown: "n", says: "a note on the window, or on the moment pointed at", run: () => this.#note() };
    return [...this.baseline.keys(), ...this.pins.keys(), ...(isOwner ? [note] : []), ...this.findings.keys(), axis];
  }

  // Messages of the server

  /** @param {import("../types/api").Delta} delta */
  onDelta(delta) {
    super.onDelta(delta);
    this.continuation.onDelta(delta);
    this.#addEvents(delta);
  }

  /** @param {import("../types/api").State} state @param {import("../data/runs.js").News} news */
  onState(state, news) {
    this.requests.onProfilerState(state.profile ?? {}, this.runs.over);
    if (news.more) this.#newRuns();
    else if (news.grown) this.loadSeries();
    super.onState(state, news);
  }

  async #newRuns() {
    await this.runs.readList().catch((error) => this.failed(error));
    if (this.runs.name === null || this.#absent !== this.absent) this.loadSeries();
    this.#absent = this.absent;
    this.invalidate();
  }

  #absent = "";
}

/** All starts of a rank but the first are resumes. @param {import("../timeline/marks.js").Event[]} events @returns {import("../timeline/marks.js").Event[]} */
function restarted(events) {
  /** @type {Map<number, number>} by rank */
  const first = new Map();
  for (const { kind, time_s, rank = 0 } of events)
    if (kind === "start") first.set(rank, Math.min(time_s, first.get(rank) ?? Infinity));
  return events.map((event) => (event.kind === "start" && event.time_s > Number(first.get(event.rank ?? 0)) ? { ...event, kind: "resume" } : event));
}

/** Marks where a run went back in its steps, by its points' segments, unless there is a start event. @param {import("../data/series.js").Series | null} stepper @param {import("../timeline/marks.js").Event[]} events */
function resumes(stepper, events) {
  if (!stepper) return [];
  const starts = events.filter(({ kind }) => kind === "start");
  const near = Math.max(SAME_START_S, 2 * stepper.width);
  return stepper.segment.flatMap((segment, i) => {
    if (!i || segment === stepper.segment[i - 1]) return [];
    const time_s = stepper.t[i];
    const step = stepper.finite[i] === 1 ? stepper.step[i] : null; // of several points in a bin the last one's is known
    const known = stepper.axis === TIME && starts.some((start) => Math.abs(start.time_s - time_s) < near);
    return known ? [] : [{ kind: "resume", time_s, step }];
  });
}

// Which steps a window holds, exactly: its first and last point of the run's densest series, wherever the page shows them.

/** @typedef {import("../data/view_range.js").Window} Window */
/** @typedef {{from: number | null, to: number | null}} Steps null where the window holds none */
/** @typedef {{run: string, series: string, window: Window}} Question */

const NONE = { from: null, to: null };

class WindowSteps {
  /** @param {() => void} known an answer is there */
  constructor(known) {
    this.known = known;
    /** @type {{of: string, steps: Steps}} */
    this.last = { of: "", steps: NONE };
    this.asked = "";
    this.ask = newest(firstAndLast, (steps, question) => this.#keep(question, steps), (error) => this.#fail(error));
  }

  /** The steps of a window, or null while they are requested. @param {string | null} run @param {import("../data/series.js").Meta[]} metas @param {Window} window @returns {Steps | null} */
  of(run, metas, window) {
    const series = densest(metas);
    if (run === null || series === null) return NONE;
    const question = { run, series, window };
    const key = JSON.stringify(question);
    if (key === this.last.of) return this.last.steps;
    if (key !== this.asked) {
      this.asked = key;
      this.ask(question);
    }
    return null;
  }

  /** @param {Question} question @param {Steps} steps */
  #keep(question, steps) {
    this.last = { of: JSON.stringify(question), steps };
    this.known();
  }

  /** Requested again at the next drawing. @param {unknown} error */
  #fail(error) {
    sentenceOf(error); // the chart says it
    this.asked = "";
    this.last = { of: "", steps: NONE };
  }
}

/** The name of the run's series that counts its steps best. @param {import("../data/series.js").Meta[]} metas @returns {string | null} */
const densest = (metas) => densestOf(metas)?.name ?? null;

/** The run's series with most points that have steps, whatever part of it is shown. @param {import("../data/series.js").Meta[]} metas */
function densestOf(metas) {
  const own = metas.filter((meta) => meta.run !== null && (meta.last_step ?? null) !== null);
  return own.reduce((/** @type {import("../data/series.js").Meta | null} */ best, meta) => (best && (best.points ?? 0) >= (meta.points ?? 0) ? best : meta), null);
}

/** The last step of the window is in its one bucket; the first is that of the bucket's first point. @param {Question} question @returns {Promise<Steps>} */
async function firstAndLast({ run, series, window }) {
  const whole = await bounds(run, series, window);
  if (!whole) return NONE;
  const first = await bounds(run, series, { from: whole.begins_s, to: whole.begins_s });
  return { from: first?.last ?? whole.last, to: whole.last };
}

/** @param {string} run @param {string} name @param {Window} window */
async function bounds(run, name, window) {
  const { curves } = await get("curves", { run, expr: name, ...window, buckets: 1 });
  const filled = curves.filter(({ x }) => x.length);
  if (!filled.length) return null;
  return {
    begins_s: Math.min(...filled.map(({ x }) => x[0])),
    last: filled[0].step.at(-1) ?? null,
  };
}

// A log whose first part has no times: the part of a run that the time axis cannot show, and the link to it.

const LEAST = 0.05; // a smaller share is not worth a line

class UntimedNote {
  /** @param {() => void} turn to the step axis */
  constructor(turn) {
    /** @type {string | null} that was asked about */
    this.run = null;
    this.said = el("span");
    const button = el("button", { class: "btn", type: "button", onclick: turn }, "Show by step", el("kbd", {}, "a"));
    this.element = el("p", { class: "untimed", role: "status", hidden: true }, this.said, button);
  }

  hide() {
    this.run = null;
    this.element.hidden = true;
  }

  /** Query once per run: a query over all times counts the points with a time. @param {string} run @param {string} series its densest @param {number} points of it in the store */
  async countTimed(run, series, points) {
    if (run === this.run) return;
    this.run = run;
    const { curves } = await get("curves", { run, expr: series, buckets: 1 });
    const timed = curves.reduce((sum, row) => sum + row.points_read, 0);
    const without = points - timed;
    if (run !== this.run) return;
    this.element.hidden = without <= LEAST * points;
    setText(this.said, `${count(without)} of ${count(points)} points of ${series} have no time, so the time axis cannot show them.`);
  }
}
