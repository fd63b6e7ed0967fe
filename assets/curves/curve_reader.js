/** Reads the curves of the charts in view, of runs and of the machine: one request at a time, those that the user sees first. */

import { get, send, sentenceOf } from "../lib/api.js";
import { machineTagOf, tagOf } from "./catalogue.js";
import { curveOf } from "./curve.js";
import { extent } from "./moments.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("./curve.js").Curve} Curve */
/** @typedef {import("./curve.js").Row} Row */

/** @typedef {{run: string, series: string, reason: string, absent: boolean}} LeftOut `absent`: the run has no such series */
/** @typedef {{curves: (Row & {colour?: string})[], left_out: LeftOut[], cursor: number}} Answer */
/** @typedef {{key: string, curves: Curve[] | null, left: LeftOut[], trouble: string, dirty: boolean, read_ms: number}} Held */
/** @typedef {(tags: Tag[], signal: AbortSignal) => Promise<Answer>} Ask of one kind: all are the machine's, or none is */

const MAX_CURVES = 240; // of a request: 200 runs are one chart at a time
const MAX_HELD = 400;
const LIVE_MS = 500; // between two readings of a chart that grows
const AGAIN_MS = 5000; // after a failure

export class CurveReader {
  /** @param {{ask: Ask, changed: (tags: Tag[], cursor: number) => void}} page */
  constructor(page) {
    this.page = page;
    /** @type {Map<string, Held>} by the tag's key; the last used at the end */
    this.held = new Map();
    /** @type {Tag[]} in the order in which they are wanted */
    this.wanted = [];
    this.key = "";
    this.most = 1; // tags of a request
    /** @type {AbortController | null} */
    this.under_way = null;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => document.hidden || this.#next());
  }

  /**
   * The charts in view, and the question that all of them answer.
   * @param {Tag[]} wanted @param {string} key changes with the question @param {number} runs how many curves a chart has, about
   * @param {number} most tags of a request: where each takes long, the first charts come early
   */
  want(wanted, key, runs, most) {
    if (key !== this.key) this.under_way?.abort();
    Object.assign(this, { wanted, key, most: Math.max(1, Math.min(most, Math.floor(MAX_CURVES / Math.max(1, runs)))) });
    this.#next();
  }

  /** @param {Tag} tag */
  of({ key }) {
    return this.held.get(key) ?? null;
  }

  /** Those of them have new points. @param {(tag: Tag) => boolean} grown */
  touch(grown) {
    for (const tag of this.wanted) {
      const held = this.held.get(tag.key);
      if (held && grown(tag)) held.dirty = true;
    }
    if (!document.hidden) this.#next(); // it is read when the tab is seen again
  }

  forget() {
    this.under_way?.abort();
    this.held.clear();
  }

  /** How long until it may be read: 0 now; null: it need not. @param {Tag} tag */
  #due(tag) {
    const held = this.held.get(tag.key);
    if (!held || held.key !== this.key) return 0;
    const since_ms = performance.now() - held.read_ms;
    if (held.trouble) return Math.max(0, AGAIN_MS - since_ms);
    return held.dirty ? Math.max(0, LIVE_MS - since_ms) : null;
  }

  #next() {
    if (this.under_way) return;
    clearTimeout(this.timer);
    const due = this.wanted.map((tag) => ({ tag, wait_ms: this.#due(tag) })).filter(({ wait_ms }) => wait_ms !== null);
    if (!due.length) return;
    const now = due.filter(({ wait_ms }) => wait_ms === 0).map(({ tag }) => tag);
    if (!now.length) {
      this.timer = setTimeout(() => this.#next(), Math.max(20, Math.min(...due.map(({ wait_ms }) => Number(wait_ms)))));
      return;
    }
    this.#read(now.filter(({ machine }) => machine === now[0].machine).slice(0, this.most));
  }

  /** @param {Tag[]} tags */
  async #read(tags) {
    const { key } = this;
    const control = new AbortController();
    this.under_way = control;
    for (const tag of tags) {
      const held = this.held.get(tag.key);
      if (held) held.dirty = false; // what comes from now on needs another reading
    }
    try {
      const answer = await this.page.ask(tags, control.signal);
      if (!control.signal.aborted) this.#keep(tags, key, answer);
    } catch (error) {
      if (!control.signal.aborted) this.#failed(tags, key, sentenceOf(error));
    } finally {
      this.under_way = null;
    }
    this.#next();
  }

  /** @param {Tag[]} tags @param {string} key @param {Answer} answer */
  #keep(tags, key, answer) {
    for (const tag of tags) {
      const rows = answer.curves.filter(({ series }) => series === tag.name);
      const left = answer.left_out.filter(({ series }) => series === tag.name || !series);
      const trouble = "";
      this.#hold(tag, { key, curves: rows.map((row) => ({ ...curveOf(row), colour: row.colour })), left, trouble, dirty: this.held.get(tag.key)?.dirty ?? false, read_ms: performance.now() });
    }
    this.page.changed(tags, answer.cursor);
  }

  /** @param {Tag[]} tags @param {string} key @param {string} trouble */
  #failed(tags, key, trouble) {
    for (const tag of tags) {
      const before = this.held.get(tag.key);
      this.#hold(tag, { key, curves: before?.curves ?? null, left: before?.left ?? [], trouble, dirty: false, read_ms: performance.now() });
    }
    this.page.changed(tags, 0);
  }

  /** @param {Tag} tag @param {Held} held */
  #hold(tag, held) {
    this.held.delete(tag.key);
    this.held.set(tag.key, held);
    for (const key of this.held.keys()) {
      if (this.held.size <= MAX_HELD) break;
      this.held.delete(key);
    }
  }
}

// The questions of a grid of charts: which tags there are, and the curves of some.

/** @typedef {import("./chart_grid.js").ChartGrid} ChartGrid */

/** @param {string[]} runs @returns {Promise<Tag[]>} */
export const ownTags = async (runs) => (await get("tags", { run: runs })).tags.map(tagOf);

/** @param {Machine} machine @param {string[]} runs @returns {Promise<Tag[]>} */
export const machineTags = async (machine, runs) => (await machine.findSeries(runs)).map(machineTagOf);

/** @param {ChartGrid} grid @param {Tag[]} tags all of one kind @param {AbortSignal} signal @returns {Promise<Answer>} */
export async function askAll({ question, machine, view, span, buckets }, tags, signal) {
  if (tags[0].machine) return machine.read(tags, span, view.x === "relative", buckets, signal);
  const query = new URLSearchParams();
  const all = { ...question, expr: tags.map(({ name }) => name) };
  for (const [name, value] of Object.entries(all)) if (value !== null) for (const item of Array.isArray(value) ? value : [value]) query.append(name, String(item));
  const answer = await send(`curves?${query}`, { signal });
  const curves = answer.curves.map((/** @type {any} */ row) => ({ ...row, run: row.run ?? "", series: row.name, key: view.group }));
  const left_out = answer.left_out.map((/** @type {any} */ left) => ({ ...left, run: left.run ?? "", series: left.expr === null ? "" : tags[left.expr].name }));
  return { ...answer, curves, left_out };
}

// Series of the host and of the runs' GPUs, on the time axes of curves.

/** @typedef {import("./training_view.js").Span} Span */
/** @typedef {import("../types/api").Row<"PointsRow">} Points */

const SHOWN = /^(gpu|host)\//;
const SCALES = { B: { unit: "GiB", by: 2 ** -30 }, "B/s": { unit: "MB/s", by: 1e-6 } };
const MAX_RUNS = 8; // whose times and cards are looked up

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
  async findSeries(runs) {
    const some = runs.slice(0, MAX_RUNS);
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
