/** A page of Dash components: the bar, the status line, the selection, and its time charts. */

import { lane } from "../data/lanes.js";
import { keyOf } from "../data/series.js";
import { SeriesStore } from "../data/series_store.js";
import { ViewRange } from "../data/view_range.js";
import { newest, sentenceOf } from "../lib/api.js";
import { STEP, TIME } from "../lib/axis.js";
import { el } from "../lib/dom.js";
import { ON_LANES } from "../lib/keys.js";
import { paintedLane } from "../lib/probe.js";
import { readAddress } from "../lib/url.js";
import { ViewController } from "../timeline/gestures.js";
import { Timeline } from "../timeline/timeline.js";
import { Session } from "./session.js";

export default class DashPage extends Session {
  /** @param {HTMLElement} bar @param {HTMLElement} foot */
  constructor(bar, foot) {
    const address = readAddress();
    super(foot, address.run);
    this.element = el("div", { hidden: true }); // all that is shown is Dash's
    this.range = new ViewRange(address);
    /** @type {TimeChart[]} */
    this.charts = [];
    /** @type {number | null} */
    this.cursor_s = null;
    this.controller = new ViewController(this.range, {
      end_s: () => this.end_s,
      first_s: () => Math.min(...this.charts.map(({ extent }) => extent.lo)),
      moved: () => this.loadPoints(),
      chosen: (done) => this.chosen(done),
    });
    new MutationObserver(() => this.#mount()).observe(document.body, { childList: true, subtree: true });
    this.markReady();
    this.start();
    this.runs.choose().then(
      () => this.keepAddress(),
      (error) => this.failed(error),
    );
  }

  /** Charts appear and disappear with Dash's layout. */
  #mount() {
    const hosts = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-time-chart]")]);
    const kept = this.charts.filter(({ host }) => hosts.includes(host));
    const made = hosts
      .filter((host) => !kept.some((chart) => chart.host === host))
      .map(
        (host) =>
          new TimeChart(host, this.controller, {
            hover: (time_s) => this.hover(time_s),
            failed: (error) => this.failed(error),
            drawn: paintedLane,
            follow: () => this.follow(),
          }),
      );
    if (!made.length && kept.length === this.charts.length) return;
    this.charts = [...kept, ...made];
    if (this.charts[0]) this.range.axis = this.charts[0].axis;
    this.#loadCatalogues(made).catch((error) => this.failed(error));
  }

  /** @param {TimeChart[]} charts */
  async #loadCatalogues(charts) {
    const run = await this.runs.choose();
    await Promise.all(charts.map((chart) => chart.loadCatalogue(run)));
    const { lo, hi } = this.#extent;
    this.range.fit(hi - lo, this.runs.over);
    this.loadPoints();
  }

  get #extent() {
    const all = this.charts.map(({ extent }) => extent);
    return { lo: Math.min(...all.map(({ lo }) => lo)), hi: Math.max(...all.map(({ hi }) => hi)) };
  }

  get end_s() {
    const { hi } = this.#extent;
    return this.range.axis === STEP || this.runs.over ? hi : Math.max(this.runs.now_s, Number.isFinite(hi) ? hi : 0);
  }

  get growing() {
    return this.range.following && !this.runs.over;
  }

  /** Read the points of the view anew. */
  loadPoints() {
    const asked = { view: this.range.view(this.end_s), growing: this.growing };
    for (const chart of this.charts) chart.read(asked);
    this.keepAddress();
    this.invalidate();
  }

  /** Deltas continue after the points that were read. */
  follow() {
    const cursor = Math.min(...this.charts.map((chart) => chart.cursor));
    if (Number.isFinite(cursor)) this.feed?.subscribe(this.charts.flatMap((chart) => chart.wishes()), cursor);
    this.invalidate();
  }

  /** @param {import("../types/api").Delta} delta */
  onDelta(delta) {
    for (const chart of this.charts) chart.onDelta(delta, this.growing);
  }

  onReset() {
    this.loadPoints();
  }

  /** @param {boolean} done */
  chosen(done) {
    if (done) this.keepAddress();
    this.invalidate();
  }

  /** @param {number | null} time_s */
  hover(time_s) {
    this.cursor_s = time_s;
    this.invalidate();
  }

  draw() {
    super.draw();
    const { window, following } = this.range;
    const view = this.range.view(this.end_s);
    const picture = { view, window, cursor_s: this.cursor_s, cursor_step: null, events: [], end: this.range.axis.word(view.hi), following };
    for (const chart of this.charts) chart.draw(picture);
  }

  selection() {
    return { ...super.selection(), ...this.range.selection() };
  }

  address() {
    return { ...super.address(), ...this.range.address(this.end_s) };
  }

  gestures() {
    return ON_LANES;
  }

  keys() {
    return this.controller.keys();
  }

  /** @param {unknown} error */
  failed(error) {
    for (const chart of this.charts) chart.timeline.say(sentenceOf(error));
  }
}

// A time chart in a page of Dash components: one canvas timeline in an element that `dashboard/pages/time_chart.py` made.

/** @typedef {{runs: string[], series: string[], axis: "time" | "step"}} Wanted */

const HEIGHT = 120;
const COLOURS = 8;

class TimeChart {
  /**
   * @param {HTMLElement} host
   * @param {import("../timeline/gestures.js").ViewController} controller of the page
   * @param {{hover: (time_s: number | null) => void, failed: (error: unknown) => void, drawn: (lane: any) => void, follow: () => void}} page
   */
  constructor(host, controller, page) {
    this.host = host;
    /** @type {Wanted} */
    this.wanted = JSON.parse(host.dataset.timeChart ?? "{}");
    this.axis = this.wanted.axis === "step" ? STEP : TIME;
    this.cursor = Infinity; // what deltas must follow on
    /** @type {SeriesStore[]} one per run */
    this.stores = [];
    const gestures = controller.gestures();
    this.timeline = new Timeline({ ...gestures, hover: page.hover, click: () => controller.clear() }, page.drawn);
    host.replaceChildren(this.timeline.element);
    this.read = newest(
      (/** @type {{view: import("../lib/axis.js").View, growing: boolean}} */ { view, growing }) =>
        Promise.all(this.stores.map((store) => store.readPoints(view, growing))),
      (reads, { growing }) => {
        this.stores.forEach((store, i) => store.replace(reads[i], growing));
        this.cursor = Math.min(...reads.map(({ cursor }) => cursor));
        page.follow();
      },
      page.failed,
    );
  }

  /** Learn which series there are. @param {string | null} selected the run to show where the chart names none */
  async loadCatalogue(selected) {
    const runs = this.wanted.runs.length ? this.wanted.runs : selected === null ? [] : [selected];
    this.stores = runs.map(() => new SeriesStore((metas) => this.#lanes(metas)));
    await Promise.all(this.stores.map((store, i) => store.readCatalogue(Promise.resolve(runs[i]), () => this.axis)));
    this.timeline.setLanes(this.#lanes(this.metas));
  }

  get metas() {
    return this.stores.flatMap((store) => store.metas.filter(({ run }) => run !== null));
  }

  /** A lane per series, a line per run. @param {import("../data/series.js").Meta[]} metas */
  #lanes(metas) {
    return this.wanted.series.map((name) => {
      const found = metas.filter((meta) => meta.name === name && meta.run !== null);
      const lines = found.map((meta, i) => ({ label: String(meta.run), colour: `gpu-${i % COLOURS}`, keys: [keyOf(meta)] }));
      return lane(`chart ${name}`, name, HEIGHT, "robust", lines);
    });
  }

  /** Everything that is stored, on the chart's axis. @returns {{lo: number, hi: number}} */
  get extent() {
    const ends = this.metas.map((meta) => (this.axis === STEP ? [meta.first_step, meta.last_step] : [meta.first_time_s, meta.last_time_s]));
    const [first, last] = [ends.map(([lo]) => lo ?? Infinity), ends.map(([, hi]) => hi ?? -Infinity)];
    return { lo: Math.min(...first), hi: Math.max(...last) };
  }

  /** @returns {import("../data/feed.js").Wish[]} */
  wishes() {
    return this.stores.flatMap((store) => store.wishes()).filter(({ run }) => run !== undefined);
  }

  /** @param {import("../types/api").Delta} delta @param {boolean} growing */
  onDelta(delta, growing) {
    for (const store of this.stores) store.onDelta(delta, growing);
  }

  /** @param {Omit<import("../timeline/timeline.js").Picture, "series" | "failed" | "version" | "axis">} picture */
  draw(picture) {
    this.timeline.draw({
      ...picture,
      axis: this.axis,
      series: new Map(this.stores.flatMap((store) => [...store.series])),
      failed: new Map(this.stores.flatMap((store) => [...store.failed])),
      version: this.stores.reduce((sum, store) => sum + store.version, 0),
    });
  }
}
