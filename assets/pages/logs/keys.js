/** The keys of the Logs page beside those of its axis. */

import { openChosen, step } from "../../logs/stepping.js";
import { pathTo } from "../../lib/url.js";

/** @type {[string, string][]} those that the status line names */
export const HINTS = [
  ["/", "search"],
  ["n N", "next, previous hit"],
  ["e E", "next, previous error"],
  ["l", "follow"],
  ["w", "wrap"],
  ["drag", "select on the axis"],
  ["?", "all keys"],
];

/** @type {[string, string][]} */
export const GESTURES = [
  ["click a line", "open it, and show its moment on the axis"],
  ["click a number of an open line", "draw it as a curve"],
  ["click a group", "show only its lines; Alt and a click hides them"],
  ["click the axis", "the lines of that moment"],
];

/** @param {{reader: import("../../logs/reader.js").LogReader, search: () => void, follow: () => void, wrap: () => void}} page @returns {import("../../lib/keys.js").Key[]} */
export function keysOf({ reader, search, follow, wrap }) {
  const key = (/** @type {string} */ shown, /** @type {string} */ says, /** @type {() => void} */ run) => ({ keys: [shown], shown, says, run });
  return [
    key("/", "search the lines", search),
    key("n", "next hit", () => reader.next("hit", false)),
    key("N", "previous hit", () => reader.next("hit", true)),
    key("e", "next error", () => reader.next("error", false)),
    key("E", "previous error", () => reader.next("error", true)),
    key("j", "next line", () => step(reader.list, 1)),
    key("k", "previous line", () => step(reader.list, -1)),
    key("o", "open the chosen line, or close it", () => openChosen(reader.list)),
    key("l", "follow the newest lines, or stop", follow),
    key("w", "wrap long lines, or cut them", wrap),
    key("f", "flame graph of the window", () => location.assign(pathTo(`/flame${location.search}`))),
  ];
}
