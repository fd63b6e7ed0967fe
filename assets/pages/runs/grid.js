/** AG Grid's rows, focus and ticks. Its columns are made in Python (`dashboard/pages/runs.py`), its cells in `cells.js`. */

import { Sparks } from "./sparks.js";

/** @typedef {import("../../types/api").Answer<"table">} Table */
/** @typedef {Table["rows"][number]} TableRow */

const ID = "runs-grid";
const NAME = "name";
const WIDTHS = "runs.widths"; // key of localStorage
const PHONE_PX = 640;
const PHONE_NAME_PX = 148;
const TOUCH_PX = 44;

/**
 * @typedef {Object} Does
 * @property {(start: number, end: number, sort: {colId: string, sort: string} | undefined) => Promise<Table>} rows
 * @property {(row: TableRow) => void} open
 * @property {(run: string) => void} focus
 * @property {(run: string) => void} tick
 * @property {(group: string) => void} unfold
 * @property {() => string[]} ticked
 * @property {(keys: string[]) => void} moved columns
 * @property {() => {sort: string, desc: boolean}} order
 */

export class Grid {
  static BLOCK = 100;

  /** @param {Does} does */
  constructor(does) {
    this.does = does;
    this.sparks = new Sparks();
    /** @type {any} AG Grid's own interface, once it is there */
    this.api = null;
    this.filled = false; // rows are asked for
    /** @type {string | null} identity of the outlined row */
    this.outlined = null;
    this.left = 0; // where the outline was that went with its run
    /** @type {string | null} key of a column that is to come into sight */
    this.revealed = null;
    Object.assign((/** @type {any} */ (window).dashAgGridFunctions ??= {}), {
      isTicked: (/** @type {{data?: TableRow}} */ { data }) => Boolean(data && data.group === null && does.ticked().includes(data.run)),
      isGroup: (/** @type {{data?: TableRow}} */ { data }) => Boolean(data && data.group !== null),
    });
    this.ready = this.#appear().then((api) => this.#take(api));
  }

  /** Dash lays out the grid after our first picture. */
  async #appear() {
    while (!document.getElementById(ID) || !(/** @type {any} */ (window).dash_ag_grid?.getApiAsync)) await nextFrame();
    return /** @type {any} */ (window).dash_ag_grid.getApiAsync(ID);
  }

  /** @param {any} api */
  #take(api) {
    this.api = api;
    api.addEventListener("columnMoved", (/** @type {any} */ { finished, source }) => {
      if (finished && source === "uiColumnMoved") this.does.moved(this.#columns().filter((key) => key !== "tick"));
    });
    api.addEventListener("columnResized", (/** @type {any} */ { finished, source, column }) => {
      if (finished && column && source === "uiColumnResized") keepWidth(column.getColId(), column.getActualWidth());
    });
    api.addEventListener("newColumnsLoaded", () => this.#columnsCame());
    api.addEventListener("cellFocused", () => this.#outlined());
    api.addEventListener("cellClicked", (/** @type {any} */ event) => this.#clicked(event));
  }

  /** Python has made other columns. The first ones take the order that the address asks for, and only then are rows asked for. */
  #columnsCame() {
    if (!this.#columns().length) return;
    this.#widen();
    if (this.revealed !== null && this.#columns().includes(this.revealed)) {
      this.api.ensureColumnVisible(this.revealed);
      this.revealed = null;
    }
    if (this.filled) return;
    this.filled = true;
    if (innerWidth < PHONE_PX) this.api.setGridOption("rowHeight", TOUCH_PX);
    this.sort(this.does.order());
    this.api.setGridOption("datasource", {
      getRows: (/** @type {any} */ asked) =>
        this.does.rows(asked.startRow, asked.endRow, asked.sortModel[0]).then(
          ({ rows, total }) => {
            asked.successCallback(rows.map(identified), total);
            setTimeout(() => this.#follow()); // once they are in their places
          },
          () => asked.failCallback(),
        ),
    });
  }

  /** @returns {string[]} */
  #columns() {
    return this.api.getAllGridColumns().map((/** @type {any} */ column) => column.getColId());
  }

  /** A column that was just added comes into sight. @param {string} key */
  reveal(key) {
    this.revealed = key;
  }

  /** The widths that a user gave the columns. */
  #widen() {
    /** @type {Record<string, number>} */
    const widths = { ...(innerWidth < PHONE_PX ? { name: PHONE_NAME_PX } : {}), ...keptWidths() };
    const state = this.#columns().flatMap((colId) => (Object.hasOwn(widths, colId) ? [{ colId, width: widths[colId] }] : []));
    if (state.length) this.api.applyColumnState({ state });
  }

  #outlined() {
    const { focused } = this;
    if (focused) this.outlined = identified(focused).id;
  }

  /** Other rows stand where the outlined one was: the outline stays with its run, or goes with it. */
  #follow() {
    const { focused } = this;
    if (!focused || this.outlined === null || identified(focused).id === this.outlined) return;
    const { rowIndex, column } = this.api.getFocusedCell();
    const place = this.api.getRowNode(this.outlined)?.rowIndex ?? null;
    if (place !== null && document.activeElement?.closest(`#${ID}`)) this.api.setFocusedCell(place, column);
    else {
      this.left = rowIndex;
      this.api.clearFocusedCell();
    }
  }

  /** @param {any} event */
  #clicked({ data, column, event }) {
    if (!data || event?.target?.closest?.("a, input")) return;
    if (data.group !== null) this.does.unfold(data.group);
    else if (column.getColId() !== "tick") this.does.focus(data.run);
  }

  /** Other rows than before. Where only the first of them are known, the old ones stay until those are drawn over them. @param {number} total */
  renew(total) {
    if (!this.filled) return;
    if (Object.keys(this.api.getCacheBlockState()).length <= 1) this.api.refreshInfiniteCache();
    else this.api.purgeInfiniteCache();
    this.api.setRowCount?.(Math.max(1, total), true);
  }

  /** The same rows, read again. */
  refresh() {
    if (this.filled) this.api.refreshInfiniteCache();
  }

  tickedChanged() {
    this.api?.redrawRows();
  }

  /** By a column that is not shown, or that there is not, nothing is sorted. @param {{sort: string, desc: boolean}} question */
  sort({ sort, desc }) {
    if (this.api && this.#columns().includes(sort)) this.api.applyColumnState({ state: [{ colId: sort, sort: desc ? "desc" : "asc" }] });
  }

  // The keyboard

  /** @returns {TableRow | null} */
  get focused() {
    const at = this.api?.getFocusedCell();
    return at ? (this.api.getDisplayedRowAtIndex(at.rowIndex)?.data ?? null) : null;
  }

  /** @param {number} by rows */
  move(by) {
    if (!this.api) return;
    const at = this.api.getFocusedCell()?.rowIndex ?? (by > 0 ? this.left - 1 : this.left || 1);
    const next = Math.max(0, Math.min(this.api.getDisplayedRowCount() - 1, at + by));
    this.api.ensureIndexVisible(next);
    this.api.setFocusedCell(next, NAME);
  }

  toggle() {
    const { focused } = this;
    if (focused?.group === null) this.does.tick(focused.run);
  }

  about() {
    const { focused } = this;
    if (focused?.group === null) this.does.focus(focused.run);
  }

  openFocused() {
    const { focused } = this;
    if (!focused) return;
    if (focused.group === null) this.does.open(focused);
    else this.does.unfold(focused.group);
  }
}

/** A row with an identity: a run and a group may be called the same. @param {TableRow} row */
const identified = (row) => ({ ...row, id: row.group === null ? `run ${row.run}` : `group ${row.group}` });

/** @returns {Record<string, number>} in pixels, by the column's key */
function keptWidths() {
  try {
    const kept = Object.entries(JSON.parse(localStorage.getItem(WIDTHS) ?? "{}"));
    return Object.fromEntries(kept.filter(([, width]) => Number.isFinite(width)).map(([key, width]) => [key, Number(width)]));
  } catch {
    return {};
  }
}

/** @param {string} key @param {number} width */
function keepWidth(key, width) {
  try {
    localStorage.setItem(WIDTHS, JSON.stringify({ ...keptWidths(), [key]: width }));
  } catch {
    // a browser that keeps nothing: the width holds until the page is left
  }
}

const nextFrame = () => new Promise((done) => setTimeout(done, 16));
