/** The frame: theme, keys, and the page of this address, which is loaded and drawn at once and moves into Dash's layout when that exists. */

import { isOwner } from "./lib/api.js";
import { answerDashEarly, dashIsReady, mendDashParts, moveWhenStill } from "./lib/dash.js";
import { el, setText } from "./lib/dom.js";
import { helpDialog, listen } from "./lib/keys.js";
import { followPaper, setTheme, theme } from "./lib/theme.js";
import { linkPages, writeAddress } from "./lib/url.js";

// The links to the pages: those that the bar has no room for stand in a list below "More".

const GAP_PX = 1; // widths are rounded

/** @param {HTMLElement} nav with a link a page */
function foldNav(nav) {
  const links = /** @type {HTMLElement[]} */ ([...nav.children]);
  const widths = links.map((link) => link.getBoundingClientRect().width);
  const list = el("div", { class: "nav-list", popover: "auto", id: "more-pages" });
  const more = el("button", { class: "nav-more", type: "button", popovertarget: list.id, hidden: true }, "More");
  nav.append(more, list);
  const fold = () => {
    more.hidden = false;
    const shown = new Set(fitting(links, widths, nav.clientWidth, more.getBoundingClientRect().width));
    more.hidden = shown.size === links.length;
    const [bar, below] = [true, false].map((inBar) => links.filter((link) => shown.has(link) === inBar));
    if (bar.length + 2 === nav.childElementCount && bar.every((link, i) => nav.children[i] === link)) return; // as it is
    if (list.matches(":popover-open")) list.hidePopover();
    nav.prepend(...bar);
    list.replaceChildren(...below);
  };
  list.addEventListener("beforetoggle", () => {
    const { left, bottom } = more.getBoundingClientRect();
    Object.assign(list.style, { left: `${Math.max(0, Math.min(left, innerWidth - 180))}px`, top: `${bottom}px` });
  });
  new ResizeObserver(fold).observe(nav);
  fold();
}

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

// The page of this address, and the controls of every page.

const LATEST_MS = 8000; // controls are there then, whatever there is to draw
const CONTAINER = "content"; // in Dash's layout (dashboard/pages/frame.py)
const { default: Page } = await import(/** @type {string} */ (document.body.dataset.module));

const controls = /** @type {HTMLElement} */ (document.getElementById("controls"));
const foot = /** @type {HTMLElement} */ (document.getElementById("status"));
const page = new Page(controls, foot);

const themeName = el("span");
const themeButton = el(
  "button",
  { class: "plain", type: "button", title: "Dark or light", onclick: toggleTheme },
  el("kbd", {}, "t"),
  themeName,
);
if (isOwner) controls.append(el("button", { class: "plain share-button", type: "button", title: "A link to this view, for others to look at", onclick: share }, "Share"));
controls.append(themeButton);
setText(themeName, theme() === "dark" ? "Dark" : "Light");

const table = [
  ...page.keys(),
  ...pageLinks().filter(({ key }) => key).map(({ link, key, name }) => ({ keys: [key], shown: key, says: `page ${name}`, run: () => link.click() })),
  { keys: [], shown: "Ctrl K", says: "search runs, series, pages and notes", run: openPalette },
  { keys: ["t"], shown: "t", says: "dark or light", run: toggleTheme },
  { keys: ["?"], shown: "?", says: "this list", run: () => help.showModal() },
];
const help = helpDialog(table, page.gestures());
listen(table);

/** @type {Promise<import("./pages/palette.js").Palette> | null} */
let palette = null;
addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
  event.preventDefault(); // also in a field: browsers have their own search behind it
  openPalette();
});

for (const { link } of pageLinks()) if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
linkPages();
foldNav(/** @type {HTMLElement} */ (document.querySelector(".nav")));
followPaper();
mendDashParts();
answerDashEarly();
Promise.race([page.ready, new Promise((late) => setTimeout(late, LATEST_MS))]).then(startDash);
adopt();
new MutationObserver(adopt).observe(document.body, { childList: true, subtree: true });

/** The bar's links, with their keys. */
function pageLinks() {
  const links = /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll(".nav a")]);
  return links.map((link) => ({ link, key: link.firstElementChild?.textContent ?? "", name: link.lastChild?.textContent ?? "" }));
}

/** Its module is loaded when it is first asked for. */
async function openPalette() {
  palette ??= import("./pages/palette.js").then(({ Palette }) => new Palette(() => page.runs?.name ?? null));
  const opened = await palette.catch(() => (palette = null)); // no connection: asked again at the next key
  opened?.toggle();
}

/** Its module is loaded when it is first asked for. */
async function share() {
  const { openShare } = await import("./pages/share.js");
  openShare();
}

function toggleTheme() {
  const name = theme() === "dark" ? "light" : "dark";
  setTheme(name);
  setText(themeName, name === "dark" ? "Dark" : "Light");
  if (new URLSearchParams(location.search).has("theme")) writeAddress({ theme: name });
}

/** Until Dash has laid out the page's container, the page is in the index's own place. */
function adopt() {
  if (document.getElementById(CONTAINER)) dashIsReady();
  if (page.element.parentElement !== home()) moveWhenStill(page.element, home);
}

function home() {
  return /** @type {HTMLElement} */ (document.getElementById(CONTAINER) ?? document.getElementById("first"));
}

/** Dash's bundles wait in a template until the first picture is drawn, so that they do not compete with it. */
async function startDash() {
  const { content } = /** @type {HTMLTemplateElement} */ (document.getElementById("dash"));
  const scripts = [...content.querySelectorAll("script")].map(revived);
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
