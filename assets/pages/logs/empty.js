/** Why there are no lines, in one sentence (pure). */

import { narrows } from "../../logs/asking.js";

const NO_FILE = "This run is over and wrote no line of text that the dashboard reads: its curves are on Live. For the next one: python train.py 2>&1 | tee logs/NAME/train.log";
const NO_LINES = "No lines yet. What the program prints into a *.log file in the run’s folder stands here: python train.py 2>&1 | tee logs/NAME/train.log";

/**
 * @param {{run: string | null, absent: string, folder: string, view: import("../../logs/asking.js").View, chosen: import("../../logs/asking.js").Chosen, hasWindow: boolean, isSearching: boolean, over: boolean}} shown
 * @returns {string}
 */
export function whyEmpty({ run, absent, folder, view, chosen, hasWindow, isSearching, over }) {
  if (run === null) return `No runs in ${folder} yet. Any text log in a folder there becomes one.`;
  if (absent) return `${absent} Choose one at the top left.`;
  if (view.text && view.only) return isSearching ? "No hit so far …" : "No line has what is searched for.";
  if (narrows(view, chosen)) return "No line fits the filters.";
  return hasWindow ? "No lines in this window. Esc clears it." : over ? NO_FILE : NO_LINES;
}
