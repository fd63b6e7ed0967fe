/** A button with a menu, whose rows are made when it opens: choices of which one holds, switches, and actions. */

import { el, hang, setText } from "./dom.js";

/**
 * @typedef {Object} Item
 * @property {string} label
 * @property {string} [note] beside the label
 * @property {string} [tone] a CSS class of the note
 * @property {string} [about] a sentence below the label
 * @property {string} [key] that does the same
 * @property {boolean} [on] of a choice or a switch; an action has none
 * @property {() => void} run
 */

/** @typedef {{title: string, switches?: boolean, items: Item[]}} Section `switches`: each may be on, else one is */

const WAYS = /** @type {Record<string, (at: number, last: number) => number>} */ ({
  ArrowDown: (at, last) => (at < last ? at + 1 : 0),
  ArrowUp: (at, last) => (at > 0 ? at - 1 : last),
  Home: () => 0,
  End: (_, last) => last,
});

export class Menu {
  /** @param {string} name @param {() => Section[]} sections @param {{word?: string, kind?: string}} [looks] `word`: on the button, in place of the name */
  constructor(name, sections, { word = name, kind = "" } = {}) {
    this.name = name;
    this.sections = sections;
    this.word = el("span", {}, word);
    this.button = el("button", { class: `btn menu-button ${kind}`, type: "button", "aria-haspopup": "menu", "aria-label": name, onclick: () => this.open() }, this.word);
    this.list = el("div", { class: "menu-list", role: "menu", "aria-label": name, popover: "auto", onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event) });
    this.element = el("span", { class: "menu-place" }, this.button, this.list);
  }

  /** What holds now. @param {string} word */
  say(word) {
    setText(this.word, word);
    this.button.ariaLabel = `${this.name}: ${word}`;
  }

  open() {
    this.list.replaceChildren(...this.sections().filter(({ items }) => items.length).map((section) => this.#section(section)));
    hang(this.list, this.button);
    (this.list.querySelector('[aria-checked="true"]') ?? this.#rows[0])?.focus();
  }

  /** @returns {HTMLElement[]} */
  get #rows() {
    return [...this.list.querySelectorAll("button")];
  }

  /** @param {Section} section */
  #section({ title, switches = false, items }) {
    return el("div", { role: "group", "aria-label": title }, title ? el("div", { class: "menu-title", "aria-hidden": "true" }, title) : null, ...items.map((item) => this.#row(item, switches)));
  }

  /** @param {Item} item @param {boolean} isSwitch */
  #row({ label, note = "", tone = "", about = "", key = "", on, run }, isSwitch) {
    const role = on === undefined ? "menuitem" : isSwitch ? "menuitemcheckbox" : "menuitemradio";
    return el(
      "button",
      { type: "button", role, "aria-checked": on === undefined ? null : String(on), tabindex: "-1", onclick: () => (this.list.hidePopover(), run()) },
      el("span", { class: "menu-label" }, el("span", {}, label), about ? el("span", { class: "dim" }, about) : null),
      note ? el("em", { class: tone }, note) : null,
      key ? el("kbd", { "aria-hidden": "true" }, key) : null,
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const rows = this.#rows;
    const way = WAYS[event.key];
    if (event.key === "Tab") return this.list.hidePopover();
    if (!way) return;
    event.preventDefault();
    rows[way(rows.indexOf(/** @type {HTMLElement} */ (document.activeElement)), rows.length - 1)]?.focus();
  }
}
