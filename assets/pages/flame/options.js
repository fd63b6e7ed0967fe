/** The options of the Flame page: threads, phase and rank, roll-up, inversion, drawing. The address keeps them. */

import { writeAddress } from "../../lib/url.js";

/**
 * @typedef {Object} Choice of the user
 * @property {"joined" | "main" | "threads" | "kernels"} view `kernels`: those of the steps that were traced on demand
 * @property {string | null} thread one thread alone, by its id
 * @property {string | null} phase
 * @property {string | null} rank
 * @property {"function" | "module" | "file"} roll
 * @property {string | null} focus only stacks with a frame like this, from there down
 * @property {string | null} hide frames like this are left out, and what they call moves up
 * @property {boolean} waits false: without the time in which a thread only waits
 * @property {boolean} invert the leaves at the root
 * @property {import("../../flame/tree.js").Order} order of siblings
 * @property {boolean} difference colours show the difference from normal, else the kind of code
 * @property {string} q searched for
 * @property {string | null} frame the selected function, as `nameOf` gives it
 * @property {boolean} callers the selected function's callers are drawn instead of the whole
 */

/** @type {Choice} */
const USUAL = {
  view: "joined",
  thread: null,
  phase: null,
  rank: null,
  roll: "function",
  focus: null,
  hide: null,
  waits: true,
  invert: false,
  order: "time",
  difference: true,
  q: "",
  frame: null,
  callers: false,
};
const SWITCHES = new Set(["waits", "invert", "difference", "callers"]);

/** @returns {Choice} */
export function readChoice() {
  const query = new URLSearchParams(location.search);
  const given = Object.keys(USUAL).flatMap((name) => {
    const value = query.get(name);
    return value === null ? [] : [[name, SWITCHES.has(name) ? value === "1" : value]];
  });
  return { ...USUAL, ...Object.fromEntries(given) };
}

/** Write the options that differ from the defaults. @param {Choice} choice */
export function writeChoice(choice) {
  const changes = Object.entries(choice).map(([name, value]) => [
    name,
    value === USUAL[/** @type {keyof Choice} */ (name)] ? null : typeof value === "boolean" ? Number(value) : value,
  ]);
  writeAddress(Object.fromEntries(changes));
}

/** The parameters for the server. @param {Choice} choice */
export function filterOf({ view, thread, phase, rank, roll, focus, hide, waits, invert }) {
  return {
    view: thread ? "threads" : view,
    thread,
    phase,
    rank,
    roll: roll === "function" ? null : roll,
    focus,
    hide,
    waits: waits ? null : 0,
    invert: invert ? 1 : null,
  };
}
