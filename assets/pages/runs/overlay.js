/** One metric of the ticked runs, a line for each: the picture that a comparison begins with. */

import { runColours } from "../../data/colours.js";
import { CurveReader } from "../../data/curve_reader.js";
import { chartTools, flip, isFlipped } from "../../lib/chart_tools.js";
import { el, setText, visibleName } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";
import { onTheme } from "../../lib/theme.js";
import { Chart, FOOT_PX, HEAD_PX } from "../../curves/chart.js";
import { curveOf, extentOf } from "../../curves/curve.js";
import { paperOf, tableOf } from "../../curves/export.js";
import { foundAt, lineKey, valueWord } from "../../curves/tip.js";
import { PLAIN, questionOf, xWord } from "../../curves/training_view.js";

/** @typedef {import("../../curves/curve.js").Curve} Curve */
/** @typedef {import("../../curves/training_view.js").Span} Span */
/** @typedef {{title: string, names: string[]}} Metric `names`: of the series that measure it, which differ from program to program */

const MAX_BUCKETS = 800;
const MAX_DRAWN = 50; // runs
const STEP = "step";
const OVERLAY = "overlay"; // whose log axis a reader keeps

export class Overlay {
  /** @param {{title: (run: string) => string, chosen: (metric: string) => void, clear: () => void}} does */
  constructor({ title, chosen, clear }) {
    this.title = title;
    /** @type {string[]} */
    this.runs = [];
    /** @type {Metric[] | null} null until they are known */
    this.metrics = null;
    this.wanted = ""; // name of a series of the chosen metric; "" for the first metric
    this.axis = STEP;
    /** @type {Span | null} a zoomed range; null: all */
    this.span = null;
    /** @type {Curve[] | null} */
    this.curves = null;
    /** @type {object | null} */
    this.rows = null;

    this.number = el("h2", { class: "compare-title" });
    this.legend = el("ul", { class: "compare-legend", "aria-label": "Ticked runs" });
    this.training = el("a", { class: "btn" }, "Open in Training");
    this.flame = el("a", { class: "btn", hidden: true, title: "Flame graph of the first run, compared with the second" }, "Flame difference");
    this.head = el("div", { class: "compare-head" }, this.number, this.legend, el("div", { class: "actions" }, this.training, this.flame, el("button", { class: "btn plain", type: "button", onclick: clear }, "Clear")));

    this.choice = el("select", { class: "chip metric", "aria-label": "Metric", onchange: () => (chosen(this.choice.value), this.choose(this.choice.value)) });
    this.said = el("span", { class: "dim" });
    this.chart = new Chart({ key: "", name: "metric", title: "", unit: "", points: 0, direction: null, machine: false, progress: false }, this.#gestures);
    this.chart.head.remove();
    this.chart.foot.remove();
    this.place = el("div", { class: "overlay-place" }, this.chart.element);
    this.element = el("div", { class: "overlay" }, el("div", { class: "overlay-head" }, this.choice, this.said), this.place);
    this.element.classList.add("tooled");
    this.element.append(chartTools({
      element: this.element,
      focus: this.chart.place,
      title: () => this.metric?.title ?? "Comparison",
      table: () => this.curves && tableOf(this.curves, this.shown),
      picture: () => paperOf(this.chart),
      logY: { on: () => isFlipped(OVERLAY), turn: () => (flip(OVERLAY), this.#draw()) },
    }, { menuOnly: true }));
    this.reader = new CurveReader({ question: () => this.#question(), changed: () => this.#read() });
    this.sized = new ResizeObserver(() => this.#fit());
    this.sized.observe(this.place);
    onTheme(() => this.chart.recolour());
  }

  close() {
    this.sized.disconnect();
    this.reader.want([]);
    this.reader.forget();
    this.chart.destroy();
  }

  /** @param {string[]} runs */
  setRuns(runs) {
    this.runs = runs;
    setText(this.number, runs.length === 1 ? "1 run ticked" : `Compare ${counted(runs.length, "run")}`);
    this.training.search = "";
    this.training.href = pathTo(`/training?${new URLSearchParams(runs.map((run) => ["runs", run]))}`);
    this.flame.hidden = runs.length !== 2;
    this.flame.href = pathTo(`/flame?${new URLSearchParams({ run: runs[0] ?? "", baseline: `@${runs[1] ?? ""}` })}`);
    this.#lead(null);
    this.#want();
  }

  /** Those that the ticked runs have, the loss first. @param {Metric[]} metrics */
  setMetrics(metrics) {
    this.metrics = metrics;
    this.choice.replaceChildren(...metrics.map(({ title, names }) => el("option", { value: names[0] }, visibleName(title))));
    this.#want();
  }

  /** @param {string} name of a series of it */
  choose(name) {
    this.wanted = name;
    [this.axis, this.span] = [STEP, null];
    this.#want();
  }

  /** There are new points. */
  touch() {
    this.reader.touch();
  }

  /** @returns {Metric | undefined} */
  get metric() {
    return this.metrics?.find(({ names }) => names.includes(this.wanted)) ?? this.metrics?.[0];
  }

  // Reading

  #question() {
    const names = this.metric?.names ?? [];
    const parameters = questionOf({ ...PLAIN, x: this.axis }, this.runs.slice(0, MAX_DRAWN), this.span, 1);
    return { id: JSON.stringify([names, parameters]), exprs: names, parameters, buckets: this.#buckets };
  }

  get #buckets() {
    return Math.max(100, Math.min(MAX_BUCKETS, 100 * Math.ceil(this.place.clientWidth / 100)));
  }

  #want() {
    const { metric } = this;
    if (metric) this.choice.value = metric.names[0];
    if (metric) this.chart.place.ariaLabel = `${metric.title} of the ticked runs`;
    if (metric && this.runs.length) this.reader.want([this.chart.tag]);
    else this.reader.want([]);
    this.#draw();
  }

  #read() {
    const held = this.reader.of(this.chart.tag);
    if (!held || held.rows === this.rows) return this.#draw();
    this.rows = held.rows;
    /** @type {Set<string>} */
    const seen = new Set();
    const ordered = [...held.rows].sort((a, b) => a.expr - b.expr); // a run that logs it under two names has one line
    this.curves = ordered.filter(({ run }) => !seen.has(run ?? "") && seen.add(run ?? "")).map(curveOf);
    if (this.axis === STEP && !held.trouble && held.id === this.#question().id && !this.curves.some(({ x }) => x.some(Number.isFinite))) {
      this.axis = "relative"; // logged without steps
      return this.#want();
    }
    return this.#draw();
  }

  // Drawing

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.place;
    if (!width || !height) return;
    this.chart.fit(width, height + HEAD_PX + FOOT_PX); // it has neither
    this.#draw();
  }

  /** What the chart shows of the axis. @returns {Span} */
  get shown() {
    const { lo, hi } = this.span ?? extentOf(this.curves ?? [], false) ?? { lo: 0, hi: 1 };
    return lo < hi ? { lo, hi } : { lo: lo - 0.5, hi: lo + 0.5 };
  }

  #draw() {
    const held = this.reader.of(this.chart.tag);
    const none = this.metrics?.length === 0 ? "The ticked runs have no series." : "";
    const question = this.metric ? this.#question() : null;
    const fresh = held !== null && held.id === question?.id;
    const empty = fresh && this.curves?.length === 0 ? "None of the ticked runs has values of it." : "";
    this.choice.hidden = !this.metric;
    const lacking = fresh && this.curves ? Math.min(this.runs.length, MAX_DRAWN) - this.curves.length : 0;
    const words = [this.axis === STEP ? "by step" : "by time since the start", lacking > 0 && `${counted(lacking, "run")} without it`, this.runs.length > MAX_DRAWN && `the first ${MAX_DRAWN} runs`, this.span && "double-click shows the whole range"];
    setText(this.said, this.metric ? words.filter(Boolean).join(" · ") : "");
    this.chart.show({
      curves: this.metric || none ? this.curves : null,
      view: { ...PLAIN, x: this.axis, ylog: isFlipped(OVERLAY) },
      span: this.shown,
      colourOf: ({ name }) => runColours.of(name),
      lit: "",
      trouble: (fresh && held?.trouble) || none || empty,
      stale: Boolean(this.curves) && !fresh,
    });
    this.#lead(null);
  }

  /** Names and values in the head: at the pointer's place, else the last ones. @param {number | null} x */
  #lead(x) {
    const at = x === null ? null : new Map(foundAt(this.chart, x).map((found) => [found.curve.name, found]));
    const known = new Map((this.curves ?? []).map((curve) => [curve.name, curve]));
    const rows = this.runs.slice(0, MAX_DRAWN).map((run) => {
      const curve = known.get(run);
      const i = curve?.order.at(-1);
      const last = curve && i !== undefined ? { curve, i, value: curve.mean[i] } : undefined;
      const found = at ? at.get(run) : last;
      return el("li", { title: visibleName(run) }, lineKey(runColours.of(run)), el("span", {}, visibleName(this.title(run))), el("strong", {}, found ? valueWord(found) : "–"));
    });
    this.legend.replaceChildren(...(x === null ? [] : [el("li", { class: "dim" }, xWord(this.axis, x))]), ...rows);
  }

  /** @type {import("../../curves/chart.js").Gestures} */
  #gestures = {
    hover: (chart, x) => {
      chart.crosshair(x);
      this.#lead(x);
    },
    zoom: (span) => this.#zoom(span),
    scale: (factor, x) => {
      const { lo, hi } = this.shown;
      this.#zoom({ lo: x - (x - lo) * factor, hi: x + (hi - x) * factor });
    },
    whole: () => this.#zoom(null),
    point: () => {},
    act: () => {},
  };

  /** @param {Span | null} span */
  #zoom(span) {
    this.span = span;
    this.#want();
  }
}
