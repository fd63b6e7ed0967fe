/** A log whose first part has no times: the part of a run that the time axis cannot show, and the link to it. */

import { get } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { count } from "../lib/format.js";

const LEAST = 0.05; // a smaller share is not worth a line

export class UntimedNote {
  /** @param {() => void} turn to the step axis */
  constructor(turn) {
    /** @type {string | null} that was asked about */
    this.run = null;
    this.said = el("span");
    const button = el("button", { class: "btn", type: "button", onclick: turn }, "Show by step", el("kbd", {}, "a"));
    this.element = el("p", { class: "untimed", role: "status", hidden: true }, this.said, button);
  }

  hide() {
    this.run = null;
    this.element.hidden = true;
  }

  /** Query once per run: a query over all times counts the points with a time. @param {string} run @param {string} series its densest @param {number} points of it in the store */
  async read(run, series, points) {
    if (run === this.run) return;
    this.run = run;
    const answer = await get("points", { run, series: [series], buckets: 1 });
    const timed = answer.series.reduce((sum, row) => sum + row.points_total, 0);
    const without = points - timed;
    if (run !== this.run) return;
    this.element.hidden = without <= LEAST * points;
    setText(this.said, `${count(without)} of ${count(points)} points of ${series} have no time, so the time axis cannot show them.`);
  }
}
