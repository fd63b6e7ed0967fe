/** The flame graph as a table, for screen readers: where most time passed. */

import { spent } from "./callers.js";
import { el } from "../lib/dom.js";
import { percent } from "../lib/figures.js";
import { duration, place } from "../lib/format.js";

const ROWS = 20;

/** @param {import("./tree.js").Tree | null} tree @returns {HTMLElement[]} */
export function tableRows(tree) {
  const row = (/** @type {string} */ tag, /** @type {string[]} */ cells) => el("tr", {}, ...cells.map((cell) => el(tag, {}, cell)));
  const byTime = tree ? spent(tree).sort((a, b) => b.self_s - a.self_s) : [];
  const rows = byTime.slice(0, ROWS).map(({ frame, self_s, self_line }) => {
    const { frames, total_s } = /** @type {import("./tree.js").Tree} */ (tree);
    const { name, file } = frames[frame];
    return row("td", [name, place(file, self_line), percent(self_s / (total_s || 1)), duration(self_s)]);
  });
  return [el("caption", {}, "Functions by their own time"), row("th", ["function", "place", "own share", "own time"]), ...rows];
}
