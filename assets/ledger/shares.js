/** The rows of a ledger, of a window or of a whole run, as a bar, in words and in colours (pure but for the bar). */

import { swatchClass } from "../data/colours.js";
import { el } from "../lib/dom.js";
import { percent } from "../lib/figures.js";
import { place } from "../lib/format.js";

/** @typedef {import("../types/api").Row<"LedgerRow">} KindRow */
/** @typedef {{label: string, share: number, colour: string, row: KindRow | null}} Part of the whole; `row` is null for all small ones together */

/** A bar's segments, each as wide as its share: the children of a `ul.shares`. @param {KindRow[]} rows */
export const segmentsOf = (rows) => partsOf(rows).map(segment);

/** @param {Part} part */
function segment(part) {
  const style = `flex-grow:${Math.max(0, part.share).toFixed(2)};background:var(--${part.colour})`;
  return el("li", { class: swatchClass(part.colour, ""), style, title: tipOf(part) }, el("span", { class: "unseen" }, `${part.label} ${shareOf(part)}`));
}

export const SMALL = 2; // points: less is shown as other, as in the sentence
const WIDE = 5; // points between least and most: a share is "about" so much
const MIN_OTHER = 0.05; // points

const OTHER = "c8";

/** A kind's square beside its name. @param {string} colour */
export const keyOf = (colour) => el("i", { class: swatchClass(colour, "key"), style: `background:var(--${colour})` });

/** A token. @param {{colour: number}} row */
export const colourOf = ({ colour }) => `c${colour}`;

/** The rows of at least two points, and all others as one. @param {KindRow[]} rows @returns {Part[]} */
export function partsOf(rows) {
  const large = rows.filter(({ kind, share }) => kind === "busy" || share >= SMALL);
  const rest = rows.filter((row) => !large.includes(row)).reduce((sum, { share }) => sum + share, 0);
  const parts = large.map((row) => ({ label: row.label, share: row.share, colour: colourOf(row), row: /** @type {KindRow | null} */ (row) }));
  return rest >= MIN_OTHER ? [...parts, { label: "other", share: rest, colour: OTHER, row: null }] : parts;
}

/** `27%`, or `about 27%` where the range is wide. @param {Part} part */
export const shareOf = ({ share, row }) => `${row && isWide(row) ? "about " : ""}${percent(share / 100)}`;

/** @param {KindRow} row */
const isWide = ({ least, most }) => most - least > WIDE;

/** `22 to 33%`, where that is worth saying. @param {KindRow} row */
export const rangeOf = (row) => (isWide(row) ? `${row.least.toFixed(0)} to ${percent(row.most / 100)}` : "");

/** `data.py:88 decode` @param {{file: string, line: number | null, function: string}} where */
export const lineOf = (where) => `${place(where.file, where.line ?? 0)} ${where.function.split(".").pop()}`;

/** What a pointer reads at a part: `waiting for data, about 27% (22 to 33%): data.py:88 decode`. @param {Part} part */
function tipOf(part) {
  const { label, row } = part;
  const range = row ? rangeOf(row) : "";
  const [line] = row?.lines ?? [];
  return `${label}, ${shareOf(part)}${range ? ` (${range})` : ""}${line ? `: ${lineOf(line)}` : ""}`;
}
