/** The Flame page: one window of a run's Python, compared with normal or another window. */

import { TIME } from "../../lib/axis.js";
import { el, setClass } from "../../lib/dom.js";
import { download } from "./download.js";
import { FlameHead } from "./head.js";
import { writeChoice } from "./options.js";
import { FlameStage } from "./stage.js";
import { withLost } from "../../data/lost.js";
import { paintedFlame } from "../../lib/painted.js";
import { mayExport } from "../../role.js";
import { RunPage } from "../run_page.js";
import { Strip, stripLanes } from "./strip.js";

const BUCKETS = 400;

export default class FlamePage extends RunPage {
  /** @param {HTMLElement} bar @param {HTMLElement} foot the status line */
  constructor(bar, foot) {
    super(bar, foot, BUCKETS);
    this.head = new FlameHead({ pick: (run) => this.pick(run), download: (format) => this.download(format), report: () => this.reported(this.range.window ?? this.profile.wanted?.asked ?? null) });
    this.stage = new FlameStage({ chosen: () => this.#looked(), profile: (action) => this.steerProfile(action) });
    this.stage.side.element.prepend(this.findings.detail);
    this.head.element.append(this.findings.nav);
    this.strip = new Strip(this.timeline, { failed: (error, again) => this.failed(error, again), tinting: () => this.stage.tinting(), answered: () => this.#came("chart") });
    this.profile.filter = this.stage.filter;
    this.element = el(
      "div",
      { class: "flame-page bare arriving" },
      this.head.element,
      this.strip.element,
      this.stage.tools.element,
      this.stage.place,
      this.stage.side.element,
    );
    this.ready.then(() => this.#came("points"));
    this.start();
  }

  #awaited = new Set(["points", "chart", "stacks"]);

  /** Lower parts are shown once the parts above have their height, so that nothing jumps. @param {string} part */
  #came(part) {
    this.#awaited.delete(part);
    if (!this.#awaited.size) setClass(this.element, "arriving", false);
  }

  /** @param {import("../../data/series.js").Meta[]} metas */
  lanesOf(metas) {
    return this.absent ? [] : withLost(stripLanes(this.watched(metas)), metas, this.silent(metas));
  }

  async learn() {
    await super.learn();
    const none = this.runs.name === null;
    const sentence = none ? "No runs in the log folder yet. Any JSONL file there becomes one." : this.absent && `${this.absent} Choose one at the top left.`;
    if (sentence) this.stage.trouble.show({ sentence, remedy: "", action: null });
    if (sentence) this.#comesNot();
    this.inquire();
  }

  /** There are neither stacks nor a chart. */
  #comesNot() {
    this.#came("chart");
    this.#came("stacks");
  }

  showNoTimes() {
    this.#comesNot();
    this.stage.show(null, { run: this.runs.name ?? "", asked: { from: 0, to: 0 }, now: true, baseline: null, quick: false, done: true, filter: {} }, {
      growing: false,
      trouble: { sentence: this.noTimes, remedy: "", action: null },
    });
    this.strip.chart.show(null, this.stage.tinting());
    this.head.say(null, { said: [], aside: "" }, false, null);
  }

  refresh() {
    this.#readChart();
    super.refresh();
  }

  #readChart() {
    const run = this.runs.current?.run;
    if (run && this.range.axis === TIME) this.strip.ask(run, this.range.view(this.end_s), this.stage.choice);
  }

  /** @param {boolean} [done] */
  inquire(done) {
    super.inquire(done);
    if (this.growing && this.range.axis === TIME) this.#readChart();
  }

  /** @param {import("../../lib/axis.js").View} view @param {import("../../data/series.js").Series | null} stepper */
  drawMore(view, stepper) {
    super.drawMore(view, stepper);
    const { window } = this.range;
    const shown = window ?? this.profile.wanted?.asked;
    this.strip.chart.draw(view);
    this.head.drawRuns(this.runs);
    this.stage.side.trace.of(this.runs.current?.run ?? null, !this.runs.over);
    setClass(this.element, "bare", !this.runs.current || this.range.axis !== TIME);
    setClass(this.element, "without", !this.stage.tree);
    if (shown && this.range.axis === TIME) this.head.drawWindow(shown, window !== null, this.steps(window, stepper));
  }

  keepAddress() {
    super.keepAddress();
    writeChoice(this.stage.choice);
  }

  // What the user does

  /** @param {string} run */
  pick(run) {
    this.stage.choose({ thread: null, phase: null, rank: null, frame: null });
    super.pick(run);
  }

  /** @param {"speedscope" | "folded"} format */
  download(format) {
    if (this.profile.wanted) download(this.profile.wanted, format);
  }

  /** The user changed how the window is shown. */
  #looked() {
    this.keepAddress();
    if (this.profile.filter === this.stage.filter) return;
    this.profile.filter = this.stage.filter;
    this.profile.again();
    this.#readChart();
  }

  /** @returns {import("../../lib/keys.js").Key[]} */
  keys() {
    return [
      ...super.keys(),
      ...this.stage.keys(),
      ...(mayExport ? this.#exports() : []),
    ];
  }

  /** @returns {import("../../lib/keys.js").Key[]} */
  #exports() {
    return [
      { keys: ["e"], shown: "e", says: "export to speedscope", run: () => this.download("speedscope") },
      { keys: ["E"], shown: "E", says: "export folded stacks", run: () => this.download("folded") },
    ];
  }

  // Messages of the server

  /** @param {boolean} stale */
  dim(stale) {
    setClass(this.element, "stale", stale);
  }

  /** @param {import("../../flame/tree.js").Flame | null} flame @param {import("../../blame/profile.js").Question} question @param {{growing: boolean, trouble: import("../../blame/profile.js").Trouble | null}} about */
  showFlame(flame, question, { growing, trouble }) {
    this.#came("stacks");
    this.stage.show(flame, question, { growing, trouble: this.instead(question, trouble) });
    this.strip.chart.colour(this.stage.tinting());
    this.head.say(this.stage.blame, this.stage.own, question.baseline !== null, this.stage.comparable);
    paintedFlame(this.stage.graph.names, question.asked);
    this.invalidate();
  }

  /** @param {import("../../blame/blame.js").Blame | null} blame @param {import("../../blame/profile.js").Question} question */
  showBlame(blame, { baseline }) {
    this.stage.showBlame(blame);
    this.head.say(blame, this.stage.own, baseline !== null, this.stage.comparable);
  }

  /** @param {import("../../blame/log_difference.js").Asked | null} asked */
  askLog(asked) {
    this.head.logDifference.ask(asked);
  }

  judged() {
    this.head.logDifference.judged();
  }

  showLines() {}
}
