/** The tip of one frame: its time in the window, beside normal, as a share and per step. */

import { el } from "../lib/dom.js";
import { brief, percent, signed, toneOf } from "../lib/figures.js";
import { count, duration } from "../lib/format.js";

/** @typedef {import("./tree.js").Tree} Tree */

const SAYS = { wait: "waits here", joined: "runs in another thread or process", own: "your code", library: "library" };

/** @param {Tree} tree @param {import("./layout.js").Box} box @returns {HTMLElement[]} */
export function describe(tree, { node, narrow }) {
  const { name, file, line } = tree.frame(node);
  const { total_s, self_s, base_self_s, kind } = tree.nodes;
  if (narrow) return [el("b", {}, `${count(narrow)} narrower frames`), el("span", { class: "dim" }, `below ${name}`)];
  const rows = [
    row(tree, "in total", total_s[node], tree.normal(node)),
    row(tree, "itself", self_s[node], (base_self_s?.[node] ?? 0) / tree.baseUnits),
  ];
  const heads = ["", "", "share", `a ${tree.per}`, ...(tree.compared ? ["normal", ""] : [])];
  const trust = tree.untrusted(node) ? "; not sure: two moments may be mixed" : "";
  return [
    el("b", {}, name),
    el("span", {}, line > 0 ? `${file}:${line}` : file),
    el("table", {}, el("tr", {}, ...heads.map((head) => el("th", {}, head))), ...rows),
    el("span", { class: "dim" }, `${SAYS[/** @type {keyof typeof SAYS} */ (kind[node])] ?? ""}${trust}`),
  ];
}

/** @param {Tree} tree @param {string} what @param {number} seconds @param {number} normal_s a unit */
function row(tree, what, seconds, normal_s) {
  const perUnit = seconds / tree.units;
  const cells = [what, duration(seconds), percent(seconds / tree.total_s), brief(perUnit)];
  const difference = perUnit - normal_s;
  return el(
    "tr",
    {},
    ...cells.map((cell) => el("td", {}, cell)),
    ...(tree.compared ? [el("td", {}, brief(normal_s)), el("td", { class: toneOf(difference) }, signed(difference))] : []),
  );
}
