/** A row per series: last, least, mean and greatest value of the shown range. */

import { lineKey } from "../../curves/key.js";
import { el, setText } from "../../lib/dom.js";
import { count, figure } from "../../lib/format.js";
import { thresholdsOf } from "../scaling.js";
import { toneOf, valuesOf } from "../values.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */

const COLUMNS = /** @type {const} */ (["last", "min", "mean", "max"]);
const VALUE_WORDS = { last: "last", min: "least", mean: "mean", max: "greatest" };

export class TableChart {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor(chart) {
    this.fields = chart.fields;
    this.body = el("tbody");
    this.element = el("div", { class: "board-table", tabindex: "0", role: "region", "aria-label": chart.fields.title ?? "Values" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "series"), ...COLUMNS.map((name) => el("th", { class: "num" }, VALUE_WORDS[name])))), this.body));
  }

  /** @param {Drawing} drawing */
  show({ curves, span, unit, by }) {
    const thresholds = thresholdsOf(this.fields.thresholds, by);
    while (this.body.children.length > curves.length) this.body.lastChild?.remove();
    curves.forEach((curve, i) => {
      let row = /** @type {any} */ (this.body.children[i]);
      if (!row || row.dataset.label !== curve.label) {
        const made = el("tr", { "data-label": curve.label }, el("td", {}, lineKey(curve.colour ?? "accent"), curve.label), ...COLUMNS.map(() => el("td", { class: "num" })));
        if (row) row.replaceWith(made);
        else this.body.append(made);
        row = made;
      }
      const found = valuesOf(curve, span);
      COLUMNS.forEach((name, k) => {
        const cell = row.children[k + 1];
        setText(cell, Number.isNaN(found[name]) ? "–" : `${Number.isInteger(found[name]) ? count(found[name]) : figure(found[name])}${k === 0 && unit ? ` ${unit}` : ""}`);
        cell.className = `num ${toneOf(found[name], thresholds)}`;
      });
    });
  }

  /** @param {number} _width @param {number} height */
  fit(_width, height) {
    this.element.style.height = `${height}px`;
  }

  redraw() {}

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}
