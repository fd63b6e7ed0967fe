/** The selection for Dash's callbacks: `dcc.Store(id="selection")` holds it, on every page. Our modules write it, callbacks read it. */

/**
 * @typedef {Object} Selection
 * @property {string | null} run
 * @property {string[]} runs
 * @property {"time" | "step"} axis
 * @property {number | null} from start of the selected window, Unix seconds or a step; null where none is selected
 * @property {number | null} to
 * @property {boolean} live the view follows the newest point
 */

const ID = "selection";

/** @type {Selection | null} */
let newest = null;
let ready = false;
let written = "";

/** @param {Selection} selection */
export function publish(selection) {
  newest = selection;
  write();
}

/** Dash has laid out the page, and its store exists. */
export function dashIsReady() {
  ready = true;
  write();
}

function write() {
  const { dash_clientside } = /** @type {any} */ (window);
  const text = JSON.stringify(newest);
  if (!ready || newest === null || text === written || !dash_clientside?.set_props) return;
  written = text;
  dash_clientside.set_props(ID, { data: newest });
}
