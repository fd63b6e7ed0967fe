/** Boxes of frames on a canvas, and their colours. */

import { el, visible } from "../lib/dom.js";
import { place } from "../lib/format.js";
import { onTheme, token } from "../lib/theme.js";

// Draws boxes of frames on a canvas: fills, names, hatched waits, the selected frame, search hits.

/** @typedef {import("./tree.js").Frame} Frame */

/**
 * @typedef {Object} Look of one box
 * @property {Tint} tint
 * @property {string} title
 * @property {string} [where] in smaller letters behind the title
 * @property {string} [value] at the right
 * @property {boolean} [hatched]
 * @property {boolean} [strong]
 * @property {boolean} [selected]
 * @property {boolean} [found] by the search
 */

const LABEL_PX = 24; // narrower boxes carry no name
const HATCH_PX = 6;
const PAD_PX = 4;
const MARK_PX = 3;
const TALL_PX = 22; // higher rows have larger letters
const CUT = "…";

export class Painter {
  /** @param {CanvasRenderingContext2D} ctx in CSS pixels @param {number} row height of a row @param {string} found what a search looks for, in lower case */
  constructor(ctx, row, found) {
    this.ctx = ctx;
    this.row = row;
    this.found = found;
    this.font = token("font-ui");
    ctx.textBaseline = "middle";
  }

  /** @param {number} x @param {number} y @param {number} width @param {Look} look */
  box(x, y, width, look) {
    const { ctx, row } = this;
    const [left, wide] = [Math.round(x), Math.max(1, Math.round(x + width) - Math.round(x) - (width > 3 ? 1 : 0))];
    ctx.fillStyle = look.tint.fill;
    ctx.fillRect(left, y, wide, row - 1);
    if (look.hatched) this.#hatch(left, y, wide, look.tint.ink);
    if (look.found) this.#mark(left, y, wide);
    if (wide > LABEL_PX) this.#label(left, y + (row - 1) / 2, wide, look);
    if (look.selected) this.#frame(left, y, wide);
  }

  /** @param {number} left @param {number} y @param {number} wide */
  #mark(left, y, wide) {
    this.ctx.fillStyle = token("mark");
    this.ctx.fillRect(left, y + this.row - 1 - MARK_PX, wide, MARK_PX);
  }

  /** @param {number} left @param {number} y @param {number} wide */
  #frame(left, y, wide) {
    this.ctx.strokeStyle = token("ink");
    this.ctx.lineWidth = 2;
    this.ctx.strokeRect(left + 1, y + 1, wide - 2, this.row - 3);
  }

  /** @param {number} left @param {number} y @param {number} wide @param {string} ink */
  #hatch(left, y, wide, ink) {
    const { ctx, row } = this;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, y, wide, row - 1);
    ctx.clip();
    ctx.strokeStyle = ink;
    ctx.globalAlpha = 0.2;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let x = left - row - (left % HATCH_PX); x < left + wide; x += HATCH_PX) {
      ctx.moveTo(x, y + row);
      ctx.lineTo(x + row, y);
    }
    ctx.stroke();
    ctx.restore();
  }

  /** @param {number} left @param {number} y its middle @param {number} wide @param {Look} look */
  #label(left, y, wide, { tint, title, where = "", value = "", strong = false, found = false }) {
    const { ctx } = this;
    ctx.fillStyle = tint.ink;
    this.#use(`${strong ? "600 " : ""}${this.row < TALL_PX ? 11 : 12}px`);
    const name = this.#fitted(title, wide - 2 * PAD_PX);
    ctx.fillText(name, left + PAD_PX, y);
    if (found) this.#highlight(name, left + PAD_PX, y);
    let used = left + PAD_PX + this.#wide(name) + PAD_PX + 2;
    this.#use(`${this.row < TALL_PX ? 10 : 11}px`);
    if (where && used + this.#wide(where) + PAD_PX < left + wide) {
      ctx.fillText(where, used, y);
      used += this.#wide(where) + PAD_PX;
    }
    const at = left + wide - this.#wide(value) - PAD_PX;
    if (value && at > used) ctx.fillText(value, at, y);
  }

  /** @param {string} name @param {number} x @param {number} y */
  #highlight(name, x, y) {
    const at = name.toLowerCase().indexOf(this.found);
    if (at < 0) return;
    const { ctx, row } = this;
    const [ink, hit] = [ctx.fillStyle, name.slice(at, at + this.found.length)];
    const from = x + this.#wide(name.slice(0, at));
    ctx.fillStyle = token("mark");
    ctx.fillRect(from - 1, y - row / 2 + 2, this.#wide(hit) + 2, row - 4);
    ctx.fillStyle = token("on-flame-dark");
    ctx.fillText(hit, from, y);
    ctx.fillStyle = ink;
  }

  #size = "";

  /** @param {string} size */
  #use(size) {
    this.#size = size;
    this.ctx.font = `${size} ${this.font}`;
  }

  /** @param {string} text */
  #wide(text) {
    const key = `${this.#size} ${text}`;
    let width = widths.get(key);
    if (width === undefined) {
      if (widths.size > MAX_WIDTHS) widths.clear();
      width = this.ctx.measureText(text).width;
      widths.set(key, width);
    }
    return width;
  }

  /** Cut to about the room that there is: measuring each cut would cost more than the frames. @param {string} text @param {number} room */
  #fitted(text, room) {
    const width = this.#wide(text);
    if (width <= room) return text;
    const kept = Math.floor((text.length * room) / width) - 2;
    return kept > 1 ? text.slice(0, kept) + CUT : "";
  }
}

/** @type {Map<string, number>} */
const widths = new Map();
const MAX_WIDTHS = 20_000;

/** What stands in a frame's box. @param {Frame} frame */
export const words = (frame) => ({ title: visible(frame.name), where: frame.file ? visible(place(frame.file, frame.line)) : "" });

// Colours of flame frames: by difference from normal or by kind, lighter where the stack is not trusted.

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {{fill: string, ink: string}} Tint */
/** @typedef {[number, number, number]} Rgb */

const RAMP = ["diff-less-3", "diff-less-2", "diff-less-1", "diff-0", "diff-more-1", "diff-more-2", "diff-more-3"];
const STEPS = 8; // of colour between two tokens
const MIN_CONTRAST = 4.8; // of words on a frame; 4.5 is what WCAG 2 asks for
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
  for (let part = 0; contrast(clear, rgb(ink)) < MIN_CONTRAST; part += 0.02) clear = mixed(fill, rgb(other), part);
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

// The meaning of the colours of flame frames.

export const legendOfKinds = () => [
  el("i", { class: "own" }),
  "your code",
  el("i", { class: "library" }),
  "library",
  el("i", { class: "wait" }),
  "waits",
];

export const legendOfDifference = () => ["less", el("i", { class: "ramp-diff" }), "more than the baseline"];
