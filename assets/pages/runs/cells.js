/** The cells of the grid, as React functions that AG Grid calls: text only, whatever a log or a user wrote. */

import { wordsOf } from "../../data/runs.js";
import { count, day, duration, figure, minute, nonFinite, sameDay, weekday, year } from "../../lib/format.js";
import { percent } from "../../lib/figures.js";
import { pathTo } from "../../lib/url.js";
import { visible, visibleName } from "../../lib/visible.js";
import { tintOf } from "./tints.js";

/** @typedef {import("./grid.js").TableRow} TableRow */
/** @typedef {{data: TableRow | undefined, kind: string, direction: string | null, judged: string | null, column: {getColId: () => string}}} CellProps */

const GIB = 2 ** 30;
const DAY_S = 86400;
/** @type {Record<string, string>} */
const SHAPES = { running: "●", stalled: "▲", finished: "✓", failed: "✕", killed: "✕", ended: "■", idle: "■", silent: "▲", hung: "✕" };

/** @param {import("./grid.js").Grid} grid */
export function registerCells(grid) {
  /** @type {Map<string, (data: TableRow, props: CellProps) => any>} */
  const special = new Map([
    ["tick", (data) => tick(grid, data)],
    ["name", (data) => name(grid, data)],
    ["state", (data) => state(data)],
    ["curve", (data) => curve(grid, data)],
    ["steps", (data) => steps(data)],
    ["best", (data, { kind, judged }) => best(data, kind, judged)],
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

/** @param {import("./grid.js").Grid} grid @param {TableRow} data */
function tick(grid, data) {
  const ticked = grid.does.ticked();
  const checked = ticked.includes(data.run);
  const style = checked ? { accentColor: `var(--${tintOf(data.run, ticked)})` } : {};
  const label = `Tick ${visibleName(data.name || data.run)}`;
  return h("input", { type: "checkbox", checked, style, "aria-label": label, onChange: () => grid.does.tick(data.run) });
}

/** @param {import("./grid.js").Grid} grid @param {TableRow} data */
function name(grid, data) {
  if (data.group !== null) {
    const mark = data.opened ? "▾" : "▸";
    return h("span", { className: "group-name" }, `${mark} ${visibleName(data.group)} `, h("small", null, `${count(data.runs)} ${data.runs === 1 ? "run" : "runs"}`));
  }
  const shown = visibleName(data.name || data.run);
  const title = visible(data.name ? `${data.name}: ${data.run}` : data.run);
  const flags = [data.archived && "archived", data.forgotten && "forgotten"].filter(Boolean).join(", ");
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
  const word = data.doing ?? data.state;
  const shape = SHAPES[word] ?? SHAPES[data.state] ?? "■";
  return h("span", { className: `run-state ${tone}`, title: visible([meaning, data.reason].filter(Boolean).join(" ")) }, h("i", { "aria-hidden": true }, shape), word);
}

/** @param {import("./grid.js").Grid} grid @param {TableRow} data */
function curve(grid, data) {
  if (!data.cells.curve) return null;
  const ticked = grid.does.ticked();
  const tint = ticked.includes(data.run) ? tintOf(data.run, ticked) : data.state === "running" ? "accent" : "ink-3";
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

/** A value of another series than the column's says which. @param {TableRow} data @param {string} kind @param {string | null} judged */
function best({ cells, best_of }, kind, judged) {
  if (best_of === judged || cells.best === null) return plain(cells.best, kind);
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
  if (kind === "tags") return h("span", { className: "tags", title: visible(value.join(", ")) }, ...value.map((/** @type {string} */ tag) => h("span", { key: tag, className: "run-tag" }, visibleName(tag))));
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
