/** The line that stands for a curve in legends and tables. */

import { isDashed } from "../data/run_colours.js";
import { el } from "../lib/dom.js";

/** @param {string} colour a token @param {boolean} alone beside no other, its line is not dashed @returns {HTMLElement} */
export const lineKey = (colour, alone = false) => el("i", { class: isDashed(colour) && !alone ? "line-key dashed" : "line-key", style: `color:var(--${colour})` });
