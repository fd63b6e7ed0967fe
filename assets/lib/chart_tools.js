/** What every chart can do, on each page in the same way: fill the window, a log y axis, CSV and PNG; by buttons, in a menu, and by keys. */

import { el, hang, setClass, setText, visible } from "./dom.js";
import { token } from "./theme.js";

/** @typedef {{columns: string[], rows: unknown[][]}} Table */
/**
 * @typedef {Object} Picture a chart on paper; all places are in CSS pixels of the canvas
 * @property {HTMLCanvasElement | null} canvas null: the legend says it all
 * @property {{at: number, word: string}[]} [xTicks] where the canvas has no words below it
 * @property {{label: string, colour: string}[]} legend colours are tokens
 */
/**
 * @typedef {Object} Tooled what a chart tells its tools
 * @property {HTMLElement} element
 * @property {HTMLElement} [focus] what the Tab key reaches; else the element
 * @property {() => string} title
 * @property {() => Table | null} table null where there is nothing yet
 * @property {() => string | null} [logged] address of a CSV of what was logged, in place of what is drawn; null where only that is known
 * @property {() => Picture | Promise<Blob | null> | null} picture
 * @property {{on: () => boolean, turn: () => void} | null} [logY]
 * @property {() => HTMLElement | null} [stage] what fills the window with it: the lanes' axis is theirs
 * @property {() => void} [open] the page has a larger view of its own
 * @property {() => [string, () => void][]} [more] of its menu
 */

const TOOLED = "data-tooled";
/** @type {WeakMap<Element, Tooled>} */
const charts = new WeakMap();

/** The buttons of a chart; where there is no room for them, or no pointer that hovers, only the menu. @param {Tooled} chart @param {{menuOnly?: boolean}} [how] @returns {HTMLElement} */
export function chartTools(chart, { menuOnly = false } = {}) {
  charts.set(chart.element, chart);
  chart.element.setAttribute(TOOLED, "");
  const focus = chart.focus ?? chart.element;
  if (!focus.hasAttribute("tabindex")) focus.tabIndex = 0;
  const tool = (/** @type {string} */ word, /** @type {string} */ title, /** @type {string} */ key, /** @type {() => void} */ act) => {
    const button = el("button", { class: "chart-tool", type: "button", tabindex: "-1", "aria-label": `${title}: ${chart.title()}`, onclick: act }, word);
    button.addEventListener("pointerenter", () => (button.title = key && !isPageKey(key) ? `${title} (${key})` : title));
    return button;
  };
  const dots = tool("⋯", "Chart tools", "", () => openMenu(chart, dots));
  dots.removeAttribute("tabindex");
  dots.classList.add("dots");
  if (menuOnly) return el("span", { class: "chart-tools" }, dots);
  const log = chart.logY && tool("log", "Log y, or linear", "y", () => chart.logY?.turn());
  return el("span", { class: "chart-tools" }, log ?? null, tool("CSV", "CSV", "e", () => saveCsv(chart)), tool("PNG", "PNG", "p", () => savePng(chart)), tool("⤢", "Fill the window", "Enter", () => enlarge(chart)), dots);
}

/** Where what lies above the page belongs: the document's body, or a component's own root in an app elsewhere, where our styles are. @param {Node} node @returns {Node} */
function homeOf(node) {
  const root = node.getRootNode();
  return root instanceof ShadowRoot ? (root.querySelector(".deepseek") ?? root) : document.body;
}

// The menu: one for all charts.

/** @type {HTMLElement} made with the first chart that needs it */
let menu;
/** @type {Tooled} that it was opened for last */
let menuChart;

/** @param {Tooled} chart @param {HTMLElement} button */
function openMenu(chart, button) {
  menu ??= el("div", { class: "curves-menu chart-menu", popover: "auto", "aria-label": "Chart" });
  menuChart = chart;
  homeOf(button).appendChild(menu);
  const item = (/** @type {string} */ label, /** @type {string} */ key, /** @type {() => void} */ act) =>
    el("button", { type: "button", onclick: () => (menu.hidePopover(), act()) }, el("span", {}, label), key && el("kbd", {}, key));
  const { logY } = chart;
  menu.replaceChildren(
    item(full?.chart === chart ? "Leave full window" : "Fill the window", "Enter", () => enlarge(chart)),
    ...(logY ? [item(logY.on() ? "Linear y" : "Log y", "y", () => logY.turn())] : []),
    item("Save as CSV", "e", () => saveCsv(chart)),
    item("Save as PNG", "p", () => savePng(chart)),
    ...(chart.more?.() ?? []).map(([label, act]) => item(label, "", act)),
  );
  hang(menu, button);
  /** @type {HTMLElement | null} */ (menu.firstElementChild)?.focus();
}

// Keys are for one chart: the one whose menu is open, else the one that fills the window, else the one that the Tab key reached, all before the page's own.
// Else, where the page has no such key, for the one that the pointer is on, or that was clicked.

/** @type {Record<string, (chart: Tooled) => void>} */
const KEYS = { Enter: enlarge, y: (chart) => chart.logY?.turn(), e: saveCsv, p: savePng };

/** Whether the shown page has a use of its own for a key. @type {(key: string) => boolean} */
let isPageKey = () => false;

/** For the list of keys. @returns {[string, string][]} */
export function chartKeys() {
  const taken = Object.keys(KEYS).filter(isPageKey).join(", ");
  /** @type {[string, string]} */
  const usual = [Object.keys(KEYS).join(", "), "fill the window, log y, CSV, PNG: of the chart that you point at, that has the focus (Tab), or whose ⋯ menu is open"];
  return taken ? [usual, [`${taken} while you point`, "see below; a chart with the focus or an open menu comes first"]] : [usual];
}

let listens = false;
let clicked = false; // the focus came by a pointer
/** @type {Element | null} that the pointer is on */
let pointed = null;

/** Hear the keys of this document's charts. @param {{isPageKey?: (key: string) => boolean, runs?: () => string[]}} [page] what is shown; `runs` name the files */
export function listenToCharts(page = {}) {
  isPageKey = page.isPageKey ?? isPageKey;
  runsShown = page.runs ?? runsShown;
  if (listens) return;
  listens = true;
  document.addEventListener("pointerdown", () => (clicked = true), true);
  document.addEventListener("pointerover", (event) => (pointed = event.pointerType === "touch" ? null : /** @type {Element} */ (event.composedPath()[0])), true);
  document.documentElement.addEventListener("pointerleave", () => (pointed = null));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") clicked = false;
    if (event.key === "Escape" && full && !menu?.matches(":popover-open") && isFree(event)) claim(event, leaveFull);
    else run(event, (target) => (menu?.matches(":popover-open") ? menuChart : (full?.chart ?? (clicked ? undefined : chartAt(target)))));
  }, true);
  addEventListener("keydown", (event) => run(event, (target) => chartAt(pointed) ?? chartAt(target))); // after those of the page
}

/** @param {KeyboardEvent} event @param {(target: Element) => Tooled | undefined} find the chart that it is for */
function run(event, find) {
  const target = event.composedPath()[0]; // in a shadow root, too
  const act = KEYS[event.key];
  if (!act || !(target instanceof Element) || !isFree(event) || target.closest(TYPING) || (event.key === "Enter" && target.closest(ENTERED))) return;
  const chart = find(target);
  if (!chart) return;
  if (menu?.matches(":popover-open")) menu.hidePopover();
  claim(event, () => act(chart));
}

const TYPING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable], .dash-dropdown, dialog[open]";
const ENTERED = "button, a, summary, input, [role=application], [role=gridcell], [role=option]"; // Enter is theirs

/** @param {KeyboardEvent} event */
const isFree = ({ ctrlKey, metaKey, altKey, defaultPrevented }) => !(ctrlKey || metaKey || altKey || defaultPrevented);

/** @param {KeyboardEvent} event @param {() => void} act */
function claim(event, act) {
  event.preventDefault();
  event.stopImmediatePropagation();
  act();
}

/** The lanes lie under a surface of their timeline, which marks the one that the pointer is on. @param {Element | null} element */
function chartAt(element) {
  if (!element?.isConnected) return undefined;
  const found = element.closest(`[${TOOLED}]`) ?? element.closest(".surface")?.parentElement?.querySelector(`[${TOOLED}].pointed`);
  return found ? charts.get(found) : undefined;
}

// Filling the window: an element in the top layer, where it is, so that no frame around it cuts it off and nothing moves in the page.

/** @type {{chart: Tooled, stage: HTMLElement, gap: HTMLElement, close: HTMLElement} | null} */
let full = null;

/** Or back, where it does. @param {Tooled} chart */
function enlarge(chart) {
  if (chart.open) return chart.open();
  const again = full?.chart === chart;
  leaveFull();
  if (again) return undefined;
  const stage = chart.stage?.() ?? chart.element;
  const gap = el("div", { class: stage.className, style: stage.getAttribute("style") });
  Object.assign(gap.style, { visibility: "hidden", minHeight: `${stage.offsetHeight}px` });
  const close = el("button", { class: "full-close", type: "button", title: "Back to the page (Esc)", "aria-label": "Back to the page", onclick: () => leaveFull() }, "×");
  full = { chart, stage, gap, close };
  stage.before(gap);
  stage.append(close);
  stage.popover = "manual";
  stage.showPopover();
  stage.classList.add("fills");
  setClass(chart.element, "is-full", true);
  (chart.focus ?? chart.element).focus({ preventScroll: true });
  chart.element.dispatchEvent(new CustomEvent(FULL, { bubbles: true, detail: true }));
  return undefined;
}

/** An event of a chart that fills the window from now on, or does not any more: `detail` says which. */
export const FULL = "fullchart";

/** Have it fill the window, as its address asks for. @param {Element} element of a chart */
export function fillWindow(element) {
  const chart = charts.get(element);
  if (chart && full?.chart !== chart) enlarge(chart);
}

/** After elements were moved, which takes them out of the top layer. */
export function keepFull() {
  if (full && !full.stage.isConnected) leaveFull();
  else if (full && !full.stage.matches(":popover-open")) full.stage.showPopover();
}

/** Back to the page, where a chart fills the window. @param {Node} [within] only if the chart lies in it */
export function leaveFull(within) {
  if (!full || (within && !within.contains(full.stage))) return;
  const { chart, stage, gap, close } = full;
  full = null;
  gap.remove();
  close.remove();
  stage.classList.remove("fills");
  setClass(chart.element, "is-full", false);
  stage.removeAttribute("popover");
  chart.element.dispatchEvent(new CustomEvent(FULL, { bubbles: true, detail: false }));
}

// Files

/** The runs that the page shows. @type {() => string[]} */
let runsShown = () => [];
const MAX_NAMED = 2; // runs in the name of a file

/** Of the runs and the chart: letters, digits, spaces, dots and dashes. @param {string} title */
function fileName(title) {
  const runs = runsShown();
  const parts = [...(runs.length > MAX_NAMED ? [`${runs.length}-runs`] : runs), title];
  const safe = (/** @type {string} */ part) => part.replace(/[^\p{L}\p{N}_. -]+/gu, "-").replace(/^[-. ]+|[-. ]+$/g, "").slice(0, 80);
  return parts.map(safe).filter(Boolean).join(" ") || "chart";
}

/** Hand a file to the browser's downloads. @param {string} title @param {string} ending @param {Blob} content */
export function save(title, ending, content) {
  const url = URL.createObjectURL(content);
  el("a", { href: url, download: `${fileName(title)}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** @param {Tooled} chart */
function saveCsv(chart) {
  const address = chart.logged?.();
  if (address) return el("a", { href: address, download: `${fileName(chart.title())}.csv` }).click();
  const table = chart.table();
  if (table?.rows.length) save(chart.title(), "csv", new Blob([csvOf(table.columns, table.rows)], { type: "text/csv" }));
  else say(chart, "There are no values to save yet.");
  return undefined;
}

/** @param {Tooled} chart */
async function savePng(chart) {
  const found = await chart.picture();
  const blob = found instanceof Blob ? found : found && (await pngOf(chart.title(), found));
  if (blob) save(chart.title(), "png", blob);
  else say(chart, "There is nothing to draw yet.");
}

/** @type {HTMLElement} */
let said;
let silent = 0;

/** @param {Tooled} chart @param {string} sentence */
function say({ element }, sentence) {
  said ??= el("p", { class: "chart-said", role: "status", popover: "manual" });
  homeOf(element).appendChild(said);
  setText(said, sentence);
  said.showPopover();
  clearTimeout(silent);
  silent = window.setTimeout(() => said.hidePopover(), 2500);
}

/** Cells that a spreadsheet would run as a formula begin with an apostrophe. @param {unknown} value */
function csvCell(value) {
  if (value === null || value === undefined || (typeof value === "number" && Number.isNaN(value))) return "";
  if (typeof value === "number") return String(value);
  const text = String(value);
  const inert = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

/** @param {string[]} columns @param {unknown[][]} rows */
export const csvOf = (columns, rows) => [columns, ...rows].map((row) => row.map(csvCell).join(",")).join("\n") + "\n";

const [TITLE_PX, TICKS_PX, ROW_PX, EDGE_PX, MAX_ROWS] = [24, 18, 16, 8, 40];
const BARE_PX = 360; // width of a picture without a canvas

/** Title, chart, words below it and legend on one ground. @param {string} title @param {Picture} picture @returns {Promise<Blob>} */
function pngOf(title, { canvas, xTicks = [], legend }) {
  const rows = legend.slice(0, MAX_ROWS);
  const ratio = canvas ? canvas.width / Math.max(1, canvas.clientWidth || parseFloat(canvas.style.width) || canvas.width) : devicePixelRatio;
  const [width, height] = canvas ? [canvas.width / ratio, canvas.height / ratio] : [BARE_PX, 0];
  const below = TITLE_PX + height + (xTicks.length ? TICKS_PX : 0);
  const out = document.createElement("canvas");
  out.width = Math.round((width + 2 * EDGE_PX) * ratio);
  out.height = Math.round((below + rows.length * ROW_PX + EDGE_PX) * ratio);
  const ctx = /** @type {CanvasRenderingContext2D} */ (out.getContext("2d"));
  ctx.fillStyle = token("bg");
  ctx.fillRect(0, 0, out.width, out.height);
  ctx.scale(ratio, ratio);
  if (canvas?.width && canvas.height) ctx.drawImage(canvas, EDGE_PX, TITLE_PX, width, height);
  const words = (/** @type {string} */ text, /** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ colour) => {
    ctx.fillStyle = token(colour);
    ctx.fillText(visible(text), x, y);
  };
  ctx.font = `600 13px ${token("font-ui")}`;
  words(title, EDGE_PX, 16, "ink");
  ctx.font = `11px ${token("font-ui")}`;
  ctx.textAlign = "center";
  for (const { at, word } of xTicks) words(word, EDGE_PX + at, TITLE_PX + height + 13, "ink-3");
  ctx.textAlign = "left";
  rows.forEach(({ label, colour }, i) => {
    const y = below + i * ROW_PX;
    ctx.fillStyle = token(colour);
    ctx.fillRect(EDGE_PX, y + 4, 8, 8);
    words(label, EDGE_PX + 14, y + 12, "ink-2");
  });
  return new Promise((done, failed) => out.toBlob((blob) => (blob ? done(blob) : failed(new Error("the picture is too large")))));
}

// Which charts have the other y axis than their page gives them: kept in this browser, like folded lanes.

const FLIPPED = "log y";
const MAX_FLIPPED = 200;
/** @type {Set<string> | null} */
let flipped = null;
const flips = () => (flipped ??= new Set(/** @type {string[]} */ (JSON.parse(localStorage.getItem(FLIPPED) ?? "[]"))));

/** @param {string} id of a chart */
export const isFlipped = (id) => flips().has(id);

/** @param {string} id */
export function flip(id) {
  const all = flips();
  if (!all.delete(id)) all.add(id);
  localStorage.setItem(FLIPPED, JSON.stringify([...all].slice(-MAX_FLIPPED)));
}
