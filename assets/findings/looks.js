/** What a finding looks like, in what order findings come, and which window is selected for one (pure). */

import { STEP } from "../lib/axis.js";

/** @typedef {import("../types/api").Row<"FindingRow">} Found */

const GOOD = new Set(["finished", "new_best"]);
const AROUND_S = 5; // of a moment, on either side
const AROUND_STEPS = 5;
const LEAST_S = 1; // of a window

/** A note and an alert differ in their shape; the colour only repeats it. @param {Found} found @returns {{shape: "triangle" | "octagon" | "disc", tone: string, word: string}} */
export function looksOf({ weight, rule }) {
  const word = weight === "alert" ? "Alert" : "Note";
  if (GOOD.has(rule)) return { shape: "disc", tone: "acc", word };
  return weight === "alert" ? { shape: "octagon", tone: "bad", word } : { shape: "triangle", tone: "warn", word };
}

/** Alerts first, then the newest. @param {Found} a @param {Found} b */
export const byWeight = (a, b) => Number(b.weight === "alert") - Number(a.weight === "alert") || b.start - a.start;

/** @param {Found} a @param {Found} b */
export const byTime = (a, b) => a.start - b.start || (a.id < b.id ? -1 : 1);

/** Where it lies on an axis; null where it has no place there. One that holds reaches to `now_s`. @param {Found} found @param {import("../lib/axis.js").Axis} axis @param {number} now_s @returns {{from: number, to: number} | null} */
export function placeOf({ start, end, over, step }, axis, now_s) {
  if (axis === STEP) return step === null ? null : { from: step, to: step };
  return { from: start, to: over ? end : Math.max(end, now_s) };
}

/** The window by which the profile answers for it. @param {Found} found @param {import("../lib/axis.js").Axis} axis @returns {{from: number, to: number} | null} */
export function windowOf(found, axis) {
  const place = placeOf(found, axis, found.end);
  if (place === null) return null;
  const { from, to } = place;
  if (axis === STEP) return { from: Math.max(0, from - AROUND_STEPS), to: to + AROUND_STEPS };
  return to - from >= LEAST_S ? place : { from: from - AROUND_S, to: to + AROUND_S };
}

/**
 * Findings that would cover each other are one mark. Which ones depends on the scale only, so that a mark does not fall apart while the axis moves.
 * @param {{found: Found, from: number, to: number}[]} placed by their start @param {number} least distance of two marks on the axis
 * @returns {{found: Found, from: number, to: number}[][]}
 */
export function together(placed, least) {
  /** @type {{found: Found, from: number, to: number}[][]} */
  const marks = [];
  for (const place of placed) {
    const mark = marks.at(-1);
    if (mark && place.from - mark[0].from < least) mark.push(place);
    else marks.push([place]);
  }
  return marks;
}

/** Where any of them lasts, as stretches that do not touch. @param {{from: number, to: number}[]} placed by their start @returns {{from: number, to: number}[]} */
export function stretches(placed) {
  /** @type {{from: number, to: number}[]} */
  const found = [];
  for (const { from, to } of placed) {
    const last = found.at(-1);
    if (last && from <= last.to) last.to = Math.max(last.to, to);
    else if (to > from) found.push({ from, to });
  }
  return found;
}
