/** All curves of some runs: which charts there are, what they draw, and the range that they share. */

import { CurveReader } from "../data/curve_reader.js";
import { Retry, retryText } from "../data/refresh.js";
import { get, sentenceOf } from "../lib/api.js";
import { flip, isFlipped } from "../lib/chart_tools.js";
import { el } from "../lib/dom.js";
import { listen } from "../lib/life.js";
import { onTheme } from "../lib/theme.js";
import { keepBack } from "../lib/url.js";
import { finder, groupsOf, keep, kept, move, tagOf, turn } from "./catalogue.js";
import { Chart, FrameQueue } from "./chart.js";
import { ChartScroller } from "./chart_scroller.js";
import { curveOf, extentOf } from "./curve.js";
import { addTools } from "./export.js";
import { Full } from "./full_chart.js";
import { Names, Strip } from "./legend.js";
import { Machine, machineExpr } from "./machine.js";
import { Card } from "./moments.js";
import { Tip, foundAt, valueWord } from "./tip.js";
import { PLAIN, axisKey, lengthOf, onTime, placeOf, questionOf, roundAmount, smoothWord, spanWord, xWord } from "./training_view.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("./curve.js").Curve} Curve */
/** @typedef {import("../data/curve_reader.js").Held} Held */
/** @typedef {import("./training_view.js").View} View */
/** @typedef {import("./training_view.js").Span} Span */
/** @typedef {import("../types/api").Run} Run */

/**
 * @typedef {Object} Page
 * @property {() => void} changed something that the address holds
 * @property {(cursor: number) => void} follow other series are in view, or were read anew
 * @property {() => void} drawn for the first time, or there is nothing to draw
 */

const MAX_BUCKETS = 24_000; // of all curves of a small chart
const MAX_FULL = 40_000;
const MIN_BUCKETS = 24;
const BUCKET_STEP = 100;
const [WEIGHT, SMOOTHED_WEIGHT] = [10, 60]; // of a chart at least: where each takes long, few are read together and the first come early
const LATER_MS = 800;
const ALL_OFF = "All of its runs are hidden. A click on a name above shows one.";
const ELSEWHERE = "They are recorded by time, not by step: choose time or relative time as the x axis (a).";

/** How many series each has. @param {Run[]} rows */
const sizesOf = (rows) => JSON.stringify(rows.map(({ run, series }) => [run, series]));

export class ChartGrid {
  /** @param {Page} page @param {{span: Span | null, chart: string | null, off: string[]}} place of the address */
  constructor(page, { span, chart, off }) {
    this.page = page;
    this.view = PLAIN;
    /** @type {string[]} */
    this.runs = [];
    /** @type {string[]} of them, those that exist */
    this.known = [];
    this.span = span;
    this.opened = chart;
    this.names = new Names(off, (all) => this.#named(all));
    /** @type {(Span & {positive: number}) | null} all that was read on this axis; `positive`: the least place above 0 */
    this.whole = null;
    /** @type {number | null} of the runs on the axis, about; null until that is known */
    this.length = null;
    /** @type {Tag[] | null} */
    this.tags = null;
    this.machine = new Machine();
    this.reader = new CurveReader({ question: (/** @type {Tag} */ tag) => this.#questionOf(tag), changed: (tags, answer) => this.#drawRead(tags, answer?.cursor ?? 0) });
    this.pointer = new CurvePointer(this);
    this.strip = new Strip({ whole: () => this.zoom(null), happened: (event) => this.pointer.happened(event), restore: (keys) => this.#restore(keys), turn: (name) => this.names.turn(name), only: (name) => this.names.only(name), light: (name) => this.names.light(name) });
    const make = (/** @type {Tag} */ tag, pinned = false) => {
      const chart = new Chart(tag, this.#gestures());
      const act = (/** @type {import("./chart.js").Act} */ act) => () => chart.gestures.act(chart, act);
      addTools(chart, { open: act("open"), more: () => [[pinned ? "Unpin" : "Pin", act("pin")], ["Hide", act("hide")]] });
      return chart;
    };
    const built = (/** @type {Chart} */ chart) => this.#show(chart);
    this.scroller = new ChartScroller({ make, built, scrolled: () => this.#want(), rested: () => this.#state(), fold: (name) => this.#arranged(() => turn("folded", name)), moved: (...change) => this.#moved(...change) });
    this.full = new Full({ make, built, closed: () => this.open(null) });
    this.said = el("div", { class: "curves-said empty", hidden: true, role: "status" });
    this.element = el("section", { class: "curves", "aria-label": "Curves" }, this.strip.element, this.said, this.scroller.element, this.full.element);
    onTheme(() => this.charts.forEach((chart) => chart.recolour()));
  }

  get size() {
    return this.view.size ?? kept().size;
  }

  /** Charts that exist. @returns {Chart[]} */
  get charts() {
    return this.full.chart ? [this.full.chart] : this.scroller.charts;
  }

  // What is shown

  /** @param {View} view @param {string[]} runs in the order in which they are chosen @param {Run[] | null} rows of them; null until it is known which there are */
  setView(view, runs, rows) {
    const before = { view: this.view, runs: this.runs };
    this.view = view;
    this.measure(rows);
    if (view.size !== null) keep({ size: view.size });
    const [key, old] = [axisKey(view, runs), axisKey(before.view, before.runs)];
    if (key !== old) {
      this.whole = null;
      if (before.runs.length) this.span = null; // the address' own range is of the first axis
      this.reader.forget(); // places on the other axis
    }
    const known = new Set(rows?.map(({ run }) => run));
    if (rows && this.known.some((run) => !known.has(run))) this.reader.touch(() => true); // one was deleted
    this.known = [...known];
    this.names.set(runs, view.group);
    if (JSON.stringify(runs) !== JSON.stringify(before.runs)) {
      this.runs = runs;
      this.loadTags();
    } else if (this.known.length) this.#loadMachineTags();
    this.#lay();
    this.#redraw();
  }

  /** @param {Run[] | null} rows of the runs, which may have grown */
  measure(rows) {
    this.sizes = sizesOf(rows ?? []);
    if (!rows) return;
    this.names.entitle(rows);
    this.length = lengthOf(this.view, rows);
  }

  /** The runs may have other series than when the list of tags was requested. @param {Run[]} rows */
  grown(rows) {
    if (this.runs.length && sizesOf(rows) !== this.#listedSizes) this.loadTags();
  }

  sizes = sizesOf([]); // as far as that is known
  #listedSizes = ""; // the sizes when the list was last requested
  #turn = 0; // of requests
  #answered = 0;

  /** Read the list of tags, and draw them; asked again until it is there. @returns {Promise<void>} */
  async loadTags() {
    const { runs } = this;
    if (!runs.length) return;
    this.#listedSizes = this.sizes;
    const turn = (this.#turn += 1);
    try {
      const own = (await get("tags", { run: runs })).tags.map(tagOf);
      if (turn < this.#answered || runs !== this.runs) return; // a later request was answered first
      this.#answered = turn;
      this.#setTags([...own, ...(this.tags ?? []).filter(({ machine }) => machine)]);
      if (!this.reader.wanted.length) this.page.drawn(); // none was found, or all are folded
      this.retry.done();
      this.trouble = "";
      this.#loadMachineTags();
    } catch (error) {
      this.trouble = retryText(sentenceOf(error), this.retry.failed());
      this.page.drawn();
    }
  }

  /** The machine's series are read once the runs' own are drawn, unless they have a place on the axis. */
  #loadMachineTags() {
    clearTimeout(this.#later);
    this.#later = setTimeout(async () => {
      const key = this.known.join("\n");
      if (!this.known.length || key === this.#beside) return;
      this.#beside = key;
      const found = await this.machine.findTags(this.known).catch(() => []); // the runs' own charts stand without them
      if (key === this.known.join("\n")) this.#setTags([...(this.tags ?? []).filter(({ machine }) => !machine), ...found]);
    }, onTime(this.view) ? 0 : LATER_MS);
  }

  #later = 0;
  #beside = ""; // the runs whose machine's series were read

  /** @param {Tag[]} tags */
  #setTags(tags) {
    this.tags = tags;
    this.#lay();
  }

  trouble = "";
  retry = new Retry(() => this.loadTags());

  /** A sentence in place of the charts, or none. @param {string} sentence @param {...(Node | string)} more */
  say(sentence, ...more) {
    if (sentence === this.#saying) return;
    this.#saying = sentence;
    this.said.hidden = !sentence;
    this.scroller.element.hidden = Boolean(sentence);
    this.said.replaceChildren(sentence, ...more);
    if (sentence) this.page.drawn();
  }
  #saying = "";

  #lay() {
    const { has, trouble } = finder(this.view.q, this.view.match);
    const arranged = kept();
    const { groups, found, hidden } = groupsOf(this.tags ?? [], has, arranged, onTime(this.view) ? "" : ELSEWHERE);
    this.found = { all: this.tags?.length ?? 0, found, trouble };
    this.hidden = hidden;
    if (this.tags) this.full.show(this.tags.find(({ key }) => key === this.opened) ?? null);
    this.scroller.lay(groups, new Set(arranged.folded), this.size);
    this.element.classList.toggle("one", this.full.chart !== null);
    this.#want();
  }

  found = { all: 0, found: 0, trouble: "" };
  hidden = /** @type {Tag[]} */ ([]);

  /** @param {() => void} change of what is kept */
  #arranged(change) {
    change();
    this.#lay();
  }

  /** @param {string | null} key of a tag, to show at full size */
  open(key) {
    if (key !== null && key !== placeOf(location.search).chart) keepBack();
    this.opened = key;
    this.pointer.hide();
    const before = this.full.chart?.tag.key;
    this.#lay();
    if (key === null && before !== undefined) this.scroller.reveal(before);
    this.page.changed();
  }

  /** @param {Span | null} span */
  zoom(span) {
    this.span = span;
    this.pointer.hide();
    this.#redraw();
    this.page.changed();
  }

  /** @param {number} factor @param {number} [x] that stays where it is */
  scale(factor, x) {
    const { lo, hi } = this.shownSpan;
    const middle = x ?? lo + (hi - lo) / 2;
    const span = { lo: middle - (middle - lo) * factor, hi: middle + (hi - middle) * factor };
    if (span.hi - span.lo > Math.abs(span.hi) * 1e-12) this.zoom(span);
  }

  /** @param {number} by of the range that is shown */
  pan(by) {
    const { lo, hi } = this.shownSpan;
    this.zoom({ lo: lo + by * (hi - lo), hi: hi + by * (hi - lo) });
  }

  /** What the charts show of the axis. @returns {Span} */
  get shownSpan() {
    const { lo, hi } = this.span ?? this.whole ?? { lo: 0, hi: 1 };
    const positive = this.whole?.positive ?? 1;
    const low = this.view.xlog && lo <= 0 ? Math.min(positive, hi / 2) : lo;
    return low < hi ? { lo: low, hi } : { lo: low - 0.5, hi: low + 0.5 };
  }

  // Reading and drawing

  get buckets() {
    const { chart } = this.full;
    const width = BUCKET_STEP * Math.ceil((chart ? this.full.width || innerWidth : this.scroller.cellWidth) / BUCKET_STEP); // a pixel more is not another question
    const most = (chart ? MAX_FULL : MAX_BUCKETS) / Math.max(1, this.view.group ? 8 : this.runs.length);
    return Math.max(MIN_BUCKETS, Math.floor(Math.min(width, most)));
  }

  #asked = { id: "", parameters: {}, buckets: 0, weight: 0 }; // for each chart of the runs
  #ofMachine = this.#asked;

  /** @param {Tag} tag @returns {import("../data/curve_reader.js").Question} */
  #questionOf({ name, machine }) {
    return machine ? { ...this.#ofMachine, exprs: [machineExpr(name)] } : { ...this.#asked, exprs: [name] };
  }

  #want() {
    const charts = this.charts;
    const { smooth, amount } = this.view;
    const unknown = this.length === null && smooth !== "none" && amount === null;
    if (this.runs.length && !unknown) {
      const { buckets } = this;
      const asked = (/** @type {Record<string, any>} */ parameters, /** @type {number} */ weight) => ({ id: JSON.stringify([parameters, buckets]), parameters, buckets, weight: Math.max(this.runs.length, weight) });
      const own = questionOf(this.view, this.runs, this.span, roundAmount(this.length ?? 0));
      const { run, x, from, to } = own;
      this.#asked = asked(own, smooth === "none" ? WEIGHT : SMOOTHED_WEIGHT);
      this.#ofMachine = asked({ run, x, from, to }, WEIGHT); // drawn as it is
      this.reader.want(charts.map(({ tag }) => tag));
    }
    this.#draw(charts.filter(({ picture }) => !picture));
    this.#state();
    this.page.follow(0);
  }

  #redraw() {
    this.#want(); // first: what is held is stale where another question is asked now
    this.#draw(this.charts);
    this.pointer.draw();
  }

  /** @param {Tag[]} tags @param {number} cursor */
  #drawRead(tags, cursor) {
    const read = tags.map((tag) => this.#curvesOf(tag, this.reader.of(tag)));
    const grew = read.map((curves) => [this.#grow(curves), this.names.addGroups(curves)].includes(true)).includes(true);
    const keys = new Set(tags.map(({ key }) => key));
    this.#draw(this.charts.filter(({ tag }) => grew || keys.has(tag.key)));
    this.#state();
    if (cursor) this.page.follow(cursor);
    this.page.drawn();
  }

  /** @type {WeakMap<object, Curve[]>} by the rows that they are of */
  #curves = new WeakMap();

  /** @param {Tag} tag @param {Held | null} held @returns {Curve[]} */
  #curvesOf({ machine }, held) {
    if (!held) return [];
    let curves = this.#curves.get(held.rows);
    if (!curves) {
      const rows = machine ? this.machine.rowsOf(held.rows) : held.rows.map((row) => ({ ...row, key: this.view.group }));
      this.#curves.set(held.rows, (curves = rows.map((row) => ({ ...curveOf(row), colour: /** @type {{colour?: string}} */ (row).colour }))));
    }
    return curves;
  }

  /** @param {Curve[]} curves @returns {boolean} whether all of it is more now */
  #grow(curves) {
    const [all, positive] = [extentOf(curves, false), extentOf(curves, true)];
    if (!all || this.span) return false;
    const before = this.whole;
    this.whole = {
      lo: Math.min(all.lo, before?.lo ?? Infinity),
      hi: Math.max(all.hi, before?.hi ?? -Infinity),
      positive: Math.min(positive?.lo ?? Infinity, before?.positive ?? Infinity),
    };
    return this.whole.lo !== before?.lo || this.whole.hi !== before.hi || this.whole.positive !== before.positive;
  }

  /** In the next frames. @param {Chart[]} charts */
  #draw(charts) {
    this.#queue.add(charts.filter(({ built }) => built));
  }

  #queue = new FrameQueue((/** @type {Chart} */ chart) => chart.built && this.#show(chart));

  /** @param {Chart} chart */
  #show(chart) {
    const held = this.reader.of(chart.tag);
    const { names } = this;
    const view = isFlipped(chart.tag.key) ? { ...this.view, ylog: !this.view.ylog } : this.view;
    const read = this.#curvesOf(chart.tag, held);
    const all = read.filter(({ x }) => x.length);
    const known = held !== null && held.whole_ms > -Infinity; // else it could not be read
    const curves = known ? names.shown(read) : null;
    for (const curve of curves ?? []) curve.label = names.labelOf(curve); // a user may have renamed a run
    const reason = (held?.left.find(({ absent }) => !absent) ?? held?.left[0])?.reason;
    const none = all.length ? (curves?.some(({ x }) => x.length) ? "" : ALL_OFF) : known ? (reason ? sentence(reason) : this.span ? "No point in this range. Press 0 for all of it." : "No point has a place on this axis.") : "";
    const stale = Boolean(held && held.id !== this.#questionOf(chart.tag).id);
    chart.show({ curves, view, span: this.shownSpan, colourOf: names.colourOf, lit: names.lit, trouble: held?.trouble || none, stale });
    if (chart === this.full.chart) this.full.draw(this.pointer.at?.x ?? null);
  }

  /** @param {boolean} all what is shown has changed, not only what stands out */
  #named(all) {
    this.#draw(this.charts);
    if (!all) return;
    this.#state();
    this.page.changed();
  }

  /** The line above the charts. */
  #state() {
    const inView = this.full.chart ? this.charts : this.scroller.seen;
    const held = inView.flatMap(({ tag }) => this.reader.of(tag)?.left.map((left) => ({ ...left, run: left.run ?? "", series: left.expr === null ? "" : tag.name })) ?? []);
    const left = [...new Map(held.map((left) => [`${left.run}\n${left.series}\n${left.reason}`, left])).values()];
    this.strip.draw({ names: this.names.entries, off: this.names.off, found: this.found, hidden: this.hidden, left, zoomed: this.span ? spanWord(this.view.x, this.span) : "", loading: this.tags === null && this.runs.length > 0, search: this.view.q, smoothing: smoothWord(this.view, roundAmount(this.length ?? 0)) });
  }

  // What the user does

  #gestures() {
    return {
      hover: (/** @type {Chart} */ chart, /** @type {number | null} */ x, /** @type {PointerEvent | null} */ event) => this.pointer.move(chart, x, event),
      zoom: (/** @type {Span} */ span) => this.zoom(span),
      scale: (/** @type {number} */ factor, /** @type {number} */ x) => this.scale(factor, x),
      whole: () => this.zoom(null),
      point: (/** @type {Chart} */ chart, /** @type {number} */ x, /** @type {MouseEvent} */ event, /** @type {boolean} */ touched) => (touched ? this.pointer.tap(chart, x, event) : this.pointer.click(chart, x, event)),
      act: (/** @type {Chart} */ chart, /** @type {import("./chart.js").Act} */ act) => this.#act(chart, act),
    };
  }

  /** @param {Chart} chart @param {import("./chart.js").Act} act */
  #act(chart, act) {
    const { key } = chart.tag;
    if (act === "open") return this.open(this.opened === key ? null : key);
    if (act === "pin") return this.#arranged(() => turn("pinned", key));
    if (act === "hide") return this.#arranged(() => turn("hidden", key));
    flip(key);
    return this.#show(chart);
  }

  /** @param {string[]} keys of hidden charts */
  #restore(keys) {
    this.#arranged(() => keep({ hidden: kept().hidden.filter((key) => !keys.includes(key)) }));
  }

  /** @param {import("./chart_scroller.js").Group} group @param {string} key @param {string | null} before */
  #moved({ name, tags }, key, before) {
    const names = tags.map((tag) => tag.key);
    this.#arranged(() => move(name === "pinned" ? "pinned" : "order", names, key, before));
    /** @type {HTMLElement | null} */ (this.scroller.charts.find(({ tag }) => tag.key === key)?.name ?? null)?.focus();
  }

  /** @returns {Record<string, string | number | string[] | null>} what the address holds beside the view */
  address() {
    return { lo: this.span?.lo ?? null, hi: this.span?.hi ?? null, chart: this.opened, off: [...this.names.off] };
  }

  get inView() {
    return this.charts.map(({ tag }) => tag);
  }
}

/** @param {string} reason of the server */
const sentence = (reason) => `${reason.charAt(0).toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;

// What stands below the pointer: one crosshair on all charts, the values of all runs, and what happened there.

const SAME_PX = 24; // so near to the last tap is the same place

class CurvePointer {
  /** @param {ChartGrid} grid */
  constructor(grid) {
    this.grid = grid;
    this.tip = new Tip();
    this.card = new Card();
    /** @type {{chart: Chart, x: number, event: MouseEvent} | null} */
    this.at = null;
    this.frame = 0;
    listen(window, "scroll", () => this.tip.hide(), true);
    listen(window, "pointerdown", (event) => event.target instanceof Element && !event.target.closest(".chart-plot") && this.move(this.at?.chart ?? null, null, null));
  }

  /** @param {Chart | null} chart @param {number | null} x @param {MouseEvent | null} event */
  move(chart, x, event) {
    this.at = x === null || !event || !chart ? null : { chart, x, event };
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const { at, grid } = this;
    const x = at?.x ?? null;
    for (const chart of grid.charts) if (chart.built) chart.crosshair(x);
    grid.full.draw(x);
    if (at) this.tip.show(at.chart, at.x, at.event);
    else this.tip.hide();
  }

  hide() {
    this.tip.hide();
    this.card.close();
  }

  /** A finger shows the values; at the same place again, what happened there. @param {Chart} chart @param {number} x @param {MouseEvent} event */
  tap(chart, x, event) {
    const before = this.#tapped;
    this.#tapped = { chart, at: event.clientX };
    if (before?.chart === chart && Math.abs(before.at - event.clientX) < SAME_PX && !this.tip.element.hidden) return this.click(chart, x, event);
    return this.move(chart, x, event);
  }

  /** @type {{chart: Chart, at: number} | null} */
  #tapped = null;

  /** What happened at a point. @param {Chart} chart @param {number} x @param {MouseEvent} event */
  click(chart, x, event) {
    const { view } = this.grid;
    const found = foundAt(chart, x).filter(({ curve }) => !curve.colour);
    const span = found.length ? { lo: Math.min(...found.map(({ curve, i }) => curve.from[i])), hi: Math.max(...found.map(({ curve, i }) => curve.to[i])) } : { lo: x, hi: x };
    this.tip.hide();
    const shown = found.flatMap((hit) => hit.curve.runs.map((run) => ({ run, colour: this.grid.names.colourOf(hit.curve), value: valueWord(hit), curves: [hit.curve] })));
    this.card.open({ title: `${chart.tag.name} at ${xWord(view.x, x)}`, x: view.x, span, series: chart.tag.name, shown }, event);
  }

  /** What happened in the range that is shown. @param {MouseEvent} event */
  happened(event) {
    const { charts, shownSpan: span, view } = this.grid;
    const own = charts.filter(({ tag, picture }) => !tag.machine && picture?.curves?.length);
    const shown = own.flatMap(({ picture }) => (picture?.curves ?? []).flatMap((curve) => curve.runs.map((run) => ({ run, colour: this.grid.names.colourOf(curve), value: "", curves: [curve] }))));
    this.card.open({ title: spanWord(view.x, span), x: view.x, span, series: own[0]?.tag.name ?? "", shown }, event);
  }
}
