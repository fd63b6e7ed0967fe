/** The address is the state: what a colleague opens is what you saw. Addresses of ours are written without the base path, and go out by `pathTo`. */

import { mayLeave } from "./life.js";

/**
 * @typedef {Object} Address
 * @property {string | null} run
 * @property {number | null} from start of the selected window, Unix seconds, or a step where the axis is
 * @property {number | null} to its end
 * @property {number | null} span seconds or steps shown
 * @property {number | null} at end of a held view, Unix seconds or a step; null follows
 * @property {string | null} axis `step`, else time
 */

const LAST_S = 253_402_300_799; // the end of the year 9999
const LAST_STEP = 1e15;

const base = () => globalThis.document?.documentElement.dataset.base ?? "/";

/** An address of ours for the browser: `pathTo("/flame?run=a")` is `/x/flame?run=a` below the base path `/x/`. @param {string} path */
export const pathTo = (path) => `${base()}${path.slice(1)}`;

/** The path of the shown page without the base path: `/flame`. */
export const here = () => (location.pathname.startsWith(base()) ? location.pathname.slice(base().length - 1) : location.pathname);

/** Show another page of ours: `go("/flame?run=a")`. @param {string} path */
export const go = (path) => visit(new URL(pathTo(path), location.href));

/** As Dash's own links do it, so that its router hears of it. @param {URL} url of a page of ours */
export function visit(url) {
  if (!mayLeave()) return;
  history.pushState(null, "", url);
  dispatchEvent(new CustomEvent(VISIT));
}

const VISIT = "_dashprivate_pushstate";

/** @param {() => void} action called when the address has become another page's, also by the browser's own buttons @returns {() => void} ends that */
export function onVisit(action) {
  for (const type of [VISIT, "popstate"]) addEventListener(type, action);
  return () => [VISIT, "popstate"].forEach((type) => removeEventListener(type, action));
}

/** @returns {Address} for a page that has no steps: without a window or view of steps */
export function timeAddress() {
  const address = readAddress();
  return address.axis === "step" ? { run: address.run, from: null, to: null, span: null, at: null, axis: null } : address;
}

/** @returns {Address} places that cannot be are as if they were not there */
export function readAddress() {
  const query = new URLSearchParams(location.search);
  const number = (/** @type {string} */ name) => {
    const value = parseFloat(query.get(name) ?? "");
    return Number.isFinite(value) ? value : null;
  };
  const window = windowOf(query, query.get("from") ?? "", query.get("to") ?? "");
  const at = number("at");
  return {
    run: query.get("run"),
    from: window?.from ?? null,
    to: window?.to ?? null,
    span: number("span"),
    at: at !== null && canBe(query, at) ? at : null,
    axis: query.get("axis"),
  };
}

/** A stretch that an address names; null where none can be. @param {URLSearchParams} query @param {string} [from] @param {string} [to] @returns {{from: number, to: number} | null} */
export function windowOf(query, from = "", to = "") {
  const window = { from: parseFloat(from), to: parseFloat(to) };
  return window.to > window.from && canBe(query, window.from) && canBe(query, window.to) ? window : null;
}

/** Whether a clock can say that time, or it can be a step. @param {URLSearchParams} query @param {number} place */
const canBe = (query, place) => (query.get("axis") === "step" ? Math.abs(place) <= LAST_STEP : place >= 0 && place <= LAST_S);

/** Where *Back* leads from what is shown next on this page: the address as it is. */
export const keepBack = () => history.pushState(history.state, "", location.href);

/** Replace parameters of the address; null removes one, a list repeats one. @param {Record<string, string | number | string[] | null>} changes */
export function writeAddress(changes) {
  const search = withChanges(new URLSearchParams(location.search), changes).toString();
  history.replaceState(history.state, "", search ? `?${search}` : location.pathname);
  linkPages();
}

/** @param {URLSearchParams} query @param {Record<string, string | number | string[] | null>} changes */
export function withChanges(query, changes) {
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    if (Array.isArray(value)) for (const item of value) query.append(name, item);
    else if (value !== null) query.set(name, typeof value === "number" ? String(Number(value.toFixed(3))) : value);
  }
  return query;
}

/** The other pages show the same stretch of time, in the same theme. */
export function linkPages() {
  for (const link of pageLinks()) link.search = location.search;
}

/** The frame's links to the pages: a page may have one in the bar and one among the tabs. */
export const pageLinks = () => /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll("a[data-page]")]);
