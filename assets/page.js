/** What all pages share: a stretch of time, the series over it and the server's state. Each page adds what is special to it. */

import { Refused, newest } from "./api.js";
import { Book } from "./book.js";
import { Controls } from "./controls.js";
import { Feed } from "./feed.js";
import { clock, count, minute } from "./format.js";
import { lanesOf } from "./lanes.js";
import { lostSince, withLost } from "./lost.js";
import { painted, paintedLane } from "./painted.js";
import { stepAt } from "./progress.js";
import { Range } from "./range.js";
import { Runs } from "./runs.js";
import { Status } from "./status.js";
import { Steering } from "./steering.js";
import { Timeline } from "./timeline.js";
import { readAddress, writeAddress } from "./url.js";

/** @typedef {import("./range.js").View} View */
/** @typedef {import("./series.js").Series} Series */
/** @typedef {import("./lanes.js").Lane} Lane */

const CLOCK_SLACK_S = 1; // a first view that is off by less is as good
const END_ROOM = 0.01; // of the view, behind the end of a run that is over, and before its beginning

export class Page {
  /** @param {HTMLElement} bar @param {HTMLElement} foot the status line @param {{run: string | null, buckets?: number}} shown `buckets`: that a view is read in */
  constructor(bar, foot, { run, buckets }) {
    this.range = new Range(readAddress());
    this.runs = new Runs(run);
    this.book = new Book((metas) => this.lanesOf(metas), buckets);
    /** @type {number | null} */
    this.cursor_s = null;
    /** @type {import("./events.js").Event[]} */
    this.events = [];
    /** @type {number | null} age of the newest point when it arrived */
    this.behind_s = null;
    this.steering = new Steering(this.range, {
      end_s: () => this.end_s,
      first_s: () => this.first_s,
      refresh: () => this.moved(),
      chosen: (done) => this.chosen(done),
    });
    this.timeline = new Timeline(
      {
        ...this.steering.gestures(),
        select: (from, to, done) => this.select(from, to, done),
        hover: (time_s) => this.hover(time_s),
        click: (time_s) => this.click(time_s),
      },
      paintedLane,
    );
    this.controls = new Controls(bar, {
      resume: () => this.steering.resume(),
      span: (span_s) => this.steering.setSpan(span_s),
    });
    this.status = new Status(foot);
    this.readPoints = newest(
      (/** @type {{view: View, growing: boolean}} */ { view, growing }) =>
        this.timeline.during(this.book.read(view, growing), `Reading ${count(this.book.points)} points …`),
      (told, { growing }) => this.#read(told, growing),
      (error) => this.failed(error),
    );
    /** Settles when there is a first picture, or nothing to draw. */
    this.ready = new Promise((settle) => (this.#settle = settle));
  }

  /** @type {(value?: unknown) => void} */
  #settle = () => {};

  /** Call when the page's own parts stand. */
  start() {
    this.feed = new Feed(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`, {
      delta: (message) => this.#delta(message),
      state: (message) => this.#state(message),
      reset: () => this.load(),
      status: (lost_ms) => this.#connection(lost_ms),
    });
    this.load();
  }

  // What each page says for itself

  /** What to show of the series that there are. @param {any[]} metas @returns {Lane[]} */
  lanesOf(metas) {
    return withLost(lanesOf(metas), metas, this.silent(metas));
  }

  /** Learn which series there are. */
  async learn() {
    await this.book.catalogue(this.runs.choose());
  }

  /** What stands beside the points: events, lines. */
  async learnMore() {}

  /** Draw what is not the lanes'. @param {View} _view @param {Series | null} _stepper */
  drawMore(_view, _stepper) {}

  /** What the address says. @returns {Record<string, string | number | null>} */
  address() {
    return this.range.address(this.end_s);
  }

  /** A delta, once its points are taken. @param {any} _message */
  heard(_message) {}

  /** The server's state, once the page knows it. @param {any} _message @param {ReturnType<Runs["hear"]>} news */
  told(_message, { silenced }) {
    if (silenced) this.relane();
  }

  // What is shown

  /** New points come into view. */
  get growing() {
    return this.range.following && !this.runs.over;
  }

  /** Where a following view ends: now, or a little behind the end of a run that is over. */
  get end_s() {
    const last = this.runs.current?.last_time_s;
    return this.runs.over && last
      ? last + this.range.span_s * END_ROOM
      : Math.max(this.runs.now_s, this.book.stepper()?.newest.t ?? 0);
  }

  /** Where there is something to show, with a little room before it. */
  get first_s() {
    const lo = Math.min(this.runs.current?.started_s ?? Infinity, this.book.first_s);
    return lo - (this.end_s - lo) * END_ROOM;
  }

  /** Since when GPUs do not answer, by uuid. @param {any[]} metas */
  silent(metas) {
    return lostSince(
      this.runs.told?.gpus ?? [],
      metas.filter(({ run }) => run === null),
    );
  }

  /** Learn what there is, then read its points. @param {boolean} [anew] also where the lanes stay the same */
  async load(anew = true) {
    if (this.#loading) return;
    this.#loading = true;
    const before = JSON.stringify(this.book.lanes);
    try {
      await this.learn();
      this.timeline.say("");
      this.timeline.setLanes(this.book.lanes);
      if (this.#fit() || anew || JSON.stringify(this.book.lanes) !== before) this.refresh();
      await this.learnMore();
    } catch (error) {
      this.failed(error);
    } finally {
      this.#loading = false;
      if (!this.book.lanes.length) this.#settle();
    }
  }

  #loading = false;

  /** Whether the view has another span now, because there is more to show. */
  #fit() {
    const { current: run, now_s, over } = this.runs;
    const first = run ? run.started_s : this.book.first_s;
    const last = over ? run.last_time_s : now_s;
    return this.range.fit(first && last ? last - first : Infinity, over);
  }

  /** Read the points of the view anew. */
  refresh() {
    if (this.book.lanes.length) this.readPoints({ view: this.range.view(this.end_s), growing: this.growing });
    this.keepAddress();
    this.invalidate();
  }

  /** Other lanes of the same series. */
  relane() {
    this.book.lanes = this.lanesOf(this.book.metas);
    this.timeline.setLanes(this.book.lanes);
  }

  /** Draw once in the next frame; a hidden tab has none. */
  invalidate() {
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  #frame = 0;

  draw() {
    this.#frame = 0;
    const { range, book, runs, growing } = this;
    const view = range.view(this.end_s);
    const stepper = book.stepper();
    painted.window = range.window;
    if (growing) book.trim(view.lo);
    this.timeline.draw({
      view,
      window: range.window,
      cursor_s: this.cursor_s,
      cursor_step: this.cursor_s === null ? null : stepAt(stepper, this.cursor_s),
      series: book.series,
      version: book.version,
      events: this.events,
      end: range.following ? `${runs.over ? "end" : "now"} ${minute(view.hi)}` : clock(view.hi),
      following: growing,
    });
    this.drawMore(view, stepper);
    this.controls.draw({
      mode: runs.lost_s !== null ? "lost" : range.following ? "live" : "held",
      over: runs.over,
      host: runs.told?.host ?? "",
      span_s: range.following ? range.span_s : view.hi - view.lo,
    });
    this.status.draw(runs.told, growing ? this.behind_s : null);
  }

  keepAddress() {
    writeAddress(this.address());
  }

  // What a person does

  /** @param {number} from @param {number} to @param {boolean} done */
  select(from, to, done) {
    this.steering.select(from, to, done);
  }

  /** @param {number | null} time_s */
  hover(time_s) {
    this.cursor_s = time_s;
    this.invalidate();
  }

  /** @param {number} _time_s */
  click(_time_s) {
    this.steering.clear();
  }

  /** The view has changed. */
  moved() {
    this.refresh();
  }

  /** A window was drawn, or is being drawn. @param {boolean} done */
  chosen(done) {
    if (done) this.keepAddress();
    this.invalidate();
  }

  /** @returns {import("./keys.js").Key[]} */
  keys() {
    return this.steering.keys();
  }

  // What the server says

  /** @param {any} message */
  #delta(message) {
    this.book.take(message, this.growing);
    const newest_s = Math.max(...message.series.map((/** @type {{t: number[]}} */ { t }) => t.at(-1) ?? -Infinity));
    if (newest_s > 0) this.behind_s = this.runs.now_s - newest_s;
    this.heard(message);
    this.invalidate();
  }

  /** @param {any} message */
  #state(message) {
    const news = this.runs.hear(message);
    const off = news.first && this.range.following && Math.abs(this.runs.clock_off_s) > CLOCK_SLACK_S;
    if (this.#fit() || off) this.refresh();
    this.told(message, news);
    if (!this.book.lanes.length) this.load();
    this.invalidate();
  }

  /** @param {number | null} lost_ms the browser's clock */
  #connection(lost_ms) {
    this.runs.lost_s = lost_ms === null ? null : lost_ms / 1000 + this.runs.clock_off_s;
    this.invalidate();
  }

  /** @param {{series: Map<string, Series>, cursor: number}} told @param {boolean} growing */
  #read({ series, cursor }, growing) {
    this.book.replace(series, growing);
    this.feed?.subscribe(this.book.wishes(), cursor);
    this.draw();
    this.#settle();
  }

  /** @param {unknown} error */
  failed(error) {
    this.#settle();
    if (error instanceof Refused) this.timeline.say(error.message);
    else if (!(error instanceof TypeError)) throw error; // TypeError is fetch's word for "no connection": the feed tells that
  }
}
