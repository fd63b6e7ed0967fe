/** AG Grid's rows, focus and ticks, and its cells. Its columns are made in Python (`dashboard/pages/runs.py`). */

import { runColours } from "../../data/colours.js";
import { wordsOf } from "../../data/runs.js";
import { get } from "../../lib/api.js";
import { emptyContext, visible, visibleName } from "../../lib/dom.js";
import { percent } from "../../lib/figures.js";
import { count, day, duration, figure, minute, nonFinite, sameDay, weekday, year } from "../../lib/format.js";
import { onTheme, token } from "../../lib/theme.js";
import { pathTo } from "../../lib/url.js";

/** @typedef {import("../../types/api").Answer<"table">} Table */
/** @typedef {Table["rows"][number]} TableRow */

const ID = "runs-grid";
const NAME = "name";
const WIDTHS = "runs.widths"; // key of localStorage
const PHONE_PX = 640;
/** On a phone the state is its shape, so that the first value has room. @type {Record<string, number>} */
const PHONE_WIDTHS = { name: 132, state: 36, curve: 96, best: 86, loss: 86 };
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
 * @property {() => boolean} isAway another page is shown
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
    this.ready = this.#appear().then((api) => this.#setApi(api));
  }

  /** Dash lays out the grid after our first picture. */
  async #appear() {
    while (!document.getElementById(ID) || !(/** @type {any} */ (window).dash_ag_grid?.getApiAsync)) {
      if (this.does.isAway()) return new Promise(() => {});
      await nextFrame();
    }
    return /** @type {any} */ (window).dash_ag_grid.getApiAsync(ID);
  }

  /** @param {any} api */
  #setApi(api) {
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
    this.#columnsCame(); // before
  }

  /** Python has made other columns. The first ones take the order that the address asks for, and only then are rows asked for. */
  #columnsCame() {
    if (!this.#columns().length) return;
    this.#widen();
    document.getElementById(ID)?.closest(".runs-page")?.classList.add("with-columns"); // seen from now on, where they stay
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

  /** @returns {string[]} none of a grid that has left the page, whose last events may still be on their way */
  #columns() {
    if (this.api.isDestroyed()) return [];
    return this.api.getAllGridColumns().map((/** @type {any} */ column) => column.getColId());
  }

  /** A column that was just added comes into sight. @param {string} key */
  reveal(key) {
    this.revealed = key;
  }

  /** The widths that a user gave the columns. */
  #widen() {
    /** @type {Record<string, number>} */
    const widths = { ...(innerWidth < PHONE_PX ? PHONE_WIDTHS : {}), ...keptWidths() };
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
  reload() {
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

  /** The name that users gave a run, as far as its row was read. @param {string} run */
  titleOf(run) {
    const node = this.api?.getRowNode(`run ${run}`);
    return node?.data?.name || run;
  }

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

// The cells of the grid, as React functions that AG Grid calls: text only, whatever a log or a user wrote.

/** @typedef {{data: TableRow | undefined, kind: string, direction: string | null, judged: string | null, column: {getColId: () => string}}} CellProps */

const GIB = 2 ** 30;
const DAY_S = 86400;
/** @type {Record<string, string>} */
const SHAPES = { running: "●", stalled: "▲", finished: "✓", failed: "✕", killed: "✕", ended: "■", idle: "■", silent: "▲", hung: "✕" };

/** As the chips above the table say it; the tooltip has more. @type {Record<string, string>} */
const WORDS = { failed: "crashed" };

/** @param {Grid} grid */
export function registerCells(grid) {
  /** @type {Map<string, (data: TableRow, props: CellProps) => any>} */
  const special = new Map([
    ["tick", (data) => tick(grid, data)],
    ["name", (data) => name(grid, data)],
    ["state", (data) => state(data)],
    ["curve", (data) => curve(grid, data)],
    ["steps", (data) => steps(data)],
    ["best", (data, { kind }) => best(data, kind)],
  ]);
  const components = ((/** @type {any} */ (window)).dashAgGridComponentFunctions ??= {});
  components.RunCell = (/** @type {CellProps} */ props) => {
    const { data, kind, column } = props;
    const key = column.getColId();
    if (!data) return key === "name" ? h("span", { className: "dim" }, "…") : null;
    if (data.group !== null && key !== "name") return groupCell(data.cells[key], props);
    const made = special.get(key) ?? special.get(kind);
    return made ? made(data, props) : plain(data.cells[key], kind);
  };
}

/** @param {string} tag @param {Record<string, any> | null} properties @param {...any} children */
const h = (tag, properties, ...children) => (/** @type {any} */ (window)).React.createElement(tag, properties, ...children);

/** @param {Grid} grid @param {TableRow} data */
function tick(grid, data) {
  const ticked = grid.does.ticked();
  const checked = ticked.includes(data.run);
  const style = checked ? { accentColor: `var(--${runColours.of(data.run)})` } : {};
  const label = `Tick ${visibleName(data.name || data.run)}`;
  return h("input", { type: "checkbox", checked, style, "aria-label": label, onChange: () => grid.does.tick(data.run) });
}

/** @param {Grid} grid @param {TableRow} data */
function name(grid, data) {
  if (data.group !== null) {
    const mark = data.opened ? "▾" : "▸";
    return h("span", { className: "group-name" }, `${mark} ${visibleName(data.group)} `, h("small", null, `${count(data.runs)} ${data.runs === 1 ? "run" : "runs"}`));
  }
  const shown = visibleName(data.name || data.run);
  const title = visible(data.name ? `${data.name}: ${data.run}` : data.run);
  const flags = [data.archived && "archived", data.deleted && "deleted"].filter(Boolean).join(", ");
  const open = (/** @type {MouseEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    grid.does.open(data);
  };
  const href = pathTo(`/?${new URLSearchParams({ run: data.run })}`);
  return h("span", { className: "run-cell" }, h("a", { href, title, onClick: open, tabIndex: -1 }, h("bdi", null, shown)), flags && h("small", null, flags));
}

/** @param {TableRow} data */
function state(data) {
  const [, tone, meaning] = wordsOf(data);
  const word = data.doing ?? WORDS[data.state] ?? data.state;
  const shape = SHAPES[word] ?? SHAPES[data.state] ?? "■";
  return h("span", { className: `run-state ${tone}`, title: visible([meaning, data.state === "killed" && "Killed.", data.reason].filter(Boolean).join(" ")) }, h("i", { "aria-hidden": true }, shape), h("span", { className: "state-word" }, word));
}

/** @param {Grid} grid @param {TableRow} data */
function curve(grid, data) {
  if (!data.cells.curve) return null;
  const ticked = grid.does.ticked();
  const tint = ticked.includes(data.run) ? runColours.of(data.run) : data.state === "running" ? "accent" : "ink-3";
  const bad = data.state === "failed" || data.state === "killed";
  const share = typeof data.progress === "number" ? data.progress : null;
  const wish = { run: data.run, stamp: `${data.cells.steps ?? ""} ${data.cells.loss ?? ""}`, share, tint, bad };
  const place = (/** @type {HTMLCanvasElement | null} */ canvas) => {
    if (canvas) grid.sparks.place(canvas, wish);
  };
  return h("canvas", { className: "spark", ref: place, "aria-hidden": true, title: visible(String(data.cells.curve)) });
}

/** @param {TableRow} data */
function steps(data) {
  const share = typeof data.progress === "number" ? data.progress : null;
  const width = `${Math.round(100 * (share ?? 0))}%`;
  const bar = share !== null && h("span", { className: `progress ${data.state}`, title: `${percent(share)} of the configured steps` }, h("i", { style: { width } }));
  return h("span", { className: "steps" }, plain(data.cells.steps, "count"), bar);
}

/** A value of another metric than the column's says which. @param {TableRow} data @param {string} kind */
function best({ cells, best_of, best_differs }, kind) {
  if (cells.best === null) return plain(cells.best, kind);
  const title = visible(`The best ${best_of}`);
  if (!best_differs) return h("span", { title }, text(cells.best, kind));
  return h("span", { className: "best-of-other", title: visible(`${text(cells.best, kind)}, the best ${best_of}`) }, h("small", null, visible(best_of)), text(cells.best, kind));
}

/** Best and mean of a group, or what all its runs have. @param {any} cell @param {CellProps} props */
function groupCell(cell, { kind, direction, judged }) {
  if (!cell || kind === "curve" || kind === "tick") return null;
  if (cell.mean === null) return h("span", { className: "dim" }, visible(cell.same ?? ""));
  if (kind === "time") return null;
  const words = [`best ${text(cell.best, kind)}`, `mean ${text(cell.mean, kind)}`, `from ${text(cell.least, kind)} to ${text(cell.most, kind)}`];
  const other = cell.of && cell.of !== judged ? cell.of : "";
  const title = [...(cell.of ? [visible(cell.of)] : []), ...words.slice(cell.best === null ? 1 : 0)].join(", ");
  const shown = (direction || other) && cell.best !== null ? h("b", null, text(cell.best, kind)) : h("span", { className: "dim" }, `∅ ${text(cell.mean, kind)}`);
  return h("span", { title, className: other ? "best-of-other" : "" }, other && h("small", null, visible(other)), shown);
}

/** @param {any} value @param {string} kind */
function plain(value, kind) {
  if (value === null || value === undefined) return h("span", { className: "dim" }, "");
  if (kind === "tags") return h("span", { className: "tags", title: visible(value.join(", ")) }, h("span", { className: "run-tag" }, visibleName(value[0])), value.length > 1 && h("small", { className: "dim" }, `+${value.length - 1}`));
  const word = text(value, kind);
  const title = typeof value === "string" ? (word.length > 12 ? word : null) : typeof value === "number" && kind !== "time" && word.includes("e") ? String(value) : null;
  return h("span", title !== null ? { title } : word === "NaN" ? { className: "bad" } : null, word);
}

/** @param {any} value @param {string} kind @returns {string} */
function text(value, kind) {
  if (value === null || value === undefined) return "";
  if (["NaN", "Infinity", "-Infinity"].includes(value) && kind !== "text") return nonFinite(Number(value));
  if (typeof value !== "number") return visible(String(value));
  if (kind === "count") return count(value);
  if (kind === "duration") return duration(value);
  if (kind === "bytes") return `${figure(value / GIB)} GiB`;
  if (kind === "share") return percent(value);
  if (kind === "time") return when(value, Date.now() / 1000);
  return kind === "text" ? configured(value) : figure(value);
}

/** A number of a configuration, as users write it: `0.0003 -> "3e-4"`, `4096 -> "4096"`, `1e308 -> "1e308"`. @param {number} value */
const configured = (value) => (value !== 0 && Math.abs(value) < 1e-2 ? value.toExponential() : String(value)).replace("e+", "e").replaceAll("-", "−");

/** `today 11:58`, `Sat 23:56` of the last days, `22 Nov`, `22 Nov 2024` @param {number} time_s @param {number} now_s */
export function when(time_s, now_s) {
  if (sameDay(time_s, now_s)) return `today ${minute(time_s)}`;
  if (time_s < now_s && time_s > now_s - 6 * DAY_S) return `${weekday(time_s)} ${minute(time_s)}`;
  return year(time_s) === year(now_s) ? day(time_s) : `${day(time_s)} ${year(time_s)}`;
}

// Sparklines: the losses of the rows in view, read in one question and drawn on small canvases, each as long as its run got.

/** @typedef {import("../../types/api").Answer<"sparklines">["sparks"][number]} Spark */
/** @typedef {{run: string, stamp: string, share: number | null, tint: string, bad: boolean}} Wish */

const WIDTH = 88;
const HEIGHT = 18;
const WAIT_MS = 30; // for the other rows that scroll into view
const MOST = 100; // of a question
const KEPT = 2000;

class Sparks {
  constructor() {
    /** @type {Map<HTMLCanvasElement, Wish>} */
    this.shown = new Map();
    /** @type {Map<string, {stamp: string, spark: Spark | null}>} */
    this.known = new Map();
    /** @type {Set<string>} */
    this.asking = new Set();
    onTheme(() => requestAnimationFrame(() => this.#drawAll()));
  }

  /** Draw on this canvas, now or once the run's loss is there; null takes it back. @param {HTMLCanvasElement} canvas @param {Wish | null} wish */
  place(canvas, wish) {
    if (wish === null) {
      this.shown.delete(canvas);
      return;
    }
    this.shown.set(canvas, wish);
    draw(canvas, wish, this.known.get(wish.run)?.spark ?? null);
    if (this.known.get(wish.run)?.stamp !== wish.stamp) this.#timer ??= setTimeout(() => this.#ask(), WAIT_MS);
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  async #ask() {
    this.#timer = undefined;
    const stamps = new Map([...this.shown.values()].map(({ run, stamp }) => [run, stamp]));
    const runs = [...stamps.keys()].filter((run) => this.known.get(run)?.stamp !== stamps.get(run) && !this.asking.has(run)).slice(0, MOST);
    if (!runs.length) return;
    for (const run of runs) this.asking.add(run);
    try {
      const { sparks } = await get("sparklines", { run: runs });
      const found = new Map(sparks.map((spark) => [spark.run, spark]));
      if (this.known.size > KEPT) this.known.clear();
      for (const run of runs) this.known.set(run, { stamp: stamps.get(run) ?? "", spark: found.get(run) ?? null });
      this.#drawAll();
    } catch {
      // the rows say that there is no connection; what comes into view next asks again
    } finally {
      for (const run of runs) this.asking.delete(run);
    }
  }

  #drawAll() {
    for (const [canvas, wish] of this.shown) draw(canvas, wish, this.known.get(wish.run)?.spark ?? null);
  }
}

/** @param {HTMLCanvasElement} canvas @param {Wish} wish @param {Spark | null} spark */
function draw(canvas, { share, tint, bad }, spark) {
  const context = emptyContext(canvas, WIDTH, HEIGHT);
  if (!spark?.t.length) return;
  const points = placed(spark, share ?? 1);
  if (!points.length) return;
  const [x, y] = points[points.length - 1];
  context.strokeStyle = token(tint);
  context.lineWidth = tint === "ink-3" ? 1 : 1.5;
  context.beginPath();
  for (const [at, height] of points) context.lineTo(at, height);
  context.stroke();
  context.fillStyle = token(bad || spark.non_finite ? "bad" : tint);
  context.beginPath();
  context.arc(x, y, 1.75, 0, 2 * Math.PI);
  context.fill();
  if (!spark.non_finite) return;
  context.font = `600 9px ${token("font-ui")}`;
  context.textAlign = "right";
  context.fillText("NaN", WIDTH, 8);
}

/** Its finite points in pixels. @param {Spark} spark @param {number} share of the width @returns {[number, number][]} */
function placed({ t, mean }, share) {
  const known = /** @type {[number, number][]} */ (t.map((at, i) => [at, mean[i]]).filter(([, value]) => Number.isFinite(value)));
  const values = known.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [known[0]?.[0] ?? 0, known[known.length - 1]?.[0] ?? 1];
  const width = Math.max(4, share * (WIDTH - 6));
  const across = (/** @type {number} */ at) => 2 + (last > first ? ((at - first) / (last - first)) * width : 0);
  const up = (/** @type {number} */ value) => HEIGHT - 3 - (high > low ? ((value - low) / (high - low)) * (HEIGHT - 6) : (HEIGHT - 6) / 2);
  return known.map(([at, value]) => [across(at), up(value)]);
}
