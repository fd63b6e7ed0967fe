/** A list of findings below a button: those that hold, those of a mark, or all. */

import { el, hang, icon, setText } from "../lib/dom.js";
import { clock, count, counted, day, sameDay } from "../lib/format.js";
import { byWeight, looksOf } from "./looks.js";

/** @typedef {import("./looks.js").Found} Found */

const MOST = 200; // rows

export class FindingList {
  /** @param {(found: Found) => void} choose */
  constructor(choose) {
    this.choose = choose;
    this.title = el("h2");
    this.rows = el("div", { class: "rows" });
    this.more = el("div", { class: "dim" });
    this.element = el("div", { class: "found-list", popover: "auto", role: "dialog", "aria-label": "Findings", onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event) }, this.title, this.rows, this.more);
  }

  /** Alerts stand first, then the newest. @param {Found[]} several @param {HTMLElement} button below which it opens @param {number} now_s */
  open(several, button, now_s) {
    const shown = [...several].sort(byWeight).slice(0, MOST);
    const rest = several.length - shown.length;
    setText(this.title, counted(several.length, "finding"));
    this.rows.replaceChildren(...shown.map((found) => this.#row(found, now_s)));
    setText(this.more, rest ? `${count(rest)} more: zoom in on the axis to see them.` : "");
    hang(this.element, button);
    this.rows.firstElementChild?.focus();
  }

  /** @param {Found} found @param {number} now_s */
  #row(found, now_s) {
    const { shape, tone, word } = looksOf(found);
    const when = sameDay(found.start, now_s) ? clock(found.start) : `${day(found.start)} ${clock(found.start)}`;
    return el(
      "button",
      { type: "button", "data-finding": found.id, onclick: () => (this.element.hidePopover(), this.choose(found)) },
      icon(shape, tone),
      el("span", { class: "unseen" }, `${word}: `),
      el("span", { class: "text" }, el("b", {}, `${found.title}. `), found.sentence),
      el("span", { class: "dim" }, found.over ? when : `${when}, holds`),
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const way = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const rows = [...this.rows.children];
    rows[rows.indexOf(document.activeElement) + way]?.focus();
  }
}
