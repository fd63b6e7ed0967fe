/** The frame: theme, keys, and the page of this address, which is loaded and drawn at once and moves into Dash's layout when that is there. */

import { el, setText } from "./dom.js";
import { helpDialog, listen } from "./keys.js";
import { setTheme, theme } from "./theme.js";
import { linkPages, writeAddress } from "./url.js";

/** Of each page its path, its container in dashboard/pages/, and its class, whose modules are loaded when it is asked for. */
const PAGES = /** @type {const} */ ([
  ["/", "live", () => import("./live.js").then(({ Live }) => Live)],
  ["/gpus", "gpus", () => import("./gpus.js").then(({ Gpus }) => Gpus)],
  ["/flame", "flame", () => import("./flame_page.js").then(({ FlamePage }) => FlamePage)],
]);
const [PATH, CONTAINER, load] = PAGES.find(([path]) => path === location.pathname) ?? PAGES[0];
const Page = await load();

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
controls.append(themeButton);
setText(themeName, theme() === "dark" ? "Dark" : "Light");

const table = [
  ...page.keys(),
  ...pageLinks().map(({ link, key, name }) => ({ keys: [key], shown: key, says: `page ${name}`, run: () => link.click() })),
  { keys: ["t"], shown: "t", says: "dark or light", run: toggleTheme },
  { keys: ["?"], shown: "?", says: "this list", run: () => help.showModal() },
];
const help = helpDialog(table);
document.body.append(help);
listen(table);

for (const { link } of pageLinks()) if (link.pathname === PATH) link.setAttribute("aria-current", "page");
linkPages();
page.ready.then(startDash);
let held = false; // a pointer is down: who moves what it holds ends its gesture
addEventListener("pointerdown", () => (held = true), true);
for (const type of ["pointerup", "pointercancel"]) addEventListener(type, () => ((held = false), setTimeout(adopt)), true);
addEventListener("toggle", () => setTimeout(adopt), true);
adopt();
new MutationObserver(adopt).observe(document.body, { childList: true, subtree: true });

/** The bar's links, with the keys that stand in front of them. */
function pageLinks() {
  const links = /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll(".nav a")]);
  return links.map((link) => ({ link, key: link.firstElementChild?.textContent ?? "", name: link.lastChild?.textContent ?? "" }));
}

function toggleTheme() {
  const name = theme() === "dark" ? "light" : "dark";
  setTheme(name);
  setText(themeName, name === "dark" ? "Dark" : "Light");
  if (new URLSearchParams(location.search).has("theme")) writeAddress({ theme: name });
}

/** Before Dash has laid out the page's container, the page stands in the index's own place. */
function adopt() {
  const home = document.getElementById(CONTAINER) ?? /** @type {HTMLElement} */ (document.getElementById("first"));
  if (held || page.element.parentElement === home || page.element.querySelector(":popover-open")) return; // a popover that moves is closed
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  home.append(page.element);
  if (page.element.contains(focused)) focused?.focus({ preventScroll: true }); // what moves loses the focus
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

/** A script out of a template never runs; its copy does, in the order of the others. @param {HTMLScriptElement} script */
function revived(script) {
  const copy = el("script", Object.fromEntries([...script.attributes].map(({ name, value }) => [name, value])));
  copy.async = false;
  copy.textContent = script.textContent;
  return copy;
}
