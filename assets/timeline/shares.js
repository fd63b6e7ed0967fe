/** A lane of shares: blocks of time, each a column of kinds that fill it, as the ledger gave them out. */

import { TIME } from "../lib/axis.js";
import { colourOf, shortOf } from "../ledger/kinds.js";
import { setClass } from "../lib/dom.js";
import { LaneView, fillRows } from "./lane.js";
import { token } from "../lib/theme.js";

/** @typedef {import("../types/api").Row<"LedgerBlocks">} Blocks */
/** @typedef {{blocks: Blocks, window: [number, number], why: string}} Shares `window`: of the blocks, whose edges may lie outside of it, Unix seconds; `why`: there are no blocks, or "" */

const ROW_PX = 14; // of the right column, and what is above the first
const TOP_PX = 6;
const LEAST = 0.5; // percent: less is none

export class SharesLane extends LaneView {
  /** @type {Shares | null} */
  shares = null;

  /** @param {import("./timeline.js").Picture} picture */
  draw({ view, axis, cursor_s, shares = null }) {
    this.element.hidden = axis !== TIME; // steps have no blocks
    const changed = shares !== this.shares || view.lo !== this.view.lo || view.hi !== this.view.hi;
    if (changed) {
      this.shares = shares;
      this.view = view;
      this.axis = axis;
      this.say(shares?.why ?? "");
      setClass(this.element, "waiting", shares === null);
      this.chart?.setData(this.data());
    }
    this.#showValues(cursor_s ?? view.hi);
  }

  data() {
    return [
      [this.view.lo, this.view.hi],
      [undefined, undefined],
    ];
  }

  /** @param {number} width @param {number} height */
  options(width, height) {
    const options = super.options(width, height);
    return { ...options, series: [{}, { show: false }], hooks: { draw: [(/** @type {any} */ u) => this.shares && drawShares(u, this.shares)] } };
  }

  /** Of the block there, else of the last one before. @param {number} time_s */
  #showValues(time_s) {
    const rows = this.shares ? sharesAt(this.shares.blocks, time_s) : [];
    const fit = Math.max(1, Math.floor((this.values.clientHeight - TOP_PX) / ROW_PX));
    const shown = rows.slice(0, this.narrow ? rows.length : fit);
    fillRows(this.values, shown.map(({ kind, share }) => ({ label: shortOf(kind), value: `${share.toFixed(0)} %`, colour: colourOf(kind), mark: "box" })));
  }
}

/** The kinds of the block at a time, else of the last one before it, the largest first (pure). @param {Blocks} blocks @param {number} time_s @returns {{kind: string, share: number}[]} */
export function sharesAt({ start, kinds, seconds }, time_s) {
  let at = start.length - 1;
  while (at >= 0 && start[at] > time_s) at--;
  if (at < 0) return [];
  const total = seconds.reduce((sum, column) => sum + column[at], 0);
  if (total <= 0) return [];
  return kinds
    .map((kind, i) => ({ kind, share: (100 * seconds[i][at]) / total }))
    .filter(({ share }) => share >= LEAST)
    .sort((a, b) => b.share - a.share);
}

/**
 * From the foot up in the order of the kinds; a block's column is full whatever part of it was covered.
 * @param {any} u uPlot @param {Shares} shares
 */
function drawShares(u, { blocks: { start, end, kinds, seconds }, window: [from, to] }) {
  const { ctx, bbox } = u;
  const right = bbox.left + bbox.width;
  const x = (/** @type {number} */ time_s) => Math.max(bbox.left, Math.min(right, Math.round(u.valToPos(Math.max(from, Math.min(to, time_s)), "x", true))));
  const y = (/** @type {number} */ share) => Math.round(u.valToPos(share, "y", true));
  const colours = kinds.map((kind) => token(colourOf(kind)));
  start.forEach((from_s, at) => {
    const [x0, x1] = [x(from_s), x(end[at])];
    const total = seconds.reduce((sum, column) => sum + column[at], 0);
    if (x1 <= x0 || total <= 0) return;
    let below = 0;
    kinds.forEach((_, i) => {
      const above = below + (100 * seconds[i][at]) / total;
      const [foot, top] = [y(below), y(above)];
      ctx.fillStyle = colours[i];
      if (foot > top) ctx.fillRect(x0, top, x1 - x0, foot - top);
      below = above;
    });
  });
}
