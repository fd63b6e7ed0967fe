/** The Live page: what it knows in one object, and who tells whom. */

import { Refused, get, newest } from "./api.js";
import { Book } from "./book.js";
import { Compare } from "./compare.js";
import { Controls } from "./controls.js";
import { el } from "./dom.js";
import { evidence } from "./evidence.js";
import { Feed } from "./feed.js";
import { clock, count, minute } from "./format.js";
import { lanesOf } from "./lanes.js";
import { LogTail } from "./log.js";
import { lostSince, withLost } from "./lost.js";
import { painted, paintedLane } from "./painted.js";
import { Panel } from "./panel.js";
import { Profile } from "./profile.js";
import { stepAt, totalSteps } from "./progress.js";
import { Range } from "./range.js";
import { Runs } from "./runs.js";
import { Status } from "./status.js";
import { Steering } from "./steering.js";
import { Timeline } from "./timeline.js";
import { readAddress, writeAddress } from "./url.js";
import { Verdict, worst } from "./verdict.js";

const NOW_EVERY_MS = 2000; // while nothing is selected, the flame graph is asked for so often
const CLOCK_SLACK_S = 1; // a first view that is off by less is as good
const END_ROOM = 0.01; // of the view, behind the end of a run that is over
const CLICK_REACH_S = 5; // a click looks so far for the nearest step
const TAIL_LINES = 5;
const LOSSES = ["train/loss", "loss"];
const SNIPPET = `import json, time
with open("logs/my-run/metrics.jsonl", "a") as log:
    log.write(json.dumps({"time_s": time.time(), "step": 1, "loss": 2.31}) + "\\n")`;

export class Live {
  /** @param {HTMLElement} bar @param {HTMLElement} foot the status line */
  constructor(bar, foot) {
    const address = readAddress();
    this.range = new Range(address);
    this.runs = new Runs(address.run);
    this.book = new Book((metas) => withLost(lanesOf(metas), metas, this.#lost(metas)));
    /** @type {number | null} */
    this.cursor_s = null;
    /** @type {import("./events.js").Event[]} */
    this.events = [];
    /** @type {number | null} age of the newest point when it arrived */
    this.behind_s = null;

    this.steering = new Steering(this.range, {
      end_s: () => this.end_s,
      first_s: () => this.#first_s,
      refresh: () => this.#moved(),
      chosen: (done) => this.#chosen(done),
    });
    this.timeline = new Timeline(
      {
        ...this.steering.gestures(),
        select: (from, to, done) => this.compare.select(from, to, done),
        hover: (t) => this.hover(t),
        click: (t) => this.selectStep(t),
      },
      paintedLane,
    );
    this.compare = new Compare(this.timeline, this.steering, () => this.#compared());
    this.panel = new Panel({
      clear: () => this.compare.clear() || this.steering.clear(),
      profile: (action) => this.profile.steer(action).catch((error) => this.#failed(error)),
      hover: (t) => this.hover(t),
      compare: () => this.compare.toggle(),
    });
    this.profile = new Profile(this.panel);
    this.profile.baseline = this.compare.window;
    this.verdict = new Verdict((run) => this.pick(run));
    this.tail = new LogTail();
    this.status = new Status(foot);
    this.controls = new Controls(bar, {
      resume: () => this.steering.resume(),
      span: (span_s) => this.steering.setSpan(span_s),
    });
    this.element = el(
      "div",
      { class: "live-page" },
      this.verdict.element,
      el("div", { class: "left" }, this.timeline.element, this.tail.element),
      this.panel.element,
    );
    this.readPoints = newest(
      (/** @type {{view: import("./range.js").View, growing: boolean}} */ { view, growing }) =>
        this.timeline.during(this.book.read(view, growing), `Reading ${count(this.book.points)} points …`),
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
    this.ready.then(() => this.#inquire());
    setInterval(() => this.range.window || document.hidden || this.#inquire(), NOW_EVERY_MS);
    this.load();
  }

  /** @type {(value?: unknown) => void} */
  #settle = () => {};

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

  /** Learn the run's series, lanes, events and last lines, then its points. */
  async load() {
    if (this.#loading) return;
    this.#loading = true;
    try {
      await this.book.catalogue(this.runs.choose());
      this.timeline.say("");
      this.timeline.setLanes(this.book.lanes);
      this.#helpToStart();
      this.#fit();
      this.refresh();
      if (this.runs.name !== null) await this.#readStory(this.runs.name);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#loading = false;
    }
  }

  #loading = false;

  /** Whether the view has another span now, because the run grew. */
  #fit() {
    const run = this.runs.current;
    const last = this.runs.over ? run?.last_time_s : this.runs.now_s;
    return this.range.fit(run?.started_s && last ? last - run.started_s : Infinity);
  }

  /** The run's events and last lines. @param {string} run */
  async #readStory(run) {
    const [{ events }, { lines, total }] = await Promise.all([get("events", { run }), get("logs", { run, limit: TAIL_LINES })]);
    this.events = events;
    this.tail.replace(lines, total);
    this.tail.draw();
    this.invalidate();
  }

  /** Read the points of the view anew. */
  refresh() {
    if (this.book.lanes.length) this.readPoints({ view: this.range.view(this.end_s), growing: this.growing });
    this.#address();
    this.invalidate();
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
    painted.window = range.window;
    if (growing) book.trim(view.lo);
    this.timeline.draw({
      view,
      window: range.window,
      cursor_s: this.cursor_s,
      cursor_step: this.cursor_s === null ? null : stepAt(stepper, this.cursor_s),
      series: book.series,
      events: this.events,
      end: range.following ? `${this.runs.over ? "end" : "now"} ${minute(view.hi)}` : clock(view.hi),
      following: growing,
    });
    this.compare.draw();
    this.#drawVerdict(view, stepper);
    this.#drawPanel(view, stepper);
    this.controls.draw({
      mode: this.runs.lost_s !== null ? "lost" : range.following ? "live" : "held",
      over: this.runs.over,
      host: this.runs.told?.host ?? "",
      span_s: range.following ? range.span_s : view.hi - view.lo,
    });
    this.status.draw(this.runs.told, growing ? this.behind_s : null);
  }

  /** @param {import("./range.js").View} view @param {import("./series.js").Series | null} stepper */
  #drawVerdict(view, stepper) {
    const loss = this.book.first(LOSSES);
    const before = loss ? loss.mean(Math.max(0, loss.at(view.lo))) : NaN;
    this.verdict.draw({
      runs: this.runs,
      step: stepper?.newest.step ?? this.runs.current?.last_step ?? null,
      total: totalSteps(this.runs.current?.info),
      rate: this.book.pace.rate,
      loss: loss ? loss.newest.v : null,
      lossBefore: this.range.following && Number.isFinite(before) ? before : null,
      span_s: loss ? Math.min(view.hi - view.lo, loss.newest.t - loss.t[0]) : 0,
      finding: worst(this.runs),
    });
  }

  /** @param {import("./range.js").View} view @param {import("./series.js").Series | null} stepper */
  #drawPanel(view, stepper) {
    const { window } = this.range;
    const steps = { from: window && stepAt(stepper, window.from), to: window && stepAt(stepper, window.to) };
    this.panel.point(this.cursor_s);
    this.panel.showWindow(window, steps, this.runs.over ? "What Python did at the end" : "What Python is doing now");
    if (window) this.panel.showFacts(evidence(this.book.lanes, this.book.series, stepper, view, window));
  }

  #helpToStart() {
    const none = this.runs.name === null;
    if (none) this.panel.showTrouble({ sentence: "A run’s Python appears here when it starts.", remedy: "", action: null });
    this.timeline.showHelp(
      none ? { sentence: "No runs in the log folder yet. Any JSONL file there becomes one.", code: SNIPPET } : null,
    );
  }

  #address() {
    writeAddress({ run: this.runs.name, ...this.range.address(this.end_s), ...this.compare.address() });
  }

  // What a person does

  /** @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.range.follow();
    this.events = [];
    this.book.series = new Map();
    this.load();
    this.#inquire();
  }

  /** @param {number | null} time_s */
  hover(time_s) {
    this.cursor_s = time_s;
    this.invalidate();
  }

  /** Where the run begins, with a little room before it. */
  get #first_s() {
    const lo = Math.min(this.runs.current?.started_s ?? Infinity, this.book.first_s);
    return lo - (this.end_s - lo) * END_ROOM;
  }

  /** A person moved the view. */
  #moved() {
    this.#click++;
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
    this.profile.baseline = this.compare.window;
    this.#inquire(!this.compare.pending);
    this.#address();
    this.invalidate();
  }

  /** The step nearest to a click is a window, too. @param {number} time_s */
  async selectStep(time_s) {
    const stepper = this.book.stepper();
    if (!stepper) return;
    const asked = ++this.#click;
    const reach_s = Math.max(CLICK_REACH_S, 4 * stepper.width);
    const { series } = await get("points", {
      run: this.runs.name,
      series: [stepper.meta.name],
      from: time_s - reach_s,
      to: time_s + reach_s,
      buckets: 5000,
    });
    /** @type {number[]} */
    const times = series[0]?.t ?? [];
    const nearest = times.reduce((best, t, i) => (Math.abs(t - time_s) < Math.abs(times[best] - time_s) ? i : best), 0);
    if (asked === this.#click && nearest > 0) this.steering.select(times[nearest - 1], times[nearest], true);
  }

  #click = 0; // a double click outdates the answer to its first click

  /** @returns {import("./keys.js").Key[]} */
  keys() {
    return [
      ...this.compare.keys(),
      {
        keys: ["f"],
        shown: "f",
        says: "flame graph of the window, on a page of its own",
        run: () => location.assign(`/flame${location.search}`),
      },
    ];
  }

  // What the server says

  /** @param {any} message */
  #delta(message) {
    this.book.take(message, this.growing);
    const mine = (/** @type {{run: string}} */ { run }) => run === this.runs.name;
    this.events.push(...message.events.filter(mine));
    const lines = message.lines.filter(mine);
    if (lines.length) this.tail.append(lines);
    if (lines.length && !document.hidden) this.tail.draw();
    const newestPoint = Math.max(...message.series.map((/** @type {{t: number[]}} */ { t }) => t.at(-1) ?? -Infinity));
    if (newestPoint > 0) this.behind_s = this.runs.now_s - newestPoint;
    this.invalidate();
  }

  /** @param {any} message */
  #state(message) {
    const { first, more, grown, silenced } = this.runs.hear(message);
    this.profile.hear(message.profile ?? {}, this.runs.over);
    const off = first && this.range.following && Math.abs(this.runs.clock_off_s) > CLOCK_SLACK_S;
    if (this.#fit() || off) this.refresh();
    if (!first && more) this.#newRuns();
    else if (!first && (grown || !this.book.lanes.length)) this.load();
    else if (silenced) this.#relane();
    this.invalidate();
  }

  /** A GPU fell silent, or came back. */
  #relane() {
    this.book.lanes = this.book.lanesOf(this.book.metas);
    this.timeline.setLanes(this.book.lanes);
  }

  /** @param {any[]} metas */
  #lost(metas) {
    return lostSince(
      this.runs.told?.gpus ?? [],
      metas.filter(({ run }) => run === null),
    );
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
    if (error instanceof Refused) this.timeline.say(error.message);
    else if (!(error instanceof TypeError)) throw error; // TypeError is fetch's word for "no connection": the feed tells that
  }

  /** Ask for the profile of the window, or of now. @param {boolean} [done] false while it is being drawn */
  #inquire(done = true) {
    const { name, current, over } = this.runs;
    if (name === null) return;
    if (this.range.window) this.profile.ask(name, this.range.window, done);
    else this.profile.askNow(name, over ? current.last_time_s : this.end_s);
  }
}
