/** The colours of ticked runs, which the comparison below the grid gives them, too. */

import { coloursOf } from "../../data/run_colours.js";

/** A token of `tokens.css`. @param {string} run @param {string[]} shown runs, in order */
export const tintOf = (run, shown) => coloursOf(shown).get(run) ?? "ink-3";
