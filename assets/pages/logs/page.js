/** The Logs page: all lines of a run, or of all runs, on the axis of time. Its controls are Dash's; the lines are drawn before these are there. */

import { withStates } from "../../data/gpu_states.js";
import { busyLane, lanesOf } from "../../data/lanes.js";
import { get } from "../../lib/api.js";
import { TIME } from "../../lib/axis.js";
import { DashControls } from "../../lib/dash_controls.js";
import { el, setText } from "../../lib/dom.js";
import { go, pathTo, readAddress, timeAddress } from "../../lib/url.js";
import { detailOf, fieldName, hasMilliseconds } from "../../logs/entry.js";
import { DensityLane, FieldCurves } from "../../logs/lanes.js";
import { openChosen, step } from "../../logs/list.js";
import { LogReader } from "../../logs/log_reader.js";
import { addressOf, questionOf, viewOf } from "../../logs/logs_view.js";
import { addNew } from "../../timeline/marks.js";
import { Pins } from "../../timeline/pins.js";
import { CrashNote } from "../live/crash.js";
import { TimePage } from "../time_page.js";
import { Bars, CONTROLS, LogsBar, LogsSide, TemplateFilters, countsOf, whyEmpty } from "./panels.js";

/** @typedef {import("../../logs/logs_view.js").View} View */
/** @typedef {import("../../logs/line.js").Line} Line */

const BUCKETS = 400;
const NO_SERIES = ["none/*"];
const AROUND_S = 5; // of a line, on either side

export default class LogsPage extends TimePage {
  /** @param {import("../session.js").Session} session */
  constructor(session) {
    super(session, { address: timeAddress, run: readAddress().run, buckets: BUCKETS, hints: HINTS });
    this.view = viewOf(location.search);
    this.filters = new TemplateFilters(() => this.loadPoints());
    this.reader = new LogReader({
      hover: (time_s) => this.hover(time_s),
      chosen: (line) => this.#chose(line),
      detail: (line) => this.#detail(line),
      followed: () => this.invalidate(),
      searched: () => this.#askDensity(),
      answered: () => (this.#askDensity(), this.#askSide()),
      said: (sentence) => this.#say(sentence),
      widen: () => this.controller.clear(),
      whyEmpty: () => this.#whyEmpty(),
      drawn: () => this.#drawn(),
    });
    this.density = new DensityLane({ answered: () => this.invalidate(), failed: () => {} }); // the list says why there is no answer
    this.fields = new FieldCurves({ changed: () => this.#fieldsChanged(), named: () => this.updateLanes(), failed: (error) => this.failed(error) });
    this.side = new LogsSide({ filter: (template, only) => this.filters.toggle(template.id, template.text, only), search: (text) => this.#change({ text, regex: false, only: true }) });
    this.bar = new LogsBar({ next: (what, back) => this.reader.next(what, back), follow: () => this.follow() }, this.reader.search.element, this.findings.nav, Boolean(this.view.text));
    this.said = el("p", { class: "logs-said warn", role: "status", hidden: true });
    this.crash = new CrashNote(({ run, number }) => this.reader.show({ run, number }));
    this.bars = new Bars();
    this.growth = new Growth({ read: () => this.reader.grow(), counted: () => (this.#askDensity(), this.range.following && this.#askSide()) });
    this.side.element.prepend(this.findings.detail);
    this.pins = new Pins(this.timeline, this.controller, () => (this.keepAddress(), this.invalidate()));
    this.timeline.stack.after(this.density.element);
    this.body = el(
      "div",
      { class: "logs-page" },
      this.bar.walk,
      this.bar.element,
      el("div", { class: "logs-filters" }, this.filters.element, this.fields.element),
      this.said,
      el("div", { class: "strip" }, this.timeline.element),
      el("div", { class: "logs-left" }, this.reader.element, this.bars.element, this.crash.element),
      this.side.element,
    );
    this.reader.list.wrap(this.view.wrap);
    this.parts = { LogView: this.body };
    this.ahead = el("div", { class: "logs-layout" }, el("div", { class: "logs-controls" }), this.body);
    this.dash = new DashControls(CONTROLS, (view) => this.#show(view));
    this.#link(new URLSearchParams(location.search));
  }

  /** @type {{run: string, number: number} | null} the line that the address names */
  #linked = null;

  /** What the address says about its run. @param {URLSearchParams} query */
  #link(query) {
    const { name: run } = this.runs;
    if (run === null) return;
    const line = Number(query.get("line") ?? NaN);
    if (Number.isSafeInteger(line)) this.#linked = { run, number: line };
    this.fields.restore(run, query.getAll("field"));
  }

  /** What the controls say, by a callback. @param {string} _part @param {{view?: View & {answer: number}}} props */
  onProps(_part, { view }) {
    if (view) this.dash.described(view);
  }

  /** @param {View} view what the controls say */
  #show(view) {
    const turned = view.all !== this.view.all;
    if (view.wrap !== this.reader.list.wraps) this.reader.list.wrap(view.wrap);
    this.view = view;
    if (turned) this.#wide();
    this.#ask();
    this.loadPoints();
  }

  /** A key or a click has changed something. @param {Partial<View>} part */
  #change(part) {
    this.#show({ ...this.view, ...part });
    this.dash.set(this.view);
  }

  /** All lines of all runs come into view, or those of the run again. */
  async #wide() {
    this.range.reset(TIME);
    if (!this.view.all) return this.loadPoints();
    const whole = await get("logs/density", { buckets: 1 }).catch((error) => this.failed(error));
    if (!whole || !this.view.all) return undefined;
    this.#extent = { lo: whole.t, hi: whole.t_end };
    return this.controller.whole();
  }

  #extent = { lo: Infinity, hi: -Infinity }; // of the lines of all runs

  get first_s() {
    return this.view.all ? Math.min(super.first_s, this.#extent.lo) : super.first_s;
  }

  get showsWhole() {
    return true;
  }

  get absent() {
    return this.runs.missing ? `There is no run “${this.runs.name}” in this log folder.` : "";
  }

  /** @param {import("../../data/series.js").Meta[]} metas */
  lanesOf(metas) {
    const busy = busyLane(metas);
    const first = busy.length ? busy : lanesOf(metas).slice(0, 1); // of a run that no machine was watched for
    return [...withStates(first, metas, this.statesOf(metas)), ...(this.fields?.lanes() ?? [])];
  }

  async loadCatalogue() {
    await this.store.readCatalogue(this.runs.choose().then((name) => (this.runs.missing ? null : name)));
    if (this.runs.name === null || this.absent) this.reader.say(this.#whyEmpty());
    else this.#begin();
  }

  #begun = false;

  /** The first question: the end of the lines, or what the address names. */
  #begin() {
    if (this.#begun) return;
    this.#begun = true;
    if (this.view.all) this.#wide();
    if (!this.range.window && !this.#linked && !this.runs.over) this.reader.list.following = true;
    if (this.#linked) this.reader.list.current = this.#linked;
  }

  async loadExtras() {
    const { current: run } = this.runs;
    if (!run) return;
    const { events, cursor } = await get("events", { run: run.run });
    if (run.run !== this.runs.name) return;
    this.events = events;
    if (this.store.lanes.length) this.feed?.follow(cursor);
    else this.feed?.subscribe([{ run: run.run, series: NO_SERIES }], cursor); // its lines
    this.invalidate();
  }

  // What is asked

  get #question() {
    return questionOf(this.view, this.runs.name, this.range.window, this.filters.chosen);
  }

  /** @param {import("../../logs/log_reader.js").Goal} [goal] where the list is to stand; without one, where it stands */
  #ask(goal) {
    if (this.runs.name === null || this.runs.missing || !this.#begun) return;
    const { window } = this.range;
    const { held } = this.reader.list;
    const linked = this.#linked;
    this.#linked = null;
    if (linked) this.reader.ask(this.#question, { kind: "line", ...linked, show: true });
    else if (!this.reader.ask(this.#question, goal ?? (window && !held ? { kind: "start" } : this.reader.here)) && goal) this.reader.go(goal); // the lines of a window are asked for before its drag ends
  }

  /** Lines over time, by level. */
  #askDensity() {
    if (this.reader.isAnswered && this.reader.question) this.density.ask(this.reader.question, this.range.view(this.end_s));
  }

  /** What stands beside the lines. */
  #askSide() {
    const { lo, hi } = this.range.view(this.end_s);
    const { window } = this.range;
    const run = this.view.all ? null : this.runs.current;
    if (this.reader.isAnswered && this.reader.question) this.side.ask(this.reader.question, window ?? { from: lo, to: hi }, run, window !== null);
  }

  loadPoints() {
    super.loadPoints();
    this.#ask();
    this.#askDensity();
    this.#askSide();
    this.#loadFields();
    this.bars.loadBars(this.#begun && !this.view.all && !this.range.window ? this.runs.name : null);
  }

  async #loadFields() {
    await this.fields.loadFields(this.range.view(this.end_s));
    this.store.version++;
    this.invalidate();
  }

  #fieldsChanged() {
    this.updateLanes();
    this.loadPoints();
  }

  draw() {
    for (const [key, series] of this.fields.series) this.store.series.set(key, series);
    super.draw();
  }

  /** @param {import("../../lib/axis.js").View} view */
  drawMore(view) {
    const { list } = this.reader;
    const columns = { ...list.columns, run: this.view.all, day: view.hi - view.lo > 86400 };
    if (JSON.stringify(columns) !== JSON.stringify(list.columns)) {
      list.columns = columns;
      list.invalidate();
    }
    this.pins.draw();
    this.density.draw(view, this.cursor_s);
    this.crash.look(this.runs.current);
    const { counts } = this.density;
    this.bar.draw(this.runs, { searches: Boolean(this.view.text), errors: counts?.errors ?? 0, follows: list.following });
    this.dash.say(countsOf(counts));
  }

  #drawn() {
    const { list, cache: { sources } } = this.reader;
    const { lo, hi } = list.shown;
    const ms = list.columns.ms || this.reader.cache.lines(lo, hi).some(hasMilliseconds);
    list.columns = { ...list.columns, ms, file: sources.files.size > 1, rank: sources.ranks.size > 1 };
    this.markReady();
  }

  /** @param {string} sentence below the search box */
  #say(sentence) {
    this.said.hidden = !sentence;
    setText(this.said, sentence);
  }

  /** @returns {string} */
  #whyEmpty() {
    const { runs, absent, view } = this;
    const isSearching = this.reader.search.progress?.done === false;
    return whyEmpty({ run: runs.name, absent, folder: runs.message?.log_dir ?? "the log folder", view, chosen: this.filters.chosen, hasWindow: this.range.window !== null, isSearching, over: runs.over });
  }

  // What the user does

  /** @param {Line} line */
  #chose(line) {
    this.#current = line;
    const { lo, hi } = this.range.view(this.end_s);
    if (line.time_s < lo || line.time_s > hi) {
      const half = (hi - lo) / 2;
      this.range.hold({ lo: line.time_s - half, hi: line.time_s + half });
      this.loadPoints();
    }
    this.reader.list.following = false;
    this.reader.list.current = { run: line.run, number: line.number };
    this.hover(line.time_s);
    this.keepAddress();
  }

  /** @type {Line | null} */
  #current = null;

  /** The crosshair stays at the chosen line. @param {number | null} time_s */
  hover(time_s) {
    const at_s = time_s ?? this.#current?.time_s ?? null;
    if (at_s !== this.cursor_s) super.hover(at_s);
  }

  /** @param {number} time_s */
  click(time_s) {
    this.#current = null;
    this.reader.list.current = null;
    const goal = /** @type {const} */ ({ kind: "time", time_s });
    if (this.range.window) {
      this.reader.list.following = false;
      this.range.clear();
      this.#ask(goal);
      this.loadPoints();
    } else this.reader.go(goal);
    this.keepAddress();
  }

  moved() {
    if (this.range.window) this.reader.list.following = false;
    super.moved();
  }

  /** @param {boolean} done */
  chosen(done) {
    super.chosen(done);
    if (!done) return;
    this.reader.list.following = false;
    const { window } = this.range;
    const at = this.#current?.time_s ?? NaN;
    this.#ask(window && !(at >= window.from && at <= window.to) ? { kind: "start" } : undefined);
    this.#askSide();
  }

  /** @param {Line} line @returns {HTMLElement} */
  #detail(line) {
    return detailOf(
      line,
      {
        plot: (opened, field) => {
          this.fields.toggle({ run: line.run, template: Number(opened.template), field, name: fieldName(opened.template_text, field), text: opened.template_text });
          this.#fieldsChanged();
        },
        search: (text) => this.#change({ text, regex: false, only: true }),
        filter: (opened, only) => this.filters.toggle(Number(opened.template), opened.template_text, only),
        select: ({ time_s }) => this.controller.select(time_s - AROUND_S, time_s + AROUND_S, true),
        grown: () => this.reader.list.invalidate(),
      },
      !this.view.all,
    );
  }

  /** @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.range.reset(TIME);
    this.events = [];
    this.findings.forget();
    this.#current = null;
    this.filters.clear();
    this.fields.clear();
    this.reader.list.columns.ms = false;
    this.reader.leave(!this.runs.over);
    this.store.forget(this.range.axis);
    this.keepAddress();
    this.loadSeries();
  }

  /** Stay at the newest line, or not any more. */
  follow() {
    const on = !this.reader.list.following;
    if (on && (this.range.window || !this.range.following)) this.controller.resume();
    if (on) this.#current = this.reader.list.current = null;
    this.reader.follow(on);
    this.hover(null);
  }

  wrap() {
    this.#change({ wrap: !this.view.wrap });
  }

  address() {
    const line = this.#current && this.#current.run === this.runs.name ? String(this.#current.number) : (this.#linked && String(this.#linked.number)) || null;
    return { run: this.runs.name, ...super.address(), ...addressOf(this.view), ...this.filters.address(), ...this.pins.address(), ...this.fields.address(), line };
  }

  keys() {
    return [...keysOf({ reader: this.reader, search: () => this.dash.focusSearch(), follow: () => this.follow(), wrap: () => this.wrap() }), ...this.pins.keys(), ...super.keys()];
  }

  gestures() {
    return [...GESTURES, ...super.gestures()];
  }

  // Messages of the server

  /** @param {import("../../types/api").Delta} delta */
  onDelta(delta) {
    super.onDelta(delta);
    const { lines, events, bars } = delta;
    this.bars.update(bars);
    addNew(this.events, events.filter(({ run }) => run === this.runs.name));
    if (lines.some(({ run }) => this.view.all || run === this.runs.name)) this.growth.note();
  }

  /** @param {import("../../types/api").State} state @param {import("../../data/runs.js").News} news */
  onState(state, news) {
    if (news.more) this.#newRuns();
    else if (news.grown) this.loadSeries(false);
    super.onState(state, news);
    const shown = state.runs.filter(({ run }) => this.view.all || run === this.runs.name);
    this.growth.count(shown.reduce((sum, { lines_read }) => sum + lines_read, 0));
  }

  async #newRuns() {
    await this.runs.readList().catch((error) => this.failed(error));
    if (!this.#begun) this.loadSeries();
    this.invalidate();
  }
}

// Lines that come while the page is open: those in view are read soon, what counts them less often, nothing in a hidden tab.

const READ_MS = 250;
const COUNT_MS = 1000;

class Growth {
  /** @param {{read: () => void, counted: () => void}} page `counted`: what counts lines is to be read anew */
  constructor(page) {
    this.page = page;
  }

  #timer = 0;
  #counted_ms = -Infinity;
  #lines = 0;
  #isOld = false; // the counts are

  /** Lines have come. */
  note() {
    this.#isOld = true;
    this.#timer ||= setTimeout(() => this.#work(), READ_MS);
  }

  /** How many lines there are, as the server says about once a second. @param {number} lines */
  count(lines) {
    if (lines !== this.#lines) this.note();
    this.#lines = lines;
  }

  #work() {
    this.#timer = 0;
    if (document.hidden) {
      this.#timer = setTimeout(() => this.#work(), COUNT_MS);
      return;
    }
    this.page.read();
    const now_ms = performance.now();
    if (now_ms - this.#counted_ms >= COUNT_MS) {
      this.#counted_ms = now_ms;
      this.#isOld = false;
      this.page.counted();
    } else if (this.#isOld) this.#timer = setTimeout(() => this.#work(), COUNT_MS);
  }
}

// The keys of the Logs page beside those of its axis.

/** @type {[string, string][]} those that the status line names */
const HINTS = [
  ["/", "search"],
  ["n N", "next, previous match"],
  ["e E", "next, previous error"],
  ["l", "follow"],
  ["w", "wrap"],
  ["drag", "select on the axis"],
  ["?", "all keys"],
];

/** @type {[string, string][]} */
const GESTURES = [
  ["click a line", "open it, and show its moment on the axis"],
  ["click a number of an open line", "draw it as a curve"],
  ["click a pattern", "show only its lines; Alt-click hides them"],
  ["click the axis", "the lines of that moment"],
];

/** @param {{reader: import("../../logs/log_reader.js").LogReader, search: () => void, follow: () => void, wrap: () => void}} page @returns {import("../../lib/keys.js").Key[]} */
function keysOf({ reader, search, follow, wrap }) {
  const key = (/** @type {string} */ shown, /** @type {string} */ says, /** @type {() => void} */ run) => ({ keys: [shown], shown, says, run });
  return [
    key("/", "search the lines", search),
    key("n", "next match", () => reader.next("hit", false)),
    key("N", "previous match", () => reader.next("hit", true)),
    key("e", "next error", () => reader.next("error", false)),
    key("E", "previous error", () => reader.next("error", true)),
    key("j", "next line", () => step(reader.list, 1)),
    key("k", "previous line", () => step(reader.list, -1)),
    key("o", "open the chosen line, or close it", () => openChosen(reader.list)),
    key("l", "follow the newest lines, or stop", follow),
    key("w", "wrap long lines, or cut them", wrap),
    key("f", "flame graph of the window", () => go(`/flame${location.search}`)),
  ];
}
