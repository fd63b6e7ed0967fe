/** One chart at full size, with a row for each of its curves. */

import { el, setText } from "../lib/dom.js";
import { count, counted, figure } from "../lib/format.js";
import { foundAt, valueWord } from "./tip.js";
import { xWord } from "./xaxis.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./board/catalogue.js").Tag} Tag */

const MOST = 200; // rows

export class Full {
  /** @param {{make: (tag: Tag) => Chart, built: (chart: Chart) => void, closed: () => void}} board */
  constructor(board) {
    this.board = board;
    /** @type {Chart | null} */
    this.chart = null;
    this.title = el("b");
    this.where = el("span", { class: "dim" });
    this.rows = el("tbody");
    this.more = el("p", { class: "dim" });
    this.place = el("div", { class: "full-place" });
    this.close = el("button", { class: "btn", type: "button", onclick: () => board.closed() }, "Back to all charts ", el("kbd", {}, "Esc"));
    this.element = el(
      "section",
      { class: "curves-full", hidden: true, "aria-label": "One chart" },
      el("header", {}, this.title, this.where, this.close),
      this.place,
      el("div", { class: "full-rows", tabindex: "0", role: "region", "aria-label": "Values" }, el("table", {}, this.rows), this.more),
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
    if (!this.chart || !picture?.curves) return this.rows.replaceChildren();
    const { curves, view } = picture;
    setText(this.where, x === null ? counted(curves.length, "curve") : xWord(view.x, x));
    const found = x === null ? curves.map((curve) => ({ curve, i: curve.order[curve.order.length - 1] ?? -1 })).filter(({ i }) => i >= 0).map(({ curve, i }) => ({ curve, i, value: curve.smooth ? curve.smooth[i] : curve.mean[i] })) : foundAt(this.chart, x);
    if (x === null) found.sort((a, b) => b.value - a.value || 0);
    this.rows.replaceChildren(
      ...found.slice(0, MOST).map((hit) => {
        const { curve, i } = hit;
        return el(
          "tr",
          {},
          el("td", {}, el("i", { class: "key", style: `background:var(--${picture.colourOf(curve)})` }), curve.label),
          el("td", { class: "num strong" }, valueWord(hit)),
          el("td", { class: "num dim" }, curve.max[i] > curve.min[i] ? `${figure(curve.min[i])} to ${figure(curve.max[i])}` : ""),
          el("td", { class: "num dim" }, xWord(view.x, curve.to[i])),
          el("td", { class: "num dim" }, counted(curve.total, "point")),
        );
      }),
    );
    setText(this.more, found.length > MOST ? `${count(found.length - MOST)} more` : "");
    return undefined;
  }
}
