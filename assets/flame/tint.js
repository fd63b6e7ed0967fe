/** Colours of flame frames: by difference from normal or by kind, lighter where the stack is not trusted. */

import { onTheme, token } from "../lib/theme.js";

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {{fill: string, ink: string}} Tint */
/** @typedef {[number, number, number]} Rgb */

const RAMP = ["diff-less-3", "diff-less-2", "diff-less-1", "diff-0", "diff-more-1", "diff-more-2", "diff-more-3"];
const STEPS = 8; // of colour between two tokens
const LEAST_CONTRAST = 4.8; // of words on a frame; 4.5 is what WCAG 2 asks for
const FADED = 0.55; // how far an untrusted or receding frame goes towards the ground

/** @type {Map<string, Tint>} */
const cache = new Map();
onTheme(() => cache.clear());

/** @param {number} share of the full excess, from -1 (less than normal) to 1 (more) @param {boolean} faded */
export function differenceTint(share, faded) {
  const at = Math.round((Math.max(-1, Math.min(1, share)) + 1) * 3 * STEPS);
  return cached(
    `difference ${at} ${faded}`,
    () => {
      const [low, part] = [Math.min(RAMP.length - 2, Math.floor(at / STEPS)), at / STEPS];
      return mixed(rgb(RAMP[low]), rgb(RAMP[low + 1]), part - low);
    },
    faded,
  );
}

/** @param {string} name of a token @param {boolean} faded */
export const tokenTint = (name, faded) => cached(`${name} ${faded}`, () => rgb(name), faded);

/** Each node's colour: against normal where the tree is compared and the difference is wanted, else by kind. @param {Tree} tree @param {boolean} difference @param {number} hot */
export function tints(tree, difference, hot) {
  if (difference && tree.compared) {
    const full = tree.fullExcess();
    return (/** @type {number} */ node, /** @type {boolean} */ faded) => differenceTint(tree.excess(node) / full, faded);
  }
  return (/** @type {number} */ node, /** @type {boolean} */ faded) =>
    tokenTint(node === hot ? "flame-hot" : kindToken(tree.nodes.kind[node]), faded);
}

/** @param {string} kind */
export const kindToken = (kind) => (kind === "own" ? "flame-own" : "flame-library");

/** @param {string} key @param {() => Rgb} colour @param {boolean} faded @returns {Tint} */
function cached(key, colour, faded) {
  let tint = cache.get(key);
  if (!tint) {
    tint = readable(faded ? mixed(colour(), rgb("bg"), FADED) : colour());
    cache.set(key, tint);
  }
  return tint;
}

/** The ink of the two with more contrast; between light and dark there is a stretch where neither has enough, which is left out. @param {Rgb} fill @returns {Tint} */
function readable(fill) {
  const [ink, other] = ["on-flame-light", "on-flame-dark"].sort((a, b) => contrast(fill, rgb(b)) - contrast(fill, rgb(a)));
  let clear = fill;
  for (let part = 0; contrast(clear, rgb(ink)) < LEAST_CONTRAST; part += 0.02) clear = mixed(fill, rgb(other), part);
  return { fill: `rgb(${clear.map(Math.round).join(",")})`, ink: token(ink) };
}

/** @param {string} name @returns {Rgb} */
const rgb = (name) => /** @type {Rgb} */ ([1, 3, 5].map((at) => parseInt(token(name).slice(at, at + 2), 16)));

/** @param {Rgb} from @param {Rgb} to @param {number} part @returns {Rgb} */
const mixed = (from, to, part) => /** @type {Rgb} */ (from.map((value, i) => value + (to[i] - value) * part));

/** WCAG 2 contrast ratio. @param {Rgb} a @param {Rgb} b */
export function contrast(a, b) {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

/** @param {Rgb} colour */
function luminance(colour) {
  const [r, g, b] = colour.map((value) => (value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
