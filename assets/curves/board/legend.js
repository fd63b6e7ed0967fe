/** Whose curves they are: a click shows or hides a name's curves, a double click shows only them, the pointer or the focus lets them stand out. */

import { el, setText } from "../../lib/dom.js";
import { count } from "../../lib/format.js";
import { lineKey } from "../key.js";

/** @typedef {{name: string, label: string, colour: string}} Entry */
/**
 * @typedef {Object} Does
 * @property {(name: string) => void} turn shown becomes hidden, and the other way round
 * @property {(name: string) => void} only this one is shown, or all again
 * @property {(name: string) => void} light "" for none
 */

const LINES = 2;
const GAP_PX = 12; // as in page.css
const MORE_PX = 64; // of the button that opens the rest

/**
 * How many items fit into some lines, with room for a button behind them where it is not all.
 * @param {number[]} widths @param {number} width of a line @param {number} lines
 */
export function fitting(widths, width, lines) {
  const fits = (/** @type {number[]} */ some) => {
    let [line, used] = [1, 0];
    for (const wide of some) {
      if (used && used + GAP_PX + wide > width) [line, used] = [line + 1, 0];
      used += (used ? GAP_PX : 0) + wide;
    }
    return line <= lines;
  };
  if (fits(widths)) return widths.length;
  let [low, high] = [0, widths.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (fits([...widths.slice(0, middle), MORE_PX])) low = middle;
    else high = middle - 1;
  }
  return low;
}

export class Legend {
  /** @param {Does} does */
  constructor(does) {
    this.does = does;
    /** @type {HTMLElement[]} */
    this.items = [];
    this.opened = false;
    this.more = el("button", { class: "link strip-more", type: "button", hidden: true, onclick: () => this.#open() });
    this.element = el("div", { class: "strip-names", role: "group", "aria-label": "Whose curves they are", onpointerleave: () => does.light("") }, this.more);
    new ResizeObserver(() => this.#fit()).observe(this.element);
  }

  /** @param {Entry[]} entries @param {Set<string>} off names whose curves are hidden */
  draw(entries, off) {
    const drawn = JSON.stringify(entries);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      const focused = this.items.findIndex((item) => item === document.activeElement);
      this.items = entries.map((entry) => this.#item(entry, entries.length === 1));
      this.element.replaceChildren(...this.items, this.more);
      this.items[focused]?.focus();
      this.#fit();
    }
    entries.forEach(({ name }, i) => this.items[i].setAttribute("aria-pressed", String(!off.has(name))));
  }

  #drawn = "";

  /** @param {Entry} entry @param {boolean} alone */
  #item({ name, label, colour }, alone) {
    const { does } = this;
    const lit = () => does.light(name);
    const act = (/** @type {MouseEvent} */ event) => (event.altKey ? does.only(name) : does.turn(name));
    const item = el(
      "button",
      { class: "strip-name", type: "button", title: `${label}: a click hides or shows it; double click, Alt and a click or Alt Enter: only it`, onclick: act, ondblclick: () => does.only(name), onpointerenter: lit, onfocus: lit, onblur: () => does.light("") },
      lineKey(colour, alone),
      label,
    );
    item.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (!event.altKey || event.key !== "Enter") return;
      event.preventDefault();
      does.only(name);
    });
    return item;
  }

  #open() {
    this.opened = !this.opened;
    this.#fit();
  }

  /** Hide what does not fit into two lines, unless the rest is open. */
  #fit() {
    const { items, more, element } = this;
    for (const item of items) item.hidden = false;
    const fit = fitting(items.map(({ offsetWidth }) => offsetWidth), element.clientWidth, LINES);
    const shown = this.opened || !element.clientWidth ? items.length : fit;
    items.forEach((item, i) => (item.hidden = i >= shown));
    more.hidden = fit === items.length;
    more.setAttribute("aria-expanded", String(this.opened));
    setText(more, this.opened ? "fewer" : `+${count(items.length - fit)}`);
    element.classList.toggle("all", this.opened);
  }
}
