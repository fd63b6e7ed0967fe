/** Charts in groups that scroll: of thousands only those in view exist, and they are made a few in a frame, so that scrolling does not wait. */

import { el, onResize, setText } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { FrameQueue } from "./chart.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("./chart.js").Chart} Chart */

/**
 * @typedef {Object} Owner
 * @property {(tag: Tag, pinned: boolean) => Chart} make
 * @property {(chart: Chart) => void} built a chart has its plot
 * @property {() => void} scrolled other charts are in view
 * @property {() => void} rested after scrolling
 * @property {(group: string) => void} fold
 * @property {(group: Group, key: string, before: string | null) => void} moved
 */

const SCROLLING_MS = 60; // after the last movement: until then there are frames without plots
const AHEAD = 0.3; // screens below and above that are made, too

export class ChartScroller {
  /** @param {Owner} owner */
  constructor(owner) {
    this.owner = owner;
    this.field = el("div", { class: "curves-field" });
    this.element = el("div", { class: "curves-scroll", tabindex: "-1", onscroll: () => this.#later() }, this.field);
    /** @type {Map<string, {item: Item, element: HTMLElement, chart: Chart | null}>} */
    this.cells = new Map();
    /** @type {Item[]} */
    this.items = [];
    this.columns = 1;
    /** @type {[Group[], Set<string>, "s" | "m" | "l"] | null} */
    this.laid = null;
    onResize(this.element, () => this.#resized());
  }

  /** @param {Group[]} groups @param {Set<string>} folded @param {"s" | "m" | "l"} size */
  lay(groups, folded, size) {
    this.laid = [groups, folded, size];
    const { items, height, columns } = layout(groups, folded, { width: this.#width, height: this.element.clientHeight }, size);
    Object.assign(this, { items, columns });
    this.field.style.height = `${height}px`;
    this.#mount();
  }

  get #width() {
    return Math.max(100, this.element.clientWidth - 32); // 16 px on either side
  }

  #seen = ""; // the size that was laid out last

  #resized() {
    if (!this.laid || !this.element.clientWidth) return;
    const seen = `${this.#width} ${this.element.clientHeight}`;
    if (seen === this.#seen) return this.#mount();
    this.#seen = seen;
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
    if (changed) this.owner.scrolled();
    this.#fillIn();
  }

  #plots = new FrameQueue((/** @type {string} */ key) => {
    const cell = this.cells.get(key);
    if (!cell?.chart || cell.chart.built) return; // it was scrolled away
    cell.chart.fit(cell.item.width, cell.item.height);
    this.owner.built(cell.chart);
  });

  /** Plots for the charts that have none yet, once the user has stopped scrolling. */
  #fillIn() {
    clearTimeout(this.#resting);
    const wait_ms = SCROLLING_MS - (performance.now() - this.#scrolled_ms);
    if (wait_ms > 0) {
      this.#resting = setTimeout(() => this.#fillIn(), wait_ms);
      return;
    }
    this.owner.rested();
    const waiting = [...this.cells.values()].filter(({ chart }) => chart && !chart.built);
    this.#plots.add(waiting.sort((a, b) => a.item.y - b.item.y || a.item.x - b.item.x).map(({ item }) => item.key));
  }

  #resting = 0;
  #scrolled_ms = -Infinity;

  /** @param {Item} item @returns {{element: HTMLElement, chart: Chart | null}} */
  #make(item) {
    const { group, tag } = item;
    if (item.kind === "chart" && tag) {
      const chart = this.owner.make(tag, group.name === "pinned");
      movable(chart.element, chart.name, {
        keys: group.tags.map(({ key }) => key),
        key: tag.key,
        columns: () => this.columns,
        moved: (before) => this.owner.moved(group, tag.key, before),
      });
      return { element: chart.element, chart };
    }
    const element = item.kind === "head" ? el("button", { class: "curves-head", type: "button", onclick: () => this.owner.fold(group.name) }, el("i"), el("b"), el("span")) : el("p", { class: "curves-note" });
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

// Where the heads of groups and the cells of charts stand, of thousands as of ten (pure).

/** @typedef {{name: string, title: string, tags: Tag[], note: string, inside?: string, total?: number}} Group `note` stands in place of charts, or before them; `inside`: the group whose part it is; `total`: charts with those of its parts */
/** @typedef {{kind: "head" | "note" | "chart", key: string, group: Group, tag: Tag | null, x: number, y: number, width: number, height: number}} Item */

/** Least width and the height of a cell. */
const SIZES = { s: { width: 168, height: 150 }, m: { width: 320, height: 220 }, l: { width: 520, height: 320 } };
const GAP = 16;
const HEAD = 36;
const NOTE = 36;
const ROW_GAP = 8;
const INDENT = 16; // of a part's head
const FEW = 3; // charts that fill the screen

/**
 * Groups that have room beside each other share their rows, and a few charts fill the screen.
 * @param {Group[]} groups @param {Set<string>} folded names of groups @param {{width: number, height: number}} screen @param {keyof typeof SIZES} size
 * @returns {{items: Item[], height: number, columns: number}} items from top to bottom
 */
export function layout(groups, folded, screen, size) {
  const shown = groups.filter(({ inside }) => inside === undefined || !folded.has(inside));
  const { columns, width: cell, height: tall } = cellOf(shown.filter(({ name }) => !folded.has(name)).reduce((sum, { tags }) => sum + tags.length, 0), screen, SIZES[size]);
  const left = (/** @type {number} */ column) => column * (cell + GAP);
  /** @type {Item[]} */
  const items = [];
  let y = 0; // below what is placed
  /** Which small groups share: its top, the first free column, and what stands in it with its column and columns. @type {{y: number, next: number, held: [Item, number, number][]}} */
  let row = { y: 0, next: columns, held: [] };
  for (const group of shown) {
    const count = group.tags.length;
    const isSmall = count > 0 && count <= columns && !group.note && group.inside === undefined && !folded.has(group.name);
    if (!isSmall || row.next + count > columns) {
      spread(row, columns, screen.width);
      row = { y, next: isSmall ? 0 : columns, held: [] };
    }
    const [top, first] = isSmall ? [row.y, row.next] : [y, 0];
    const indent = group.inside === undefined ? left(first) : INDENT;
    const width = isSmall ? left(count) - GAP : screen.width - indent;
    const place = (/** @type {Item} */ item, /** @type {number} */ column, /** @type {number} */ wide) => {
      items.push(item);
      if (isSmall) row.held.push([item, column, wide]);
    };
    place({ kind: "head", key: `head ${group.name}`, group, tag: null, x: indent, y: top, width: Math.max(1, width), height: HEAD }, first, count);
    y = Math.max(y, top + HEAD);
    if (folded.has(group.name)) continue;
    if (group.note) {
      items.push({ kind: "note", key: `note ${group.name}`, group, tag: null, x: 0, y, width: screen.width, height: NOTE });
      y += NOTE;
    }
    const start = isSmall ? top + HEAD : y;
    group.tags.forEach((tag, i) => {
      const column = first + (i % columns);
      place({ kind: "chart", key: `chart ${group.name}\n${tag.key}`, group, tag, x: left(column), y: start + Math.floor(i / columns) * (tall + ROW_GAP), width: cell, height: tall }, column, 1);
    });
    y = Math.max(y, start + Math.ceil(count / columns) * (tall + ROW_GAP));
    if (isSmall) row.next += count;
  }
  spread(row, columns, screen.width);
  return { items: items.sort((a, b) => a.y - b.y || a.x - b.x), height: y, columns };
}

/** Fewer charts than there are columns share the whole width. @param {{next: number, held: [Item, number, number][]}} row @param {number} columns @param {number} width */
function spread({ next, held }, columns, width) {
  if (!held.length || next >= columns) return;
  const cell = (width - GAP * (next - 1)) / next;
  for (const [item, column, wide] of held) Object.assign(item, { x: column * (cell + GAP), width: Math.max(1, wide * (cell + GAP) - GAP) });
}

/** Of a chart, among so many. @param {number} count @param {{width: number, height: number}} screen @param {{width: number, height: number}} least */
function cellOf(count, screen, least) {
  const room = Math.max(1, Math.floor((screen.width + GAP) / (least.width + GAP)));
  const few = count > 0 && count <= Math.min(FEW, room);
  const columns = few ? count : room;
  return { columns, width: Math.max(1, (screen.width - GAP * (columns - 1)) / columns), height: few ? Math.max(least.height, screen.height - HEAD - ROW_GAP) : least.height };
}

/** The items that lie between two heights. @param {Item[]} items @param {number} top @param {number} bottom */
export function between(items, top, bottom) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].y + items[middle].height < top) low = middle + 1;
    else high = middle;
  }
  while (low > 0 && items[low - 1].y + items[low - 1].height >= top) low--; // cells of a row end together
  let end = low;
  while (end < items.length && items[end].y <= bottom) end++;
  return items.slice(low, end);
}

// Charts change places within their group: dragged by the name, or with Shift and an arrow key.

const DRAG_PX = 5; // less is a click, which opens the chart

/**
 * @param {HTMLElement} element of the chart @param {HTMLElement} handle
 * @param {{keys: string[], key: string, columns: () => number, moved: (before: string | null) => void}} place `keys`: of the group, as they stand
 */
export function movable(element, handle, { keys, key, columns, moved }) {
  element.dataset.key = key;
  let from = /** @type {{x: number, y: number} | null} */ (null);
  let dragging = false;
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return; // a finger scrolls
    from = { x: event.clientX, y: event.clientY };
    dragging = false;
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!from || !(dragging ||= Math.hypot(event.clientX - from.x, event.clientY - from.y) > DRAG_PX)) return;
    element.classList.add("moving");
  });
  handle.addEventListener("pointerup", (event) => {
    from = null;
    element.classList.remove("moving");
    if (!dragging) return;
    const other = /** @type {HTMLElement | null} */ (document.elementFromPoint(event.clientX, event.clientY)?.closest(".chart"));
    const target = other?.dataset.key;
    if (target !== undefined && target !== key && keys.includes(target)) moved(keys.indexOf(target) > keys.indexOf(key) ? (keys[keys.indexOf(target) + 1] ?? null) : target);
  });
  handle.addEventListener("pointercancel", () => (from = null));
  handle.addEventListener("click", (event) => {
    if (dragging) event.stopImmediatePropagation();
    dragging = false;
  }, true);
  handle.addEventListener("keydown", (event) => {
    const by = event.shiftKey ? { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key] : undefined;
    if (by === undefined) return;
    event.preventDefault();
    const at = Math.max(0, Math.min(keys.length - 1, keys.indexOf(key) + by));
    moved(by > 0 ? (keys[at + 1] ?? null) : keys[at]);
  });
}
