/** The row above the axis: the run, how far the search is, the ways to the next hit and error, what filters beside the controls, and the end. */

import { el, setClass } from "../../lib/dom.js";
import { Picker } from "../../lib/picker.js";

export class LogsBar {
  /**
   * @param {{pick: (run: string) => void, next: (what: "hit" | "error", back: boolean) => void, follow: () => void, wrap: () => void}} page
   * @param {HTMLElement[]} parts how far the search is, and what can be removed
   */
  constructor(page, [search, ...chips]) {
    this.picker = new Picker(page.pick);
    const way = (/** @type {string} */ key, /** @type {string} */ arrow, /** @type {string} */ label, /** @type {"hit" | "error"} */ what, /** @type {boolean} */ back) =>
      el("button", { class: "btn", type: "button", title: label, onclick: () => page.next(what, back) }, el("span", { class: "unseen" }, `${label} `), arrow, el("kbd", {}, key));
    this.hits = el("span", { class: "ways", hidden: true }, el("span", { class: "dim" }, "hit"), way("N", "↑", "Previous hit", "hit", true), way("n", "↓", "Next hit", "hit", false));
    this.errors = el("span", { class: "ways" }, el("span", { class: "dim" }, "error"), way("E", "↑", "Previous error", "error", true), way("e", "↓", "Next error", "error", false));
    this.wrap = el("button", { class: "btn", type: "button", "aria-pressed": "false", onclick: page.wrap }, "Wrap", el("kbd", {}, "w"));
    this.follow = el("button", { class: "btn", type: "button", "aria-pressed": "false", onclick: page.follow }, "Follow", el("kbd", {}, "l"));
    this.element = el("section", { class: "logs-bar", "aria-label": "Run, search and filters" }, this.picker.element, search, this.hits, this.errors, ...chips, el("span", { class: "right" }, this.wrap, this.follow));
  }

  /** @param {import("../../data/runs.js").Runs} runs @param {{searches: boolean, follows: boolean, wraps: boolean}} state */
  draw(runs, { searches, follows, wraps }) {
    this.picker.draw(runs);
    this.hits.hidden = !searches;
    this.wrap.setAttribute("aria-pressed", String(wraps));
    this.follow.setAttribute("aria-pressed", String(follows));
    setClass(this.follow, "off", !follows && !runs.over);
  }
}
