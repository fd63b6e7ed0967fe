/** What all pages share: a stretch of time, the series over it and the server's state. Each page adds what is special to it. */

import { Unreachable, newest, sentenceOf } from "./api.js";
import { STEP, TIME } from "./axis.js";
import { Book } from "./book.js";
import { Controls } from "./controls.js";
import { Feed } from "./feed.js";
import { count } from "./format.js";
import { lanesOf } from "./lanes.js";
import { lostSince, withLost } from "./lost.js";
import { painted, paintedLane } from "./painted.js";
import { stepAt } from "./progress.js";
import { Range } from "./range.js";
import { Retry, asked } from "./retry.js";
import { Runs } from "./runs.js";
import { Status } from "./status.js";
import { Steering } from "./steering.js";
import { Timeline } from "./timeline.js";
import { writeAddress } from "./url.js";

/** @typedef {import("./range.js").View} View */
/** @typedef {import("./series.js").Series} Series */
/** @typedef {import("./lanes.js").Lane} Lane */

const CLOCK_SLACK_S = 1; // a first view that is off by less is as good
const END_ROOM = 0.01; // of the view, behind the end of a run that is over, and before its beginning

export class Page {
  /** @param {HTMLElement} bar @param {HTMLElement} foot the status line @param {{address: import("./url.js").Address, run: string | null, buckets?: number}} shown `buckets`: that a view is read in */
  constructor(bar, foot, { address, run, buckets }) {
    this.range = new Range(address);
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
      (error) => this.failed(error, this.again.points),
    );
    this.again = {
      load: new Retry(() => this.load()),
      points: new Retry(() => this.refresh()),
      more: new Retry(() => this.readMore()),
    };
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

  /** A run that was over when the page came is shown from its beginning to its end. */
  get showsWhole() {
    return false;
  }

  /** Why there is nothing to load, or "". */
  get absent() {
    return "";
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

  /** New points come into view. Of steps, more may come whenever lines do. */
  get growing() {
    return this.range.following && (!this.runs.over || this.range.axis === STEP);
  }

  /** Where a following view ends: now, or a little behind the end of a run that is over, or behind the newest step. */
  get end_s() {
    if (this.range.axis === STEP) return this.#lastStep + Math.max(1, this.range.span_s * END_ROOM);
    const last = this.runs.current?.last_time_s;
    return this.runs.over && last
      ? last + this.range.span_s * END_ROOM
      : Math.max(this.runs.now_s, this.book.stepper()?.newest.t ?? 0);
  }

  get #lastStep() {
    return Math.max(this.runs.current?.last_step ?? 0, this.book.stepper()?.newest.t ?? 0);
  }

  /** Where there is something to show, with a little room before it. */
  get first_s() {
    const started = this.range.axis === STEP ? Infinity : (this.runs.current?.started_s ?? Infinity);
    const lo = Math.min(started, this.book.origin);
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
    if (this.#loading) {
      this.#afterwards = true; // what is under way may be of another run
      return;
    }
    this.#loading = true;
    const before = JSON.stringify(this.book.lanes);
    try {
      await this.learn();
      this.again.load.done();
      this.timeline.say("");
      this.timeline.setLanes(this.book.lanes);
      const settled = this.range.settle(this.end_s);
      if (this.#fit() || settled || anew || JSON.stringify(this.book.lanes) !== before) this.refresh();
      await this.readMore();
    } catch (error) {
      this.failed(error, this.again.load);
    } finally {
      this.#loading = false;
      if (!this.book.lanes.length) this.#settle();
    }
    if (this.#afterwards) {
      this.#afterwards = false;
      await this.load();
    }
  }

  #loading = false;
  #afterwards = false;

  /** What stands beside the points may fail alone. */
  async readMore() {
    try {
      await this.learnMore();
      this.again.more.done();
    } catch (error) {
      this.failed(error, this.again.more);
    }
  }

  /** Whether the view has another span now, because there is more to show. */
  #fit() {
    const { current: run, now_s, over } = this.runs;
    if (this.range.axis === STEP) return this.range.fit(this.#lastStep - this.book.origin, over);
    const first = run ? run.started_s : this.book.origin;
    const last = over ? run.last_time_s : now_s;
    if (run && !over) this.#lived = run.run;
    const whole = run && over && this.showsWhole && run.run !== this.#lived;
    return this.range.fit(first && last ? last - first : Infinity, over, whole ? Infinity : undefined);
  }

  #lived = ""; // a run that was seen running does not change its view because it ends

  /** Read the points of the view anew. */
  refresh() {
    if (this.book.lanes.length) this.readPoints({ view: this.range.view(this.end_s), growing: this.growing });
    this.keepAddress();
    this.invalidate();
  }

  /** Other lanes of what the catalogue knows. */
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
    const { axis } = range;
    const stepper = book.stepper();
    painted.window = range.window;
    if (growing && axis === TIME) book.trim(view.lo);
    this.timeline.draw({
      axis,
      view,
      window: range.window,
      cursor_s: this.cursor_s,
      cursor_step: this.cursor_s === null || axis === STEP ? null : stepAt(stepper, this.cursor_s),
      series: book.series,
      failed: book.failed,
      version: book.version,
      events: this.marks(),
      end: this.#endWord(view.hi),
      following: growing,
    });
    this.drawMore(view, stepper);
    this.controls.draw({
      mode: runs.lost_s !== null ? "lost" : range.following ? "live" : "held",
      over: runs.over,
      host: runs.told?.host ?? "",
      span_s: range.following ? range.span_s : view.hi - view.lo,
      axis,
    });
    this.status.draw(runs.told, growing && axis === TIME ? this.behind_s : null);
  }

  /** What stands on the axis. @returns {import("./events.js").Event[]} */
  marks() {
    return this.events;
  }

  /** @param {number} hi */
  #endWord(hi) {
    const { axis, following } = this.range;
    if (!following) return axis.word(hi);
    return axis === STEP ? axis.word(this.#lastStep) : `${this.runs.over ? "end" : "now"} ${axis.brief(hi)}`;
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
    const { current: run } = this.runs;
    if (this.range.axis === STEP && run?.last_time_s) this.book.pace.add(run.last_time_s, run.last_step); // points over steps have no times
    const off = news.first && this.range.following && Math.abs(this.runs.clock_off_s) > CLOCK_SLACK_S;
    if (this.#fit() || off) this.refresh();
    this.told(message, news);
    if (!this.book.lanes.length && !this.absent && !this.again.load.timer) this.load();
    this.invalidate();
  }

  /** @param {number | null} lost_ms the browser's clock */
  #connection(lost_ms) {
    this.runs.lost_s = lost_ms === null ? null : lost_ms / 1000 + this.runs.clock_off_s;
    this.invalidate();
  }

  /** @param {import("./book.js").Read} read @param {boolean} growing */
  #read(read, growing) {
    if (read.failed.size) {
      const wait_s = this.again.points.failed();
      for (const [key, sentence] of read.failed) read.failed.set(key, asked(sentence, wait_s));
    } else this.again.points.done();
    this.book.replace(read, growing);
    this.feed?.subscribe(this.book.wishes(), read.cursor);
    if (!this.again.load.timer && !this.again.more.timer) this.timeline.say("");
    this.draw();
    this.#settle();
  }

  /** Say what failed where the charts would be, and when it is tried again. @param {unknown} error @param {Retry} [again] */
  failed(error, again) {
    this.#settle();
    const sentence = sentenceOf(error);
    const wait_s = again?.failed();
    if (!(error instanceof Unreachable) || !this.book.lanes.length) this.timeline.say(wait_s === undefined ? sentence : asked(sentence, wait_s));
  }
}
