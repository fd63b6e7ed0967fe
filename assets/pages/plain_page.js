/** A page of Dash components: the bar, the status line, the selection, and its time charts. */

import { ViewRange } from "../data/view_range.js";
import { sentenceOf } from "../lib/api.js";
import { STEP } from "../lib/axis.js";
import { ON_LANES } from "../lib/keys.js";
import { readAddress } from "../lib/url.js";
import { ViewController } from "../timeline/gestures.js";
import { PageView } from "./session.js";

/** The view of a page without one of its own. All of its charts share one axis. */
export default class PlainPage extends PageView {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    const address = readAddress();
    super(session, address.run);
    this.range = new ViewRange(address);
    /** @type {import("../timeline/time_chart.js").TimeLanes[]} */
    this.charts = [];
    /** @type {number | null} */
    this.cursor_s = null;
    this.controller = new ViewController(this.range, {
      end_s: () => this.end_s,
      first_s: () => Math.min(...this.charts.map(({ extent }) => extent.lo)),
      moved: () => (this.#tell(), this.loadPoints()),
      chosen: (done) => this.chosen(done),
    });
    this.markReady();
    this.runs.choose().then(
      () => this.keepAddress(),
      (error) => this.failed(error),
    );
  }

  /** @param {import("../timeline/time_chart.js").TimeLanes} chart that Dash has laid out */
  add(chart) {
    this.charts.push(chart);
    if (this.charts.length === 1) this.range.axis = chart.axis;
    this.#loadCatalogue(chart).catch((error) => this.failed(error));
  }

  /** @param {import("../timeline/time_chart.js").TimeLanes} chart */
  remove(chart) {
    this.charts = this.charts.filter((other) => other !== chart);
  }

  /** @param {import("../timeline/time_chart.js").TimeLanes} chart */
  async #loadCatalogue(chart) {
    await chart.loadCatalogue(await this.runs.choose());
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
    if (done) {
      this.keepAddress();
      this.#tell();
    }
    this.invalidate();
  }

  /** @type {import("../data/view_range.js").Window | null} that the charts know of */
  #told = null;

  /** The charts hear of another window, and that there is none any more. */
  #tell() {
    const { window } = this.range;
    if (window === this.#told) return;
    this.#told = window;
    for (const chart of this.charts) chart.chosen(window);
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
