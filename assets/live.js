/** The Live page: what it knows in one object, and who tells whom. */

import { Refused, get, newest, post } from "./api.js";
import { Book } from "./book.js";
import { el, setClass, setText } from "./dom.js";
import { evidence } from "./evidence.js";
import { Feed } from "./feed.js";
import { clock, duration, minute } from "./format.js";
import { LogTail } from "./log.js";
import { Panel } from "./panel.js";
import { stepAt, totalSteps } from "./progress.js";
import { Range, SPANS_S } from "./range.js";
import { Status } from "./status.js";
import { Timeline } from "./timeline.js";
import { readAddress, writeAddress } from "./url.js";
import { Verdict, worst } from "./verdict.js";

const NOW_S = 10; // how much of the newest profile is shown while nothing is selected
const NOW_EVERY_MS = 2000;
const BEFORE_S = 2; // log lines from this long before a window
const CLOCK_SLACK_S = 1; // a first view that is off by less is as good
const LOSSES = ["train/loss", "loss"];
const SNIPPET = `import json, time
with open("logs/my-run/metrics.jsonl", "a") as log:
    log.write(json.dumps({"time_s": time.time(), "step": 1, "loss": 2.31}) + "\\n")`;

/** What has been painted, for tests and benchmarks: `deepseek.drawn["train/loss"] -> {t, v, at, count}`; `at` is wall time in ms. */
const painted = { drawn: /** @type {Record<string, {t: number, v: number, at: number, count: number}>} */ ({}), window: null, flame: { names: /** @type {string[]} */ ([]) } };

export class Live {
  /** @param {HTMLElement} controls in the bar @param {HTMLElement} foot the status line */
  constructor(controls, foot) {
    const address = readAddress();
    this.range = new Range(address);
    this.book = new Book();
    this.status = new Status(foot);
    /** @type {any[]} */
    this.runs = [];
    /** @type {string | null} */
    this.run = address.run;
    /** @type {any} the server's last state */
    this.told = null;
    this.clock_off_s = 0; // server's clock minus the browser's
    /** @type {number | null} when the connection was lost, browser's Unix seconds */
    this.lost_s = null;
    /** @type {number | null} */
    this.cursor_s = null;
    /** @type {import("./events.js").Event[]} */
    this.events = [];
    /** @type {{answer: import("./tree.js").Flame | null, asked: {from: number, to: number}, now: boolean} | null} */
    this.flame = null;
    /** @type {number | null} age of the newest point when it was drawn */
    this.behind_s = null;

    this.timeline = new Timeline({ hover: (t) => this.hover(t), select: (from, to, done) => this.select(from, to, done), click: (t) => this.selectStep(t), whole: () => this.whole(), zoom: (t, factor) => this.zoom(t, factor) }, (lane) => this.#drawn(lane));
    this.panel = new Panel({ clear: () => this.clear(), profile: (action) => this.profile(action) });
    this.verdict = new Verdict((run) => this.pick(run));
    this.tail = new LogTail();
    this.element = el("div", { class: "live-page" }, this.verdict.element, el("div", { class: "left" }, this.timeline.element, this.tail.element), this.panel.element);

    this.back = el("button", { class: "back", type: "button", onclick: () => this.resume() });
    this.spans = el("select", { class: "spans", "aria-label": "Range", onchange: () => this.setSpan(Number(this.spans.value)) });
    this.host = el("span", { class: "dim host" });
    controls.append(this.host, this.back, el("label", { class: "range" }, el("kbd", {}, "r"), this.spans));

    this.readPoints = newest(
      (/** @type {{view: import("./range.js").View, following: boolean}} */ { view, following }) => this.book.read(view, following),
      (told, { following }) => this.#read(told, following),
      (error) => this.#failed(error),
    );
    this.readFlame = newest(
      (/** @type {{asked: {from: number, to: number}, now: boolean}} */ { asked }) => get("flame", { run: this.run, ...asked }),
      (answer, { asked, now }) => this.#showFlame(answer, asked, now),
      (error, { asked, now }) => this.#showFlame(null, asked, now, sentence(error)),
    );
    this.readLines = newest(
      (/** @type {{from: number, to: number}} */ { from, to }) => get("logs", { run: this.run, from: from - BEFORE_S, to, limit: 200 }),
      ({ lines, total }) => this.panel.showLines(lines, total),
      (error) => this.#failed(error),
    );
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.feed = new Feed(`${scheme}://${location.host}/api/v1/live`, { delta: (message) => this.#delta(message), state: (message) => this.#state(message), reset: () => this.load(), status: (lost_ms) => this.#status(lost_ms) });
    setInterval(() => this.#tick(), NOW_EVERY_MS);
    Object.defineProperty(globalThis, "deepseek", { value: painted });
    /** Settles when there is a first picture, or nothing to draw. */
    this.ready = new Promise((settle) => (this.#settle = settle));
    this.load();
    this.ready.then(() => (this.range.window ? this.#ask() : this.#tick()));
  }

  /** @type {(value?: unknown) => void} */
  #settle = () => {};

  // What is shown

  /** Learn the run's series, lanes, events and last lines, then its points. */
  async load() {
    if (this.#loading) return;
    this.#loading = true;
    try {
      await this.book.catalogue(this.#chosen());
      this.timeline.setLanes(this.book.lanes);
      this.#noRun();
      this.refresh();
      if (this.run !== null) await this.#readStory(this.run);
    } catch (error) {
      this.#failed(error);
    }
    this.#loading = false;
  }

  #loading = false;

  /** The run to show: the address's, else the newest that runs. */
  async #chosen() {
    if (!this.runs.length) this.runs = (await get("runs")).runs;
    this.run ??= preferred(this.runs);
    return this.run;
  }

  /** The run's events and last lines. @param {string} run */
  async #readStory(run) {
    const [{ events }, { lines, total }] = await Promise.all([get("events", { run }), get("logs", { run, limit: 5 })]);
    this.events = events;
    this.tail.replace(lines, total);
    this.tail.draw();
    this.invalidate();
  }

  /** Read the points of the view anew, and what belongs to the window. */
  refresh() {
    if (this.book.lanes.length) this.readPoints({ view: this.range.view(this.end_s), following: this.range.following });
    this.#address();
    this.invalidate();
  }

  get now_s() {
    return Date.now() / 1000 + this.clock_off_s;
  }

  /** The shown run, as the server last told it. */
  get current() {
    return this.runs.find((one) => one.run === this.run) ?? null;
  }

  /** Nothing more comes from the run. */
  get over() {
    return ["finished", "crashed"].includes(this.current?.state);
  }

  /** Where a following view ends: now, or where a run that is over ended. */
  get end_s() {
    const { current } = this;
    return this.over && current.last_time_s ? current.last_time_s + this.range.span_s / 100 : Math.max(this.now_s, this.book.stepper()?.newest.t ?? 0);
  }

  /** Draw once in the next frame; a hidden tab has none. */
  invalidate() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }

  #frame = 0;

  draw() {
    const { range, book } = this;
    const view = range.view(this.end_s);
    const stepper = book.stepper();
    painted.window = range.window;
    if (range.following) book.trim(view.lo);
    const word = range.following ? `${this.over ? "end" : "now"} ${minute(view.hi)}` : clock(view.hi);
    this.timeline.draw({ view, window: range.window, cursor_s: this.cursor_s, cursor_step: this.cursor_s === null ? null : stepAt(stepper, this.cursor_s), series: book.series, events: this.events, end: word, following: range.following && !this.over });
    this.#drawVerdict(view, stepper);
    this.#drawPanel(view, stepper);
    this.#drawBar();
    this.status.draw(this.told, this.range.following ? this.behind_s : null);
  }

  /** @param {import("./range.js").View} view @param {import("./series.js").Series | null} stepper */
  #drawVerdict(view, stepper) {
    const loss = this.book.first(LOSSES);
    const before = loss ? loss.mean(Math.max(0, loss.at(view.lo))) : NaN;
    const newestStep = stepper?.newest.step ?? this.current?.last_step ?? null;
    this.verdict.draw({
      runs: this.runs,
      run: this.current,
      now_s: this.now_s,
      step: newestStep,
      total: totalSteps(this.current?.info),
      rate: this.book.pace.rate,
      loss: loss ? loss.newest.v : null,
      lossBefore: this.range.following && Number.isFinite(before) ? before : null,
      span_s: loss ? Math.min(view.hi - view.lo, loss.newest.t - loss.t[0]) : 0,
      finding: worst(this.told, this.current, this.lost_s === null ? null : this.lost_s + this.clock_off_s, this.now_s),
    });
  }

  /** @param {import("./range.js").View} view @param {import("./series.js").Series | null} stepper */
  #drawPanel(view, stepper) {
    const { window } = this.range;
    this.panel.showWindow(window, window ? { from: stepAt(stepper, window.from), to: stepAt(stepper, window.to) } : { from: null, to: null }, this.over ? "What Python did at the end" : "What Python is doing now");
    if (window) this.panel.showFacts(evidence(this.book.lanes, this.book.series, stepper, view, window));
  }

  #drawBar() {
    const { following } = this.range;
    const mode = this.lost_s !== null ? "lost" : following ? "live" : "held";
    setClass(this.back, "held", mode !== "live");
    setText(this.back, { live: this.over ? "Ended" : "Live", held: this.over ? "Back to the end" : "Back to live", lost: "Not connected" }[mode]);
    setClass(this.back, "over", this.over && mode === "live");
    this.back.disabled = following;
    setText(this.host, this.told?.host ? `host ${this.told.host}` : "");
    const view = this.range.view(this.end_s);
    const span = following ? this.range.span_s : view.hi - view.lo;
    const known = SPANS_S.includes(span);
    const options = known ? SPANS_S : [...SPANS_S, span];
    if (this.spans.dataset.span === String(span)) return;
    this.spans.dataset.span = String(span);
    this.spans.replaceChildren(...options.map((one) => el("option", { value: one, selected: one === span }, duration(one))));
  }

  // What a person does

  /** @param {string} run */
  pick(run) {
    this.run = run;
    this.range.follow();
    this.flame = null;
    this.events = [];
    this.book.series = new Map();
    this.load();
    this.#tick();
  }

  /** @param {number | null} time_s */
  hover(time_s) {
    this.cursor_s = time_s;
    this.invalidate();
  }

  /** @param {number} from @param {number} to @param {boolean} done */
  select(from, to, done) {
    this.range.select({ from, to }, this.end_s);
    this.#ask();
    if (done) this.#address();
    this.invalidate();
  }

  /** The step nearest to a click is a window, too. @param {number} time_s */
  async selectStep(time_s) {
    const stepper = this.book.stepper();
    if (!stepper) return;
    const asked = ++this.#click;
    const reach_s = Math.max(5, 4 * stepper.width);
    const { series } = await get("points", { run: this.run, series: [stepper.meta.name], from: time_s - reach_s, to: time_s + reach_s, buckets: 5000 });
    const times = series[0]?.t ?? [];
    const nearest = times.reduce((best, t, i) => (Math.abs(t - time_s) < Math.abs(times[best] - time_s) ? i : best), 0);
    if (asked === this.#click && nearest > 0) this.select(times[nearest - 1], times[nearest], true);
  }

  #click = 0;

  clear() {
    this.range.clear();
    this.flame = null;
    if (this.range.following) this.refresh();
    this.#address();
    this.#tick();
    this.invalidate();
  }

  /** The whole run in one view. */
  whole() {
    this.#click++;
    this.range.clear();
    const first = this.book.metas.filter((meta) => meta.run !== null || this.run === null).map((meta) => /** @type {any} */ (meta).first_time_s ?? Infinity);
    const lo = Math.min(...first, this.current?.started_s ?? Infinity);
    const hi = this.end_s;
    if (lo < hi) this.range.hold({ lo: lo - (hi - lo) * 0.01, hi });
    this.refresh();
  }

  /** @param {number} time_s @param {number} factor */
  zoom(time_s, factor) {
    this.range.zoom(time_s, factor, this.end_s);
    this.refresh();
  }

  resume() {
    this.range.follow();
    this.flame = null;
    this.refresh();
    this.#tick();
  }

  pause() {
    if (!this.range.following) return this.resume();
    this.range.hold(this.range.view(this.end_s));
    return this.refresh();
  }

  /** @param {number} span_s */
  setSpan(span_s) {
    this.range.span_s = span_s;
    const { frozen } = this.range;
    if (frozen) this.range.hold({ lo: frozen.hi - span_s, hi: frozen.hi });
    this.refresh();
  }

  nextSpan() {
    this.setSpan(SPANS_S[(SPANS_S.indexOf(this.range.span_s) + 1) % SPANS_S.length]);
  }

  /** @param {-1 | 1} way */
  move(way) {
    const before = this.range.frozen;
    this.range.move(way, this.end_s);
    if (this.range.window) this.#ask();
    if (this.range.frozen !== before) this.refresh();
    this.#address();
    this.invalidate();
  }

  /** @param {number} factor */
  zoomCentre(factor) {
    const { lo, hi } = this.range.view(this.end_s);
    const { window } = this.range;
    this.zoom(window ? (window.from + window.to) / 2 : (lo + hi) / 2, factor);
  }

  /** @param {"on" | "retry"} action */
  async profile(action) {
    await post("profile", { action }).catch((error) => this.#failed(error));
    this.#tick();
  }

  /** @returns {import("./keys.js").Key[]} */
  keys() {
    return [
      { keys: [" "], shown: "space", says: "pause, resume live", run: () => this.pause() },
      { keys: ["0"], shown: "0", says: "whole range", run: () => this.whole() },
      { keys: ["Escape"], shown: "Esc", says: "clear the window", run: () => this.clear() },
      { keys: ["r"], shown: "r", says: "next range", run: () => this.nextSpan() },
      { keys: ["+", "="], shown: "+", says: "zoom in", run: () => this.zoomCentre(0.5) },
      { keys: ["-"], shown: "-", says: "zoom out", run: () => this.zoomCentre(2) },
      { keys: ["ArrowLeft"], shown: "←", says: "move the window, or the view, back", run: () => this.move(-1) },
      { keys: ["ArrowRight"], shown: "→", says: "move it on", run: () => this.move(1) },
      { keys: ["f"], shown: "f", says: "flame graph: arrows walk, Enter zooms, Backspace returns", run: () => this.panel.flame.canvas.focus() },
    ];
  }

  // What the server says

  /** @param {any} message */
  #delta(message) {
    this.book.take(message, this.range.following);
    const lines = message.lines.filter((/** @type {any} */ line) => line.run === this.run);
    this.events.push(...(message.events ?? []).filter((/** @type {any} */ event) => event.run === this.run));
    if (lines.length) {
      this.tail.append(lines);
      if (!document.hidden) this.tail.draw();
    }
    const newestPoint = Math.max(...message.series.map((/** @type {any} */ one) => one.t.at(-1) ?? -Infinity));
    if (newestPoint > 0) this.behind_s = this.now_s - newestPoint;
    this.invalidate();
  }

  /** @param {any} message */
  #state(message) {
    const first = this.told === null;
    this.told = message;
    this.clock_off_s = message.time_s - Date.now() / 1000;
    const known = this.current?.series;
    const alive = new Map(message.runs.map((/** @type {any} */ run) => [run.run, run]));
    this.runs = this.runs.map((run) => alive.get(run.run) ?? run);
    const grown = known !== undefined && this.current.series !== known;
    if (first) this.#firstState();
    else if (message.runs_total !== this.runs.length) this.#newRuns();
    else if (grown || !this.book.lanes.length) this.load();
    this.#profileGrew();
    this.invalidate();
  }

  async #newRuns() {
    this.runs = (await get("runs").catch(() => ({ runs: this.runs }))).runs;
    if (this.run === null) this.load();
    this.invalidate();
  }

  /** Only now is the server's clock known. */
  #firstState() {
    if (this.range.following && Math.abs(this.clock_off_s) > CLOCK_SLACK_S) this.refresh();
  }

  /** @param {number | null} lost_ms */
  #status(lost_ms) {
    this.lost_s = lost_ms === null ? null : lost_ms / 1000;
    this.invalidate();
  }

  /** @param {{series: Map<string, import("./series.js").Series>, cursor: number}} told @param {boolean} following */
  #read({ series, cursor }, following) {
    this.book.replace(series, following);
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

  // The profile of the window, or of now

  #ask() {
    const { window } = this.range;
    if (!window || this.run === null) return;
    this.panel.dim(true);
    this.readFlame({ asked: window, now: false });
    this.readLines(window);
  }

  /** Every two seconds: what Python is doing now. */
  #tick() {
    if (this.range.window || this.run === null || document.hidden) return;
    const to = this.told?.profile?.until?.[this.run] ?? this.end_s;
    if (this.flame?.now && this.flame.asked.to === to && this.flame.answer?.samples) return;
    this.readFlame({ asked: { from: to - NOW_S, to }, now: true });
  }

  /** A window that reached beyond the profile is asked again when more of it is there. */
  #profileGrew() {
    const until = this.run === null ? null : this.told.profile?.until?.[this.run];
    const had = this.flame?.answer?.profile_until ?? null;
    if (this.range.window && until && had !== null && had < this.range.window.to && until > had) this.#ask();
  }

  /**
   * @param {import("./tree.js").Flame | null} answer @param {{from: number, to: number}} asked @param {boolean} now @param {string} [error]
   */
  #showFlame(answer, asked, now, error) {
    const { window } = this.range;
    if (now !== (window === null)) return;
    this.flame = { answer, asked, now };
    this.panel.dim(window !== null && (window.from !== asked.from || window.to !== asked.to));
    this.panel.showFlame(answer, asked, now, this.#trouble(answer, error));
    painted.flame = { names: this.panel.flame.names };
  }

  /** Why there is no profile, and what to do. @param {import("./tree.js").Flame | null} answer @param {string} [error] @returns {import("./panel.js").Trouble | null} */
  #trouble(answer, error) {
    if (error) return { sentence: error, remedy: "", action: null };
    const { state, sentence: why, remedy } = this.told?.profile ?? {};
    if (state === "off") return { sentence: why, remedy, action: "on" };
    if (state === "refused") return { sentence: why, remedy, action: "retry" };
    if (answer?.note) return { ...answer.note, action: "retry" };
    return state === "starting" ? { sentence: why, remedy: "", action: null } : null;
  }

  #noRun() {
    if (this.run === null) this.panel.showTrouble({ sentence: "A run’s Python appears here when it starts.", remedy: "", action: null });
    this.timeline.showHelp(
      this.run === null
        ? { sentence: "No runs in the log folder yet. Any JSONL file there becomes one.", code: SNIPPET }
        : null,
    );
  }

  #address() {
    writeAddress({ run: this.run, ...this.range.address(this.end_s) });
  }

  /** Tell tests and benchmarks what has been painted. @param {import("./lane.js").LaneView} lane */
  #drawn(lane) {
    const at = performance.timeOrigin + performance.now();
    for (const key of lane.spec.traces.flatMap((trace) => trace.keys)) {
      const one = lane.series.get(key);
      if (one?.bin.length && one.newest.t <= lane.view.hi) painted.drawn[one.meta.name] = { t: one.newest.t, v: one.newest.v, at, count: one.points };
    }
  }
}

/** A running run first, else the newest. @param {any[]} runs the newest first @returns {string | null} */
const preferred = (runs) => (runs.find(({ state }) => state === "running") ?? runs[0])?.run ?? null;

/** @param {unknown} error */
const sentence = (error) => (error instanceof Refused ? error.message : "");
