/** When a place on the axis of curves was: the window of time that Live and Flame show for it, and the card that leads there. */

import { get, sentenceOf } from "../lib/api.js";
import { TIME } from "../lib/axis.js";
import { el } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { pathTo } from "../lib/url.js";
import { lineKey } from "./tip.js";

// When a place on the axis of curves was: the window of time that Live and Flame show for it.

/** @typedef {import("./curve.js").Curve} Curve */
/** @typedef {import("./training_view.js").Span} Span */

const BUCKETS = 2000;
const ROUNDS = 3; // each finds the place 2,000 times as exactly
const MIN_S = 0.05; // the narrowest window that the other pages show

/**
 * The window in which a run was at these places. Of steps that were done twice, the last time.
 * @param {string} run @param {string} x as in a view @param {Span} span on that axis @param {Curve[]} curves of the run, in which other axes find their steps
 * @param {string} series one of the run's series with steps and times
 * @returns {Promise<Span | null>} Unix seconds; null where the run has no times there
 */
export async function windowOf(run, x, span, curves, series) {
  if (x === "time") return wide(span);
  if (x === "relative") {
    const whole = await extent(run);
    return whole && wide({ lo: whole.lo + span.lo, hi: whole.lo + span.hi });
  }
  const steps = x === "step" ? span : stepsOf(curves, span);
  return steps && timesOf(run, series, steps);
}

/** When a run's points begin and end; null without times. @param {string} run @returns {Promise<Span | null>} */
export async function extent(run) {
  const { series } = await get("series", { run });
  const [lo, hi] = [Math.min(...series.map((row) => row.first_time_s ?? Infinity)), Math.max(...series.map((row) => row.last_time_s ?? -Infinity))];
  return lo <= hi ? { lo, hi } : null;
}

/** @param {Span} span */
const wide = ({ lo, hi }) => (hi - lo >= MIN_S ? { lo, hi } : { lo: hi - MIN_S, hi });

/** @param {Curve[]} curves @param {Span} span @returns {Span | null} */
function stepsOf(curves, span) {
  let [lo, hi] = [Infinity, -Infinity];
  for (const { from, to, step, old } of curves)
    for (let i = 0; i < from.length; i++) {
      if (old[i] || Number.isNaN(step[i]) || to[i] < span.lo || from[i] > span.hi) continue;
      lo = Math.min(lo, step[i]);
      hi = Math.max(hi, step[i]);
    }
  return lo <= hi ? { lo, hi } : null;
}

/** @param {string} run @param {string} series @param {Span} steps @returns {Promise<Span | null>} */
async function timesOf(run, series, steps) {
  /** @type {Span | null} */
  let lo = null;
  /** @type {Span | null} */
  let hi = null;
  for (let round = 0; round < ROUNDS; round++) {
    /** @type {Times[]} */
    const [first, last] = await Promise.all([read(run, series, lo), read(run, series, hi)]);
    lo = bracket(first, steps.lo);
    hi = bracket(last, steps.hi);
    if (exact(first) && exact(last)) break;
  }
  return lo && hi && wide({ lo: lo.lo, hi: hi.hi });
}

/** @typedef {Pick<import("../types/api").Row<"CurveRow">, "x" | "x_end" | "step" | "superseded" | "points_total">} Times a curve on the axis of time */

/** @param {Times} row */
const exact = ({ x, points_total }) => x.length >= points_total;

/** @param {string} run @param {string} series @param {Span | null} span @returns {Promise<Times>} */
async function read(run, series, span) {
  const { curves } = await get("curves", { run, expr: series, x: "time", ranks: "mean", buckets: BUCKETS, from: span?.lo ?? null, to: span?.hi ?? null });
  return curves.find((curve) => curve.run === run) ?? { x: [], x_end: [], step: [], superseded: [], points_total: 0 };
}

/**
 * The times between which a step was reached: after the last bucket that ends before it, up to the end of the first that has it.
 * @param {Times} row @param {number} wanted a step @returns {Span | null}
 */
export function bracket({ x, x_end, step, superseded }, wanted) {
  /** @type {number | null} */
  let before = null;
  /** @type {number | null} */
  let after = null;
  for (let i = 0; i < x.length; i++) {
    const [at, end, known] = [x[i], x_end[i] ?? x[i], step[i]];
    if (at === null || end === null || known === null || superseded?.[i]) continue;
    if (known < wanted) {
      before = end;
      after = null; // it went back since
    } else after ??= end;
  }
  if (before === null && after === null) return null;
  const first = x.find((at) => at !== null) ?? 0;
  return { lo: before ?? first, hi: after ?? before ?? first };
}

/** The addresses of other pages for a window of a run. @param {string} run @param {Span} window */
function linksOf(run, { lo, hi }) {
  const query = new URLSearchParams({ run, from: lo.toFixed(3), to: hi.toFixed(3) });
  return { live: pathTo(`/?${query}`), flame: pathTo(`/flame?${query}`) };
}

// “What happened here”: the same window on Live and Flame, for each run that is shown.

/** @typedef {{run: string, colour: string, value: string, curves: Curve[]}} Shown a run that has points there */
/** @typedef {{title: string, x: string, span: Span, series: string, shown: Shown[]}} Asked */

const MOST = 8; // runs, whose times are looked up at once
const EDGE_PX = 12;

export class Card {
  constructor() {
    this.body = el("div");
    this.element = el("div", { class: "curves-card", popover: "auto" }, this.body);
    document.body.append(this.element);
  }

  /** @param {Asked} asked @param {{clientX: number, clientY: number}} pointer */
  async open(asked, pointer) {
    const { title } = asked;
    const shown = [...new Map(asked.shown.map((run) => [run.run, run])).values()]; // a run counts once
    const rows = shown.slice(0, MOST).map((run) => ({ run, links: el("td", { class: "num dim" }, "…") }));
    const more = shown.length - rows.length;
    this.body.replaceChildren(
      el("h2", {}, "What happened here"),
      el("p", { class: "strong" }, title),
      shown.length ? "" : el("p", { class: "dim" }, "No run has a point here."),
      el(
        "table",
        {},
        ...rows.map(({ run, links }) => el("tr", {}, el("td", {}, lineKey(run.colour), run.run), el("td", { class: "num strong" }, run.value), links)),
      ),
      more > 0 ? el("p", { class: "dim" }, `${count(more)} more runs: show fewer to find theirs.`) : "",
    );
    if (!this.element.matches(":popover-open")) this.element.showPopover();
    this.#place(pointer);
    for (const { run, links } of rows) await this.#find(asked, run, links).then(() => this.#place(pointer));
  }

  /** Below the pointer, inside the window. @param {{clientX: number, clientY: number}} pointer */
  #place({ clientX, clientY }) {
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const left = Math.max(EDGE_PX, Math.min(clientX, innerWidth - width - EDGE_PX));
    const top = Math.max(EDGE_PX, Math.min(clientY + 8, innerHeight - height - EDGE_PX));
    Object.assign(this.element.style, { left: `${left}px`, top: `${top}px` });
  }

  /** @param {Asked} asked @param {Shown} shown @param {HTMLElement} cell */
  async #find({ x, span, series }, { run, curves }, cell) {
    if (!cell.isConnected) return; // another one was opened
    try {
      const window = await windowOf(run, x, span, curves, series);
      if (!window) {
        cell.textContent = "its log has no times";
        return;
      }
      const { live, flame } = linksOf(run, window);
      cell.replaceChildren(el("a", { href: live, title: TIME.range(window.lo, window.hi) }, "Live"), " ", el("a", { href: flame, title: TIME.range(window.lo, window.hi) }, "Flame"));
    } catch (error) {
      cell.textContent = sentenceOf(error);
    }
  }

  close() {
    if (this.element.matches(":popover-open")) this.element.hidePopover();
  }
}
