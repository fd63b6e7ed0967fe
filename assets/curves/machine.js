/** Series of the host and of the runs' GPUs, on the time axes of curves. */

import { colourAt } from "../data/colours.js";
import { get } from "../lib/api.js";
import { machineTagOf } from "./catalogue.js";
import { extent } from "./moments.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("./curve.js").Row} Row */
/** @typedef {import("./training_view.js").Span} Span */

const SHOWN = /^(gpu|host)\//;
const SCALES = { B: { unit: "GiB", by: 2 ** -30 }, "B/s": { unit: "MB/s", by: 1e-6 } };
const MAX_RUNS = 8; // whose times and cards are looked up

export class Machine {
  constructor() {
    /** @type {Set<string>} indices of the runs' own GPUs; empty where nothing says which */
    this.gpus = new Set();
    /** @type {Set<string>} */
    this.runs = new Set();
  }

  /** The machine's series that were recorded during the runs. @param {string[]} runs @returns {Promise<Tag[]>} */
  async findTags(runs) {
    const some = runs.slice(0, MAX_RUNS);
    this.runs = new Set(some);
    const [own, machine] = await Promise.all([Promise.all(some.map((run) => extent(run).catch(() => null))), get("series")]);
    const known = own.filter((found) => found !== null);
    const [lo, hi] = [Math.min(...known.map(({ lo }) => lo)), Math.max(...known.map(({ hi }) => hi))];
    if (!(lo <= hi)) return [];
    const details = await Promise.all(some.map((run) => get("run", { run }).catch(() => null)));
    this.gpus = new Set(details.flatMap((detail) => (detail?.processes ?? []).flatMap(({ gpus }) => gpus.map(String))));
    const seen = machine.series.filter(
      ({ name, labels, first_time_s, last_time_s }) => SHOWN.test(name) && (first_time_s ?? 0) <= hi && (last_time_s ?? Infinity) >= lo && this.#own(labels),
    );
    /** @type {Map<string, {name: string, unit: string, points: number}>} */
    const by = new Map();
    for (const { name, unit, points } of seen) by.set(name, { name, unit: scaleOf(unit).unit, points: points + (by.get(name)?.points ?? 0) });
    return [...by.values()].map(machineTagOf);
  }

  /** @param {Record<string, string>} labels */
  #own({ gpu, run }) {
    if (run !== undefined) return this.runs.has(run);
    return gpu === undefined || this.gpus.size === 0 || this.gpus.has(gpu);
  }

  /** Of the runs' own cards, named and coloured by the card, in units that can be read. @param {Row[]} rows @returns {(Row & {colour?: string})[]} */
  rowsOf(rows) {
    return rows.filter(({ labels }) => this.#own(labels)).map(named);
  }
}

/** A series of the machine, also where a run has one of the same name. @param {string} name */
export const machineExpr = (name) => `{name="${name.replace(/[\\"]/g, "\\$&")}", run=""}`;

/** @param {string} unit */
const scaleOf = (unit) => (Object.hasOwn(SCALES, unit) ? /** @type {Record<string, {unit: string, by: number}>} */ (SCALES)[unit] : { unit, by: 1 });

/** @param {Row} row */
function named(row) {
  const { by, unit } = scaleOf(row.unit);
  const scaled = (/** @type {any[]} */ values) => (by === 1 ? values : values.map((value) => (typeof value === "number" ? value * by : value)));
  const { gpu, mig, run } = row.labels;
  return {
    ...row,
    run: run !== undefined ? run : gpu === undefined ? "this machine" : `GPU ${gpu}${mig === undefined ? "" : `.${mig}`}`,
    labels: {},
    unit,
    min: scaled(row.min),
    max: scaled(row.max),
    mean: scaled(row.mean),
    last: scaled(row.last),
    colour: run !== undefined ? undefined : gpu === undefined ? "accent" : colourAt(Number(gpu)),
  };
}
