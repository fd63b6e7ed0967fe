/** The lanes of the Logs page: how many lines there are, by level, and numbers of lines as curves. */

import { colourAt } from "../data/colours.js";
import { lane } from "../data/lanes.js";
import { Series, keyOf } from "../data/series.js";
import { get, newest } from "../lib/api.js";
import { chartTools } from "../lib/chart_tools.js";
import { el, emptyContext, onResize, setText } from "../lib/dom.js";
import { count, duration } from "../lib/format.js";
import { onTheme, token } from "../lib/theme.js";
import { fieldName } from "./entry.js";

// How many lines there are, by level, over the page's time axis, and where hits are: a lane like the others.

/** @typedef {import("../types/api").Answer<"logs/density">} Density */
/** @typedef {import("../lib/axis.js").View} View */

const DENSITY_HEIGHT_PX = 48;
const HITS = 8;
const BAR_PX = 3;
const MIN_BUCKETS = 60;
/** From the foot up: the least level, its word, its tone and the token of its colour. @type {[number, string, string, string][]} */
const LEVELS = [
  [40, "error", "bad", "bad"],
  [30, "warning", "warn", "warn"],
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
    this.canvas = el("canvas", { role: "img", "aria-label": "Lines by level over time, and the matches of the search below them" });
    this.plot = el("div", { class: "plot" }, this.canvas);
    this.values = el("div", { class: "vals" });
    /** @type {{warnings: number, errors: number} | null} lines in view, whatever level is shown */
    this.counts = null;
    this.note = el("span", {});
    this.element = el("section", { class: "lane lane-density", "data-lane": "density" }, el("div", { class: "name" }, el("b", {}, "Log lines"), this.note), this.plot, this.values);
    this.element.append(chartTools({ element: this.element, focus: this.plot, title: () => "Log lines by level", table: () => this.#table(), picture: () => (this.density ? { canvas: this.canvas, legend: LEVELS.map(([, label, , colour]) => ({ label, colour })) } : null), stage: () => this.element.closest(".timeline") }, { menuOnly: true }));
    onResize(this.plot, () => this.#paint());
    onTheme(() => this.#paint());
    this.read = newest(
      (/** @type {import("./logs_view.js").Question} */ question) => get("logs/density", question),
      (density, { level }) => {
        if (level === null) this.counts = byWeight(density);
        this.show(density);
        page.answered(density);
      },
      page.failed,
    );
    this.readCounts = newest(
      (/** @type {import("./logs_view.js").Question} */ question) => get("logs/density", question),
      (density) => {
        this.counts = byWeight(density);
        page.answered(density);
      },
      page.failed,
    );
  }

  /** @param {import("./logs_view.js").Question} question @param {View} view */
  ask(question, { lo, hi }) {
    if (!(hi > lo)) return;
    const buckets = Math.max(MIN_BUCKETS, Math.floor((this.plot.clientWidth || 900) / BAR_PX));
    const all = { ...question, from: lo, to: hi, only_hits: null };
    this.read({ ...all, buckets: Math.min(2000, buckets) });
    if (question.level !== null) this.readCounts({ ...all, level: null, q: null, regex: null, case: null, buckets: 1 });
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
    if (density && buckets) setText(this.note, `per ${duration((density.t_end - density.t) / buckets)}`);
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

  /** Lines by level, a row for each bucket. */
  #table() {
    const { t, t_end, levels } = this.density ?? { t: 0, t_end: 0, levels: [] };
    const buckets = levels[0]?.counts.length ?? 0;
    const rows = Array.from({ length: buckets }, (_, i) => [t + (i / buckets) * (t_end - t), ...this.#counts(i)]);
    return { columns: ["time_s", ...LEVELS.map(([, label]) => label)], rows };
  }

  #paint() {
    const { density, view } = this;
    const width = this.plot.clientWidth;
    if (!width) return;
    const height = Math.max(DENSITY_HEIGHT_PX, this.plot.clientHeight - HITS); // more of it where the lane fills the window
    const ctx = emptyContext(this.canvas, width, height + HITS);
    if (density) paintDensity(ctx, density, view, width, height);
  }
}

/** @param {Density} density */
function byWeight({ levels, errors }) {
  const lines = (/** @type {(level: number) => boolean} */ of) => levels.filter(({ level }) => of(level)).reduce((sum, { counts }) => sum + counts.reduce((all, some) => all + some, 0), 0);
  return { warnings: lines((level) => level >= 30 && level < 40), errors };
}

/** @param {CanvasRenderingContext2D} ctx @param {Density} density @param {View} view @param {number} width @param {number} height above the matches */
function paintDensity(ctx, { t, t_end, levels, hits }, { lo, hi }, width, height) {
  const buckets = levels[0]?.counts.length ?? 0;
  const x = (/** @type {number} */ i) => ((t + (i / buckets) * (t_end - t) - lo) / (hi - lo)) * width;
  const layers = LEVELS.map(([least, , , colour], k) => ({ colour: token(colour), members: levels.filter(({ level }) => level >= least && level < (LEVELS[k - 1]?.[0] ?? Infinity)) }));
  const sums = Array.from({ length: buckets }, (_, i) => levels.reduce((sum, { counts }) => sum + counts[i], 0));
  const most = Math.max(1, ...sums);
  const tall = (/** @type {number} */ lines) => (lines ? Math.max(1.5, (lines / most) * (height - 4)) : 0);
  for (let i = 0; i < buckets; i++) {
    if (!sums[i]) continue;
    const [left, right] = [x(i), x(i + 1)];
    if (right < 0 || left > width) continue;
    let y = height;
    for (const { colour, members } of layers) {
      const h = tall(members.reduce((sum, { counts }) => sum + counts[i], 0));
      ctx.fillStyle = colour;
      ctx.fillRect(left, y - h, Math.max(1, right - left - 0.7), h);
      y -= h;
    }
  }
  if (!hits) return;
  ctx.fillStyle = token("mark-edge");
  hits.forEach((found, i) => found && ctx.fillRect(x(i), height + 2, Math.max(2, Math.min(4, x(i + 1) - x(i))), HITS - 4));
}

// Numbers of lines as curves: what `plot this field` has drawn, one lane each below the lines' density.

/** @typedef {{run: string, template: number, field: number, name: string, text: string}} Field `name`: what stands before the number, `text`: the template */

const MOST = 4; // lanes
const LINES = 2000; // that are read, evenly chosen
const BUCKETS = 400;
const FIELD_HEIGHT_PX = 54;

export class FieldCurves {
  /** @param {{changed: () => void, named: () => void, failed: (error: unknown) => void}} page `named`: fields of the address have their names */
  constructor(page) {
    this.page = page;
    /** @type {Field[]} */
    this.fields = [];
    /** @type {Map<string, Series>} */
    this.series = new Map();
    this.element = el("span", { class: "chips" });
  }

  /** Draw a field, or not any more. @param {Field} field */
  toggle(field) {
    const others = this.fields.filter((known) => idOf(known) !== idOf(field));
    this.fields = others.length < this.fields.length ? others : [...others, field].slice(-MOST);
    this.#chips();
  }

  /** Those of the address. @param {string} run @param {string[]} given `12.1` */
  restore(run, given) {
    const pairs = given.map((text) => /^(\d{1,5})\.(\d{1,3})$/.exec(text)).filter((found) => found !== null);
    this.fields = pairs.slice(-MOST).map(([, template, field]) => ({ run, template: Number(template), field: Number(field), name: `number ${Number(field) + 1}`, text: "" }));
    this.#chips();
  }

  clear() {
    this.fields = [];
    this.series.clear();
    this.#chips();
  }

  #chips() {
    const chip = (/** @type {Field} */ field) =>
      el("button", { class: "chip", type: "button", title: `Remove the curve of ${field.name} in: ${field.text}`, onclick: () => (this.toggle(field), this.page.changed()) }, `${field.name} ×`);
    this.element.replaceChildren(...this.fields.map(chip));
  }

  /** @returns {import("../data/lanes.js").Lane[]} */
  lanes() {
    return this.fields.map((field, i) => {
      const lines = [{ label: "now", colour: colourAt(i), keys: [keyOf(metaOf(field))], points: true }];
      return lane(`field ${idOf(field)}`, field.name, FIELD_HEIGHT_PX, "robust", lines, { note: field.text });
    });
  }

  /** Read them over a view. @param {{lo: number, hi: number}} view */
  async loadFields({ lo, hi }) {
    if (!(hi > lo)) return;
    const width = (hi - lo) / BUCKETS;
    const asked = this.fields;
    const found = await Promise.all(asked.map((field) => read(field, lo, hi, width).catch((error) => void this.page.failed(error))));
    if (asked !== this.fields) return;
    this.series = new Map(found.flatMap((answer) => (answer ? [[keyOf(answer.series.meta), answer.series]] : [])));
    const named = asked.map((field, i) => (field.text || !found[i] ? field : { ...field, text: found[i].text, name: fieldName(found[i].text, field.field) }));
    if (named.every((field, i) => field === asked[i])) return;
    this.fields = named;
    this.#chips();
    this.page.named();
  }

  /** Their part of the address: `12.1` is the second number of template 12. */
  address() {
    return { field: this.fields.map(({ template, field }) => `${template}.${field}`) };
  }
}

/** @param {Field} field @param {number} lo @param {number} hi @param {number} width */
async function read(field, lo, hi, width) {
  const { t, v, text } = await get("logs/field", { run: field.run, template: field.template, field: field.field, from: lo, to: hi, limit: LINES });
  const places = /** @type {number[]} */ (t);
  const values = /** @type {(number | string | null)[]} */ (v);
  const kept = places.map((_, i) => i).filter((i) => values[i] !== null);
  const of = (/** @type {(i: number) => any} */ what) => kept.map(what);
  const value = of((i) => values[i]);
  const series = new Series(metaOf(field), width);
  const place = of((i) => places[i]);
  const row = { x: place, x_end: place, step: of(() => null), segment: of(() => 0), min: value, max: value, mean: value, last: value, count: of(() => 1) };
  series.fill({ ...row, non_finite: value.map((number) => Number(!Number.isFinite(Number(number)))), points_total: kept.length });
  return { series, text };
}

/** @param {Field} field */
const idOf = ({ run, template, field }) => `${run} ${template} ${field}`;

/** @param {Field} field @returns {import("../data/series.js").Meta} */
const metaOf = ({ run, template, field }) => ({ run, name: `field:${template}:${field}`, labels: {} });
