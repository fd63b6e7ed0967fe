/** What all runs have below the pointer, sorted by value. */

import { GREY, isDashed } from "../data/colours.js";
import { el, setText } from "../lib/dom.js";
import { count, figure, nonFinite } from "../lib/format.js";
import { nearest } from "./curve.js";
import { spanWord, xWord } from "./training_view.js";

/** @typedef {import("./chart.js").Chart} Chart */
/** @typedef {import("./curve.js").Curve} Curve */
/** @typedef {{curve: Curve, i: number, value: number}} Found */

const MOST = 20; // rows
const REACH = 0.02; // of the view: so far beside its points a curve has no value
const AWAY_PX = 14;

/** Each curve's value at a place, the highest first. @param {Chart} chart @param {number} x @returns {Found[]} */
export function foundAt({ picture, span }, x) {
  const reach = (span.hi - span.lo) * REACH;
  const found = (picture?.curves ?? []).flatMap((curve) => {
    const i = nearest(curve, x, reach);
    return i < 0 ? [] : [{ curve, i, value: curve.smooth ? curve.smooth[i] : curve.mean[i] }];
  });
  const size = (/** @type {number} */ value) => (Number.isNaN(value) ? -Infinity : value);
  return found.sort((a, b) => size(b.value) - size(a.value));
}

/** The value of a bucket: its own where it is one point, else the mean. @param {Found} found */
export function valueWord({ curve, i, value }) {
  if (!Number.isNaN(value)) return figure(value);
  const { last } = curve.row;
  return typeof last[i] === "string" ? nonFinite(Number(last[i])) : "–";
}

/** Of which places a curve's value is: a bucket's first to its last. @param {Found} found @param {string} x as in a view */
function placeWord({ curve, i }, x) {
  const [lo, hi] = [curve.from[i], curve.to[i]];
  return xWord(x, lo) === xWord(x, hi) ? xWord(x, hi) : spanWord(x, { lo, hi });
}

/** What the values are of, where that is the same for all; else the pointer's place, and each row says its own. @param {Found[]} found @param {string} x as in a view @param {number} at the pointer's place */
export function headOf(found, x, at) {
  const places = new Set(found.map((hit) => placeWord(hit, x)));
  return places.size === 1 ? [...places][0] : found.length ? `nearest to ${xWord(x, at)}` : xWord(x, at);
}

export class Tip {
  /** @param {HTMLElement} home where it is shown */
  constructor(home = document.body) {
    this.where = el("b");
    this.rows = el("table");
    this.more = el("span", { class: "dim" });
    this.element = el("div", { class: "tip curves-tip", hidden: true, role: "tooltip" }, this.where, this.rows, this.more);
    this.home = home;
    home.append(this.element);
  }

  /** @param {Chart} chart @param {number} x @param {{clientX: number, clientY: number}} pointer */
  show(chart, x, { clientX, clientY }) {
    const { picture } = chart;
    if (!picture?.curves) return this.hide();
    const found = foundAt(chart, x);
    const head = headOf(found, picture.view.x, x);
    setText(this.where, head);
    const smooth = found.some(({ curve }) => curve.smooth);
    this.rows.replaceChildren(...found.slice(0, MOST).map((hit) => row(hit, picture, smooth, head)));
    setText(this.more, found.length > MOST ? `${count(found.length - MOST)} more` : found.length ? "" : "no point here");
    const home = chart.element.closest(".is-full") ?? this.home; // above which nothing else is seen
    if (this.element.parentElement !== home) home.append(this.element);
    this.element.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const left = clientX + AWAY_PX + width > innerWidth ? clientX - AWAY_PX - width : clientX + AWAY_PX;
    Object.assign(this.element.style, { left: `${Math.max(4, left)}px`, top: `${Math.max(4, Math.min(innerHeight - height - 4, clientY + AWAY_PX))}px` });
    return undefined;
  }

  hide() {
    this.element.hidden = true;
  }
}

/** @param {Found} found @param {import("./chart.js").Picture} picture @param {boolean} smooth @param {string} head */
function row(found, picture, smooth, head) {
  const { curve, i } = found;
  const [min, max, step] = [curve.min[i], curve.max[i], curve.step[i]];
  const place = placeWord(found, picture.view.x);
  return el(
    "tr",
    {},
    el("td", {}, lineKey(picture.colourOf(curve)), curve.label),
    el("td", { class: "num strong" }, valueWord(found)),
    smooth ? el("td", { class: "num dim" }, Number.isNaN(curve.mean[i]) ? "" : figure(curve.mean[i])) : null,
    el("td", { class: "num dim" }, max > min ? `${figure(min)} to ${figure(max)}` : ""),
    el("td", { class: "num dim" }, place === head ? "" : place),
    el("td", { class: "num dim" }, picture.view.x === "step" || Number.isNaN(step) ? "" : `step ${count(step)}`),
  );
}

// The line that stands for a curve in legends and tables.

/** @param {string} colour a token @param {boolean} alone beside no other, its line is not dashed @returns {HTMLElement} */
export const lineKey = (colour, alone = false) => el("i", { class: `line-key${alone ? "" : isDashed(colour) ? " dashed" : colour === GREY ? " dotted" : ""}`, style: `color:var(--${colour})` });
