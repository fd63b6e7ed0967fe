/** Below the lanes: the choice among a run's curves without a lane of their own. Only shown curves are read. */

import { el, setText } from "../../lib/dom.js";
import { count } from "../../lib/format.js";
import { FEW, furtherFound } from "../../data/lanes.js";

/** @typedef {import("../../data/lanes.js").Further} Choice */

const MORE = 12; // lanes per click
const TYPING_MS = 150;

export class FurtherCurves {
  /** @param {() => void} changed */
  constructor(changed) {
    /** @type {Choice} */
    this.choice = { ...FEW, search: new URLSearchParams(location.search).get("curves") ?? "" };
    if (this.choice.search) this.choice.most = MORE;
    this.changed = changed;
    this.said = el("span", { class: "dim", role: "status" });
    this.input = el("input", {
      type: "search",
      placeholder: "find a curve",
      "aria-label": "Find a curve",
      value: this.choice.search,
      oninput: () => this.#typed(),
    });
    this.button = el("button", { class: "btn", type: "button", onclick: () => this.#choose({ most: this.choice.most + MORE }) }, "Show more");
    this.element = el("div", { class: "further", hidden: true }, this.said, el("span", { class: "search" }, this.input), this.button);
  }

  /** @param {import("../../data/series.js").Meta[]} metas */
  draw(metas) {
    const all = furtherFound(metas, "").length;
    const found = furtherFound(metas, this.choice.search).length;
    const shown = Math.min(found, this.choice.most);
    this.element.hidden = all <= FEW.most && !this.choice.search;
    this.button.hidden = shown >= found;
    const what = this.choice.search ? ` with “${this.choice.search}” in their names` : "";
    setText(this.said, `${count(shown)} of ${count(found)} further curves${what}`);
  }

  /** Its part of the address. */
  address() {
    return { curves: this.choice.search || null };
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#choose({ search: this.input.value.trim(), most: this.input.value.trim() ? MORE : FEW.most }), TYPING_MS);
  }

  #timer = 0;

  /** @param {Partial<Choice>} change */
  #choose(change) {
    this.choice = { ...this.choice, ...change };
    this.changed();
  }
}
