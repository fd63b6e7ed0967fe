/** Series of the host and of the runs' GPUs, on the time axes of curves. */

import { get, send } from "../../lib/api.js";
import { extent } from "../moments.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("../view.js").Span} Span */
/** @typedef {import("./reading.js").Answer} Answer */
/** @typedef {import("../../types/api").Row<"CurveRow">} Points */

const SHOWN = /^(gpu|host)\//;
const SCALES = { B: { unit: "GiB", by: 2 ** -30 }, "B/s": { unit: "MB/s", by: 1e-6 } };
const MOST_RUNS = 8; // whose times and cards are looked up

export class Machine {
  constructor() {
    /** @type {Set<string>} indices of the runs' own GPUs; empty where nothing says which */
    this.gpus = new Set();
    /** @type {Set<string>} */
    this.runs = new Set();
    /** @type {Span | null} from the first to the last point of the runs, Unix seconds */
    this.during = null;
    this.growing = false; // a run goes on: its machine does, too
  }

  /** The machine's series that were recorded during the runs. @param {string[]} runs @returns {Promise<{name: string, unit: string, points: number}[]>} */
  async learn(runs) {
    const some = runs.slice(0, MOST_RUNS);
    this.runs = new Set(some);
    const [own, machine] = await Promise.all([Promise.all(some.map((run) => extent(run).catch(() => null))), get("series")]);
    const known = own.filter((found) => found !== null);
    this.during = known.length ? { lo: Math.min(...known.map(({ lo }) => lo)), hi: Math.max(...known.map(({ hi }) => hi)) } : null;
    const { during } = this;
    if (!during) return [];
    const details = await Promise.all(some.map((run) => get("run", { run }).catch(() => null)));
    this.gpus = new Set(details.flatMap((detail) => (detail?.processes ?? []).flatMap(({ gpus }) => gpus.map(String))));
    const seen = machine.series.filter(
      ({ name, labels, first_time_s, last_time_s }) =>
        SHOWN.test(name) && (first_time_s ?? 0) <= during.hi && (last_time_s ?? Infinity) >= during.lo && this.#own(labels),
    );
    /** @type {Map<string, {name: string, unit: string, points: number}>} */
    const by = new Map();
    for (const { name, unit, points } of seen) by.set(name, { name, unit: scaleOf(unit).unit, points: points + (by.get(name)?.points ?? 0) });
    return [...by.values()];
  }

  /** @param {Record<string, string>} labels */
  #own({ gpu, run }) {
    if (run !== undefined) return this.runs.has(run);
    return gpu === undefined || this.gpus.size === 0 || this.gpus.has(gpu);
  }

  /** @param {Tag[]} tags @param {Span | null} span on the axis @param {boolean} relative the axis counts from the runs' first point @param {number} buckets @param {AbortSignal} signal @returns {Promise<Answer>} */
  async read(tags, span, relative, buckets, signal) {
    const { lo, hi } = this.during ?? { lo: 0, hi: 0 };
    const zero = relative ? lo : 0;
    const query = new URLSearchParams({ from: String(span ? span.lo + zero : lo), buckets: String(buckets) });
    if (span || !this.growing) query.set("to", String(span ? span.hi + zero : hi));
    for (const { name } of tags) query.append("series", name);
    const { cursor, series } = await send(`points?${query}`, { signal });
    const rows = /** @type {Points[]} */ (series).filter(({ labels }) => this.#own(labels));
    return { cursor, left_out: [], curves: rows.map((row) => curveRow(row, zero)) };
  }
}

/** @param {string} unit */
const scaleOf = (unit) => (Object.hasOwn(SCALES, unit) ? /** @type {Record<string, {unit: string, by: number}>} */ (SCALES)[unit] : { unit, by: 1 });

/** @param {Points} row @param {number} zero */
function curveRow(row, zero) {
  const { by, unit } = scaleOf(row.unit);
  const scaled = (/** @type {(number | null)[]} */ values) => (by === 1 ? values : values.map((value) => (value === null ? null : value * by)));
  const moved = (/** @type {(number | null)[]} */ places) => (zero ? places.map((place) => (place === null ? null : place - zero)) : places);
  const { gpu, mig, run } = row.labels;
  const name = run !== undefined ? run : gpu === undefined ? "this machine" : `GPU ${gpu}${mig === undefined ? "" : `.${mig}`}`;
  return {
    ...row,
    run: name,
    group: "",
    runs: [],
    labels: {},
    series: row.name,
    unit,
    x: moved(row.t),
    x_end: moved(row.t_end),
    min: scaled(row.min),
    max: scaled(row.max),
    mean: scaled(row.mean),
    last: row.last.map((/** @type {any} */ value) => (typeof value === "number" ? value * by : value)),
    smooth: null,
    superseded: [],
    colour: run !== undefined ? undefined : gpu === undefined ? "accent" : `gpu-${Number(gpu) % 8}`,
  };
}
