/** A page of Dash components: the bar, the status line, the selection, and its time charts. */

import { sentenceOf } from "../lib/api.js";
import { STEP } from "../lib/axis.js";
import { el } from "../lib/dom.js";
import { ON_LANES } from "../lib/keys.js";
import { paintedLane } from "../lib/painted.js";
import { readAddress } from "../lib/url.js";
import { Range } from "../data/range.js";
import { Steering } from "../timeline/steering.js";
import { TimeChart } from "../timeline/time_chart.js";
import { Session } from "./session.js";

export default class DashPage extends Session {
  /** @param {HTMLElement} bar @param {HTMLElement} foot */
  constructor(bar, foot) {
    const address = readAddress();
    super(foot, address.run);
    this.element = el("div", { hidden: true }); // all that is shown is Dash's
    this.range = new Range(address);
    /** @type {TimeChart[]} */
    this.charts = [];
    /** @type {number | null} */
    this.cursor_s = null;
    this.steering = new Steering(this.range, {
      end_s: () => this.end_s,
      first_s: () => Math.min(...this.charts.map(({ extent }) => extent.lo)),
      refresh: () => this.refresh(),
      chosen: (done) => this.chosen(done),
    });
    new MutationObserver(() => this.#mount()).observe(document.body, { childList: true, subtree: true });
    this.settle();
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
          new TimeChart(host, this.steering, {
            hover: (time_s) => this.hover(time_s),
            failed: (error) => this.failed(error),
            drawn: paintedLane,
            follow: () => this.follow(),
          }),
      );
    if (!made.length && kept.length === this.charts.length) return;
    this.charts = [...kept, ...made];
    if (this.charts[0]) this.range.axis = this.charts[0].axis;
    this.#learn(made).catch((error) => this.failed(error));
  }

  /** @param {TimeChart[]} charts */
  async #learn(charts) {
    const run = await this.runs.choose();
    await Promise.all(charts.map((chart) => chart.learn(run)));
    const { lo, hi } = this.#extent;
    this.range.fit(hi - lo, this.runs.over);
    this.refresh();
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
  refresh() {
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

  /** @param {import("../types/api").Delta} message */
  delta(message) {
    for (const chart of this.charts) chart.take(message, this.growing);
    super.delta(message);
  }

  reset() {
    this.refresh();
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
    return this.steering.keys();
  }

  /** @param {unknown} error */
  failed(error) {
    for (const chart of this.charts) chart.timeline.say(sentenceOf(error));
  }
}
