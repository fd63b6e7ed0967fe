/** How many lines there are, by level, over the page's time axis, and where hits are: a lane like the others. */

import { get, newest } from "../lib/api.js";
import { el, emptyContext, setClass } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { onTheme, token } from "../lib/theme.js";

/** @typedef {import("../types/api").Answer<"logs/density">} Density */
/** @typedef {import("../lib/axis.js").View} View */

const DENSITY_HEIGHT_PX = 48;
const HITS = 12;
const BAR_PX = 3;
const LEAST_BUCKETS = 60;
/** From the foot up: the least level, its word, its tone and the token of its colour. @type {[number, string, string, string][]} */
const LEVELS = [
  [40, "error", "bad", "bad"],
  [30, "warn", "warn", "warn"],
  [20, "info", "", "edge"],
  [10, "debug", "dim", "line-strong"],
  [0, "no level", "dim", "line-strong"],
];

export class DensityLane {
  /** @param {{answered: (density: Density) => void, failed: (error: unknown) => void}} page */
  constructor(page) {
    /** @type {Density | null} */
    this.density = null;
    /** @type {View} */
    this.view = { lo: 0, hi: 1 };
    /** @type {number | null} */
    this.cursor_s = null;
    this.canvas = el("canvas", { role: "img", "aria-label": "Lines by level over time, and the hits of the search below them" });
    this.plot = el("div", { class: "plot" }, this.canvas);
    this.values = el("div", { class: "vals" });
    this.note = el("span", {}, "by level");
    this.element = el("section", { class: "lane lane-density" }, el("div", { class: "name" }, el("b", {}, "Lines"), this.note), this.plot, this.values);
    new ResizeObserver(() => this.#paint()).observe(this.plot);
    onTheme(() => this.#paint());
    this.read = newest(
      (/** @type {import("./asking.js").Question} */ question) => get("logs/density", question),
      (density) => {
        this.show(density);
        page.answered(density);
      },
      page.failed,
    );
  }

  /** @param {import("./asking.js").Question} question @param {View} view */
  ask(question, { lo, hi }) {
    if (!(hi > lo)) return;
    const buckets = Math.max(LEAST_BUCKETS, Math.floor((this.plot.clientWidth || 900) / BAR_PX));
    this.read({ ...question, from: lo, to: hi, only_hits: null, buckets: Math.min(2000, buckets) });
  }

  /** @param {Density | null} density */
  show(density) {
    this.density = density;
    this.#paint();
    this.#say();
  }

  /** @param {View} view @param {number | null} cursor_s */
  draw(view, cursor_s) {
    const moved = view.lo !== this.view.lo || view.hi !== this.view.hi;
    const pointed = cursor_s !== this.cursor_s;
    Object.assign(this, { view, cursor_s });
    if (moved) this.#paint();
    if (moved || pointed) this.#say();
  }

  /** Counts by level of one bucket, or of all of them. @param {number | null} bucket @returns {number[]} in the order of LEVELS */
  #counts(bucket) {
    const sums = LEVELS.map(() => 0);
    for (const { level, counts } of this.density?.levels ?? []) {
      const at = LEVELS.findIndex(([least]) => level >= least);
      sums[at] += bucket === null ? counts.reduce((sum, lines) => sum + lines, 0) : (counts[bucket] ?? 0);
    }
    return sums;
  }

  #say() {
    const { density, cursor_s } = this;
    const buckets = density?.levels[0]?.counts.length ?? 0;
    const inside = density && cursor_s !== null && cursor_s >= density.t && cursor_s < density.t_end;
    const bucket = inside ? Math.floor(((cursor_s - density.t) / (density.t_end - density.t)) * buckets) : null;
    const sums = density ? this.#counts(bucket) : [];
    const looks = sums.join();
    if (looks === this.#said) return;
    this.#said = looks;
    const rows = sums.map((lines, i) => [lines, LEVELS[i]]).filter(([lines]) => lines);
    this.values.replaceChildren(...rows.map(([lines, level]) => el("div", { class: `row ${lines && /** @type {any} */ (level)[2]}` }, el("span", {}, /** @type {any} */ (level)[1]), ` ${count(Number(lines))}`)));
  }

  #said = "";

  #paint() {
    const { density, view } = this;
    const width = this.plot.clientWidth;
    if (!width) return;
    const searched = Boolean(density?.hits);
    setClass(this.element, "searched", searched);
    const height = DENSITY_HEIGHT_PX + (searched ? HITS : 0);
    const ctx = emptyContext(this.canvas, width, height);
    if (density) paintDensity(ctx, density, view, width);
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {Density} density @param {View} view @param {number} width */
function paintDensity(ctx, { t, t_end, levels, hits }, { lo, hi }, width) {
  const buckets = levels[0]?.counts.length ?? 0;
  const x = (/** @type {number} */ i) => ((t + (i / buckets) * (t_end - t) - lo) / (hi - lo)) * width;
  const layers = LEVELS.map(([least, , , colour], k) => ({ colour: token(colour), members: levels.filter(({ level }) => level >= least && level < (LEVELS[k - 1]?.[0] ?? Infinity)) }));
  const sums = Array.from({ length: buckets }, (_, i) => levels.reduce((sum, { counts }) => sum + counts[i], 0));
  const most = Math.max(1, ...sums);
  const tall = (/** @type {number} */ lines) => (lines ? Math.max(1.5, (lines / most) * (DENSITY_HEIGHT_PX - 4)) : 0);
  for (let i = 0; i < buckets; i++) {
    if (!sums[i]) continue;
    const [left, right] = [x(i), x(i + 1)];
    if (right < 0 || left > width) continue;
    let y = DENSITY_HEIGHT_PX;
    for (const { colour, members } of layers) {
      const h = tall(members.reduce((sum, { counts }) => sum + counts[i], 0));
      ctx.fillStyle = colour;
      ctx.fillRect(left, y - h, Math.max(1, right - left - 0.7), h);
      y -= h;
    }
  }
  if (!hits) return;
  ctx.fillStyle = token("mark-edge");
  hits.forEach((found, i) => found && ctx.fillRect(x(i), DENSITY_HEIGHT_PX + 2, Math.max(1.5, Math.min(3, x(i + 1) - x(i))), HITS - 4));
}
