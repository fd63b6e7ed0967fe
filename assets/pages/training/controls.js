/** The controls of the Training page (`dashboard/pages/training.py`). */

/** @typedef {import("../../curves/view.js").View} View */

/** @type {import("../../dash/controls.js").About} */
export const CONTROLS = {
  description: "data-chart-grid",
  area: ".training-controls",
  search: "training-q",
  valuesOf: (/** @type {View} */ view) => ({
    "training-x": view.x,
    "training-smooth": view.smooth,
    "training-flags": [...(view.ylog ? ["ylog"] : []), ...(view.xlog ? ["xlog"] : []), ...(view.clip ? ["clip"] : []), ...(view.ranks === "each" ? ["each"] : [])],
  }),
};
