/** One chart at full size, with a sorted table of its curves. */

import { el, onResize, setText } from "../lib/dom.js";
import { count, counted, figure } from "../lib/format.js";
import { foundAt, headOf, lineKey, valueWord } from "./tip.js";
import { xWord } from "./training_view.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./catalogue.js").Tag} Tag */

export class Full {
  /** @param {{make: (tag: Tag) => Chart, built: (chart: Chart) => void, closed: () => void}} grid */
  constructor(grid) {
    this.grid = grid;
    /** @type {Chart | null} */
    this.chart = null;
    this.title = el("b");
    this.where = el("span", { class: "dim" });
    this.table = new FullTable();
    this.place = el("div", { class: "full-place" });
    this.close = el("button", { class: "btn", type: "button", onclick: () => grid.closed() }, "Back to all charts ", el("kbd", {}, "Esc"));
    this.element = el(
      "section",
      { class: "curves-full", hidden: true, "aria-label": "One chart" },
      el("header", {}, this.title, this.where, this.close),
      this.place,
      this.table.element,
    );
    onResize(this.place, () => this.#fit());
  }

  /** @param {Tag | null} tag */
  show(tag) {
    if (tag?.key === this.chart?.tag.key) return;
    this.chart?.destroy();
    this.chart = null;
    this.element.hidden = tag === null;
    if (!tag) return;
    this.chart = this.grid.make(tag);
    this.table.begin(tag.direction === "down");
    setText(this.title, tag.name);
    this.place.append(this.chart.element);
    this.#fit();
    this.close.focus({ preventScroll: true });
  }

  get width() {
    return this.place.clientWidth;
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.place;
    if (!this.chart || !width || !height) return;
    this.chart.fit(width, height);
    this.grid.built(this.chart);
  }

  /** The values at a place, or the newest. @param {number | null} x */
  draw(x) {
    const picture = this.chart?.picture;
    if (!this.chart || !picture?.curves) return this.table.draw([], "step", true, () => "ink-3");
    const { curves, view, colourOf } = picture;
    const found = x === null ? curves.flatMap(lastOf) : foundAt(this.chart, x);
    setText(this.where, x === null ? counted(curves.length, "curve") : headOf(found, view.x, x));
    return this.table.draw(found, view.x, x === null, colourOf);
  }
}

/** @param {import("./curve.js").Curve} curve @returns {import("./tip.js").Found[]} its newest value, if it has one */
function lastOf(curve) {
  const i = curve.order[curve.order.length - 1] ?? -1;
  return i < 0 ? [] : [{ curve, i, value: curve.smooth ? curve.smooth[i] : curve.mean[i] }];
}

// The table of an opened chart: a row for each curve, sorted by the column whose head was clicked.

/** @typedef {import("./curve.js").Curve} Curve */
/** @typedef {import("./tip.js").Found} Found */
/** @typedef {"label" | "value" | "least" | "greatest" | "points"} Column */
/** @typedef {{value: number, at: number}} Extreme `at`: its place on the x axis */
/** @typedef {Found & {least: Extreme, greatest: Extreme}} Row */

const MOST = 200; // rows
/** @type {[Column, string][]} */
const COLUMNS = [
  ["label", "Run"],
  ["value", "Last"],
  ["least", "Least"],
  ["greatest", "Greatest"],
  ["points", "Points"],
];

/** The lowest and the highest value of what counts. @param {Curve} curve @returns {{least: Extreme, greatest: Extreme}} */
function extremesOf({ order, min, max, to }) {
  const none = { value: NaN, at: NaN };
  let [least, greatest] = [none, none];
  for (const i of order) {
    if (Number.isNaN(min[i])) continue;
    if (!(min[i] >= least.value)) least = { value: min[i], at: to[i] };
    if (!(max[i] <= greatest.value)) greatest = { value: max[i], at: to[i] };
  }
  return { least, greatest };
}

/** What has no value stands last, in either direction. @param {Row[]} rows @param {Column} column @param {boolean} down the least first */
export function sorted(rows, column, down) {
  const sign = down ? 1 : -1;
  if (column === "label") return [...rows].sort((a, b) => sign * a.curve.label.localeCompare(b.curve.label, "en", { numeric: true }));
  const of = (/** @type {Row} */ row) => (column === "value" ? row.value : column === "points" ? row.curve.total : row[column].value);
  return [...rows].sort((a, b) => Number(Number.isNaN(of(a))) - Number(Number.isNaN(of(b))) || sign * (of(a) - of(b)) || 0);
}

class FullTable {
  constructor() {
    /** @type {Column} */
    this.column = "value";
    this.down = false;
    /** @type {Row[]} */
    this.rows = [];
    this.x = "step";
    this.heads = new Map(COLUMNS.map(([column, label]) => [column, el("button", { type: "button", onclick: () => this.#sortBy(column) }, label)]));
    this.body = el("tbody");
    this.more = el("p", { class: "dim" });
    const head = el("thead", {}, el("tr", {}, ...COLUMNS.map(([column]) => el("th", { scope: "col", class: column === "label" ? null : "num" }, this.heads.get(column)))));
    this.element = el("div", { class: "full-rows", tabindex: "0", role: "region", "aria-label": "Values" }, el("table", {}, head, this.body), this.more);
  }

  /** Of another chart: the best first, by the last value. @param {boolean} lower whether less is better */
  begin(lower) {
    this.column = "value";
    this.down = lower;
  }

  /** @param {Column} column */
  #sortBy(column) {
    this.down = this.column === column ? !this.down : column === "label" || this.down;
    this.column = column;
    this.#draw();
  }

  /** @param {Found[]} found @param {string} x as in a view @param {boolean} last whether these are the last values @param {(curve: Curve) => string} colourOf */
  draw(found, x, last, colourOf) {
    this.x = x;
    this.colourOf = colourOf;
    this.rows = found.map((hit) => ({ ...hit, ...this.#extremes(hit.curve) }));
    setText(/** @type {Element} */ (this.heads.get("value")), last ? "Last" : "Value");
    this.#draw();
  }

  /** @type {WeakMap<Curve, {least: Extreme, greatest: Extreme}>} */
  #known = new WeakMap();

  /** @param {Curve} curve */
  #extremes(curve) {
    const known = this.#known.get(curve) ?? extremesOf(curve);
    this.#known.set(curve, known);
    return known;
  }

  #draw() {
    for (const [column, button] of this.heads) button.parentElement?.setAttribute("aria-sort", column !== this.column ? "none" : this.down ? "ascending" : "descending");
    const rows = sorted(this.rows, this.column, this.down);
    this.body.replaceChildren(...rows.slice(0, MOST).map((row) => this.#row(row)));
    setText(this.more, rows.length > MOST ? `${count(rows.length - MOST)} more` : "");
  }

  colourOf = (/** @type {Curve} */ _) => "ink-3";

  /** @param {Row} row */
  #row(row) {
    const { curve, i, least, greatest } = row;
    const extreme = (/** @type {Extreme} */ { value, at }) => el("td", { class: "num" }, figureOf(value), Number.isNaN(at) ? "" : el("span", { class: "dim" }, ` ${xWord(this.x, at)}`));
    return el(
      "tr",
      {},
      el("td", {}, lineKey(this.colourOf(curve)), curve.label),
      el("td", { class: "num" }, el("b", {}, valueWord(row)), el("span", { class: "dim" }, ` ${xWord(this.x, curve.to[i])}`)),
      extreme(least),
      extreme(greatest),
      el("td", { class: "num dim" }, counted(curve.total, "point")),
    );
  }
}

/** @param {number} value */
const figureOf = (value) => (Number.isNaN(value) ? "–" : figure(value));
