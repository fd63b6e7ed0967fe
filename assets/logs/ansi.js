/** Escape sequences of terminals in a line: colours become classes, everything else of them is left out. */

import { el } from "../lib/dom.js";

/** @typedef {{text: string, from: number, classes: string}} Part `from`: where it begins in the line */
/** @typedef {{text: string, classes: string, hit: boolean}} Shown */
/** @typedef {{colour: string, bold: boolean, faint: boolean}} Style */

export const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]/g;
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const CODE = { reset: 0, bold: 1, faint: 2, notBold: 22, foreground: 30, extended: 38, normal: 39, background: 40, extendedBackground: 48, bright: 90 };
const PLAIN = { colour: "", bold: false, faint: false };
const CUBE = 6; // colours 16 to 231 of 256

/**
 * `"\x1b[31mbad\x1b[0m end" -> [{text: "bad", from: 5, classes: "ansi-red"}, {text: " end", from: 12, classes: ""}]`
 * @param {string} text @returns {Part[]}
 */
export function partsOf(text) {
  if (!text.includes("\x1b")) return text ? [{ text, from: 0, classes: "" }] : [];
  /** @type {Part[]} */
  const out = [];
  let style = PLAIN;
  let from = 0;
  const push = (/** @type {number} */ to) => {
    if (to > from) out.push({ text: text.slice(from, to), from, classes: classesOf(style) });
  };
  for (const match of text.matchAll(SEQUENCE)) {
    push(match.index);
    from = match.index + match[0].length;
    if (match[1] !== undefined) style = restyled(style, match[1]);
  }
  push(text.length);
  return out;
}

/** Cut where hits begin and end. @param {Part[]} parts @param {[number, number][]} spans in order, places in the line @param {number} [skip] what stands before it is left out @returns {Shown[]} */
export function marked(parts, spans, skip = 0) {
  /** @type {Shown[]} */
  const out = [];
  for (const { text, from, classes } of parts) {
    const end = from + text.length;
    let at = Math.max(from, skip);
    for (const [lo, hi] of spans) {
      if (hi <= at || lo >= end) continue;
      if (lo > at) out.push({ text: text.slice(at - from, lo - from), classes, hit: false });
      out.push({ text: text.slice(Math.max(lo, at) - from, Math.min(hi, end) - from), classes, hit: true });
      at = Math.min(hi, end);
    }
    if (at < end) out.push({ text: text.slice(at - from), classes, hit: false });
  }
  return out;
}

/**
 * A span for what has a colour, plain text for the rest; control characters are shown by `el`.
 * @param {Shown[]} parts @returns {(Node | string)[]}
 */
export const nodesOf = (parts) =>
  parts.map(({ text, classes, hit }) => (hit ? el("mark", { class: classes }, text) : classes ? el("span", { class: classes }, text) : text));

/** A template, whose numbers are masked, without what is left of them. `"\x1b[#msaved #" -> "saved #"` @param {string} template */
export const withoutSequences = (template) => template.replace(/\x1b\[[#\d;:]*[A-Za-z]/g, "").replace(SEQUENCE, "");

/** @param {Style} style */
const classesOf = ({ colour, bold, faint }) => [colour && `ansi-${colour}`, bold && "strong", faint && "dim"].filter(Boolean).join(" ");

/** @param {Style} style @param {string} codes @returns {Style} */
function restyled(style, codes) {
  let next = { ...style };
  const numbers = codes.split(/[;:]/).map(Number);
  for (let i = 0; i < numbers.length; i++) {
    const code = numbers[i];
    if (code === CODE.reset) next = { ...PLAIN };
    else if (code === CODE.bold) next.bold = true;
    else if (code === CODE.faint) next.faint = true;
    else if (code === CODE.notBold) next.bold = next.faint = false;
    else if (code === CODE.normal) next.colour = "";
    else if (code === CODE.extended || code === CODE.extendedBackground) {
      const [colour, length] = extended(numbers.slice(i + 1));
      if (code === CODE.extended) next.colour = colour;
      i += length;
    } else next.colour = COLOURS[code - CODE.foreground] ?? COLOURS[code - CODE.bright] ?? next.colour;
  }
  return next;
}

/** The nearest of the eight, which are readable in both themes; and how many numbers say it. @param {number[]} rest behind 38 @returns {[string, number]} */
function extended([kind, ...rest]) {
  if (kind === 2) return [nearest(rest.slice(0, 3)), 4];
  if (kind !== 5) return ["", 1];
  const [index = 0] = rest;
  if (index < 16) return [COLOURS[index % 8], 2];
  const cube = index - 16;
  const levels = index < 232 ? [Math.floor(cube / CUBE / CUBE), Math.floor(cube / CUBE) % CUBE, cube % CUBE].map((level) => (level * 255) / (CUBE - 1)) : [0, 0, 0].fill(((index - 232) * 255) / 23);
  return [nearest(levels), 2];
}

/** @param {number[]} channels 0 to 255 */
function nearest([red = 0, green = 0, blue = 0]) {
  const [least, most] = [Math.min(red, green, blue), Math.max(red, green, blue)];
  if (most - least < 0.25 * most || most < 48) return most > 128 ? "white" : "black";
  const bright = [red, green, blue].map((channel, i) => (channel - least > (most - least) / 2 ? 2 ** i : 0));
  return COLOURS[bright.reduce((sum, bit) => sum + bit, 0)];
}
