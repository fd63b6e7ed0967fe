/** The Flame page: one window of a run's Python, compared with normal or another window. */

import { basis, sentence } from "../../blame/blame.js";
import { LogDifference } from "../../blame/log_difference.js";
import { parameters } from "../../blame/requests.js";
import { withStates } from "../../data/gpu_states.js";
import { lanesOf } from "../../data/lanes.js";
import { Retry } from "../../data/refresh.js";
import { ChartLane } from "../../flame/chart.js";
import { get, mayExport, newest } from "../../lib/api.js";
import { TIME } from "../../lib/axis.js";
import { copyText } from "../../lib/clipboard.js";
import { el, setClass, setText } from "../../lib/dom.js";
import { clock, duration, stepRange } from "../../lib/format.js";
import { Menu } from "../../lib/menu.js";
import { paintedFlame } from "../../lib/probe.js";
import { pathTo } from "../../lib/url.js";
import { ReportButton } from "../run_details.js";
import { RunPage } from "../run_page.js";
import { FlameStage, addressOf } from "./stage.js";

const BUCKETS = 400;

/** Adds the stage of stacks to `RunPage`, and shows the answers on a window itself. */
export default class FlamePage extends RunPage {
  /** @param {import("../session.js").Session} session */
  constructor(session) {
    super(session, BUCKETS);
    this.stage = new FlameStage({ chosen: () => this.#looked(), profile: (action) => this.steerProfile(action) });
    this.stage.side.element.prepend(this.findings.detail);
    this.head = new FlameHead(session.scope.actions, this.findings.nav, {
      compare: () => this.baseline.toggle(),
      download: (format) => this.download(format),
      hasStacks: () => this.stage.tree !== null,
      isTraced: () => this.stage.kernels,
      report: () => this.reported(this.range.window ?? this.requests.wanted?.asked ?? null),
    });
    this.found = new FoundHere(this.findings);
    this.stage.trouble.element.after(this.found.element);
    this.strip = new Strip(this.timeline, { failed: (error, again) => this.failed(error, again), tinting: () => this.stage.tinting(), answered: () => this.#came("chart") });
    this.requests.filter = this.stage.filter;
    this.element = el(
      "div",
      { class: "flame-page bare arriving" },
      this.head.element,
      this.strip.element,
      this.stage.tools.element,
      this.stage.place,
      this.stage.side.element,
    );
    this.parts = { FlameView: this.element };
    this.ahead = this.element;
    this.ready.then(() => this.#came("points"));
  }

  #awaited = new Set(["points", "chart", "stacks"]);

  /** Lower parts are shown once the parts above have their height, so that nothing jumps. @param {string} part */
  #came(part) {
    this.#awaited.delete(part);
    if (!this.#awaited.size) setClass(this.element, "arriving", false);
  }

  /** @param {import("../../data/series.js").Meta[]} metas */
  lanesOf(metas) {
    return this.absent ? [] : withStates(stripLanes(this.watched(metas)), metas, this.statesOf(metas));
  }

  async loadCatalogue() {
    await super.loadCatalogue();
    const none = this.runs.name === null;
    const sentence = none ? "No runs in the log folder yet. The Live page says how to get one." : this.absent && `${this.absent} Choose one at the top left.`;
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
    this.stage.show(null, { run: this.runs.name ?? "", asked: { from: 0, to: 0 }, now: true, baseline: null, quick: false, done: true, filter: {} }, {
      growing: false,
      trouble: { sentence: this.noTimes, remedy: "", action: null },
    });
    this.strip.chart.show(null, this.stage.tinting());
    this.head.say(null, { said: [], aside: "" }, false, null);
    this.#drawStacks();
    this.#comesNot();
  }

  loadPoints() {
    this.#loadChart();
    super.loadPoints();
  }

  placed() {
    super.placed();
    this.#loadChart();
  }

  #loadChart() {
    const run = this.runs.current?.run;
    if (run && this.range.axis === TIME) this.strip.ask(run, this.range.view(this.end_s), this.stage.choice);
  }

  /** @param {boolean} [done] */
  inquire(done) {
    super.inquire(done);
    if (this.growing && this.range.axis === TIME) this.#loadChart();
  }

  /** @type {string | null} the run whose kernels are shown */
  #traced = null;

  /** @param {import("../../lib/axis.js").View} view @param {import("../../data/series.js").Series | null} stepper */
  drawMore(view, stepper) {
    super.drawMore(view, stepper);
    const { window } = this.range;
    const shown = window ?? this.requests.wanted?.asked;
    this.strip.chart.draw(view);
    this.stage.side.trace.of(this.runs.current?.run ?? null, !this.runs.over);
    if (this.stage.kernels && this.#traced !== this.runs.current?.run) this.stage.side.trace.element.open = true; // once a run
    this.#traced = this.stage.kernels ? (this.runs.current?.run ?? null) : null;
    setClass(this.element, "bare", !this.runs.current || this.range.axis !== TIME);
    this.#drawStacks();
    this.found.draw(this.stage.isWithout && this.runs.current !== null);
    this.head.drawComparison(this.baseline.pending || this.baseline.value !== null, window !== null);
    if (shown && this.range.axis === TIME) this.head.drawWindow(shown, window !== null, this.steps(window, stepper));
  }

  address() {
    return { ...super.address(), ...addressOf(this.stage.choice), ...this.stage.side.trace.address() };
  }

  /** Whether there are stacks, none, or some on their way. */
  #drawStacks() {
    setClass(this.element, "without", this.stage.isWithout);
    setClass(this.element, "awaiting", !this.stage.tree && !this.stage.isWithout);
  }

  // What the user does

  /** @param {string} run */
  pick(run) {
    this.stage.choose({ thread: null, phase: null, rank: null, frame: null });
    super.pick(run);
  }

  /** @param {keyof typeof ENDINGS} format */
  download(format) {
    if (this.requests.wanted) download(this.requests.wanted, format);
  }

  /** The user changed how the window is shown. */
  #looked() {
    this.keepAddress();
    if (this.requests.filter === this.stage.filter) return;
    this.requests.filter = this.stage.filter;
    this.requests.repeat();
    this.#loadChart();
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

  get sink() {
    return this;
  }

  /** @param {boolean} stale */
  dim(stale) {
    setClass(this.element, "stale", stale);
  }

  /** @param {import("../../flame/tree.js").Flame | null} flame @param {import("../../blame/requests.js").Question} question @param {{growing: boolean, trouble: import("../../blame/requests.js").Trouble | null}} about */
  showFlame(flame, question, { growing, trouble }) {
    this.stage.folder = this.runs.current?.cwd ?? "";
    this.stage.show(flame, question, { growing, trouble });
    this.#drawStacks();
    this.#came("stacks");
    this.strip.chart.colour(this.stage.tinting());
    this.head.say(this.stage.kernels ? null : this.stage.blame, this.stage.own, question.baseline !== null, this.stage.comparable);
    paintedFlame(this.stage.graph.names, question.asked);
    this.invalidate();
  }

  /** @param {import("../../blame/blame.js").Blame | null} blame @param {import("../../blame/requests.js").Question} question */
  showBlame(blame, { baseline }) {
    this.stage.showBlame(blame);
    this.head.say(this.stage.kernels ? null : blame, this.stage.own, baseline !== null, this.stage.comparable);
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

// The head of the Flame page: the run and window, the blamed function, its basis, and downloads.

/** @typedef {import("../../blame/blame.js").Blame} Blame */
/** @typedef {import("../../data/view_range.js").Window} Window */

class FlameHead {
  /**
   * @param {HTMLElement} scope the page's place in the row of the scope @param {HTMLElement} findings the way from one to the next
   * @param {{compare: () => void, download: (format: keyof typeof ENDINGS) => void, hasStacks: () => boolean, isTraced: () => boolean, report: () => import("../run_details.js").Reported | null}} actions
   */
  constructor(scope, findings, actions) {
    this.actions = actions;
    this.when = el("span", { class: "mid window-said" });
    scope.append(this.when);
    this.said = el("p", { class: "said", "aria-live": "polite" });
    this.basis = el("p", { class: "sub" });
    this.logDifference = new LogDifference();
    this.report = new ReportButton(actions.report);
    this.compare = el("button", { class: "btn flame-compare", type: "button", "aria-pressed": "false", onclick: actions.compare }, "Compare");
    this.exports = new Menu("Export", () => this.#exports(), { kind: "export" });
    this.element = el(
      "section",
      { class: "verdict flame-head", "aria-label": "The window" },
      el("div", { class: "flame-said" }, this.said, this.basis, this.logDifference.element),
      el("div", { class: "actions" }, findings, this.report.said, this.compare, this.exports.element),
    );
  }

  /** @returns {import("../../lib/menu.js").Section[]} */
  #exports() {
    const { download, hasStacks, isTraced } = this.actions;
    const link = { label: "Copy link", run: () => void copyText(location.href) };
    const report = { label: "Report", about: "Everything about the window in one HTML file", run: () => void this.report.write() };
    const speedscope = { label: "speedscope", about: "The stacks, for speedscope.app", key: "e", run: () => download("speedscope") };
    const folded = { label: "Folded stacks", about: "One line a stack, for flamegraph.pl", key: "E", run: () => download("folded") };
    const perfetto = { label: "Perfetto trace", about: "Stacks, counters, steps and events, for ui.perfetto.dev", run: () => download("perfetto") };
    return [{ title: "", items: [link, ...(mayExport ? [report, ...(hasStacks() ? [speedscope, folded, ...(isTraced() ? [] : [perfetto])] : [])] : [])] }];
  }

  /** @param {boolean} compares with another window or run @param {boolean} chosen a window is */
  drawComparison(compares, chosen) {
    this.compare.setAttribute("aria-pressed", String(compares));
    this.compare.disabled = !chosen && !compares;
    this.compare.title = chosen || compares ? "Compare the window with another one, or with normal (d)" : "Select a window first: drag over the lanes";
  }

  /** @param {Window} shown @param {boolean} chosen by the user; else the last seconds @param {{from: number | null, to: number | null}} steps */
  drawWindow(shown, chosen, steps) {
    const length = duration(shown.to - shown.from);
    const words = [`${clock(shown.from)} – ${clock(shown.to)}`, length, stepRange(steps)];
    setText(this.when, chosen ? words.filter(Boolean).join(", ") : `the last ${length}`);
  }

  /** @param {Blame | null} blame @param {{said: (Node | string)[], aside: string}} own the page's words while the server has none @param {boolean} chosen the user chose what to compare with @param {import("../../flame/tree.js").Tree | null} tree that is drawn */
  say(blame, own, chosen, tree) {
    const verdict = blame?.sentence ? blame : null;
    this.said.replaceChildren(...(verdict ? sentence(verdict) : own.said));
    const rests = verdict && verdict.verdict !== "no_profile" ? basis(verdict, chosen, tree) : own.aside;
    setText(this.basis, rests === this.said.textContent ? "" : rests);
    this.basis.title = this.basis.textContent;
  }
}

// Without stacks: what the metrics of the run showed, in place of the graph.

class FoundHere {
  /** @param {import("../../findings/loader.js").FindingsLoader} findings */
  constructor(findings) {
    this.findings = findings;
    this.heading = el("h2", {}, "Findings from metrics");
    this.rows = el("div", { class: "found-rows" });
    this.element = el("section", { class: "found-here", "aria-label": "Findings from metrics", hidden: true }, this.heading, this.rows);
  }

  #drawn = "";

  /** @param {boolean} wanted */
  draw(wanted) {
    this.element.hidden = !wanted;
    const { found, view, version } = this.findings;
    const looks = `${version} ${view !== null}`;
    if (!wanted || looks === this.#drawn) return;
    this.#drawn = looks;
    const none = version > 0 && !found.size ? [el("p", { class: "dim" }, "No findings in this run.")] : [];
    this.rows.replaceChildren(...(view?.rows() ?? none));
  }
}

// The strip of the Flame page: when GPUs starved, and what the main thread did, on one time axis with the selected window.

const FIRST = ["heat", "phases", "cpu"]; // the lane above the flame chart: the first existing one of these, else of all

export class Strip {
  /**
   * @param {import("../../timeline/timeline.js").Timeline} timeline
   * @param {{failed: (error: unknown, again: Retry) => void, tinting: () => import("../../flame/chart.js").Tinting, answered: () => void}} page
   */
  constructor(timeline, page) {
    this.chart = new ChartLane();
    /** @type {Record<string, any> | null} */
    this.asked = null;
    this.surface = timeline.surface;
    timeline.stack.after(this.chart.element);
    timeline.surface.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.chart.point(event));
    timeline.surface.addEventListener("pointerleave", () => (this.chart.tip.hidden = true));
    this.element = el("div", { class: "strip" }, timeline.element);
    this.read = newest(
      (/** @type {Record<string, any>} */ question) => get("flamechart", question),
      (chart) => {
        this.retry.done();
        this.chart.show(chart, page.tinting());
        page.answered();
      },
      (error) => {
        page.failed(error, this.retry);
        page.answered();
      },
    );
    this.retry = new Retry(() => this.asked && this.read(this.asked));
  }

  /** Read the stacks of a stretch of time. @param {string} run @param {import("../../lib/axis.js").View} view @param {import("./stage.js").Choice} choice */
  ask(run, { lo, hi }, { thread, rank }) {
    const width = this.chart.plot.clientWidth || this.surface.clientWidth; // the lane of a run without stacks is hidden
    if (!width) return;
    this.asked = { run, from: lo, to: hi, width, thread, rank, view: thread ? "threads" : "main" };
    this.read(this.asked);
  }
}

/** The lane that shows dips best. @param {import("../../data/series.js").Meta[]} metas */
function stripLanes(metas) {
  const lanes = lanesOf(metas);
  return [...FIRST.flatMap((id) => lanes.filter((lane) => lane.id === id)), ...lanes].slice(0, 1);
}

// A window as a file: its stacks in speedscope's format or as folded lines, or all of it as a trace.

const ENDINGS = { speedscope: "speedscope.json", folded: "folded.txt", perfetto: "trace.json" };

/** @param {import("../../blame/requests.js").Question} question @param {keyof typeof ENDINGS} format */
export function download(question, format) {
  const { baseline, ...wanted } = parameters(question);
  const query = new URLSearchParams({ format });
  for (const [name, value] of Object.entries(wanted)) if (value !== null) query.set(name, String(value));
  const name = `${question.run} ${clock(question.asked.from)} ${clock(question.asked.to)}`.replace(/[^\w.-]+/g, "-");
  el("a", { href: pathTo(`/api/v1/flame?${query}`), download: `${name}.${ENDINGS[format]}` }).click();
}
