/** The Live page: the run's lanes, what Python did in a window of them, and the log. */

import { withStates } from "../../data/gpu_states.js";
import { FEW, ITEMS_PER_S, LOSSES, furtherFound, lanesOf } from "../../data/lanes.js";
import { totalSteps } from "../../data/progress.js";
import { LedgerLoader } from "../../ledger/loader.js";
import { get } from "../../lib/api.js";
import { STEP, TIME } from "../../lib/axis.js";
import { el, setClass, setText } from "../../lib/dom.js";
import { count } from "../../lib/format.js";
import { go } from "../../lib/url.js";
import { RunPage } from "../run_page.js";
import { RunStrip, worst } from "../run_strip.js";
import { firstPage } from "../first_run.js";
import { CrashNote } from "./crash.js";
import { LogTail } from "./log_tail.js";
import { Panel, evidence } from "./panel.js";

/** @typedef {import("../../lib/axis.js").View} View */
/** @typedef {import("../../data/series.js").Series} Series */

const TEXT_ONLY = "This run writes text only, so it has no curves. They come from a JSONL file in its folder: one line per step, such as {\"step\": 7, \"loss\": 2.31}.";
const OFFERED = 12; // runs, if the address names one that does not exist

/** Adds the panel, which shows the answers on a window, the log's tail, the ledger and further curves to `RunPage`. */
export default class LivePage extends RunPage {
  /** @param {import("../session.js").Session} session */
  constructor(session) {
    super(session);
    this.panel = new Panel({
      clear: () => this.baseline.clear() || this.controller.clear(),
      changed: () => this.keepAddress(),
      profile: (action) => this.steerProfile(action),
      hover: (time_s) => this.hoverTime(time_s),
      compare: () => this.baseline.toggle(),
      pin: () => this.pins.toggle(),
      report: () => this.reported(this.range.window),
    });
    this.further = new FurtherCurves(() => {
      this.updateLanes();
      this.loadPoints();
    });
    this.ledger = new LedgerLoader({
      updateLanes: () => {
        this.updateLanes();
        this.keepAddress();
        this.invalidate();
      },
      drawn: () => this.invalidate(),
    });
    this.panel.hold(this.ledger.table);
    this.panel.lead(this.findings.detail);
    this.since = new SinceLast(() => this.invalidate());
    this.average = new AverageRate(() => this.invalidate());
    this.crash = new CrashNote(null, () => this.invalidate());
    this.panel.lead(this.crash.element);
    this.strip = new RunStrip(session.scope.actions, this.findings.nav);
    this.tail = new LogTail({ hover: (time_s) => this.hoverTime(time_s), follow: (cursor) => this.feed?.follow(cursor), changed: () => this.keepAddress() });
    this.element = el(
      "div",
      { class: "live-page with-ledger" },
      this.strip.element,
      this.ledger.bar,
      el("div", { class: "left" }, this.timeline.element, this.further.element, this.tail.element),
      this.panel.element,
    );
    this.parts = { LiveView: this.element };
    this.ahead = this.element;
    this.ready.then(async () => {
      await this.crash.known; // it stands above what is said of the stacks
      this.inquire();
      this.invalidate();
    });
  }

  async loadCatalogue() {
    await this.ledger.wanted();
    await super.loadCatalogue();
    this.further.draw(this.store.metas); // its room is taken before the lanes have theirs
    this.crash.look(this.runs.current);
    this.#helpToStart();
  }

  async loadExtras() {
    await Promise.all([super.loadExtras(), this.tail.loadLines(this.runs.current?.run ?? null)]);
  }

  /** @param {import("../../data/series.js").Meta[]} metas */
  lanesOf(metas) {
    if (this.absent || this.runs.name === null) return [];
    const lanes = withStates(lanesOf(this.watched(metas), this.further?.choice), metas, this.statesOf(metas));
    return this.ledger?.among(lanes) ?? lanes;
  }

  get showsWhole() {
    return true;
  }

  address() {
    return { ...super.address(), ...this.further.address(), ...this.ledger.address(), ...this.tail.address(), ...this.panel.trace.address() };
  }

  /** Instead of lanes: how to get a run, or the existing runs. */
  #helpToStart() {
    const { name, list, message } = this.runs;
    const none = name === null;
    setClass(this.element, "no-runs", none); // the page of an empty folder has no lanes
    if (none || this.absent) this.panel.showTrouble({ sentence: "A run’s Python appears here when it starts.", remedy: "", action: null });
    if (this.absent) {
      const offer = list.slice(0, OFFERED).map(({ run }) => this.#offer(run));
      const rest = list.length - offer.length;
      const said = rest > 0 ? el("p", { class: "dim" }, `${rest} more are in the list at the top left.`) : "";
      this.timeline.showHelp({ sentence: `${this.absent} ${list.length ? "There are these:" : "There is none yet."}`, more: [...offer, said] });
    } else if (none && message)
      this.timeline.showHelp(firstPage(message));
    else if (!none) this.timeline.showHelp(this.runs.current?.series === 0 && this.runs.current.lines_read ? this.#textOnly() : null);
  }

  /** @param {string} run */
  #offer(run) {
    return el("button", { class: "btn", type: "button", onclick: () => this.pick(run) }, run);
  }

  /** Its program may log its curves as a run of its own. */
  #textOnly() {
    const { beside, current } = this.runs;
    if (current?.state === "queued") return { sentence: `${current.state_reason}. It has written nothing yet.` };
    if (!beside.length) return { sentence: TEXT_ONLY };
    return { sentence: "The same program logs its curves as another run:", more: beside.map((name) => this.#offer(name)) };
  }

  /** @param {import("../../types/api").State} state @param {import("../../data/runs.js").News} news */
  onState(state, news) {
    super.onState(state, news);
    if (news.first) this.#helpToStart(); // the log folder is known now
  }

  /** @param {View} view @param {Series | null} stepper */
  drawMore(view, stepper) {
    super.drawMore(view, stepper);
    this.further.draw(this.store.metas);
    this.#lookAtLedger(view);
    this.crash.look(this.runs.current);
    this.#drawStrip(view, stepper);
    this.#drawPanel(view, stepper);
    this.tail.point(this.range.axis === TIME ? this.cursor_s : null);
  }

  shares() {
    return this.ledger?.shares ?? null;
  }

  /** @param {View} view */
  #lookAtLedger(view) {
    const { range, runs } = this;
    const run = runs.missing || range.axis === STEP ? null : runs.name;
    const selected = range.window !== null && !range.held;
    const until = this.requests.profiler.until?.[run ?? ""] ?? null;
    const begins = runs.current?.started_s ?? 0;
    this.ledger.look(run === null ? null : { run, ...view, follows: this.growing, grows: range.fitting, selected, begins, until });
  }

  /** A window is blamed first. @param {boolean} [done] */
  inquire(done = true) {
    this.ledger?.select(this.range.axis === TIME && this.range.window !== null);
    super.inquire(done);
  }

  get sink() {
    return this.panel;
  }

  /** The panel says of the present alone that a run cannot have stacks. @param {import("../../blame/requests.js").Question} question @param {import("../../blame/requests.js").Trouble | null} trouble */
  troubleOf(question, trouble) {
    return question.now ? super.troubleOf(question, trouble) : trouble;
  }

  /** @param {import("../../blame/requests.js").Question} question */
  judged({ run, asked, filter: { rank = null } }) {
    this.panel.logDifference.judged();
    this.ledger.judged({ run, ...asked, rank });
  }

  showNoTimes() {
    this.panel.showNoTimes(this.noTimes);
  }

  /** @param {View} view @param {Series | null} stepper */
  #drawStrip(view, stepper) {
    const loss = this.store.first(LOSSES);
    const before = loss && loss.bin.length > 1 ? loss.mean(Math.max(0, loss.at(view.lo))) : NaN;
    this.strip.draw({
      runs: this.runs,
      step: stepper?.newest.step ?? this.runs.current?.last_step ?? null,
      total: totalSteps(this.runs.current?.info),
      rate: this.runs.over ? this.average.rate(this.runs) : this.store.pace.rate,
      items_per_s: this.store.first(ITEMS_PER_S)?.newest.v ?? null,
      steps_per_s: this.store.pace.steps_per_s,
      loss: loss ? loss.newest.v : null,
      lossBefore: this.range.following && Number.isFinite(before) ? before : null,
      span: this.range.axis.length(loss ? Math.min(view.hi - view.lo, loss.newest.t - loss.t[0]) : 0),
      finding: this.findings.foremost(foremost(this.#crashed() ?? worst(this.runs), this.since.finding(this.runs))),
    });
  }

  /** What ended the run, once it is known: the panel leads to the lines. @returns {import("../run_strip.js").Finding | null} */
  #crashed() {
    const { sentence } = this.crash;
    return sentence && this.runs.lost_s === null ? { tone: "bad", sentence } : null;
  }

  /** @param {View} view @param {Series | null} stepper */
  #drawPanel(view, stepper) {
    const { window } = this.range;
    this.panel.trace.of(this.runs.current?.run ?? null, !this.runs.over);
    this.panel.point(this.range.axis === TIME ? this.cursor_s : null);
    this.panel.showWindow(
      window,
      this.steps(window, stepper),
      this.pins.has(window),
      this.range.axis === STEP ? "Stacks" : this.runs.over ? "What Python did at the end" : "What Python is doing now",
      this.range.axis,
    );
    if (window) this.panel.showFacts(evidence(this.store.lanes, this.store.series, stepper, view, window));
  }

  // What the user does

  moved() {
    this.#click++;
    super.moved();
  }

  /** The step nearest to a click is a window, too. @param {number} time_s */
  async click(time_s) {
    const stepper = this.store.stepper();
    if (!stepper) return;
    const asked = ++this.#click;
    const { axis } = this.range;
    const reach = Math.max(axis.reach, 4 * stepper.width);
    const question = { run: this.runs.name, expr: stepper.meta.name, x: axis.name, buckets: 5000 };
    const answer = await get("curves", { ...question, from: time_s - reach, to: time_s + reach }).catch((error) => this.failed(error));
    if (!answer) return;
    /** @type {number[]} */
    const times = answer.curves[0]?.x ?? [];
    const nearest = times.reduce((best, t, i) => (Math.abs(t - time_s) < Math.abs(times[best] - time_s) ? i : best), 0);
    if (asked === this.#click && nearest > 0) this.controller.select(times[nearest - 1], times[nearest], true);
  }

  #click = 0; // a double click discards the answer to its first click

  /** @returns {import("../../lib/keys.js").Key[]} */
  keys() {
    return [
      ...super.keys(),
      ...this.strip.ran.keys(),
      {
        keys: ["f"],
        shown: "f",
        says: "flame graph of the window, on a page of its own",
        run: () => go(`/flame${location.search}`),
      },
      { keys: ["/"], shown: "/", says: "filter the log", run: () => this.tail.input.focus() },
    ];
  }

  // Messages of the server

  /** @param {import("../../types/api").Delta} delta */
  onDelta(delta) {
    super.onDelta(delta);
    this.tail.onDelta(delta);
  }

  /** @param {import("../../blame/log_difference.js").Asked | null} asked */
  askLog(asked) {
    this.panel.logDifference.ask(asked);
  }
}

// Below the lanes: the choice among a run's curves without a lane of their own. Only shown curves are read.

/** @typedef {import("../../data/lanes.js").Further} Choice */

const MORE = 12; // lanes per click
const TYPING_MS = 150;

class FurtherCurves {
  /** @param {() => void} changed */
  constructor(changed) {
    /** @type {Choice} */
    this.choice = { ...FEW, search: new URLSearchParams(location.search).get("curves") ?? "" };
    if (this.choice.search) this.choice.most = MORE;
    this.changed = changed;
    this.said = el("span", { class: "dim", role: "status" });
    this.input = el("input", {
      type: "search",
      placeholder: "find a curve",
      "aria-label": "Find a curve",
      value: this.choice.search,
      oninput: () => this.#typed(),
    });
    this.button = el("button", { class: "btn", type: "button", onclick: () => this.#choose({ most: this.choice.most + MORE }) }, "Show more");
    this.element = el("div", { class: "further", hidden: true }, this.said, el("span", { class: "search" }, this.input), this.button);
  }

  /** @param {import("../../data/series.js").Meta[]} metas */
  draw(metas) {
    const all = furtherFound(metas, "").length;
    const found = furtherFound(metas, this.choice.search).length;
    const shown = Math.min(found, this.choice.most);
    this.element.hidden = all <= FEW.most && !this.choice.search;
    this.button.hidden = shown >= found;
    const what = this.choice.search ? ` with “${this.choice.search}” in their names` : "";
    setText(this.said, `${count(shown)} of ${count(found)} further curves${what}`);
  }

  /** Its part of the address. */
  address() {
    return { curves: this.choice.search || null };
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#choose({ search: this.input.value.trim(), most: this.input.value.trim() ? MORE : FEW.most }), TYPING_MS);
  }

  #timer = 0;

  /** @param {Partial<Choice>} change */
  #choose(change) {
    this.choice = { ...this.choice, ...change };
    this.changed();
  }
}

// Whether the shown run is slower than the last one of its script on its card: one quiet sentence, where nothing else is to be said.

/** @typedef {import("../run_strip.js").Finding} Finding */

const AGAIN_MS = 60_000; // of a run that goes on

class SinceLast {
  /** @param {() => void} changed there is another sentence */
  constructor(changed) {
    this.changed = changed;
    /** @type {string | null} */
    this.run = null;
    this.sentence = "";
    this.asked_ms = -Infinity;
  }

  /** @param {import("../../data/runs.js").Runs} runs @returns {Finding | null} */
  finding({ current, over }) {
    if (!current) return null;
    const now_ms = performance.now();
    if (current.run !== this.run) {
      Object.assign(this, { run: current.run, sentence: "", asked_ms: -Infinity });
    }
    if (this.asked_ms === -Infinity || (!over && now_ms - this.asked_ms > AGAIN_MS)) {
      this.asked_ms = now_ms;
      this.#ask(current.run);
    }
    return this.sentence ? { tone: "dim", sentence: this.sentence } : null;
  }

  /** @param {string} run */
  async #ask(run) {
    const answer = await get("since_last", { run }).catch(() => null); // the strip has other sentences for a lost connection
    if (!answer || run !== this.run || answer.sentence === this.sentence) return;
    this.sentence = answer.sentence;
    this.changed();
  }
}

/** The steps per second of a run that is over, as the table of runs has them. */
class AverageRate {
  /** @param {() => void} changed it is known */
  constructor(changed) {
    this.changed = changed;
    /** @type {string | null} */
    this.key = null;
    /** @type {number | null} */
    this.known = null;
  }

  /** @param {import("../../data/runs.js").Runs} runs */
  rate({ current }) {
    const key = current && JSON.stringify([current.run, current.ended_s, current.last_time_s]);
    if (key !== this.key) {
      [this.key, this.known] = [key, null];
      if (current) this.#ask(current.run, key);
    }
    return this.known;
  }

  /** @param {string} run @param {string | null} key */
  async #ask(run, key) {
    const answer = await get("run", { run }).catch(() => null); // the strip says that the connection is lost
    if (!answer || key !== this.key) return;
    this.known = answer.steps_per_s;
    this.changed();
  }
}

/** What is wrong comes first, then this, then what is only to be known. @param {Finding | null} found @param {Finding | null} since */
const foremost = (found, since) => (since && (!found || found.tone === "dim") ? since : found);
