/** The frame: theme, keys, and the page of this address, which is loaded and drawn at once and moves into Dash's layout when that exists. */

import { answerDashEarly } from "./dash/early.js";
import { moveWhenStill } from "./dash/moving.js";
import { mendDashParts } from "./dash/parts.js";
import { el, setText } from "./lib/dom.js";
import { helpDialog, listen } from "./lib/keys.js";
import { isOwner } from "./role.js";
import { followPaper, setTheme, theme } from "./lib/theme.js";
import { dashIsReady } from "./lib/selection.js";
import { linkPages, writeAddress } from "./lib/url.js";
import { foldNav } from "./pages/nav.js";

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

/** @type {Promise<import("./search/palette.js").Palette> | null} */
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
  palette ??= import("./search/palette.js").then(({ Palette }) => new Palette(() => page.runs?.name ?? null));
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
