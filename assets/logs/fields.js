/** Numbers of lines as curves: what `plot this field` has drawn, one lane each below the lines' density. */

import { get } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { lane } from "../data/lanes.js";
import { Series, keyOf } from "../data/series.js";
import { fieldName } from "./opened.js";

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
      const traces = [{ label: "now", colour: i % 2 ? "gpu-1" : "gpu-0", keys: [keyOf(metaOf(field))], points: true }];
      return lane(`field ${idOf(field)}`, field.name, FIELD_HEIGHT_PX, "robust", traces, { note: field.text });
    });
  }

  /** Read them over a view. @param {{lo: number, hi: number}} view */
  async read({ lo, hi }) {
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
  const row = { ...metaOf(field), t: of((i) => places[i]), t_end: of((i) => places[i]), step: of(() => null), segment: of(() => 0), min: value, max: value, mean: value, last: value, count: of(() => 1) };
  series.fill(/** @type {any} */ ({ ...row, non_finite: value.map((number) => Number(!Number.isFinite(Number(number)))), points_total: kept.length }));
  return { series, text };
}

/** @param {Field} field */
const idOf = ({ run, template, field }) => `${run} ${template} ${field}`;

/** @param {Field} field @returns {import("../data/series.js").Meta} */
const metaOf = ({ run, template, field }) => ({ run, name: `field:${template}:${field}`, labels: {} });
