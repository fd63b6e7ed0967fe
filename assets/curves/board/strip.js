/** The line above the charts: whose curves they are, the range, and what is not drawn. */

import { dialogOf, el, hang, setText } from "../../lib/dom.js";
import { count, counted } from "../../lib/format.js";
import { Legend } from "./legend.js";

/** @typedef {import("./reading.js").LeftOut} LeftOut */
/** @typedef {import("./legend.js").Entry} Entry */
/** @typedef {{key: string, name: string}} Hidden a chart */

/**
 * @typedef {Object} Shown
 * @property {Entry[]} names of runs or groups
 * @property {Set<string>} off of them, those whose curves are hidden
 * @property {{all: number, found: number, trouble: string}} found
 * @property {Hidden[]} hidden charts
 * @property {LeftOut[]} left
 * @property {string} zoomed the range in words, "" for all of it
 * @property {boolean} loading
 * @property {string} search
 * @property {string} smoothing in words, or ""
 */

const MOST_LEFT = 500;

export class Strip {
  /** @param {{whole: () => void, happened: (event: MouseEvent) => void, restore: (keys: string[]) => void} & import("./legend.js").Does} does */
  constructor(does) {
    this.does = does;
    this.legend = new Legend(does);
    this.range = el("b");
    this.happened = el("button", { class: "btn", type: "button", onclick: (/** @type {MouseEvent} */ event) => does.happened(event) }, "What happened here?");
    this.whole = el("button", { class: "btn", type: "button", onclick: () => does.whole() }, "Whole range ", el("kbd", {}, "0"));
    this.zoomed = el("div", { class: "strip-zoomed", hidden: true }, this.range, this.happened, this.whole);
    this.smoothing = el("span");
    this.found = el("span", { role: "status" });
    this.hidden = el("button", { class: "link", type: "button", hidden: true, title: "Charts that were hidden with ×", onclick: () => this.#openHidden() });
    this.lacking = el("button", { class: "link dim", type: "button", hidden: true, title: "Not every run has each of the series in view", onclick: () => this.#openLeft(true) });
    this.left = el("button", { class: "link warn", type: "button", hidden: true, onclick: () => this.#openLeft(false) });
    this.element = el("div", { class: "curves-strip" }, this.legend.element, this.zoomed, el("div", { class: "strip-found" }, this.smoothing, this.found, this.hidden, this.lacking, this.left));
    this.hiddenList = el("div", { class: "curves-menu hidden-charts", popover: "auto", "aria-label": "Hidden charts" });
    document.body.append(this.hiddenList);
    this.leftBody = el("div");
    this.leftDialog = dialogOf("left-out", "What is left out", this.leftBody);
    /** @type {LeftOut[]} */
    this.leftOut = [];
    /** @type {Hidden[]} */
    this.hiddenCharts = [];
  }

  /** @param {Shown} shown */
  draw({ names, off, found, hidden, left, zoomed, loading, search, smoothing }) {
    this.legend.draw(names, off);
    this.zoomed.hidden = !zoomed;
    setText(this.range, zoomed);
    setText(this.smoothing, smoothing);
    setText(this.found, loading ? "Reading the list of series …" : found.trouble || (search ? `${count(found.found)} of ${counted(found.all, "series", "series")} with “${search}”` : counted(found.all, "series", "series")));
    this.found.classList.toggle("warn", Boolean(found.trouble));
    this.hiddenCharts = hidden;
    this.hidden.hidden = !hidden.length;
    setText(this.hidden, `${count(hidden.length)} hidden`);
    if (this.hiddenList.matches(":popover-open")) this.#listHidden();
    this.leftOut = left;
    const cut = left.filter(({ absent }) => !absent);
    const lacking = new Set(left.filter(({ absent }) => absent).map(({ run }) => run)).size;
    this.lacking.hidden = !lacking;
    setText(this.lacking, `${counted(lacking, "run")} without some of these series`);
    this.left.hidden = !cut.length;
    setText(this.left, `${count(cut.length)} not drawn`);
  }

  #openHidden() {
    this.#listHidden();
    hang(this.hiddenList, this.hidden);
    /** @type {HTMLElement | null} */ (this.hiddenList.firstElementChild)?.focus();
  }

  /** A choice for each, and one for all. */
  #listHidden() {
    const item = (/** @type {string} */ label, /** @type {string[]} */ keys) => el("button", { type: "button", onclick: () => this.does.restore(keys) }, label);
    const all = this.hiddenCharts;
    if (!all.length) return this.hiddenList.hidePopover();
    this.hiddenList.replaceChildren(...all.map(({ key, name }) => item(`Show ${name}`, [key])), ...(all.length > 1 ? [item(`Show all ${count(all.length)}`, all.map(({ key }) => key))] : []));
    return undefined;
  }

  /** @param {boolean} absent those whose runs have no such series, or those that are there */
  #openLeft(absent) {
    const all = this.leftOut.filter((left) => left.absent === absent);
    const shown = all.slice(0, MOST_LEFT);
    const more = all.length - shown.length;
    this.leftBody.replaceChildren(
      el("h2", {}, absent ? "Runs without some of the series in view" : "Not drawn in the charts in view"),
      el("table", {}, ...shown.map(({ run, series, reason }) => el("tr", {}, el("td", {}, run), el("td", {}, series), el("td", { class: "dim" }, reason)))),
      more > 0 ? el("p", { class: "dim" }, `${count(more)} more`) : "",
    );
    this.leftDialog.showModal();
  }
}
