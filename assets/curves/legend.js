/** The line above the charts: whose curves they are, with their colours and labels, the range, and what is not drawn. */

import { COLOURS, Colours, GREY, runColours } from "../data/colours.js";
import { dialogOf, el, hang, onResize, setText, visibleName } from "../lib/dom.js";
import { count, counted } from "../lib/format.js";
import { labelOf } from "./curve.js";
import { lineKey } from "./tip.js";

// Whose curves they are: a click shows or hides a name's curves, a double click shows only them, the pointer or the focus lets them stand out.

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

class Legend {
  /** @param {Does} does */
  constructor(does) {
    this.does = does;
    /** @type {HTMLElement[]} */
    this.items = [];
    this.opened = false;
    this.more = el("button", { class: "link strip-more", type: "button", hidden: true, onclick: () => this.#open() });
    this.element = el("div", { class: "strip-names", role: "group", "aria-label": "Whose curves they are", onpointerleave: () => does.light("") }, this.more);
    onResize(this.element, () => this.#fit());
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
    const grey = colour === GREY ? `; grey, since the ${COLOURS} colours are taken` : "";
    const lit = () => does.light(name);
    const act = (/** @type {MouseEvent} */ event) => (event.altKey ? does.only(name) : does.turn(name));
    const item = el(
      "button",
      { class: "strip-name", type: "button", title: `${label}: a click hides or shows it; double click, Alt and a click or Alt Enter: only it${grey}`, onclick: act, ondblclick: () => does.only(name), onpointerenter: lit, onfocus: lit, onblur: () => does.light("") },
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

// The runs or groups whose curves the charts draw: their colours and labels, which are hidden, and which stands out.

/** @typedef {import("./curve.js").Curve} Curve */

export class Names {
  /** @param {string[]} off names that the address hides @param {(all: boolean) => void} changed what is shown, or only what stands out */
  constructor(off, changed) {
    this.changed = changed;
    this.off = new Set(off);
    this.lit = "";
    /** @type {string[]} */
    this.runs = [];
    this.group = ""; // a key of the configuration
    /** @type {Map<string, string>} labels, by name, as far as groups were read */
    this.groups = new Map();
    /** @type {Map<string, string>} names that users gave runs */
    this.titles = new Map();
    this.ofGroups = new Colours();
  }

  /** @param {string[]} runs @param {string} group */
  set(runs, group) {
    if (group === this.group && JSON.stringify(runs) === JSON.stringify(this.runs)) return;
    if (this.runs.length) this.off = new Set(group || this.group ? [] : [...this.off].filter((name) => runs.includes(name)));
    if (group !== this.group) this.ofGroups = new Colours();
    Object.assign(this, { runs, group, groups: new Map(), lit: "" });
    runColours.choose(runs);
  }

  /** Which groups there are is known once they were read; their colours depend on that. @param {Curve[]} curves @returns {boolean} whether some are new */
  addGroups(curves) {
    const before = this.groups.size;
    for (const { name, colour, label, row } of this.group ? curves : []) if (!colour && row.group && !this.groups.has(name)) this.groups.set(name, label);
    if (this.groups.size === before) return false;
    this.ofGroups.choose(this.groups.keys());
    return true;
  }

  /** @returns {string[]} */
  get all() {
    return this.group ? [...this.groups.keys()] : this.runs;
  }

  /** @returns {Entry[]} */
  get entries() {
    return this.all.map((name) => ({ name, label: this.groups.get(name) ?? this.titles.get(name) ?? visibleName(name), colour: this.#of(name) }));
  }

  /** @param {import("../types/api").Run[]} rows of the runs */
  entitle(rows) {
    this.titles = new Map(rows.flatMap(({ run, about }) => (about?.name ? [[run, visibleName(about.name)]] : [])));
  }

  /** @param {Curve} curve */
  labelOf = ({ colour, label, row }) => (colour || !row.run ? label : labelOf(row, this.titles.get(row.run)));

  /** @param {Curve} curve */
  colourOf = ({ colour, name }) => colour ?? this.#of(name);

  /** A baseline is a run beside the groups. @param {string} name */
  #of(name) {
    return this.groups.has(name) ? this.ofGroups.of(name) : runColours.of(name);
  }

  /** The machine's curves are of no run: they stay. @param {Curve[]} curves */
  shown(curves) {
    return this.off.size ? curves.filter(({ colour, name }) => colour || !this.off.has(name)) : curves;
  }

  /** Show it or hide it. @param {string} name */
  turn(name) {
    this.#hide(this.off.has(name) ? [...this.off].filter((other) => other !== name) : [...this.off, name]);
  }

  /** Only this one, or all where it is alone already. @param {string} name */
  only(name) {
    const others = this.all.filter((other) => other !== name);
    this.#hide(!this.off.has(name) && others.every((other) => this.off.has(other)) ? [] : others);
  }

  /** @param {string[]} names */
  #hide(names) {
    this.off = new Set(names);
    this.changed(true);
  }

  /** @param {string} name of those that stand out, "" for none */
  light(name) {
    if (name === this.lit) return;
    this.lit = name;
    this.changed(false);
  }
}

// The line above the charts: whose curves they are, the range, and what is not drawn.

/** @typedef {{run: string, series: string, reason: string, absent: boolean}} LeftOut `absent`: the run has no such series */
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

const MAX_LEFT = 500;

export class Strip {
  /** @param {{whole: () => void, happened: (event: MouseEvent) => void, restore: (keys: string[]) => void} & Does} does */
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
    const shown = all.slice(0, MAX_LEFT);
    const more = all.length - shown.length;
    this.leftBody.replaceChildren(
      el("h2", {}, absent ? "Runs without some of the series in view" : "Not drawn in the charts in view"),
      el("table", {}, ...shown.map(({ run, series, reason }) => el("tr", {}, el("td", {}, run), el("td", {}, series), el("td", { class: "dim" }, reason)))),
      more > 0 ? el("p", { class: "dim" }, `${count(more)} more`) : "",
    );
    this.leftDialog.showModal();
  }
}
