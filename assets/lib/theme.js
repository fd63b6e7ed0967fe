/** Dark or light, and the colours of `tokens.css` for canvases. */

import { isDashed } from "../data/colours.js";
import { life } from "./life.js";

/** @type {Map<string, string>} */
const cache = new Map();
/** @type {Set<() => void>} */
const listeners = new Set();

/** @returns {"dark" | "light"} */
export const theme = () => (document.documentElement.dataset.theme === "light" ? "light" : "dark");

/** @param {"dark" | "light"} name */
export function setTheme(name) {
  localStorage.setItem("theme", name);
  show(name);
}

/** What the reader has chosen; "system" until then. @returns {"system" | "dark" | "light"} */
export const themeChoice = () => /** @type {any} */ (localStorage.getItem("theme")) ?? "system";

/** From now on as the system is. */
export function followSystem() {
  localStorage.removeItem("theme");
  show(system.matches ? "light" : "dark");
}

/** @param {"dark" | "light"} name */
function show(name) {
  document.documentElement.dataset.theme = name;
  cache.clear();
  for (const listener of listeners) listener();
}

/** Paper is light: canvases are drawn again for it, and back afterwards. */
export function followPaper() {
  /** @type {"dark" | "light"} */
  let before = theme();
  matchMedia("print").addEventListener("change", ({ matches }) => {
    if (matches) before = theme();
    show(matches ? "light" : before);
  });
}

/** @param {() => void} listener called after the colours have changed, as long as the page is shown */
export function onTheme(listener) {
  listeners.add(listener);
  life().signal.addEventListener("abort", () => listeners.delete(listener));
}

// In an app elsewhere our tokens are those of the components' own elements.

/** @type {Set<HTMLElement>} */
const embedded = new Set();
const system = matchMedia("(prefers-color-scheme: light)");

/** An element with our tokens takes the theme of the document, `data-theme`, else the system's, as long as it is there. @param {HTMLElement} element */
export function followTheme(element) {
  const { documentElement } = document;
  const take = () => {
    const { theme } = documentElement.dataset;
    const found = theme === "light" || theme === "dark" ? theme : system.matches ? "light" : "dark";
    if (element.dataset.theme === found) return;
    element.dataset.theme = found;
    cache.clear();
    for (const listener of listeners) listener();
  };
  const observer = new MutationObserver(take);
  observer.observe(documentElement, { attributeFilter: ["data-theme"] });
  system.addEventListener("change", take, { signal: life().signal });
  embedded.add(element);
  life().signal.addEventListener("abort", () => {
    observer.disconnect();
    embedded.delete(element);
  });
  take();
}

/** The value of a token: `token("accent") -> "#45c7b3"`. @param {string} name */
export function token(name) {
  let value = cache.get(name);
  if (value === undefined) {
    const [holder = document.documentElement] = embedded;
    value = getComputedStyle(holder).getPropertyValue(`--${name}`).trim();
    cache.set(name, value);
  }
  return value;
}

const STRIPES_PX = 6; // from one to the next
/** @type {Map<string, CanvasPattern>} */
const patterns = new Map();

/** What fills an area of this colour on a canvas: stripes on the ground where its lines would be dashed. @param {string} name of a token @returns {string | CanvasPattern} */
export function fillOf(name) {
  if (!isDashed(name)) return token(name);
  const [colour, ground, size] = [token(name), token("bg"), Math.round(STRIPES_PX * devicePixelRatio)];
  const key = `${colour} ${ground} ${size}`;
  let pattern = patterns.get(key);
  if (!pattern) patterns.set(key, (pattern = stripes(colour, ground, size)));
  return pattern;
}

/** Opaque: areas of a stack lie above one another. @param {string} colour @param {string} ground @param {number} size device pixels */
function stripes(colour, ground, size) {
  const tile = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const context = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  context.fillStyle = ground;
  context.fillRect(0, 0, size, size);
  context.strokeStyle = colour;
  context.lineWidth = size * 0.45;
  for (const at of [-size, 0, size]) {
    context.moveTo(at - 1, size + 1);
    context.lineTo(at + size + 1, -1);
  }
  context.stroke();
  return /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
}

/** @param {string} hex #rrggbb */
const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** @param {string} hex #rrggbb @param {number} alpha */
export const faded = (hex, alpha) => made(`${hex} ${alpha}`, () => `rgba(${channels(hex).join(",")},${alpha})`);

/** Opaque: a part of one colour, the rest of another. @param {string} hex #rrggbb @param {string} other #rrggbb @param {number} part of the first */
export const mixed = (hex, other, part) => made(`${hex} ${other} ${part}`, () => `rgb(${blend(channels(hex), channels(other), part).join(",")})`);

/** @param {number[]} first @param {number[]} second @param {number} part */
const blend = (first, second, part) => first.map((value, i) => Math.round(value * part + second[i] * (1 - part)));

const MAX_MADE = 2000;
/** @type {Map<string, string>} */
const colours = new Map();

/** A canvas asks for the same colours in each frame. @param {string} key @param {() => string} make */
function made(key, make) {
  let colour = colours.get(key);
  if (colour === undefined) {
    if (colours.size >= MAX_MADE) colours.clear();
    colours.set(key, (colour = make()));
  }
  return colour;
}

const HEAT_STEPS = 101;

/** The colours of utilization 0..100%, one per percent. @returns {string[]} */
export function heatRamp() {
  const stops = [0, 1, 2, 3, 4].map((i) => channels(token(`heat-${i}`)));
  return Array.from({ length: HEAT_STEPS }, (_, percent) => {
    const at = Math.min(3.999, percent / 25);
    const [from, to, part] = [stops[Math.floor(at)], stops[Math.floor(at) + 1], at % 1];
    return `rgb(${from.map((value, i) => Math.round(value + (to[i] - value) * part)).join(",")})`;
  });
}
