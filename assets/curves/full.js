/** One chart at full size, with a row for each of its curves. */

import { el, setText } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { FullTable } from "./full_table.js";
import { foundAt, headOf } from "./tip.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./board/catalogue.js").Tag} Tag */

export class Full {
  /** @param {{make: (tag: Tag) => Chart, built: (chart: Chart) => void, closed: () => void}} board */
  constructor(board) {
    this.board = board;
    /** @type {Chart | null} */
    this.chart = null;
    this.title = el("b");
    this.where = el("span", { class: "dim" });
    this.table = new FullTable();
    this.place = el("div", { class: "full-place" });
    this.close = el("button", { class: "btn", type: "button", onclick: () => board.closed() }, "Back to all charts ", el("kbd", {}, "Esc"));
    this.element = el(
      "section",
      { class: "curves-full", hidden: true, "aria-label": "One chart" },
      el("header", {}, this.title, this.where, this.close),
      this.place,
      this.table.element,
    );
    new ResizeObserver(() => this.#fit()).observe(this.place);
  }

  /** @param {Tag | null} tag */
  show(tag) {
    if (tag?.key === this.chart?.tag.key) return;
    this.chart?.destroy();
    this.chart = null;
    this.element.hidden = tag === null;
    if (!tag) return;
    this.chart = this.board.make(tag);
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
    this.board.built(this.chart);
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
