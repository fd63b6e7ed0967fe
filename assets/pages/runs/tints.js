/** The colours of ticked runs: GPU colours 0-7, by the run's name, with another one where two would share it. */

const TINTS = 8;

/** A token of `tokens.css`. @param {string} run @param {string[]} shown runs, in order */
export function tintOf(run, shown) {
  const taken = new Set();
  for (const name of shown) {
    let at = hash(name) % TINTS;
    for (let tried = 0; taken.has(at) && tried < TINTS; tried++) at = (at + 1) % TINTS;
    if (name === run) return `gpu-${at}`;
    taken.add(at);
  }
  return "ink-3";
}

/** @param {string} text */
const hash = (text) => [...text].reduce((sum, letter) => (Math.imul(sum, 31) + (letter.codePointAt(0) ?? 0)) >>> 0, 7);
