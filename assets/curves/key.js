/** The line that stands for a curve in legends and tables. */

import { isDashed } from "../data/run_colours.js";
import { el } from "../lib/dom.js";

/** @param {string} colour a token @returns {HTMLElement} */
export const lineKey = (colour) => el("i", { class: isDashed(colour) ? "line-key dashed" : "line-key", style: `color:var(--${colour})` });
