/** The frame around all pages: theme, keys, the links to the pages, and the page of the address. */

import { askAhead } from "./lib/api.js";
import { chartKeys, leaveFull, listenToCharts } from "./lib/chart_tools.js";
import { el, setText } from "./lib/dom.js";
import { helpDialog, listen } from "./lib/keys.js";
import { addPlotlyTools } from "./lib/plotly_tools.js";
import { followPaper, setTheme, theme } from "./lib/theme.js";
import { here, linkPages, onVisit, pageLinks, pathTo, visit, writeAddress } from "./lib/url.js";
import { Palette } from "./pages/palette.js";
import { session } from "./pages/session.js";
import { openShare } from "./pages/share.js";

/** @typedef {{default: new (session: import("./pages/session.js").Session) => import("./pages/session.js").PageView}} PageModule */

/** The view of a page, by its path without the base path. @type {Record<string, () => Promise<PageModule>>} */
const PAGES = {
  "/": () => import("./pages/live/page.js"),
  "/alerts": () => import("./pages/alerts/page.js"),
  "/boards": () => import("./pages/boards/page.js"),
  "/flame": () => import("./pages/flame/page.js"),
  "/hosts": () => import("./pages/gpus/page.js"),
  "/jobs": () => import("./pages/jobs/page.js"),
  "/logs": () => import("./pages/logs/page.js"),
  "/runs": () => import("./pages/runs/page.js"),
  "/samples": () => import("./pages/samples/page.js"),
  "/settings": () => import("./pages/settings/page.js"),
  "/training": () => import("./pages/training/page.js"),
};
const plain = () => import("./pages/plain_page.js"); // of a page without one

/** Called once, by the dashboard's own HTML. */
export function start() {
  session();
  wireBar();
  linkPages();
  followPaper();
  mendDashParts();
  document.addEventListener("click", follow);
  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault(); // also in a field: browsers have their own search behind it
    openPalette();
  });
  listenToCharts({ isPageKey: (name) => keys().some((key) => key.keys.includes(name)), runs: () => session().view?.chartRuns() ?? [] });
  session().onShow(leaveFull);
  listen(keys);
  onVisit(showPage);
  showPage();
}

let visits = 0;

async function showPage() {
  const visit = ++visits;
  const shown = pageLinks().find(({ pathname }) => pathname === location.pathname);
  if (shown) document.title = `${shown.dataset.page} - DeepSeek Dashboard`;
  for (const link of pageLinks()) {
    const current = link.pathname === location.pathname ? "page" : link.dataset.entry === shown?.dataset.entry && link.closest(".nav") ? "true" : null;
    if (current) link.setAttribute("aria-current", current);
    else link.removeAttribute("aria-current");
  }
  for (const tabs of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".tabs"))) tabs.hidden = tabs.dataset.entry !== shown?.dataset.entry;
  const { default: Page } = await (PAGES[here()] ?? plain)();
  if (visit !== visits) return; // another one was asked for meanwhile
  session().show(here(), (shared) => new Page(shared));
  help = null;
  startDash();
}

/** Dash's bundles wait in a template for the first picture, where Dash has no part in it. */
async function startDash() {
  const { content } = /** @type {HTMLTemplateElement} */ (document.getElementById("dash"));
  if (content.firstElementChild && !session().view?.ahead) [pathTo("/_dash-layout"), pathTo("/_dash-dependencies")].forEach(askAhead);
  await session().pictured();
  const scripts = [...content.querySelectorAll("script")].map(revived);
  content.replaceChildren();
  const loaded = scripts.filter(({ src }) => src).map((script) => new Promise((done) => script.addEventListener("load", done)));
  document.body.append(...scripts.filter(({ src }) => src));
  await Promise.all(loaded);
  document.body.append(...scripts.filter(({ src }) => !src));
}

/** A script from a template never runs; its copy does, in order. @param {HTMLScriptElement} script */
function revived(script) {
  const copy = el("script", Object.fromEntries([...script.attributes].map(({ name, value }) => [name, value])));
  copy.async = false;
  copy.textContent = script.textContent;
  return copy;
}

/** A link to a page of ours changes what is shown, and loads no document. @param {MouseEvent} event */
function follow(event) {
  const link = /** @type {HTMLAnchorElement | null} */ (/** @type {HTMLElement} */ (event.target).closest?.("a[href]"));
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const isOurs = link.origin === location.origin && !link.target && !link.hasAttribute("download") && pageLinks().some(({ pathname }) => pathname === link.pathname);
  if (!isOurs) return;
  event.preventDefault();
  visit(new URL(link.href));
}

// What every page has at the end of its bar: search, alerts, share, and the menu.

const place = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

function wireBar() {
  drawTheme();
  const acts = { search: openPalette, share: openShare, "menu-share": openShare, turn: toggleTheme, "all-keys": showHelp };
  for (const [id, act] of Object.entries(acts)) document.getElementById(id)?.addEventListener("click", () => act()); // a viewer shares nothing
  place("menu").addEventListener("click", () => place("menu").hidePopover());
}

const drawTheme = () => setText(place("theme-name"), theme() === "dark" ? "Dark" : "Light");

function toggleTheme() {
  const name = theme() === "dark" ? "light" : "dark";
  setTheme(name);
  drawTheme();
  if (new URLSearchParams(location.search).has("theme")) writeAddress({ theme: name });
}

// The keys, those of the page first.

/** @returns {import("./lib/keys.js").Key[]} */
const keys = () => [
  ...(session().view?.keys() ?? []),
  ...keysOfPages(),
  { keys: [], shown: "Ctrl K", says: "search runs, series, pages and notes", run: openPalette },
  { keys: ["t"], shown: "t", says: "dark or light", run: toggleTheme },
  { keys: ["?"], shown: "?", says: "this list", run: showHelp },
];

/** One for each page. */
function keysOfPages() {
  const byKey = new Map(pageLinks().map((link) => [link.dataset.key ?? "", link]));
  byKey.delete("");
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, link]) => ({ keys: [key], shown: key, says: `page ${link.dataset.page}`, run: () => link.click() }));
}

/** @type {HTMLDialogElement | null} of the shown page */
let help = null;

function showHelp() {
  help ??= helpDialog(keys(), [...(session().view?.gestures() ?? []), ...chartKeys()]);
  help.showModal();
}

/** @type {Palette | null} */
let palette = null;

function openPalette() {
  palette ??= new Palette(() => session().runs.name ?? null);
  palette.toggle();
}

// Dash's own components, for those who hear a page: what they lack is added as they appear.

/** Lists of checkboxes and of radio buttons are groups of inputs; Dash calls them list boxes, whose options may hold none. */
const LISTS = ".dash-options-list[role='listbox'], .dash-checklist[role='listbox'], .dash-radioitems[role='listbox']";
const TARGETS = ".dash-dropdown-focus-target[aria-hidden='true']"; // a label's click goes there; the Tab key must not

/** Mend what Dash has laid out, and what it lays out later. */
function mendDashParts() {
  new MutationObserver(mend).observe(place("react-entry-point"), { childList: true, subtree: true });
  document.addEventListener("click", (event) => {
    // a link of a note that is no address becomes one that does nothing; the page's policy would report it
    if (/** @type {HTMLElement} */ (event.target).closest?.("a[href^='javascript:']")) event.preventDefault();
  });
  mend();
}

function mend() {
  for (const figure of document.querySelectorAll(".js-plotly-plot:not(.tooled)")) addPlotlyTools(figure);
  for (const target of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(TARGETS))) target.tabIndex = -1;
  for (const list of document.querySelectorAll(LISTS)) {
    if (list.closest(".dash-dropdown-content")) continue; // of a dropdown: it is one
    list.setAttribute("role", "group");
    list.ariaLabel ||= list.id.replace(/^.*-/, "").replaceAll("_", " ") || "options";
    for (const option of list.querySelectorAll("[role='option']")) {
      option.removeAttribute("role");
      option.removeAttribute("aria-selected");
    }
  }
}
