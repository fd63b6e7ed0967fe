/** The keyboard: one table of keys, what they do, and the dialog that shows it. */

import { dialogOf, el } from "./dom.js";

/** @typedef {{keys: string[], shown: string, says: string, run: () => void}} Key */

/** Keys run their action unless the user types or picks. @param {() => Key[]} table as it is at that moment */
export function listen(table) {
  const ours = (/** @type {string} */ name) => table().find(({ keys }) => keys.includes(name));
  document.addEventListener("keyup", (event) => {
    // A dropdown of Dash's that was used last has the focus, and would open with the letter in its search.
    if (event.key.length === 1 && ours(event.key) && /** @type {HTMLElement} */ (event.target).matches(".dash-dropdown")) event.stopImmediatePropagation();
  }, true);
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target.closest("input:not([type=checkbox], [type=radio]), textarea, select, dialog[open]")) return;
    if (event.key === "Escape" && document.querySelector(":popover-open")) return; // it closes what lies on top
    if (event.key === " " && target.closest("button, a, input")) return;
    const key = ours(event.key);
    if (!key) return;
    event.preventDefault();
    key.run();
  });
}

/** On lanes. @type {[string, string][]} */
export const ON_LANES = [
  ["drag", "select a window on every lane"],
  ["drag an edge", "adjust the window"],
  ["click", "the nearest step"],
  ["double click", "whole range"],
  ["Shift drag", "move the view; the middle button, too"],
  ["Shift wheel", "move the view; a wheel sideways, too"],
  ["Ctrl wheel", "zoom at the cursor"],
  ["drag a lane’s name", "move the lane; Shift ↑ ↓ on a name, too"],
  ["click a lane’s name", "fold it; Enter on a name, too"],
];

/** @param {Key[]} table @param {[string, string][]} rows gestures of the page @returns {HTMLDialogElement} */
export function helpDialog(table, rows) {
  const line = (/** @type {string} */ shown, /** @type {string} */ says) =>
    el("tr", {}, el("td", {}, el("kbd", {}, shown)), el("td", {}, says));
  const body = el("div", {}, el("h2", {}, "Keys and gestures"), el("table", {}, ...rows.map(([a, b]) => line(a, b)), ...table.map(({ shown, says }) => line(shown, says))));
  return dialogOf("", "All keys", body);
}
