/** The line above the charts: whose curves they are, the range, and what is not drawn. */

import { dialogOf, el, setText } from "../../lib/dom.js";
import { count, counted } from "../../lib/format.js";

/** @typedef {import("./reading.js").LeftOut} LeftOut */

/**
 * @typedef {Object} Shown
 * @property {string[]} names of runs or groups
 * @property {(name: string) => string} colourOf
 * @property {{all: number, found: number, hidden: number, trouble: string}} found
 * @property {LeftOut[]} left
 * @property {string} zoomed the range in words, "" for all of it
 * @property {boolean} loading
 * @property {string} search
 * @property {string} smoothing in words, or ""
 */

const MOST_NAMES = 24;
const MOST_LEFT = 500;

export class Strip {
  /** @param {{whole: () => void, happened: (event: MouseEvent) => void, restore: () => void}} does */
  constructor(does) {
    this.names = el("div", { class: "strip-names", tabindex: "0", role: "group", "aria-label": "Whose curves they are" });
    this.range = el("b");
    this.happened = el("button", { class: "btn", type: "button", onclick: (/** @type {MouseEvent} */ event) => does.happened(event) }, "What happened here?");
    this.whole = el("button", { class: "btn", type: "button", onclick: () => does.whole() }, "Whole range ", el("kbd", {}, "0"));
    this.zoomed = el("div", { class: "strip-zoomed", hidden: true }, this.range, this.happened, this.whole);
    this.smoothing = el("span");
    this.found = el("span", { role: "status" });
    this.hidden = el("button", { class: "link", type: "button", hidden: true, title: "Show them again", onclick: () => does.restore() });
    this.left = el("button", { class: "link warn", type: "button", hidden: true, onclick: () => this.#openLeft() });
    this.element = el("div", { class: "curves-strip" }, this.names, this.zoomed, el("div", { class: "strip-found" }, this.smoothing, this.found, this.hidden, this.left));
    this.leftBody = el("div");
    this.leftDialog = dialogOf("left-out", "What is left out", this.leftBody);
    /** @type {LeftOut[]} */
    this.leftOut = [];
  }

  /** @param {Shown} shown */
  draw({ names, colourOf, found, left, zoomed, loading, search, smoothing }) {
    const drawn = JSON.stringify([names.slice(0, MOST_NAMES), names.length, names.slice(0, MOST_NAMES).map(colourOf)]);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      const more = names.length - MOST_NAMES;
      this.names.replaceChildren(
        ...names.slice(0, MOST_NAMES).map((name) => el("span", { class: "strip-name", title: name }, el("i", { class: "key", style: `background:var(--${colourOf(name)})` }), name)),
        more > 0 ? el("span", { class: "dim" }, `${count(more)} more`) : "",
      );
    }
    this.zoomed.hidden = !zoomed;
    setText(this.range, zoomed);
    setText(this.smoothing, smoothing);
    setText(this.found, loading ? "Reading the list of series …" : found.trouble || (search ? `${count(found.found)} of ${counted(found.all, "series", "series")} with “${search}”` : counted(found.all, "series", "series")));
    this.found.classList.toggle("warn", Boolean(found.trouble));
    this.hidden.hidden = !found.hidden;
    setText(this.hidden, `${count(found.hidden)} hidden`);
    this.leftOut = left;
    this.left.hidden = !left.length;
    setText(this.left, `${count(left.length)} left out`);
  }

  #drawn = "";

  #openLeft() {
    const shown = this.leftOut.slice(0, MOST_LEFT);
    const more = this.leftOut.length - shown.length;
    this.leftBody.replaceChildren(
      el("h2", {}, "Not drawn in the charts in view"),
      el("table", {}, ...shown.map(({ run, series, reason }) => el("tr", {}, el("td", {}, run), el("td", {}, series), el("td", { class: "dim" }, reason)))),
      more > 0 ? el("p", { class: "dim" }, `${count(more)} more`) : "",
    );
    this.leftDialog.showModal();
  }
}
