/** Charts in groups that scroll: of thousands only those in view exist, and they are made a few in a frame, so that scrolling never waits. */

import { el, setText } from "../../lib/dom.js";
import { count } from "../../lib/format.js";
import { between, layout } from "./layout.js";
import { movable } from "./moving.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("../chart.js").Chart} Chart */
/** @typedef {import("./layout.js").Group} Group */
/** @typedef {import("./layout.js").Item} Item */

/**
 * @typedef {Object} Board
 * @property {(tag: Tag, pinned: boolean) => Chart} make
 * @property {(chart: Chart) => void} built a chart has its plot
 * @property {() => void} scrolled other charts are in view
 * @property {(group: string) => void} fold
 * @property {(group: Group, key: string, before: string | null) => void} moved
 */

const FRAME_MS = 8; // of a frame, at most about so long for new plots
const AHEAD = 0.4; // screens below and above that are made, too

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

  /** The charts in view, from top to bottom. @returns {Chart[]} */
  get charts() {
    return [...this.cells.values()].sort((a, b) => a.item.y - b.item.y || a.item.x - b.item.x).flatMap(({ chart }) => chart ?? []);
  }

  #frame = 0;

  #later() {
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
    for (const item of items) {
      const known = this.cells.get(item.key);
      const cell = known ?? { item, ...this.#make(item) };
      if (!known) {
        this.cells.set(item.key, cell);
        this.field.append(cell.element);
        changed = true;
      } else if (!cell.chart) this.#fill(cell.element, item);
      cell.item = item;
      const { style } = cell.element;
      style.transform = `translate(${item.x + 16}px, ${item.y}px)`;
      style.width = `${item.width}px`;
      style.height = `${item.height}px`;
      if (cell.chart?.built) cell.chart.fit(item.width, item.height);
    }
    if (changed) this.board.scrolled();
    this.#build();
  }

  #building = 0;

  /** Plots for the charts that have none yet, as many as a frame has time for. */
  #build() {
    this.#building ||= requestAnimationFrame(() => {
      this.#building = 0;
      const begun_ms = performance.now();
      const waiting = [...this.cells.values()].filter(({ chart }) => chart && !chart.built).sort((a, b) => a.item.y - b.item.y || a.item.x - b.item.x);
      for (const { chart, item } of waiting) {
        if (!chart) continue;
        chart.fit(item.width, item.height);
        this.board.built(chart);
        if (performance.now() - begun_ms > FRAME_MS) break;
      }
      if (waiting.some(({ chart }) => !chart?.built)) this.#build();
    });
  }

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
    setText(number, group.tags.length ? count(group.tags.length) : "");
    return undefined;
  }

  /** Bring a chart into view. @param {string} key of its tag */
  reveal(key) {
    const item = this.items.find(({ tag }) => tag?.key === key);
    if (item) this.element.scrollTop = item.y - 8;
  }
}
