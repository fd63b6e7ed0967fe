/** The frame around all pages: theme, keys, the links to the pages, and the page of the address. */

import { askAhead, isOwner } from "./lib/api.js";
import { el, setText } from "./lib/dom.js";
import { helpDialog, listen } from "./lib/keys.js";
import { followPaper, setTheme, theme } from "./lib/theme.js";
import { here, linkPages, onVisit, pathTo, visit, writeAddress } from "./lib/url.js";
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
  "/gpus": () => import("./pages/gpus/page.js"),
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
  session().bar.after(...tools());
  linkPages();
  followPaper();
  mendDashParts();
  document.addEventListener("click", follow);
  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault(); // also in a field: browsers have their own search behind it
    openPalette();
  });
  listen(keys);
  onVisit(showPage);
  showPage();
  new ResizeObserver(foldNav).observe(nav);
}

let visits = 0;

async function showPage() {
  const visit = ++visits;
  for (const link of /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll(".nav a"))) {
    if (link.pathname !== location.pathname) {
      link.removeAttribute("aria-current");
      continue;
    }
    link.setAttribute("aria-current", "page");
    document.title = `${link.lastChild?.textContent} - DeepSeek Dashboard`;
  }
  foldNav();
  const { default: Page } = await (PAGES[here()] ?? plain)();
  if (visit !== visits) return; // another one was asked for meanwhile
  session().show((shared) => new Page(shared));
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
  const isOurs = link.origin === location.origin && !link.target && !link.hasAttribute("download") && pageLinks().some((page) => page.link.pathname === link.pathname);
  if (!isOurs) return;
  event.preventDefault();
  visit(new URL(link.href));
}

/** The bar's links, with their keys. */
function pageLinks() {
  const links = /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll(".nav a")]);
  return links.map((link) => ({ link, key: link.firstElementChild?.textContent ?? "", name: link.lastChild?.textContent ?? "" }));
}

// What every page has at the end of its bar.

const themeName = el("span");

function tools() {
  const sharing = el("button", { class: "plain share-button", type: "button", title: "A link to this view, for others to look at", onclick: openShare }, "Share");
  setText(themeName, theme() === "dark" ? "Dark" : "Light");
  const turning = el("button", { class: "plain", type: "button", title: "Dark or light", onclick: toggleTheme }, el("kbd", {}, "t"), themeName);
  return isOwner ? [sharing, turning] : [turning];
}

function toggleTheme() {
  const name = theme() === "dark" ? "light" : "dark";
  setTheme(name);
  setText(themeName, name === "dark" ? "Dark" : "Light");
  if (new URLSearchParams(location.search).has("theme")) writeAddress({ theme: name });
}

// The keys, those of the page first.

/** @returns {import("./lib/keys.js").Key[]} */
const keys = () => [
  ...(session().view?.keys() ?? []),
  ...pageLinks().filter(({ key }) => key).map(({ link, key, name }) => ({ keys: [key], shown: key, says: `page ${name}`, run: () => link.click() })),
  { keys: [], shown: "Ctrl K", says: "search runs, series, pages and notes", run: openPalette },
  { keys: ["t"], shown: "t", says: "dark or light", run: toggleTheme },
  { keys: ["?"], shown: "?", says: "this list", run: showHelp },
];

/** @type {HTMLDialogElement | null} of the shown page */
let help = null;

function showHelp() {
  help ??= helpDialog(keys(), session().view?.gestures() ?? []);
  help.showModal();
}

/** @type {Palette | null} */
let palette = null;

function openPalette() {
  palette ??= new Palette(() => session().runs.name ?? null);
  palette.toggle();
}

// The links to the pages: those that the bar has no room for stand in a list below "More".

const GAP_PX = 1; // widths are rounded

const nav = /** @type {HTMLElement} */ (document.querySelector(".nav"));
const links = /** @type {HTMLElement[]} */ ([...(nav?.children ?? [])]);
const list = el("div", { class: "nav-list", popover: "auto", id: "more-pages" });
const more = el("button", { class: "nav-more", type: "button", popovertarget: list.id, hidden: true }, "More");
/** @type {number[]} of the links */
let widths = [];

function foldNav() {
  if (!widths.length) {
    widths = links.map((link) => link.getBoundingClientRect().width);
    nav.append(more, list);
  }
  more.hidden = false;
  const shown = new Set(fitting(links, widths, nav.clientWidth, more.getBoundingClientRect().width));
  more.hidden = shown.size === links.length;
  const [bar, below] = [true, false].map((inBar) => links.filter((link) => shown.has(link) === inBar));
  if (bar.length + 2 === nav.childElementCount && bar.every((link, i) => nav.children[i] === link)) return; // as it is
  if (list.matches(":popover-open")) list.hidePopover();
  nav.prepend(...bar);
  list.replaceChildren(...below);
}

list.addEventListener("beforetoggle", () => {
  const { left, bottom } = more.getBoundingClientRect();
  Object.assign(list.style, { left: `${Math.max(0, Math.min(left, innerWidth - 180))}px`, top: `${bottom}px` });
});

/**
 * Those that stand in the bar: all, or as many as leave room for "More"; the present page's always.
 * @param {HTMLElement[]} links @param {number[]} widths of them @param {number} room @param {number} more
 */
function fitting(links, widths, room, more) {
  const all = widths.reduce((sum, width) => sum + width, 0);
  if (all <= room + GAP_PX) return links;
  const present = links.findIndex((link) => link.ariaCurrent === "page");
  let left = room - more - (widths[present] ?? 0);
  return links.filter((_, i) => {
    if (i === present) return true;
    left -= widths[i];
    return left >= 0;
  });
}

// Dash's own components, for those who hear a page: what they lack is added as they appear.

/** Lists of checkboxes and of radio buttons are groups of inputs; Dash calls them list boxes, whose options may hold none. */
const LISTS = ".dash-options-list[role='listbox'], .dash-checklist[role='listbox'], .dash-radioitems[role='listbox']";
const TARGETS = ".dash-dropdown-focus-target[aria-hidden='true']"; // a label's click goes there; the Tab key must not

/** Mend what is there, and what comes. */
function mendDashParts() {
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("click", (event) => {
    // a link of a note that is no address becomes one that does nothing; the page's policy would report it
    if (/** @type {HTMLElement} */ (event.target).closest?.("a[href^='javascript:']")) event.preventDefault();
  });
  mend();
}

function mend() {
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
