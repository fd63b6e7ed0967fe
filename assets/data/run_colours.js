/** The colours of runs: a run keeps its colour from page to page and in any company, as far as that goes; of the shown ones each sixteen differ (pure). */

export const COLOURS = 16; // the tokens run-0 to run-15
const SOLID = 8; // the lines of the others are dashed

/**
 * `coloursOf(["a", "b"]) -> Map {"a" => "run-3", "b" => "run-14"}`. Each name prefers the colour of its hash. Of several names that prefer the same,
 * the first by name keeps it, and the others take the next that is free once all have chosen: which are shown counts, their order does not.
 * @param {Iterable<string>} names
 * @returns {Map<string, string>} tokens of `tokens.css`, in the given order
 */
export function coloursOf(names) {
  const given = [...new Set(names)];
  const most = Math.ceil(given.length / COLOURS); // runs of a colour
  const used = new Array(COLOURS).fill(0);
  /** @type {Map<string, number>} */
  const chosen = new Map();
  const take = (/** @type {string} */ name, /** @type {number} */ colour) => {
    used[colour]++;
    chosen.set(name, colour);
  };
  const sorted = [...given].sort();
  for (const name of sorted) if (used[hash(name) % COLOURS] < most) take(name, hash(name) % COLOURS);
  for (const name of sorted) {
    if (chosen.has(name)) continue;
    let colour = hash(name) % COLOURS;
    while (used[colour] >= most) colour = (colour + 1) % COLOURS;
    take(name, colour);
  }
  return new Map(given.map((name) => [name, `run-${chosen.get(name)}`]));
}

/** Whether lines of this colour are dashed, so that two that look alike to some users differ. @param {string} token */
export const isDashed = (token) => token.startsWith("run-") && Number(token.slice(4)) >= SOLID;

/** FNV-1a over UTF-16 units. @param {string} text */
function hash(text) {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193);
  return (sum ^ (sum >>> 15)) >>> 0;
}
