/** What a rule looks at, over time: curves, its limit and when it fired. The preview of a rule and the evidence of an alert. */

import { Chart, FOOT_PX, HEAD_PX } from "../../curves/chart.js";
import { extentOf, roomy, yRangeOf } from "../../curves/curve.js";
import { addTools } from "../../curves/export.js";
import { Tip, lineKey } from "../../curves/tip.js";
import { PLAIN } from "../../curves/training_view.js";
import { Colours } from "../../data/colours.js";
import { leaveFull } from "../../lib/chart_tools.js";
import { el, onResize, setText } from "../../lib/dom.js";
import { onTheme } from "../../lib/theme.js";

/** @typedef {import("../../curves/curve.js").Curve} Curve */
/** @typedef {import("../../curves/training_view.js").Span} Span */
/** @typedef {{curves: Curve[] | null, limit: number | null, moments: number[], trouble?: string}} Shown `curves`: null until they are read */

const ROOM = 0.05; // beyond a limit

export class RuleChart {
  constructor() {
    this.chart = new Chart({ key: "", name: "metric", title: "", unit: "", points: 0, direction: null, machine: false, progress: false }, this.#gestures);
    this.title = el("b");
    this.chart.head.replaceChildren(this.title);
    addTools(this.chart);
    this.legend = el("div", { class: "rule-legend" });
    this.element = el("div", { class: "rule-chart" }, this.chart.element, this.legend);
    this.tip = new Tip(this.element);
    this.colours = new Colours(); // by line
    onResize(this.chart.place, () => this.#fit());
    onTheme(() => this.chart.recolour());
  }

  /** @type {Shown} */
  #shown = { curves: null, limit: null, moments: [] };
  /** @type {Span | null} */
  #span = null;
  #ylog = false;

  /** @param {string} title @param {Shown} shown */
  show(title, shown) {
    this.chart.tag.name = this.chart.place.ariaLabel = title;
    setText(this.title, title);
    this.#shown = shown;
    this.#draw();
  }

  /** Before other curves are read: the range and the axis are theirs. */
  forget() {
    [this.#span, this.#ylog] = [null, false];
  }

  close() {
    leaveFull(this.element);
    this.chart.destroy();
  }

  #fit() {
    this.chart.fit(this.chart.place.clientWidth, this.chart.place.clientHeight + HEAD_PX + FOOT_PX); // of the whole element
    this.#draw();
  }

  /** @returns {Span} */
  get #whole() {
    const { curves, moments } = this.#shown;
    const found = extentOf(curves ?? [], false);
    const [lo, hi] = [Math.min(found?.lo ?? Infinity, ...moments), Math.max(found?.hi ?? -Infinity, ...moments)];
    return lo < hi ? { lo, hi } : lo === hi ? { lo: lo - 30, hi: hi + 30 } : { lo: 0, hi: 1 };
  }

  #draw() {
    const { curves, limit, moments, trouble = "" } = this.#shown;
    const view = { ...PLAIN, x: "time", ylog: this.#ylog };
    const span = this.#span ?? this.#whole;
    const lines = [...new Set((curves ?? []).map(({ label }) => label))];
    this.colours.choose(lines);
    const alone = lines.length === 1;
    const colourOf = (/** @type {string} */ label) => (alone ? "ink" : this.colours.of(label));
    const range = yRangeOf(curves ?? [], span, view);
    const y = limit === null || (this.#ylog && limit <= 0) || (limit >= range.lo && limit <= range.hi) ? range : { ...range, ...withLimit(range, limit, this.#ylog) };
    this.chart.show({ curves, view, span, colourOf: ({ label }) => colourOf(label), lit: "", trouble, stale: false, limit, moments, y });
    this.legend.replaceChildren(...(alone ? [] : lines.map((line) => el("span", {}, lineKey(colourOf(line)), line))), ...(limit === null ? [] : [el("span", { class: "limit" }, el("i"), "limit")]), ...(moments.length ? [el("span", { class: "fires" }, el("i"), "fired")] : []));
  }

  /** @type {import("../../curves/chart.js").Gestures} */
  #gestures = {
    hover: (chart, x, event) => {
      chart.crosshair(x);
      if (x === null || !event) this.tip.hide();
      else this.tip.show(chart, x, event);
    },
    zoom: (span) => this.#zoom(span),
    scale: (factor, x) => {
      const { lo, hi } = this.#span ?? this.#whole;
      this.#zoom({ lo: x - (x - lo) * factor, hi: x + (hi - x) * factor });
    },
    whole: () => this.#zoom(null),
    point: () => {},
    act: (_, act) => {
      if (act !== "log") return;
      this.#ylog = !this.#ylog;
      this.#draw();
    },
  };

  /** @param {Span | null} span */
  #zoom(span) {
    this.#span = span;
    this.#draw();
  }
}

/** @param {Span} range @param {number} limit @param {boolean} ylog @returns {Span} */
function withLimit({ lo, hi }, limit, ylog) {
  if (ylog) return { lo: Math.min(lo, limit / 1.2), hi: Math.max(hi, limit * 1.2) };
  return limit > hi ? { lo, hi: roomy(lo, limit, ROOM).hi } : { lo: roomy(limit, hi, ROOM).lo, hi };
}
