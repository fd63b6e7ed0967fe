/** The colours of runs: a run keeps its colour from page to page, and of the shown ones each eight differ (pure). */

const COLOURS = 8; // the tokens gpu-0 to gpu-7

/**
 * `coloursOf(["a", "b"]) -> Map {"a" => "gpu-3", "b" => "gpu-6"}`: by the name's hash; a run whose colour an earlier one has takes the next that is free.
 * @param {Iterable<string>} names in the order in which they are shown
 * @returns {Map<string, string>} tokens of `tokens.css`
 */
export function coloursOf(names) {
  /** @type {Map<string, string>} */
  const out = new Map();
  /** @type {Set<number>} */
  const taken = new Set();
  for (const name of names) {
    if (out.has(name)) continue;
    if (taken.size === COLOURS) taken.clear();
    let colour = hash(name) % COLOURS;
    while (taken.has(colour)) colour = (colour + 1) % COLOURS;
    taken.add(colour);
    out.set(name, `gpu-${colour}`);
  }
  return out;
}

/** FNV-1a over UTF-16 units. @param {string} text */
function hash(text) {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193);
  return (sum ^ (sum >>> 15)) >>> 0;
}
