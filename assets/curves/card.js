/** “What happened here”: the same window on Live and Flame, for each run that is shown. */

import { sentenceOf } from "../lib/api.js";
import { lineKey } from "./key.js";
import { el } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { TIME } from "../lib/axis.js";
import { linksOf, windowOf } from "./moments.js";

/** @typedef {import("./curve.js").Curve} Curve */
/** @typedef {import("./view.js").Span} Span */
/** @typedef {{run: string, colour: string, value: string, curves: Curve[]}} Shown a run that has points there */
/** @typedef {{title: string, x: string, span: Span, series: string, shown: Shown[]}} Asked */

const MOST = 8; // runs, whose times are looked up at once
const EDGE_PX = 12;

export class Card {
  constructor() {
    this.body = el("div");
    this.element = el("div", { class: "curves-card", popover: "auto" }, this.body);
    document.body.append(this.element);
  }

  /** @param {Asked} asked @param {{clientX: number, clientY: number}} pointer */
  async open(asked, pointer) {
    const { title } = asked;
    const shown = [...new Map(asked.shown.map((run) => [run.run, run])).values()]; // a run counts once
    const rows = shown.slice(0, MOST).map((run) => ({ run, links: el("td", { class: "num dim" }, "…") }));
    const more = shown.length - rows.length;
    this.body.replaceChildren(
      el("h2", {}, "What happened here"),
      el("p", { class: "strong" }, title),
      shown.length ? "" : el("p", { class: "dim" }, "No run has a point here."),
      el(
        "table",
        {},
        ...rows.map(({ run, links }) => el("tr", {}, el("td", {}, lineKey(run.colour), run.run), el("td", { class: "num strong" }, run.value), links)),
      ),
      more > 0 ? el("p", { class: "dim" }, `${count(more)} more runs: show fewer to find theirs.`) : "",
    );
    if (!this.element.matches(":popover-open")) this.element.showPopover();
    this.#place(pointer);
    for (const { run, links } of rows) await this.#find(asked, run, links).then(() => this.#place(pointer));
  }

  /** Below the pointer, inside the window. @param {{clientX: number, clientY: number}} pointer */
  #place({ clientX, clientY }) {
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const left = Math.max(EDGE_PX, Math.min(clientX, innerWidth - width - EDGE_PX));
    const top = Math.max(EDGE_PX, Math.min(clientY + 8, innerHeight - height - EDGE_PX));
    Object.assign(this.element.style, { left: `${left}px`, top: `${top}px` });
  }

  /** @param {Asked} asked @param {Shown} shown @param {HTMLElement} cell */
  async #find({ x, span, series }, { run, curves }, cell) {
    if (!cell.isConnected) return; // another one was opened
    try {
      const window = await windowOf(run, x, span, curves, series);
      if (!window) {
        cell.textContent = "its log has no times";
        return;
      }
      const { live, flame } = linksOf(run, window);
      cell.replaceChildren(el("a", { href: live, title: TIME.range(window.lo, window.hi) }, "Live"), " ", el("a", { href: flame, title: TIME.range(window.lo, window.hi) }, "Flame"));
    } catch (error) {
      cell.textContent = sentenceOf(error);
    }
  }

  close() {
    if (this.element.matches(":popover-open")) this.element.hidePopover();
  }
}
