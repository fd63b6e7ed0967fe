/** The Flame page: one window of a run's Python, against normal or another window. Who tells whom. */

import { Refused, get, newest } from "./api.js";
import { Book } from "./book.js";
import { Controls } from "./controls.js";
import { el, setClass } from "./dom.js";
import { download } from "./download.js";
import { Feed } from "./feed.js";
import { FlameHead } from "./flame_head.js";
import { writeChoice } from "./flame_options.js";
import { FlameStage } from "./flame_stage.js";
import { clock, count, minute } from "./format.js";
import { painted, paintedFlame } from "./painted.js";
import { Profile } from "./profile.js";
import { stepAt } from "./progress.js";
import { Range } from "./range.js";
import { Runs } from "./runs.js";
import { Status } from "./status.js";
import { Steering } from "./steering.js";
import { Strip, stripLanes } from "./strip.js";
import { readAddress, writeAddress } from "./url.js";

const BUCKETS = 400;
const NOW_EVERY_MS = 2000;
const END_ROOM = 0.01; // of the view, behind the end of a run that is over

export class FlamePage {
  /** @param {HTMLElement} bar @param {HTMLElement} foot the status line */
  constructor(bar, foot) {
    const address = readAddress();
    this.range = new Range(address);
    this.runs = new Runs(address.run);
    this.book = new Book((metas) => stripLanes(metas, this.runs.told?.gpus ?? []), BUCKETS);
    /** @type {number | null} */
    this.cursor_s = null;
    /** @type {import("./events.js").Event[]} */
    this.events = [];
    this.steering = new Steering(this.range, {
      end_s: () => this.end_s,
      first_s: () => this.book.first_s,
      refresh: () => this.#moved(),
      chosen: (done) => this.#chosen(done),
    });
    this.head = new FlameHead({ pick: (run) => this.pick(run), download: (format) => this.download(format) });
    this.stage = new FlameStage({
      chosen: () => this.#looked(),
      profile: (action) => this.profile.steer(action).catch((error) => this.#failed(error)),
    });
    this.strip = new Strip(this.steering, {
      hover: (time_s) => this.hover(time_s),
      compared: () => this.#compared(),
      failed: (error) => this.#failed(error),
      tinting: () => this.stage.tinting(),
    });
    this.profile = new Profile({
      dim: (stale) => setClass(this.element, "stale", stale),
      showFlame: (flame, question, about) => this.#showFlame(flame, question, about),
      showBlame: (blame, question) => this.#showBlame(blame, question),
      showLines: () => {},
    });
    this.profile.filter = this.stage.filter;
    this.profile.baseline = this.strip.compare.window;
    this.controls = new Controls(bar, {
      resume: () => this.steering.resume(),
      span: (span_s) => this.steering.setSpan(span_s),
    });
    this.status = new Status(foot);
    this.element = el(
      "div",
      { class: "flame-page" },
      this.head.element,
      this.strip.element,
      this.stage.tools.element,
      this.stage.place,
      this.stage.side.element,
    );
    this.readPoints = newest(
      (/** @type {{view: import("./range.js").View, growing: boolean}} */ { view, growing }) =>
        this.strip.timeline.during(this.book.read(view, growing), `Reading ${count(this.book.points)} points …`),
      (told, { growing }) => this.#read(told, growing),
      (error) => this.#failed(error),
    );
    this.feed = new Feed(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`, {
      delta: (message) => this.#delta(message),
      state: (message) => this.#state(message),
      reset: () => this.load(),
      status: (lost_ms) => this.#connection(lost_ms),
    });
    /** Settles when there is a first picture, or nothing to draw. */
    this.ready = new Promise((settle) => (this.#settle = settle));
    setInterval(() => this.growing && !document.hidden && this.#inquire(), NOW_EVERY_MS);
    this.load();
  }

  /** @type {(value?: unknown) => void} */
  #settle = () => {};

  // What is shown

  /** New points and stacks come into view. */
  get growing() {
    return this.range.following && !this.runs.over;
  }

  /** Where a following view ends: now, or a little behind the end of a run that is over. */
  get end_s() {
    const last = this.runs.current?.last_time_s;
    return this.runs.over && last ? last + this.range.span_s * END_ROOM : this.runs.now_s;
  }

  /** Learn the run's series and events, then its points and stacks. */
  async load() {
    if (this.#loading) return;
    this.#loading = true;
    try {
      await this.book.catalogue(this.runs.choose());
      this.strip.timeline.say("");
      this.strip.timeline.setLanes(this.book.lanes);
      this.#fit();
      this.refresh();
      this.#inquire();
      if (this.runs.name !== null) this.events = (await get("events", { run: this.runs.name })).events;
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#loading = false;
      if (!this.book.lanes.length) this.#settle();
    }
  }

  #loading = false;

  /** Whether the view has another span now, because the run grew. */
  #fit() {
    const run = this.runs.current;
    const last = this.runs.over ? run?.last_time_s : this.runs.now_s;
    return this.range.fit(run?.started_s && last ? last - run.started_s : Infinity);
  }

  /** Read the strip anew. */
  refresh() {
    if (this.book.lanes.length) this.readPoints({ view: this.range.view(this.end_s), growing: this.growing });
    this.#readChart();
    this.#address();
    this.invalidate();
  }

  #readChart() {
    if (this.runs.name !== null) this.strip.ask(this.runs.name, this.range.view(this.end_s), this.stage.choice);
  }

  /** Draw once in the next frame; a hidden tab has none. */
  invalidate() {
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  #frame = 0;

  draw() {
    this.#frame = 0;
    const { range, book, growing } = this;
    const view = range.view(this.end_s);
    const stepper = book.stepper();
    const step = (/** @type {number | null} */ time_s) => (time_s === null ? null : stepAt(stepper, time_s));
    painted.window = range.window;
    if (growing) book.trim(view.lo);
    this.strip.draw({
      view,
      window: range.window,
      cursor_s: this.cursor_s,
      cursor_step: step(this.cursor_s),
      series: book.series,
      events: this.events,
      end: range.following ? `${this.runs.over ? "end" : "now"} ${minute(view.hi)}` : clock(view.hi),
      following: growing,
    });
    this.head.drawRuns(this.runs);
    const shown = range.window ?? this.profile.wanted?.asked;
    if (shown) this.head.drawWindow(shown, range.window !== null, { from: step(shown.from), to: step(shown.to) });
    this.controls.draw({
      mode: this.runs.lost_s !== null ? "lost" : range.following ? "live" : "held",
      over: this.runs.over,
      host: this.runs.told?.host ?? "",
      span_s: range.following ? range.span_s : view.hi - view.lo,
    });
    this.status.draw(this.runs.told, null);
  }

  #address() {
    writeAddress({ run: this.runs.name, ...this.range.address(this.end_s), ...this.strip.compare.address() });
    writeChoice(this.stage.choice);
  }

  // What a person does

  /** @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.range.follow();
    this.stage.choose({ thread: null, phase: null, rank: null, frame: null });
    this.events = [];
    this.book.series = new Map();
    this.load();
  }

  /** @param {number | null} time_s */
  hover(time_s) {
    this.cursor_s = time_s;
    this.invalidate();
  }

  /** @param {"speedscope" | "folded"} format */
  download(format) {
    if (this.profile.wanted) download(this.profile.wanted, format);
  }

  /** A person moved the view. */
  #moved() {
    this.refresh();
    this.#inquire();
  }

  /** A person drew a window, or is drawing it. @param {boolean} done */
  #chosen(done) {
    this.#inquire(done);
    if (done) this.#address();
    this.invalidate();
  }

  /** A person chose what to compare with. */
  #compared() {
    this.profile.baseline = this.strip.compare.window;
    this.#inquire(!this.strip.compare.pending);
    this.#address();
    this.invalidate();
  }

  /** A person looks at the window in another way. */
  #looked() {
    this.#address();
    if (this.profile.filter === this.stage.filter) return;
    this.profile.filter = this.stage.filter;
    this.profile.again();
    this.#readChart();
  }

  /** @returns {import("./keys.js").Key[]} */
  keys() {
    return [
      ...this.strip.compare.keys(),
      ...this.stage.keys(),
      { keys: ["e"], shown: "e", says: "export to speedscope", run: () => this.download("speedscope") },
      { keys: ["E"], shown: "E", says: "export folded stacks", run: () => this.download("folded") },
    ];
  }

  // What the server says

  /** @param {import("./tree.js").Flame | null} flame @param {import("./profile.js").Question} question @param {{growing: boolean, trouble: import("./profile.js").Trouble | null}} about */
  #showFlame(flame, question, about) {
    this.stage.show(flame, question, about);
    this.strip.chart.colour(this.stage.tinting());
    this.head.say(this.stage.blame, this.stage.own, question.baseline !== null);
    paintedFlame(this.stage.graph.names, question.asked);
    this.invalidate();
  }

  /** @param {import("./blame.js").Blame | null} blame @param {import("./profile.js").Question} question */
  #showBlame(blame, { baseline }) {
    this.stage.showBlame(blame);
    this.head.say(blame, this.stage.own, baseline !== null);
  }

  /** @param {any} message */
  #delta(message) {
    this.book.take(message, this.growing);
    this.events.push(...message.events.filter((/** @type {{run: string}} */ { run }) => run === this.runs.name));
    this.invalidate();
  }

  /** @param {any} message */
  #state(message) {
    const { first, more, grown, silenced } = this.runs.hear(message);
    this.profile.hear(message.profile ?? {}, this.runs.over);
    if (this.#fit()) this.refresh();
    if (!first && more) this.#newRuns();
    else if (!first && (grown || !this.book.lanes.length)) this.load();
    else if (silenced) this.strip.timeline.setLanes((this.book.lanes = this.book.lanesOf(this.book.metas)));
    this.invalidate();
  }

  async #newRuns() {
    await this.runs.read().catch((error) => this.#failed(error));
    if (this.runs.name === null) this.load();
    this.invalidate();
  }

  /** @param {number | null} lost_ms the browser's clock */
  #connection(lost_ms) {
    this.runs.lost_s = lost_ms === null ? null : lost_ms / 1000 + this.runs.clock_off_s;
    this.invalidate();
  }

  /** @param {{series: Map<string, import("./series.js").Series>, cursor: number}} told @param {boolean} growing */
  #read({ series, cursor }, growing) {
    this.book.replace(series, growing);
    this.feed.subscribe(this.book.wishes(), cursor);
    this.draw();
    this.#settle();
  }

  /** @param {unknown} error */
  #failed(error) {
    this.#settle();
    if (error instanceof Refused) this.strip.timeline.say(error.message);
    else if (!(error instanceof TypeError)) throw error; // TypeError is fetch's word for "no connection": the feed tells that
  }

  /** Ask for the profile of the window, or of now. @param {boolean} [done] false while it is being drawn */
  #inquire(done = true) {
    const { name, current, over } = this.runs;
    if (name === null) return;
    if (this.range.window) this.profile.ask(name, this.range.window, done);
    else this.profile.askNow(name, over ? current.last_time_s : this.end_s);
    if (this.growing) this.#readChart();
  }
}
