/** What stands below the pointer: one crosshair on all charts, the values of all runs, and what happened there. */

import { Card } from "../card.js";
import { Tip, foundAt, valueWord } from "../tip.js";
import { spanWord, xWord } from "../xaxis.js";

/** @typedef {import("../chart.js").Chart} Chart */

const SAME_PX = 24; // so near to the last tap is the same place

export class Pointing {
  /** @param {import("./board.js").Board} board */
  constructor(board) {
    this.board = board;
    this.tip = new Tip();
    this.card = new Card();
    /** @type {{chart: Chart, x: number, event: MouseEvent} | null} */
    this.at = null;
    this.frame = 0;
    addEventListener("scroll", () => this.tip.hide(), true);
    addEventListener("pointerdown", (event) => event.target instanceof Element && !event.target.closest(".chart-plot") && this.move(this.at?.chart ?? null, null, null));
  }

  /** @param {Chart | null} chart @param {number | null} x @param {MouseEvent | null} event */
  move(chart, x, event) {
    this.at = x === null || !event || !chart ? null : { chart, x, event };
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const { at, board } = this;
    const x = at?.x ?? null;
    for (const chart of board.charts) if (chart.built) chart.crosshair(x);
    board.full.draw(x);
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
    const { view } = this.board;
    const found = foundAt(chart, x).filter(({ curve }) => !curve.colour);
    const span = found.length ? { lo: Math.min(...found.map(({ curve, i }) => curve.from[i])), hi: Math.max(...found.map(({ curve, i }) => curve.to[i])) } : { lo: x, hi: x };
    this.tip.hide();
    const shown = found.flatMap((hit) => hit.curve.runs.map((run) => ({ run, colour: this.board.names.colourOf(hit.curve), value: valueWord(hit), curves: [hit.curve] })));
    this.card.open({ title: `${chart.tag.name} at ${xWord(view.x, x)}`, x: view.x, span, series: chart.tag.name, shown }, event);
  }

  /** What happened in the range that is shown. @param {MouseEvent} event */
  happened(event) {
    const { charts, shownSpan: span, view } = this.board;
    const own = charts.filter(({ tag, picture }) => !tag.machine && picture?.curves?.length);
    const shown = own.flatMap(({ picture }) => (picture?.curves ?? []).flatMap((curve) => curve.runs.map((run) => ({ run, colour: this.board.names.colourOf(curve), value: "", curves: [curve] }))));
    this.card.open({ title: spanWord(view.x, span), x: view.x, span, series: own[0]?.tag.name ?? "", shown }, event);
  }
}
