/** What a user arranged on the Training page, for all runs: pinned, hidden and moved charts, folded groups, the size. The browser remembers it. */

const NAME = "training charts";
const MAX_NAMES = 2000; // names a list keeps; the oldest go

/** @typedef {{pinned: string[], hidden: string[], order: string[], folded: string[], size: "s" | "m" | "l"}} Kept */

/** @returns {Kept} */
export function kept() {
  const plain = { pinned: [], hidden: [], order: [], folded: [], size: /** @type {"m"} */ ("m") };
  try {
    const found = JSON.parse(localStorage.getItem(NAME) ?? "{}");
    const list = (/** @type {unknown} */ value) => (Array.isArray(value) ? value.filter((item) => typeof item === "string") : []);
    const size = ["s", "m", "l"].includes(found.size) ? found.size : "m";
    return { pinned: list(found.pinned), hidden: list(found.hidden), order: list(found.order), folded: list(found.folded), size };
  } catch {
    return plain; // not what we would write
  }
}

/** @param {Partial<Kept>} change */
export function keep(change) {
  const all = { ...kept(), ...change };
  const cut = Object.fromEntries(Object.entries(all).map(([name, value]) => [name, Array.isArray(value) ? value.slice(-MAX_NAMES) : value]));
  try {
    localStorage.setItem(NAME, JSON.stringify(cut));
  } catch {
    // full, or not allowed: it is forgotten with the page
  }
}

/** @param {"pinned" | "hidden" | "folded"} list @param {string} name */
export function turn(list, name) {
  const names = kept()[list];
  keep({ [list]: names.includes(name) ? names.filter((other) => other !== name) : [...names, name] });
}

/**
 * Move a name before another among those of its group, or to their end.
 * @param {"order" | "pinned"} list @param {string[]} names of the group, as they stand @param {string} name @param {string | null} before
 */
export function move(list, names, name, before) {
  const others = names.filter((other) => other !== name);
  const at = before === null ? others.length : Math.max(0, others.indexOf(before));
  const moved = [...others.slice(0, at), name, ...others.slice(at)];
  keep({ [list]: [...kept()[list].filter((other) => !names.includes(other)), ...moved] });
}
