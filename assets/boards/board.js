/** One board: its rows of charts, the range that they share, and what they read. */

import { FrameQueue } from "../curves/chart.js";
import { curveOf } from "../curves/curve.js";
import { tableOf } from "../curves/export.js";
import { Tip, lineKey } from "../curves/tip.js";
import { runColours } from "../data/colours.js";
import { CurveReader, readCurves } from "../data/curve_reader.js";
import { Refused } from "../lib/api.js";
import { chartTools, flip, keepFull } from "../lib/chart_tools.js";
import { el, nearView, onResize, setClass, setText } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { listen } from "../lib/life.js";
import { onTheme } from "../lib/theme.js";
import { KINDS } from "./kinds.js";
import { COLUMNS, asks, boardRows, briefNames, reasonsOf, rowsOf, scaleOf, scaled, secondsOf, titleOf, tokensOf } from "./model.js";

/** @typedef {import("./model.js").BoardFields} BoardFields */
/** @typedef {import("./model.js").PlacedChart} PlacedChart */
/** @typedef {import("./model.js").Asked} Asked */
/** @typedef {import("./kinds.js").Span} Span */

/**
 * @typedef {Object} BoardPage
 * @property {() => {run: string | null, over: boolean, now_s: number, begin_s: number | null, end_s: number | null}} shown the run that is shown, and its time
 * @property {(series: import("../data/curve_reader.js").Followed[], cursor: number) => void} follow
 * @property {() => void} changed what the address holds
 * @property {() => void} drawn for the first time
 * @property {(chart: PlacedChart) => void} edit
 */

const NOT_FOUND = 404;
const BUCKET_STEP = 25;
const [MIN_BUCKETS, MAX_BUCKETS] = [50, 600];
const PX_A_BUCKET = 3;
const AXIS_PX = 64; // of a chart's width, its edges included
const TURN_MS = 32; // of a frame: each frame with other charts is composed anew
const PHONE_PX = 640;
const AHEAD_PX = 300; // below what is seen
const WITHOUT_RUN_S = 3600; // of the machine, where all of a run is asked for and there is none

export class BoardView {
  /** @param {BoardPage} page */
  constructor(page) {
    this.page = page;
    /** @type {BoardFields} */
    this.fields = {};
    /** @type {import("./model.js").PlacedRow[]} */
    this.rows = [];
    /** @type {Map<string, ChartFrame>} by what a chart is, and how often it was there before */
    this.frames = new Map();
    /** @type {number | null} chosen on the page instead of the board's */
    this.window_s = null;
    /** @type {Span | null} a held range */
    this.span = null;
    this.cursor = 0;
    this.said = el("div", { class: "board-said empty", role: "status", hidden: true });
    this.about = el("p", { class: "board-about dim", hidden: true });
    this.field = el("div", { class: "board-rows" });
    this.gone = el("p", { class: "board-gone dim", hidden: true });
    this.element = el("section", { class: "board", "aria-label": "Charts" }, this.about, this.said, this.field, this.gone);
    this.tip = new Tip();
    this.reader = new CurveReader({ question: (/** @type {Asked} */ asked) => this.#questionOf(asked), changed: (charts, answer) => this.#drawRead(charts, answer), read: readAnyway });
    this.scene = {
      hover: (/** @type {import("../curves/chart.js").Chart | null} */ chart, /** @type {number | null} */ x, /** @type {MouseEvent | null} */ event) => this.#hover(chart, x, event),
      zoom: (/** @type {Span} */ span) => this.zoom(span),
      scale: (/** @type {number} */ factor, /** @type {number} */ x) => this.scale(factor, x),
      whole: () => this.zoom(null),
      edit: (/** @type {PlacedChart} */ chart) => page.edit(chart),
    };
    this.seen = nearView((entries) => this.#seen(entries), AHEAD_PX);
    onResize(this.field, () => (this.#width = this.field.clientWidth));
    this.sized = new ResizeObserver((entries) => entries.forEach(({ target }) => this.#byElement.get(target)?.fit()));
    listen(window, "scroll", () => this.tip.hide(), true);
    onTheme(() => this.frames.forEach((frame) => frame.redraw()));
  }

  // What is shown

  /** A chart that is the same as before stays as it is drawn. @param {BoardFields} fields @param {import("./model.js").ChartExpression[]} exprs of its charts @param {boolean} [all] also the charts without data */
  show(fields, exprs, all = false) {
    this.fields = fields;
    this.rows = rowsOf(fields, exprs, all);
    const left = this.rows.flatMap((row) => row.left);
    setText(this.gone, left.length ? `No data in this run: ${left.join(", ")}.` : "");
    this.gone.hidden = !left.length;
    setText(this.about, fields.about ?? "");
    this.about.hidden = !fields.about;
    const before = this.frames;
    /** @type {typeof before} */
    const frames = new Map();
    const rows = this.rows.map((row, i) => {
      if (!row.charts.length && row.left.length) return "";
      const cells = row.charts.map((chart) => {
        const frame = this.#frame(chart, before, frames);
        frame.placed = chart;
        frame.element.dataset.chart = chart.key;
        frame.element.style.gridColumn = `span ${chart.width}`;
        return frame.element;
      });
      const head = row.title ? el("h2", { class: "board-row-title" }, row.title) : "";
      return el("section", { class: "board-row", "data-row": String(i) }, head, el("div", { class: "board-charts", style: `--row-height:${row.height}px` }, ...cells));
    });
    this.frames = frames;
    for (const [key, frame] of before) if (!frames.has(key)) this.#drop(frame);
    this.field.replaceChildren(...rows);
    keepFull();
    this.#fit();
    this.#want();
    this.redraw();
  }

  /** @param {string} key of a chart */
  elementOf(key) {
    return [...this.frames.values()].find(({ placed }) => placed.key === key && placed.fields.kind !== "text")?.element;
  }

  /** @param {PlacedChart} chart @param {Map<string, ChartFrame>} before @param {Map<string, ChartFrame>} frames */
  #frame(chart, before, frames) {
    const { width: _, ...looks } = chart.fields;
    let key = JSON.stringify(looks);
    while (frames.has(key)) key += "'"; // a chart that is there twice
    const frame = before.get(key) ?? new ChartFrame(chart, this.scene);
    if (!before.has(key)) {
      this.#byElement.set(frame.body, frame);
      this.seen.observe(frame.element);
      this.sized.observe(frame.body);
    }
    frames.set(key, frame);
    return frame;
  }

  /** @param {ChartFrame} frame */
  #drop(frame) {
    this.seen.unobserve(frame.element);
    this.sized.unobserve(frame.body);
    frame.destroy();
  }

  /** @type {WeakMap<Element, ChartFrame>} */
  #byElement = new WeakMap();

  /** A sentence in place of the charts, or none. @param {string} sentence @param {...(Node | string)} more */
  say(sentence, ...more) {
    this.said.hidden = !sentence;
    this.field.hidden = Boolean(sentence);
    this.said.replaceChildren(...(sentence ? [sentence, ...more] : []));
    if (sentence) this.page.drawn();
  }

  // The range

  /** Another run is shown. */
  restart() {
    this.span = null;
    this.reader.followed.clear();
    this.#want();
    this.redraw();
  }

  /** `live`: how much is shown up to now, where no range is held; `from` is then where it begins. @returns {{runs: string[], axis: "time" | "step", from: number | null, to: number | null, live: string | null}} */
  get view() {
    const { run } = this.page.shown();
    const runs = this.fields.runs?.length ? this.fields.runs : run === null ? [] : [run];
    const axis = this.fields.axis ?? "time";
    if (this.span || axis === "step") return { runs, axis, from: this.span?.lo ?? null, to: this.span?.hi ?? null, live: null };
    const { over, end_s } = this.page.shown();
    return { runs, axis, from: this.live.lo, to: over && this.#ends ? end_s : null, live: String(this.#window) };
  }

  /** So much up to now, in seconds; null: the run from its start. */
  get #window() {
    return this.window_s ?? secondsOf(this.fields.window) ?? (this.page.shown().run === null ? WITHOUT_RUN_S : null);
  }

  /** Whether the range ends with the run: on a board of the machine alone it goes on. */
  get #ends() {
    return this.#window === null || [...this.reader.followed.values()].some(({ run }) => run !== null);
  }

  /** What is shown while no range is held. @returns {{lo: number | null, hi: number}} */
  get live() {
    const { over, now_s, begin_s, end_s } = this.page.shown();
    const hi = over && this.#ends && end_s !== null ? end_s : now_s;
    const window_s = this.#window;
    return { lo: window_s === null ? begin_s : hi - window_s, hi };
  }

  /** What the charts show of an axis. @param {"time" | "step"} axis @param {Held | null} held @returns {Span} */
  spanOf(axis, held) {
    if (this.span && axis === (this.fields.axis ?? "time")) return this.span;
    const ends = (held?.rows ?? []).filter(({ x }) => x.length);
    const lo = ends.reduce((least, { x }) => Math.min(least, x[0]), Infinity);
    const hi = ends.reduce((most, { x_end }) => Math.max(most, x_end[x_end.length - 1]), -Infinity);
    const own = axis === (this.fields.axis ?? "time"); // else what was asked for says nothing of this axis
    const live = axis === "time" && own ? this.live : null;
    const found = { lo: live?.lo ?? (own ? held?.x.lo : null) ?? lo, hi: live ? live.hi : hi };
    return found.lo < found.hi ? found : { lo: (Number.isFinite(found.lo) ? found.lo : 0) - 0.5, hi: (Number.isFinite(found.lo) ? found.lo : 0) + 0.5 };
  }

  /** @param {Span | null} span */
  zoom(span) {
    this.span = span;
    this.tip.hide();
    this.#want();
    this.redraw();
    this.page.changed();
  }

  /** @param {number | null} window_s */
  choose(window_s) {
    this.window_s = window_s;
    this.zoom(null);
  }

  /** @param {number} factor @param {number} [x] */
  scale(factor, x) {
    const axis = this.fields.axis ?? "time";
    const first = [...this.frames.values()].find(({ placed }) => asks(placed.fields));
    const { lo, hi } = this.spanOf(axis, this.#heldOf(first?.placed));
    const middle = x ?? (lo + hi) / 2;
    const span = { lo: middle - (middle - lo) * factor, hi: middle + (hi - middle) * factor };
    if (span.hi - span.lo > Math.abs(span.hi) * 1e-12) this.zoom(span);
  }

  // Reading and drawing

  /** @param {Asked} asked @returns {import("../data/curve_reader.js").Question} */
  #questionOf({ exprs, axis, smooth, width }) {
    const { runs, axis: shared, from, to, live } = this.view;
    const own = axis === shared; // else the range says nothing of this axis
    const parameters = { run: runs, x: axis, from: own ? from : null, to: own ? to : null, smooth };
    const id = JSON.stringify([runs, axis, smooth, own && (live ?? [from, to])]);
    return { id, exprs, parameters, buckets: this.#buckets(width), grows: own && axis === "time" && to === null };
  }

  /** @param {number} width of 12 columns */
  #buckets(width) {
    const pixels = (this.#width || innerWidth) * (innerWidth < PHONE_PX ? 1 : width / COLUMNS);
    return Math.max(MIN_BUCKETS, Math.min(MAX_BUCKETS, BUCKET_STEP * Math.ceil((pixels - AXIS_PX) / PX_A_BUCKET / BUCKET_STEP)));
  }

  #want() {
    this.reader.want([...this.frames.values()].flatMap(({ visible, placed: { asked } }) => (visible && asked && asked.exprs.length && !asked.trouble ? [asked] : [])));
    if (![...this.frames.values()].some(({ placed }) => asks(placed.fields))) this.page.drawn();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seen(entries) {
    const shown = new Map(entries.map(({ target, isIntersecting }) => [target, isIntersecting]));
    for (const frame of this.frames.values()) frame.visible = shown.get(frame.element) ?? frame.visible;
    this.#want();
    this.redraw();
  }

  /** @param {Asked[]} charts @param {import("../data/curve_reader.js").Curves | null} answer */
  #drawRead(charts, answer) {
    this.cursor ||= answer?.cursor ?? 0;
    const { followed } = this.reader;
    if (followed.size !== this.#followed) this.page.follow([...followed.values()], this.cursor);
    this.#followed = followed.size;
    const runs = new Set([...this.frames.values()].flatMap(({ placed }) => this.#heldOf(placed)?.rows.flatMap(({ run }) => run ?? []) ?? []));
    if (runs.size) runColours.choose(runs);
    const read = new Set(charts.map(({ key }) => key));
    this.#queue.add([...this.frames.values()].filter(({ placed: { asked }, visible }) => visible && (!asked || read.has(asked.key))));
    this.page.drawn();
  }

  #followed = 0;

  /** @param {PlacedChart | undefined} chart */
  #heldOf(chart) {
    return chart?.asked ? this.reader.of(chart.asked) : null;
  }

  /** All that is seen. */
  redraw() {
    this.#queue.add([...this.frames.values()].filter(({ visible }) => visible));
  }

  #queue = new FrameQueue((/** @type {ChartFrame} */ frame) => this.#draw(frame), TURN_MS);

  /** @param {ChartFrame} frame */
  #draw(frame) {
    if (!frame.element.isConnected) return;
    const held = this.#heldOf(frame.placed);
    const axis = frame.placed.fields.axis ?? this.fields.axis ?? "time";
    frame.show(held, { span: this.spanOf(axis, held), axis, run: this.page.shown().run, stale: false });
  }

  #width = 0;

  #fit() {
    this.#width = this.field.clientWidth;
    for (const frame of this.frames.values()) frame.fit();
  }

  /** @param {import("../curves/chart.js").Chart | null} chart @param {number | null} x @param {MouseEvent | null} event */
  #hover(chart, x, event) {
    this.#pointed ||= requestAnimationFrame(() => {
      this.#pointed = 0;
      const { at } = this;
      const axis = at?.chart.picture?.view.x;
      for (const { drawer, placed } of this.frames.values()) drawer.crosshair((placed.fields.axis ?? this.fields.axis ?? "time") === axis ? (at?.x ?? null) : null);
      if (at) this.tip.show(at.chart, at.x, at.event);
      else this.tip.hide();
    });
    this.at = chart && x !== null && event ? { chart, x, event } : null;
  }

  #pointed = 0;
  /** @type {{chart: import("../curves/chart.js").Chart, x: number, event: MouseEvent} | null} */
  at = null;

  /** @returns {Record<string, string | number | null>} */
  address() {
    const held = this.span;
    return { lo: held?.lo ?? null, hi: held?.hi ?? null, window: this.window_s };
  }
}

// A chart of a board: its head, what draws it, the names of its curves, and a sentence where there is nothing to draw.

/** @typedef {import("../data/curve_reader.js").Held} Held */

const MAX_NAMES = 24; // of a legend

class ChartFrame {
  /** @param {PlacedChart} placed @param {import("./kinds.js").Scene & {edit: (chart: PlacedChart) => void}} scene */
  constructor(placed, scene) {
    this.placed = placed;
    this.failure = ""; // why it cannot be drawn: it says so, and costs no other chart
    this.drawer = this.#safely(() => new KINDS[placed.fields.kind ?? "text"](placed, scene)) ?? nothing();
    this.unit = el("span", {});
    this.title = el("h3", { class: "chart-name", title: titleOf(placed.fields) }, el("b", {}, titleOf(placed.fields)), this.unit);
    this.head = el("header", { class: "chart-head" }, this.title);
    this.said = el("p", { class: "chart-instead", role: "status", hidden: true });
    this.body = el("div", { class: "board-body" }, this.drawer.element, this.said);
    this.legend = el("footer", { class: "board-legend" });
    this.element = el("article", { class: "chart board-chart", "data-chart": placed.key, "data-kind": placed.fields.kind ?? "" }, this.head, this.body, this.legend);
    this.edit = el("button", { class: "chart-edit", type: "button", "data-owners": "", "aria-label": `Edit ${titleOf(placed.fields)}`, title: "Edit this chart", onclick: () => scene.edit(this.placed) }, "✎");
    this.head.append(this.edit, ...(placed.fields.kind === "text" ? [] : [chartTools(this.#tooled())]));
    this.legend.hidden = !this.drawer.legend;
    this.legend.addEventListener("scroll", () => this.#hint(), { passive: true });
    this.names = "";
    this.fitted = "";
    this.visible = false;
    setClass(this.element, "waiting", asks(placed.fields));
    if (this.failure) this.#say(this.failure);
  }

  /** @template T @param {() => T} act @returns {T | undefined} */
  #safely(act) {
    try {
      return act();
    } catch (error) {
      console.error(error);
      this.failure = sentence(`this chart cannot be drawn: ${error instanceof Error ? error.message : error}`);
      if (this.element) this.#say(this.failure);
      return undefined;
    }
  }

  redraw() {
    this.#safely(() => this.drawer.redraw());
  }

  /** @returns {import("../lib/chart_tools.js").Tooled} */
  #tooled() {
    const { drawer, body } = this;
    return {
      element: this.element,
      focus: /** @type {HTMLElement} */ (body.querySelector("[tabindex]") ?? body),
      title: () => titleOf(this.placed.fields),
      table: () => (drawer.table ? drawer.table() : this.drawing && tableOf(this.stored, this.drawing.span)),
      picture: () => drawer.paper?.() ?? (drawer.canvas && this.drawing ? { canvas: drawer.canvas, legend: this.drawing.curves.map(({ label, colour }) => ({ label, colour: colour ?? "ink" })) } : null),
      logY: drawer.logId ? { on: () => Boolean(drawer.isLog), turn: () => (flip(drawer.logId ?? ""), this.drawing && drawer.show(this.drawing)) } : null,
    };
  }

  /** @type {import("../curves/curve.js").Curve[]} what is drawn, in the unit in which it was logged: a file names the series alone */
  stored = [];

  /** @type {import("./kinds.js").Drawing | null} what is drawn now */
  drawing = null;

  /** To the size of its place. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.body;
    const key = `${width} ${height}`;
    if (key === this.fitted || width < 20) return;
    this.fitted = key;
    this.#safely(() => this.drawer.fit(width, Math.max(20, height)));
    this.#hint();
  }

  /** @param {Held | null} held @param {{span: Span, axis: "time" | "step", run: string | null, stale: boolean}} about */
  show(held, about) {
    if (!this.failure) this.#safely(() => this.#show(held, about));
  }

  /** @param {Held | null} held @param {{span: Span, axis: "time" | "step", run: string | null, stale: boolean}} about */
  #show(held, { span, axis, run, stale }) {
    const { fields, asked } = this.placed;
    if (!asked) return this.drawer.show({ curves: [], span, axis, unit: "", by: 1, run, stale });
    if (!held) return asked.trouble ? this.#say(sentence(asked.trouble)) : undefined;
    setClass(this.element, "stale", stale);
    const rows = boardRows(held.rows, asked, fields);
    const tokens = tokensOf(rows);
    const found = unitOf(rows.filter(({ item }) => item >= 0).map((row) => row.unit), fields.unit);
    const { by, unit } = fields.unit ? { by: 1, unit: found.unit } : scaleOf(rows, found.unit);
    const curvesOf = (/** @type {number} */ factor) => rows.map((row, i) => ({ ...curveOf(scaled(row, row.item < 0 ? 1 : factor)), label: row.label, name: row.label, colour: tokens[i] }));
    const curves = curvesOf(by);
    const some = curves.some(({ x }) => x.length);
    setText(this.unit, found.units.length > 1 ? found.units.join(", ") : unit);
    const left = reasonsOf(held, asked);
    this.#say(some ? "" : held.trouble || sentence(left[0] ?? "no point in this range"));
    const reasons = [...new Set(left.map(sentence))];
    this.title.title = [titleOf(fields), ...reasons].join("\n");
    this.stored = curvesOf(1);
    this.drawing = { curves, span, axis, unit, by, run, stale };
    this.drawer.show(this.drawing);
    if (this.drawer.legend) this.#name(rows, tokens, left.length, reasons);
    return undefined;
  }

  /** In place of what would be drawn. @param {string} sentence or "" */
  #say(sentence) {
    setClass(this.element, "waiting", false);
    this.said.hidden = !sentence;
    setText(this.said, sentence);
    this.drawer.element.style.visibility = sentence ? "hidden" : "";
  }

  /** @param {import("./model.js").BoardRow[]} rows @param {string[]} tokens @param {number} left how many are not there @param {string[]} reasons */
  #name(rows, tokens, left, reasons) {
    const key = JSON.stringify([rows.map(({ label, item }) => [label, item]), tokens, left]);
    if (key === this.names) return;
    this.names = key;
    const shown = rows.map((row, i) => ({ row, colour: tokens[i] })).filter(({ row }) => row.item >= 0);
    const more = shown.length - MAX_NAMES;
    const gone = left && rows.length ? el("span", { class: "warn", title: reasons.join("\n") }, counted(left, "series", "series"), " not there") : null;
    const brief = briefNames(shown.map(({ row }) => row.label));
    this.legend.replaceChildren(...shown.slice(0, MAX_NAMES).map(({ row, colour }, i) => el("span", { title: row.label }, lineKey(colour, shown.length === 1), brief[i])), more > 0 ? el("span", { class: "dim" }, `${more} more`) : "", gone ?? "");
    this.#hint();
  }

  /** Names that do not fit in a line have two; beyond these they fade at the edge, and are reached by scrolling. */
  #hint() {
    this.legend.classList.remove("two");
    if (this.legend.scrollWidth > this.legend.clientWidth + 1) this.legend.classList.add("two");
    const hidden = this.legend.scrollHeight - this.legend.clientHeight - this.legend.scrollTop;
    this.legend.classList.toggle("more", hidden > 1);
    if (this.legend.scrollHeight > this.legend.clientHeight + 1) this.legend.tabIndex = 0;
    else this.legend.removeAttribute("tabindex");
  }

  destroy() {
    this.drawer.destroy();
    this.element.remove();
  }
}

/** In place of what draws a chart and could not be made. @returns {import("./kinds.js").Drawer} */
const nothing = () => ({ element: el("div", {}), legend: false, fit() {}, show() {}, redraw() {}, crosshair() {}, destroy() {} });

/** What stands beside the title: the file's own unit, else those of the series. @param {string[]} found @param {string | undefined} given */
function unitOf(found, given) {
  const units = [...new Set(found)].filter(Boolean);
  return given ? { unit: given, units: [given] } : { unit: units.length === 1 ? units[0] : "", units };
}

/** Where a board names runs that are not there, the machine's charts stand all the same. @type {typeof readCurves} */
async function readAnyway(exprs, parameters, how) {
  try {
    return await readCurves(exprs, parameters, how);
  } catch (error) {
    if (error instanceof Refused && error.status === NOT_FOUND) return readCurves(exprs, { ...parameters, run: null }, how);
    throw error;
  }
}

/** @param {string} reason of the server */
const sentence = (reason) => `${reason.charAt(0).toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;
