/** The GPUs page: every metric of every card on one time axis, who uses them, and how they are read. */

import { Refused, get, newest } from "./api.js";
import { Book } from "./book.js";
import { Controls } from "./controls.js";
import { el, setClass, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { clock, count, duration, minute } from "./format.js";
import { GpuHead } from "./gpu_head.js";
import { gpuPageLanes } from "./gpu_lanes.js";
import { lostSince } from "./lost.js";
import { painted, paintedLane } from "./painted.js";
import { Processes } from "./processes.js";
import { Range } from "./range.js";
import { Reading } from "./reading.js";
import { Runs } from "./runs.js";
import { Status } from "./status.js";
import { Steering } from "./steering.js";
import { Timeline } from "./timeline.js";
import { readAddress, writeAddress } from "./url.js";

/** @typedef {import("./gpu_head.js").Card} Card */

const BUCKETS = 400; // each is drawn from its lowest to its highest, so that fewer hide nothing
const PROCESSES_MS = 2000;
const CATALOGUE_MS = { first: 1500, last: 12_000 }; // some series have their first point late; each wait is twice the one before

export class Gpus {
  /** @param {HTMLElement} bar @param {HTMLElement} foot the status line */
  constructor(bar, foot) {
    this.range = new Range(readAddress());
    this.all = new URLSearchParams(location.search).has("all");
    this.server = new Runs(null);
    /** @type {Card[]} */
    this.cards = [];
    /** @type {Map<string, number>} by uuid, since when */
    this.lost = new Map();
    /** @type {import("./events.js").Event[]} */
    this.xids = [];
    /** @type {number | null} */
    this.cursor_s = null;
    this.book = new Book((metas) => this.#lanes(metas), BUCKETS);
    this.steering = new Steering(this.range, {
      end_s: () => this.server.now_s,
      first_s: () => this.book.first_s,
      refresh: () => this.refresh(),
      chosen: (done) => (done ? this.#address() : undefined, this.invalidate()),
    });
    this.timeline = new Timeline(
      { ...this.steering.gestures(), hover: (t) => this.hover(t), click: () => this.steering.clear() },
      paintedLane,
    );
    this.head = new GpuHead();
    this.processes = new Processes();
    this.more = el("button", { class: "btn more", type: "button", onclick: () => this.showAll(!this.all) });
    this.moment = el("div", { class: "title" });
    this.hint = el("div", { class: "sub" });
    this.flame = el("a", { class: "btn pri" }, "Flame graph of this window");
    this.reading = new Reading();
    this.side = el(
      "aside",
      { class: "side", "aria-label": "Processes, and how the GPUs are read" },
      el("section", { class: "chosen" }, this.moment, this.hint, this.flame),
      this.processes.element,
      this.reading.element,
    );
    this.element = el(
      "div",
      { class: "live-page gpus-page" },
      this.head.element,
      el("div", { class: "left" }, this.timeline.element, el("div", { class: "further" }, this.more)),
      this.side,
    );
    this.controls = new Controls(bar, {
      resume: () => this.steering.resume(),
      span: (span_s) => this.steering.setSpan(span_s),
    });
    this.status = new Status(foot);
    this.readPoints = newest(
      (/** @type {{view: import("./range.js").View, growing: boolean}} */ { view, growing }) =>
        this.timeline.during(this.book.read(view, growing), `Reading ${count(this.book.points)} points …`),
      (told, { growing }) => this.#read(told, growing),
      (error) => this.#failed(error),
    );
    this.feed = new Feed(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`, {
      delta: (message) => this.#delta(message),
      state: (message) => this.#state(message),
      reset: () => this.refresh(),
      status: (lost_ms) => this.#connection(lost_ms),
    });
    this.ready = new Promise((settle) => (this.#settle = settle));
    setInterval(() => document.hidden || this.#readProcesses(), PROCESSES_MS);
    this.load();
    this.#loadAgain(CATALOGUE_MS.first);
    this.#readProcesses();
  }

  /** @type {(value?: unknown) => void} */
  #settle = () => {};

  // What is shown

  /** Learn which cards and series there are; read their points where that changes what is drawn. */
  async load() {
    if (this.#loading) return;
    this.#loading = true;
    const before = JSON.stringify(this.book.lanes);
    try {
      await Promise.all([this.#readCards(), this.book.catalogue(Promise.resolve(null))]);
      this.timeline.say("");
      this.#setLanes();
      if (this.#fit() || JSON.stringify(this.book.lanes) !== before) this.refresh();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#loading = false;
      if (!this.book.lanes.length) this.#settle();
    }
  }

  #loading = false;

  /** @param {number} wait_ms */
  #loadAgain(wait_ms) {
    setTimeout(async () => {
      if (!document.hidden) await this.load();
      this.#loadAgain(Math.min(2 * wait_ms, CATALOGUE_MS.last));
    }, wait_ms);
  }

  /** Whether the view has another span now, because there is more to show. */
  #fit() {
    return this.range.fit(this.server.now_s - this.book.first_s);
  }

  /** Read the points of the view anew. */
  refresh() {
    const view = this.range.view(this.server.now_s);
    if (this.book.lanes.length) this.readPoints({ view, growing: this.range.following });
    this.#readXids(view).catch((error) => this.#failed(error));
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
    const { range, book, server, cards } = this;
    const { window, following } = range;
    const view = range.view(server.now_s);
    painted.window = window;
    if (following) book.trim(view.lo);
    this.timeline.draw({
      view,
      window,
      cursor_s: this.cursor_s,
      cursor_step: null,
      series: book.series,
      events: this.xids,
      end: following ? `now ${minute(view.hi)}` : clock(view.hi),
      following,
    });
    const working = [...book.series.values()].filter(({ meta }) => !this.lost.has(meta.labels.uuid));
    this.head.draw({ cards, server, series: working, view, window });
    this.#drawSide(window);
    this.controls.draw({
      mode: server.lost_s !== null ? "lost" : following ? "live" : "held",
      over: false,
      host: server.told?.host ?? "",
      span_s: following ? range.span_s : view.hi - view.lo,
    });
    this.status.draw(server.told, null);
  }

  /** @param {import("./range.js").Window | null} window */
  #drawSide(window) {
    setClass(this.element, "alone", this.server.told !== null && !this.cards.length);
    setText(this.moment, window ? `${clock(window.from)} – ${clock(window.to)}` : "Now");
    setText(
      this.hint,
      window ? `${duration(window.to - window.from)}: which Python ran in it?` : "Drag over a dip to see which line of Python caused it.",
    );
    this.flame.hidden = window === null;
    if (window) this.flame.href = `/flame${location.search}`;
  }

  /** @param {any[]} metas @returns {import("./lanes.js").Lane[]} */
  #lanes(metas) {
    const { lo, hi } = this.range.view(this.server.now_s);
    const known = new Set(this.cards.map(({ uuid }) => uuid));
    const shown = metas.filter(
      ({ labels, first_time_s, last_time_s }) => !labels.uuid || known.has(labels.uuid) || (last_time_s >= lo && first_time_s <= hi),
    );
    this.lost = lostSince(this.cards, shown);
    const lanes = (/** @type {boolean} */ all) => gpuPageLanes(shown, this.lost, all);
    const further = lanes(true).length - lanes(false).length;
    this.more.hidden = !further;
    setText(this.more, this.all ? "Show fewer metrics" : `Show ${further} more metrics`);
    return lanes(this.all);
  }

  #setLanes() {
    this.book.lanes = this.#lanes(this.book.metas);
    this.timeline.setLanes(this.book.lanes);
  }

  #address() {
    writeAddress({ ...this.range.address(this.server.now_s), all: this.all ? 1 : null });
  }

  // What a person does

  /** @param {number | null} time_s */
  hover(time_s) {
    this.cursor_s = time_s;
    this.invalidate();
  }

  /** @param {boolean} all */
  showAll(all) {
    this.all = all;
    this.#setLanes();
    this.refresh();
  }

  /** @returns {import("./keys.js").Key[]} */
  keys() {
    return [
      ...this.steering.keys(),
      { keys: ["f"], shown: "f", says: "flame graph", run: () => location.assign(`/flame${location.search}`) },
      { keys: ["m"], shown: "m", says: "all metrics, or the most important", run: () => this.showAll(!this.all) },
    ];
  }

  // What the server says

  async #readCards() {
    const { gpus, looks } = await get("gpus");
    this.#take(gpus);
    this.reading.draw(this.cards, looks);
  }

  #readProcesses() {
    get("processes").then(
      ({ processes }) => this.processes.draw(processes),
      (error) => this.#failed(error),
    );
  }

  /** XID errors in view, as marks on the axis. @param {import("./range.js").View} view */
  async #readXids({ lo, hi }) {
    const { series } = await get("points", { series: ["gpu/xid*"], from: lo, to: this.range.following ? null : hi });
    this.xids = series.flatMap((/** @type {any} */ { t, last, labels }) =>
      t.map((/** @type {number} */ time_s, /** @type {number} */ i) => ({ kind: "xid", time_s, text: `GPU ${labels.gpu}: XID ${last[i]}` })),
    );
    this.invalidate();
  }

  /** Cards as they are now; one that comes or goes, falls silent or heals changes the lanes. @param {Card[]} cards */
  #take(cards) {
    const looks = (/** @type {Card[]} */ all) => JSON.stringify(all.map(({ uuid, since_s }) => [uuid, since_s]));
    const changed = looks(cards) !== looks(this.cards);
    const reasons = new Map(this.cards.map(({ uuid, clock_reasons }) => [uuid, clock_reasons]));
    this.cards = cards.map((card) => ({ clock_reasons: reasons.get(card.uuid), ...card }));
    if (changed) this.load();
  }

  /** @param {any} message */
  #delta(message) {
    this.book.take(message, this.range.following);
    this.invalidate();
  }

  /** @param {any} message */
  #state(message) {
    this.server.hear(message);
    this.#take(message.gpus);
    if (!this.book.lanes.length) this.load();
    else if (this.#fit()) this.refresh();
    this.invalidate();
  }

  /** @param {number | null} lost_ms the browser's clock */
  #connection(lost_ms) {
    this.server.lost_s = lost_ms === null ? null : lost_ms / 1000 + this.server.clock_off_s;
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
}

/** What one point of utilization stands for, as measured on the cards. @param {Card[]} cards */
function sampling(cards) {
  const periods = cards.flatMap(({ sample_period_s }) => sample_period_s ?? []);
  if (!periods.length) return "These cards keep no samples of their own: utilization is what they told when they were asked.";
  const [least, most] = [Math.min(...periods), Math.max(...periods)].map(duration);
  const each = least === most ? least : `${least} to ${most}`;
  return `Utilization is the driver’s own mean over each ${each}, as measured here: a dip between two looks is not lost.`;
}
