/** A page of Dash components: the bar, the status line, the selection, and its time charts. */

import { ViewRange } from "../data/view_range.js";
import { sentenceOf } from "../lib/api.js";
import { STEP } from "../lib/axis.js";
import { Callbacks } from "../lib/dash_callbacks.js";
import { el } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { ON_LANES } from "../lib/keys.js";
import { readAddress } from "../lib/url.js";
import { ViewController } from "../timeline/gestures.js";
import { PageView } from "./session.js";

const MAX_SAID = 3; // callbacks that failed
const ALIVE = new Set(["running", "stalled", "queued"]);

/** The view of a page without one of its own. All of its charts share one axis and its range. */
export default class PlainPage extends PageView {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    const address = readAddress();
    super(session, address.run);
    this.range = new ViewRange(address);
    /** @type {import("../timeline/time_chart.js").TimeLanes[]} */
    this.charts = [];
    /** Charts of another axis, which are not drawn. @type {import("../timeline/time_chart.js").TimeLanes[]} */
    this.others = [];
    this.callbacks = new Callbacks(this.life.signal, () => this.invalidate());
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

  get isPlain() {
    return true;
  }

  /** @param {import("../timeline/time_chart.js").TimeLanes} chart that Dash has laid out */
  add(chart) {
    const isOther = this.charts.length > 0 && this.range.axis !== chart.axis;
    chart.timeline.element.classList.toggle("undrawn", isOther);
    if (isOther) {
      this.others.push(chart);
      const [shown, wanted] = [this.range.axis, chart.axis].map(({ name }) => name);
      chart.timeline.say(`The charts of a page share one axis, here ${shown}: this chart is not drawn, its axis is ${wanted}. Give them all axis="${wanted}", or lay this one out on another page.`);
      return;
    }
    this.charts.push(chart);
    if (this.range.axis !== chart.axis) this.range.reset(chart.axis); // the address has a range of the other one
    if (this.range.window) chart.chosen(this.range.window);
    this.#loadCatalogue(chart);
  }

  /** @param {import("../timeline/time_chart.js").TimeLanes} chart */
  remove(chart) {
    this.charts = this.charts.filter((other) => other !== chart);
    this.others = this.others.filter((other) => other !== chart);
    if (!this.charts.length) for (const other of this.others.splice(0)) this.add(other);
  }

  /** @param {import("../timeline/time_chart.js").TimeLanes} before @param {import("../timeline/time_chart.js").TimeLanes} chart in its place */
  replace(before, chart) {
    if (this.charts.includes(before) && before.axis === chart.axis) {
      this.charts = this.charts.map((other) => (other === before ? chart : other));
      this.#loadCatalogue(chart);
    } else {
      this.charts = this.charts.filter((other) => other !== before);
      this.others = this.others.filter((other) => other !== before);
      this.add(chart);
    }
  }

  /** Select a window, or none, as a layout or a callback says; once the view fits what there is to see. @param {import("../data/view_range.js").Window | null} window */
  choose(window) {
    this.#wished = window;
    if (!this.#fitted) return;
    if (JSON.stringify(window) === JSON.stringify(this.range.window)) return;
    if (window) this.controller.show(window);
    else this.controller.clear();
  }

  #fitted = false;
  /** @type {import("../data/view_range.js").Window | null} */
  #wished = null;

  /** @type {Set<() => void>} */
  #followers = new Set();

  /** @param {() => void} listener called after another run is selected @returns {() => void} ends that */
  onRun(listener) {
    this.#followers.add(listener);
    return () => this.#followers.delete(listener);
  }

  /** @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.range.reset(this.range.axis);
    this.keepAddress();
    this.#tell();
    for (const chart of this.charts) this.#loadCatalogue(chart);
    for (const listener of this.#followers) listener();
    this.invalidate();
  }

  /** @param {import("../types/api").State} _state @param {import("../data/runs.js").News} news */
  onState(_state, news) {
    if (news.more) this.runs.readList().then(() => this.#loadLacking(), () => {}); // the next message says it again
    else if (news.grown) this.#loadLacking();
  }

  /** What a chart lacks may be there by now. */
  #loadLacking() {
    for (const chart of this.charts) if (chart.lack || chart.failure) this.#loadCatalogue(chart);
  }

  /** @param {import("../timeline/time_chart.js").TimeLanes} chart */
  async #loadCatalogue(chart) {
    try {
      const selected = await this.runs.choose();
      const known = () => new Set(this.runs.list.map(({ run }) => run));
      if (chart.wanted.runs.some((run) => !known().has(run))) await this.runs.readList();
      await chart.loadCatalogue(selected, known());
      if (!this.charts.includes(chart)) return;
      const { lo, hi } = this.#extent;
      this.range.fit(hi - lo, this.over);
      this.loadPoints();
      if (!this.#fitted && lo <= hi) {
        this.#fitted = true;
        if (this.#wished) this.choose(this.#wished);
      }
    } catch (error) {
      this.failed(error, chart);
    }
  }

  get #extent() {
    const all = this.charts.map(({ extent }) => extent);
    return { lo: Math.min(...all.map(({ lo }) => lo)), hi: Math.max(...all.map(({ hi }) => hi)) };
  }

  /** No more data is expected from any run that a chart shows. */
  get over() {
    const shown = new Set(this.charts.flatMap(({ runs }) => runs));
    return shown.size ? this.runs.list.every(({ run, state }) => !shown.has(run) || !ALIVE.has(state)) : this.runs.over;
  }

  get end_s() {
    const { hi } = this.#extent;
    const isKnown = Number.isFinite(hi);
    if (this.range.axis === STEP) return isKnown ? hi : 0;
    return this.over && isKnown ? hi : Math.max(this.runs.now_s, isKnown ? hi : 0);
  }

  get growing() {
    return this.range.following && !this.over;
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
    for (const chart of this.charts) {
      chart.draw(picture);
      chart.say(view);
    }
    this.#say();
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

  /** What stands above the page: the server is away, and callbacks that failed. */
  #say() {
    const { lost_s, now_s } = this.runs;
    const { waiting, troubles } = this.callbacks;
    if (this.#isLost && lost_s === null) this.#loadLacking(); // what failed meanwhile
    this.#isLost = lost_s !== null;
    const said = [];
    if (lost_s !== null) said.push(`Connection lost ${duration(Math.max(1, Math.round(now_s - lost_s)))} ago, retrying.${waiting.size ? " What this page computes is of before; it follows when the dashboard answers." : ""}`);
    else if (waiting.size) said.push("The dashboard does not answer this page's questions; they are asked again.");
    const failed = [...new Set(troubles.values())];
    said.push(...failed.slice(0, MAX_SAID));
    if (failed.length > MAX_SAID) said.push(`${failed.length - MAX_SAID} more callbacks failed.`);
    const place = /** @type {HTMLElement} */ (document.getElementById("page-said"));
    const before = [...place.children].map(({ textContent }) => textContent);
    if (JSON.stringify(said) === JSON.stringify(before)) return;
    place.hidden = !said.length;
    place.replaceChildren(...said.map((sentence) => el("p", {}, sentence)));
  }

  #isLost = false;

  close() {
    super.close();
    const place = /** @type {HTMLElement} */ (document.getElementById("page-said"));
    place.hidden = true;
    place.replaceChildren();
  }

  /** @param {unknown} error @param {import("../timeline/time_chart.js").TimeLanes} [only] that it is of */
  failed(error, only) {
    const sentence = sentenceOf(error);
    for (const chart of only ? [only] : this.charts) chart.failure = sentence;
    this.invalidate();
  }
}
