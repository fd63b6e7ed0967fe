/** The colours of a chart's curves: what its file says, else the card's or the run's own, else one after the other (pure). */

import { COLOURS, coloursOf } from "../data/run_colours.js";

/** @typedef {import("./rows.js").CurveRow} CurveRow */

const GPUS = 8;

/** A token a curve. @param {CurveRow[]} rows @returns {string[]} */
export function tokensOf(rows) {
  const drawn = rows.filter(({ item }) => item >= 0);
  if (drawn.length !== rows.length) {
    const tokens = tokensOf(drawn);
    return rows.map(({ item }) => (item < 0 ? "ink-3" : (tokens.shift() ?? "accent"))); // what lies along x is not drawn
  }
  const runs = rows.map(({ run }) => run);
  const byRun = new Set(runs).size === rows.length && rows.length > 1 && runs.every(Boolean);
  const cards = rows.map(({ labels }) => labels.gpu);
  const byGpu = new Set(cards).size === rows.length && cards.every((gpu) => gpu !== undefined && Number(gpu) < GPUS);
  const ofRuns = byRun ? coloursOf(runs) : new Map();
  return rows.map(({ colour, run }, i) => (colour ? `run-${colour - 1}` : byRun ? (ofRuns.get(run) ?? "accent") : byGpu ? `gpu-${Number(cards[i])}` : rows.length === 1 ? "accent" : `run-${i % COLOURS}`));
}
