/** The sixteen looks of the palette, and which run has which: eight colours whose lines are solid, and the same ones dashed. */

export const COLOURS = 16; // the tokens c1 to c16; c9 is c1 again
export const GREY = "ink-3"; // of what has no colour; its lines are dotted
const SOLID = 8;

/** A token of `tokens.css`: `colourAt(0) -> "c1"`; after the sixteenth, the first again. @param {number} at */
export const colourAt = (at) => `c${(at % COLOURS) + 1}`;

/** Whether lines of this colour are dashed and areas striped, so that they differ from the solid ones. @param {string} token */
export const isDashed = (token) => /^c\d+$/.test(token) && Number(token.slice(1)) > SOLID;

/** Pixels drawn and left out along a line of this colour, in turn; [] for all of it. @param {string} token @returns {number[]} */
export const dashOf = (token) => (isDashed(token) ? [7, 3] : token === GREY ? [2, 3] : []);

/** A swatch's class. @param {string} token @param {string} name of the plain one */
export const swatchClass = (token, name) => (isDashed(token) ? `${name} striped` : name);

/** The colours of phases: shades of computing, else of the kind of time that the ledger counts them as (`analysis/ledger/evidence.py`). @type {Map<string, string>} */
const PHASE_COLOURS = new Map([
  ...["forward", "backward", "optimizer"].map((name) => /** @type {const} */ ([name, name])),
  ...["data", "load", "batch", "dataloader", "fetch"].map((name) => /** @type {const} */ ([name, "c2"])),
  ...["checkpoint", "save"].map((name) => /** @type {const} */ ([name, "c6"])),
  ...["log", "logging", "report"].map((name) => /** @type {const} */ ([name, "c14"])),
  ...["validation", "val", "eval", "evaluate", "evaluation", "test"].map((name) => /** @type {const} */ ([name, "c7"])),
  ["other", "c8"],
]);
const OTHERS = ["c1", "c5", "c4", "c9", "c13", "c12"]; // phases of other names

/** Of the phases of a step, the same on all pages. @param {string[]} names @returns {Map<string, string>} */
export function phaseColours(names) {
  const others = names.filter((name) => !PHASE_COLOURS.has(name)).sort();
  return new Map(names.map((name) => [name, PHASE_COLOURS.get(name) ?? OTHERS[others.indexOf(name) % OTHERS.length]]));
}

/**
 * Gives names their colours: a name keeps its colour for as long as it is chosen, whatever happens to the others.
 *
 *     colours.choose(["a", "b"]); // a is c1, b is c2
 *     colours.choose(["b", "c"]); // b is still c2; c takes c1, which is free
 *
 * A colour stands for one name only: the seventeenth and later ones are grey until a colour is free.
 */
export class Colours {
  /** @type {Map<unknown, string[]>} what each owner has chosen */
  #chosen = new Map();
  /** @type {Map<string, number>} from 0 */
  #places;

  /** @param {string} [key] remembers them for as long as the tab is open, under this key */
  constructor(key = "") {
    this.key = key;
    this.#places = new Map(key ? JSON.parse(sessionStorage.getItem(key) ?? "[]") : []);
  }

  /** @param {Iterable<string>} names in the order in which they take colours @param {unknown} [owner] who chooses: the page, unless it is a part of it */
  choose(names, owner = "page") {
    this.#chosen.set(owner, [...names]);
    const wanted = new Set([...this.#chosen.values()].flat());
    for (const name of this.#places.keys()) if (!wanted.has(name)) this.#places.delete(name);
    const free = new Set(Array.from({ length: COLOURS }, (_, place) => place));
    for (const place of this.#places.values()) free.delete(place);
    for (const name of wanted) {
      const [place] = free;
      if (place === undefined || this.#places.has(name)) continue;
      free.delete(place);
      this.#places.set(name, place);
    }
    if (this.key) sessionStorage.setItem(this.key, JSON.stringify([...this.#places]));
  }

  /** What it chose is given back once somebody chooses again. @param {unknown} owner */
  release(owner) {
    this.#chosen.delete(owner);
  }

  /** A token. @param {string} name */
  of(name) {
    const number = this.numberOf(name);
    return number === null ? GREY : `c${number}`;
  }

  /** From 1; null for a grey one. @param {string} name */
  numberOf(name) {
    const place = this.#places.get(name);
    return place === undefined ? null : place + 1;
  }
}

/** Those of runs, on all pages. */
export const runColours = new Colours("run-colours");
