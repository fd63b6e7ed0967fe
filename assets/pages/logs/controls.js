/** The controls of the Logs page (`dashboard/pages/logs.py`). */

/** @typedef {import("../../logs/asking.js").View} View */

const FLAGS = /** @type {("regex" | "case" | "only" | "all")[]} */ (["regex", "case", "only", "all"]);

/** @type {import("../../dash/controls.js").About} */
export const CONTROLS = {
  description: "data-log-lines",
  area: ".logs-controls",
  search: "logs-text",
  valuesOf: (/** @type {View} */ view) => ({
    "logs-text": view.text,
    "logs-flags": FLAGS.filter((flag) => view[flag]),
    "logs-level": String(view.level),
    "logs-files": view.files,
    "logs-ranks": view.ranks,
  }),
};
