/** Charts in groups that scroll: of thousands only those in view exist, and they are made a few in a frame, so that scrolling does not wait. */

import { el, setText } from "../../lib/dom.js";
import { count } from "../../lib/format.js";
import { between, layout } from "./layout.js";
import { movable } from "./moving.js";
import { Turns } from "./turns.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("../chart.js").Chart} Chart */
/** @typedef {import("./layout.js").Group} Group */
/** @typedef {import("./layout.js").Item} Item */

/**
 * @typedef {Object} Board
 * @property {(tag: Tag, pinned: boolean) => Chart} make
 * @property {(chart: Chart) => void} built a chart has its plot
 * @property {() => void} scrolled other charts are in view
 * @property {() => void} rested after scrolling
 * @property {(group: string) => void} fold
 * @property {(group: Group, key: string, before: string | null) => void} moved
 */

const SCROLLING_MS = 60; // after the last movement: until then there are frames without plots
const AHEAD = 0.3; // screens below and above that are made, too

export class Grid {
  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.field = el("div", { class: "curves-field" });
    this.element = el("div", { class: "curves-scroll", tabindex: "-1", onscroll: () => this.#later() }, this.field);
    /** @type {Map<string, {item: Item, element: HTMLElement, chart: Chart | null}>} */
    this.cells = new Map();
    /** @type {Item[]} */
    this.items = [];
    this.columns = 1;
    /** @type {[Group[], Set<string>, "s" | "m" | "l"] | null} */
    this.laid = null;
    new ResizeObserver(() => this.#resized()).observe(this.element);
  }

  /** @param {Group[]} groups @param {Set<string>} folded @param {"s" | "m" | "l"} size */
  lay(groups, folded, size) {
    this.laid = [groups, folded, size];
    const { items, height, columns } = layout(groups, folded, this.#width, size);
    Object.assign(this, { items, columns });
    this.field.style.height = `${height}px`;
    this.#mount();
  }

  get #width() {
    return Math.max(100, this.element.clientWidth - 32); // 16 px on either side
  }

  #seen = 0; // the width that was laid out last

  #resized() {
    if (!this.laid || !this.element.clientWidth) return;
    if (this.#width === this.#seen) return this.#mount();
    this.#seen = this.#width;
    return this.lay(...this.laid);
  }

  /** Of a chart. */
  get cellWidth() {
    return this.items.find(({ kind }) => kind === "chart")?.width ?? 300;
  }

  /** The charts in view, from top to bottom. @returns {Chart[]} */
  get charts() {
    return [...this.cells.values()].sort((a, b) => a.item.y - b.item.y || a.item.x - b.item.x).flatMap(({ chart }) => chart ?? []);
  }

  /** Those that are seen, without those made ahead. @returns {Chart[]} */
  get seen() {
    const { scrollTop, clientHeight } = this.element;
    return [...this.cells.values()].flatMap(({ item, chart }) => (chart && item.y + item.height > scrollTop && item.y < scrollTop + clientHeight ? [chart] : []));
  }

  #frame = 0;

  #later() {
    this.#scrolled_ms = performance.now();
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#mount();
    });
  }

  /** Make and remove cells, as far as is seen. */
  #mount() {
    const { scrollTop, clientHeight } = this.element;
    const ahead = clientHeight * AHEAD;
    const items = between(this.items, scrollTop - ahead, scrollTop + clientHeight + ahead);
    const wanted = new Map(items.map((item) => [item.key, item]));
    let changed = false;
    for (const [key, cell] of this.cells) {
      if (wanted.has(key)) continue;
      cell.chart?.destroy();
      cell.element.remove();
      this.cells.delete(key);
      changed = true;
    }
    let before = /** @type {Element | null} */ (null); // elements stand in the order in which they are seen, for Tab
    for (const item of items) {
      const known = this.cells.get(item.key);
      const cell = known ?? { item, ...this.#make(item) };
      if (!known) {
        this.cells.set(item.key, cell);
        changed = true;
      } else if (!cell.chart) this.#fill(cell.element, item);
      cell.item = item;
      if (!known || cell.element.previousElementSibling !== before) before ? before.after(cell.element) : this.field.prepend(cell.element);
      before = cell.element;
      const { style } = cell.element;
      style.transform = `translate(${item.x + 16}px, ${item.y}px)`;
      style.width = `${item.width}px`;
      style.height = `${item.height}px`;
      if (cell.chart?.built) cell.chart.fit(item.width, item.height);
    }
    if (changed) this.board.scrolled();
    this.#fillIn();
  }

  #plots = new Turns((/** @type {string} */ key) => {
    const cell = this.cells.get(key);
    if (!cell?.chart || cell.chart.built) return; // it was scrolled away
    cell.chart.fit(cell.item.width, cell.item.height);
    this.board.built(cell.chart);
  });

  /** Plots for the charts that have none yet, once the user has stopped scrolling. */
  #fillIn() {
    clearTimeout(this.#resting);
    const wait_ms = SCROLLING_MS - (performance.now() - this.#scrolled_ms);
    if (wait_ms > 0) {
      this.#resting = setTimeout(() => this.#fillIn(), wait_ms);
      return;
    }
    this.board.rested();
    const waiting = [...this.cells.values()].filter(({ chart }) => chart && !chart.built);
    this.#plots.add(waiting.sort((a, b) => a.item.y - b.item.y || a.item.x - b.item.x).map(({ item }) => item.key));
  }

  #resting = 0;
  #scrolled_ms = -Infinity;

  /** @param {Item} item @returns {{element: HTMLElement, chart: Chart | null}} */
  #make(item) {
    const { group, tag } = item;
    if (item.kind === "chart" && tag) {
      const chart = this.board.make(tag, group.name === "pinned");
      movable(chart.element, chart.name, {
        keys: group.tags.map(({ key }) => key),
        key: tag.key,
        columns: () => this.columns,
        moved: (before) => this.board.moved(group, tag.key, before),
      });
      return { element: chart.element, chart };
    }
    const element = item.kind === "head" ? el("button", { class: "curves-head", type: "button", onclick: () => this.board.fold(group.name) }, el("i"), el("b"), el("span")) : el("p", { class: "curves-note" });
    this.#fill(element, item);
    return { element, chart: null };
  }

  /** @param {HTMLElement} element @param {Item} item */
  #fill(element, { kind, group }) {
    if (kind === "note") return setText(element, group.note);
    const open = !this.laid?.[1].has(group.name);
    element.setAttribute("aria-expanded", String(open));
    const [sign, title, number] = element.children;
    setText(sign, open ? "▾" : "▸");
    setText(title, group.title);
    const total = group.total ?? group.tags.length;
    setText(number, total ? count(total) : "");
    return undefined;
  }

  /** Bring a chart into view. @param {string} key of its tag */
  reveal(key) {
    const item = this.items.find(({ tag }) => tag?.key === key);
    if (item) this.element.scrollTop = item.y - 8;
  }
}
