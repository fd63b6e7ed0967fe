/** A page over one axis: a range of time or steps, the lanes over it, and their findings. */

import { lostSince, withStates } from "../data/gpu_states.js";
import { lanesOf } from "../data/lanes.js";
import { stepAt } from "../data/progress.js";
import { Retry, retryText } from "../data/refresh.js";
import { SeriesStore } from "../data/series_store.js";
import { ViewRange } from "../data/view_range.js";
import { FindingsLoader } from "../findings/loader.js";
import { Unreachable, newest, sentenceOf } from "../lib/api.js";
import { STEP, TIME } from "../lib/axis.js";
import { el, setClass, setText } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { FullAddress } from "../lib/full_address.js";
import { ON_LANES } from "../lib/keys.js";
import { painted, paintedLane } from "../lib/probe.js";
import { withChanges } from "../lib/url.js";
import { ViewController } from "../timeline/gestures.js";
import { Timeline } from "../timeline/timeline.js";
import { PageView } from "./session.js";

/** @typedef {import("../lib/axis.js").View} View */
/** @typedef {import("../data/series.js").Series} Series */
/** @typedef {import("../data/lanes.js").Lane} Lane */

const CLOCK_SLACK_S = 1; // a smaller error of the first view is acceptable
const END_ROOM = 0.01; // of the view, behind the end of a run that is over, and before its beginning

/** Adds an axis to `PageView`: the GPUs and the Logs page, and below `RunPage` those of one run. */
export class TimePage extends PageView {
  /** @param {import("./session.js").Session} session @param {{address: () => import("../lib/url.js").Address, run: string | null, buckets?: number, hints?: [string, string][]}} shown `address`: reads it; `buckets`: that a view is read in */
  constructor(session, { address, run, buckets, hints }) {
    super(session, run, hints);
    this.range = new ViewRange(address());
    this.readAddress = address;
    this.store = new SeriesStore((metas) => this.lanesOf(metas), buckets);
    /** @type {number | null} */
    this.cursor_s = null;
    /** @type {import("../timeline/marks.js").Event[]} */
    this.events = [];
    this.controller = new ViewController(this.range, {
      end_s: () => this.end_s,
      first_s: () => this.first_s,
      moved: () => this.moved(),
      chosen: (done) => this.chosen(done),
    });
    this.timeline = new Timeline(
      {
        ...this.controller.gestures(),
        select: (from, to, done) => this.select(from, to, done),
        hover: (time_s) => this.hover(time_s),
        click: (time_s) => this.click(time_s),
      },
      paintedLane,
    );
    this.timeline.element.dataset.logged = "";
    this.full = new FullAddress("lane", this.timeline.element, {
      idOf: (lane) => lane.dataset.lane,
      find: (id) => /** @type {HTMLElement[]} */ ([...this.timeline.element.querySelectorAll("[data-lane]")]).find((lane) => lane.dataset.lane === id),
      isAway: () => this.isAway,
    });
    this.findings = new FindingsLoader(this.timeline, {
      run: () => this.foundOf(),
      runs: () => this.runs,
      range: this.range,
      show: (window) => this.controller.show(window),
      drawn: () => this.invalidate(),
      waited: () => this.store.lanes.length && this.updateLanes(),
      keep: () => this.keepAddress(),
      follow: (cursor) => this.feed?.follow(cursor),
    });
    this.viewControls = new Controls(session.scope.when, {
      resume: () => this.controller.resume(),
      span: (span_s) => this.controller.setSpan(span_s),
    });
    this.requestPoints = newest(
      (/** @type {{view: View, growing: boolean}} */ { view, growing }) =>
        this.timeline.during(this.store.readPoints(view, growing), `Reading ${count(this.store.points)} points …`),
      (read, { growing }) => this.#showPoints(read, growing),
      (error) => {
        this.#unread = true;
        this.failed(error, this.retries.points);
      },
    );
    this.retries = {
      series: new Retry(() => this.loadSeries()),
      points: new Retry(() => this.loadPoints()),
      rest: new Retry(() => this.loadRest()),
    };
  }

  start() {
    super.start();
    this.loadSeries();
  }

  get isKept() {
    return true;
  }

  moving = ["from", "to", "span", "at"];

  onReturn() {
    const words = (/** @type {Record<string, any>} */ all) => withChanges(new URLSearchParams(), Object.fromEntries(this.moving.map((name) => [name, all[name]]))).toString();
    const address = this.readAddress();
    if (words(address) !== words(this.range.address(this.end_s))) this.range.take(address);
    if (this.store.lanes.length) this.loadPoints();
    this.loadSeries(false);
    setTimeout(() => this.full.fill());
  }

  placed() {
    super.placed();
    this.full.fill();
  }

  // Defined by each page

  /** The lanes for the existing series. @param {import("../data/series.js").Meta[]} metas @returns {Lane[]} */
  lanesOf(metas) {
    return withStates(lanesOf(metas), metas, this.statesOf(metas));
  }

  /** Read the list of series. */
  async loadCatalogue() {
    await this.store.readCatalogue(this.runs.choose());
  }

  /** Whether a run that was over at page load is shown from its beginning to its end. */
  get showsWhole() {
    return false;
  }

  /** Whose findings are shown: a run's with those of the machine, null for the machine's alone, undefined for none. @returns {string | null | undefined} */
  foundOf() {
    return this.runs.missing ? undefined : (this.runs.name ?? undefined);
  }

  /** Why there is nothing to load, or "". */
  get absent() {
    return "";
  }

  /** Read the data beside the points: events, lines. */
  async loadExtras() {}

  /** Draw everything but the lanes. @param {View} _view @param {Series | null} _stepper */
  drawMore(_view, _stepper) {}

  /** The page's part of the address. @returns {Record<string, string | number | string[] | null>} */
  address() {
    return { ...this.range.address(this.end_s), ...this.findings.address() };
  }

  // The view

  /** Whether new points come into view. On steps, more may come with any line. */
  get growing() {
    return this.range.following && (!this.runs.over || this.range.axis === STEP);
  }

  /** Where a following view ends: now, or a little behind the end of a run that is over, or behind the newest step. */
  get end_s() {
    if (this.range.axis === STEP) return this.#lastStep + Math.max(1, this.range.span_s * END_ROOM);
    const last = this.runs.last_s;
    return this.runs.over && last
      ? last + this.range.span_s * END_ROOM
      : Math.max(this.runs.now_s, this.store.stepper()?.newest.t ?? 0);
  }

  get #lastStep() {
    return Math.max(this.runs.current?.last_step ?? 0, this.store.stepper()?.newest.t ?? 0);
  }

  /** The start of the data, with a little room before it. */
  get first_s() {
    const started = this.range.axis === STEP ? Infinity : (this.runs.current?.started_s ?? Infinity);
    const lo = Math.min(started, this.store.origin);
    return lo - (this.end_s - lo) * END_ROOM;
  }

  /** @param {import("../data/series.js").Meta[]} metas @param {import("./gpus/page.js").Card[]} [cards] @returns {import("../data/gpu_states.js").GpuStates} */
  statesOf(metas, cards = this.runs.message?.gpus ?? []) {
    const machine = metas.filter(({ run }) => run === null);
    return { lost: lostSince(cards, machine), waits: this.range.axis === TIME ? this.findings.waits : new Map() };
  }

  /** Read the list of series, then their points. @param {boolean} [anew] also where the lanes stay the same */
  async loadSeries(anew = true) {
    if (this.#loading) {
      this.#afterwards = true; // the current load may be of another run
      return;
    }
    this.#loading = true;
    const before = JSON.stringify(this.store.lanes);
    try {
      await this.loadCatalogue();
      this.retries.series.done();
      this.timeline.say("");
      this.timeline.setLanes(this.store.lanes);
      this.full.fill();
      const isCut = this.range.cutFuture(this.end_s);
      if (this.#fit() || isCut || anew || JSON.stringify(this.store.lanes) !== before) this.loadPoints();
      if (!this.store.lanes.length) this.markReady();
      await this.ready; // the charts go first
      await this.loadRest();
    } catch (error) {
      this.failed(error, this.retries.series);
    } finally {
      this.#loading = false;
    }
    if (this.#afterwards) {
      this.#afterwards = false;
      await this.loadSeries();
    }
  }

  #loading = false;
  #afterwards = false;

  /** The data beside the points may fail alone. */
  async loadRest() {
    try {
      await Promise.all([this.loadExtras(), this.findings.loadFindings()]);
      this.retries.rest.done();
      this.#calm();
    } catch (error) {
      this.failed(error, this.retries.rest);
    }
  }

  /** Whether the view has another span now, because there is more data. */
  #fit() {
    const { current: run, now_s, over } = this.runs;
    if (this.range.axis === STEP) return this.range.fit(this.#lastStep - this.store.origin, over);
    const first = run ? run.started_s : this.store.origin;
    const last = over ? this.runs.last_s : now_s;
    if (run && !over) this.#lived = run.run;
    const whole = run && over && this.showsWhole && run.run !== this.#lived;
    return this.range.fit(first && last ? last - first : Infinity, over, whole ? Infinity : undefined);
  }

  #lived = ""; // a run that was running in this page keeps its view when it ends

  /** Read the points of the view anew. */
  loadPoints() {
    if (this.store.lanes.length) this.requestPoints({ view: this.range.view(this.end_s), growing: this.growing });
    this.keepAddress();
    this.invalidate();
  }

  /** Choose other lanes from the catalogue. */
  updateLanes() {
    this.store.lanes = this.lanesOf(this.store.metas);
    this.timeline.setLanes(this.store.lanes);
  }

  draw() {
    const { range, store, runs, growing } = this;
    const view = range.view(this.end_s);
    const { axis } = range;
    const stepper = store.stepper();
    painted.window = range.window;
    if (growing && axis === TIME) store.trim(view.lo);
    this.timeline.draw({
      axis,
      view,
      window: range.window,
      cursor_s: this.cursor_s,
      cursor_step: this.cursor_s === null || axis === STEP ? null : stepAt(stepper, this.cursor_s),
      series: store.series,
      failed: store.failed,
      shares: this.shares(),
      version: store.version,
      events: this.marks(),
      end: this.#endWord(view.hi),
      following: growing,
    });
    this.findings.draw();
    this.drawMore(view, stepper);
    this.viewControls.draw({
      mode: runs.lost_s !== null ? "lost" : range.following ? "live" : "held",
      over: runs.over,
      span_s: range.following ? range.span_s : view.hi - view.lo,
      axis,
    });
    this.session.scope.draw(runs, this.about);
    this.status.draw(runs.message, growing && axis === TIME ? this.session.behind_s : null);
  }

  /** Of the lane that has no series. @returns {import("../ledger/ledger_view.js").Shares | null} null: there is none, or nothing is known yet */
  shares() {
    return null;
  }

  /** The marks on the axis. @returns {import("../timeline/marks.js").Event[]} */
  marks() {
    return this.events;
  }

  /** @param {number} hi */
  #endWord(hi) {
    const { axis, following } = this.range;
    if (!following) return axis.word(hi);
    return axis === STEP ? axis.word(this.#lastStep) : `${this.runs.over ? "end" : "now"} ${axis.brief(hi)}`;
  }

  selection() {
    return { ...super.selection(), ...this.range.selection() };
  }

  // What the user does

  /** @param {number} from @param {number} to @param {boolean} done */
  select(from, to, done) {
    this.controller.select(from, to, done);
  }

  /** @param {number | null} time_s */
  hover(time_s) {
    this.cursor_s = time_s;
    this.invalidate();
  }

  /** @param {number} _time_s */
  click(_time_s) {
    this.controller.clear();
  }

  /** The view has changed. */
  moved() {
    this.loadPoints();
  }

  /** A window was drawn, or is being drawn. @param {boolean} done */
  chosen(done) {
    if (done) this.keepAddress();
    this.invalidate();
  }

  gestures() {
    return ON_LANES;
  }

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    return [...this.controller.keys(), ...this.findings.keys()];
  }

  // Messages of the server

  /** @param {import("../types/api").Delta} delta */
  onDelta(delta) {
    this.store.onDelta(delta, this.growing);
    this.findings.onDelta(delta);
  }

  /** @param {import("../types/api").State} _state @param {import("../data/runs.js").News} news */
  onState(_state, { first, silenced }) {
    const { current: run } = this.runs;
    if (this.range.axis === STEP && run?.last_time_s) this.store.paceBySteps(run.last_time_s, run.last_step);
    const off = first && this.range.following && Math.abs(this.runs.clock_off_s) > CLOCK_SLACK_S;
    if (this.#fit() || off) this.loadPoints();
    if (silenced) this.updateLanes();
    if (!this.store.lanes.length && !this.absent && !this.#loading && !this.retries.series.timer) this.loadSeries();
  }

  onReset() {
    this.loadSeries();
  }

  /** @param {import("../data/series_store.js").Read} read @param {boolean} growing */
  #showPoints(read, growing) {
    if (read.failed.size) {
      const wait_s = this.retries.points.failed();
      for (const [key, sentence] of read.failed) read.failed.set(key, retryText(sentence, wait_s));
    } else this.retries.points.done();
    this.#unread = false;
    this.store.replace(read, growing);
    this.feed?.subscribe(this.store.wishes(), read.cursor);
    this.#calm();
    if (!this.isAway) this.draw();
    this.markReady();
  }

  #unread = false; // no point of the view could be read

  /** The sentence goes with the last failure, whichever that is. */
  #calm() {
    if (!this.#unread && !this.retries.series.timer && !this.retries.rest.timer) this.timeline.say("");
  }

  /** Show the error in place of the charts, and when it is retried. @param {unknown} error @param {Retry} [again] */
  failed(error, again) {
    this.markReady();
    const sentence = sentenceOf(error);
    const wait_s = again?.failed();
    if (!(error instanceof Unreachable) || !this.store.lanes.length) this.timeline.say(wait_s === undefined ? sentence : retryText(sentence, wait_s));
  }
}

// The range of time in the row of the scope: how long, and whether it follows.

/**
 * @typedef {Object} Setting
 * @property {"live" | "held" | "lost"} mode
 * @property {boolean} over nothing more comes from the run
 * @property {number} span_s
 * @property {import("../lib/axis.js").Axis} axis
 */

class Controls {
  /** @param {HTMLElement} place @param {{resume: () => void, span: (span_s: number) => void}} actions */
  constructor(place, actions) {
    this.back = el("button", { class: "back", type: "button", disabled: true, onclick: actions.resume }, "…");
    this.spans = el("select", { class: "spans", "aria-label": "Range", title: "Range (r)", onchange: () => actions.span(Number(this.spans.value)) });
    place.append(el("label", { class: "range" }, this.spans), this.back);
  }

  /** @param {Setting} setting */
  draw({ mode, over, span_s, axis }) {
    const [live, held] = over ? ["Ended", "Go to the end"] : ["Live", "Go live"];
    setText(this.back, { live, held, lost: "Offline" }[mode]);
    setClass(this.back, "held", mode !== "live");
    setClass(this.back, "over", mode === "live" && over);
    this.back.disabled = mode === "live";
    const follows = mode === "live" && !over;
    const looks = `${axis.name} ${span_s} ${follows}`;
    if (this.spans.dataset.looks === looks) return;
    this.spans.dataset.looks = looks;
    const spans = axis.spans.includes(span_s) ? axis.spans : [...axis.spans, span_s];
    const word = (/** @type {number} */ span) => `${follows ? "Last " : ""}${axis.length(span)}`;
    this.spans.replaceChildren(...spans.map((span) => el("option", { value: span, selected: span === span_s }, word(span))));
  }
}
