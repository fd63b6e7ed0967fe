/** Reads what the charts of a board draw: all of them at once, then only what is new, at most twice a second. */

import { lasting, send, sentenceOf } from "../lib/api.js";
import { asks, cutAt, joined, questionOf, rowKey } from "./model.js";

/** @typedef {import("./model.js").PlacedChart} PlacedChart */
/** @typedef {import("./model.js").CurveRow} CurveRow */
/** @typedef {import("./model.js").HeldRow} HeldRow */
/** @typedef {import("../types/api").Row<"FollowedRow">} Followed */
/** @typedef {{runs: string[], axis: "time" | "step", from: number | null, to: number | null, live: string | null}} View `live`: how much is shown up to now, where no range is held; `from` is then where it begins */
/** @typedef {{key: string, rows: HeldRow[], left: {item: number, reason: string}[], trouble: string, read_ms: number, lo: number | null, hi: number | null}} HeldChart */

const LIVE_MS = 500; // between two readings
const WHOLE_MS = 30_000; // after which all is read again: points may come late
const STEPS_MS = 2000; // of charts on the step axis, which are read as a whole
const AGAIN_MS = 5000; // after a failure
const OVERLAP_S = 3; // before the newest point, that is read again: points of other sources come later
const MAX_BYTES = 24_000; // of an address
const MIN_TAIL = 2; // buckets of what is read again: the last one grows until it lies before the overlap
const GROWN = 2; // times as many buckets as asked for: then all is read again

export class BoardReader {
  /** @param {{view: () => View, buckets: (chart: PlacedChart) => number, changed: (charts: PlacedChart[], cursor: number) => void, followed: (series: Followed[]) => void, now_s: () => number}} board */
  constructor(board) {
    this.board = board;
    /** @type {Map<string, HeldChart>} by what they are asked with */
    this.held = new Map();
    /** @type {PlacedChart[]} */
    this.wanted = [];
    this.dirty = false;
    this.busy = false;
    this.timer = 0;
    this.last_ms = -Infinity;
    /** @type {Map<string, Followed>} */
    this.followed = new Map();
    document.addEventListener("visibilitychange", () => document.hidden || this.next());
  }

  /** The charts in view. @param {PlacedChart[]} charts */
  want(charts) {
    this.wanted = charts.filter(({ fields }) => asks(fields));
    this.next();
  }

  /** @param {PlacedChart} chart @returns {HeldChart | null} */
  of({ fields }) {
    return this.held.get(questionOf(fields)) ?? null;
  }

  /** There are new points. */
  touch() {
    this.dirty = true;
    if (!document.hidden) this.next();
  }

  /** Other runs, or another range. */
  forget() {
    for (const held of this.held.values()) held.read_ms = -Infinity;
    this.next();
  }

  get #key() {
    const { runs, axis, from, to, live } = this.board.view();
    return JSON.stringify([runs, axis, live ?? [from, to]]);
  }

  /** @param {PlacedChart} chart whether all of it is to be read */
  #whole(chart) {
    const held = this.of(chart);
    if (!held || held.key !== this.#key) return true;
    const since_ms = performance.now() - held.read_ms;
    if (held.trouble) return since_ms > AGAIN_MS;
    if (!this.dirty) return false;
    const most = GROWN * this.board.buckets(chart);
    return (held.rows.some(({ x }) => x.length > most) || since_ms > (this.#axis(chart) === "step" ? STEPS_MS : WHOLE_MS));
  }

  /** @param {PlacedChart} chart */
  #axis({ fields }) {
    return fields.axis ?? this.board.view().axis;
  }

  next() {
    if (this.busy || document.hidden) return;
    clearTimeout(this.timer);
    const whole = this.wanted.filter((chart) => this.#whole(chart));
    const first = whole.filter((chart) => this.of(chart)?.key !== this.#key);
    const wait_ms = LIVE_MS - (performance.now() - this.last_ms);
    if (first.length) return void this.#read(first, null);
    if (!this.dirty && !whole.length) return;
    if (wait_ms > 0) {
      this.timer = setTimeout(() => this.next(), wait_ms);
      return;
    }
    if (whole.length) return void this.#read(whole, null);
    const growing = this.board.view().to === null;
    const charts = this.wanted.filter((chart) => this.#axis(chart) === "time" && this.board.view().axis === "time");
    this.dirty = false;
    if (growing && charts.length) this.#read(charts, OVERLAP_S);
  }

  /** @param {PlacedChart[]} charts @param {number | null} overlap_s null: all of the range */
  async #read(charts, overlap_s) {
    this.busy = true;
    this.last_ms = performance.now();
    const [view, key] = [this.board.view(), this.#key];
    if (overlap_s === null && charts.length === this.wanted.length) this.dirty = false;
    try {
      for (const some of parts(charts)) await this.#ask(some, view, key, overlap_s);
    } finally {
      this.busy = false;
    }
    this.next();
  }

  /** @param {PlacedChart[]} charts of one request @param {View} view @param {string} key @param {number | null} overlap_s */
  async #ask(charts, view, key, overlap_s) {
    let from = view.from;
    if (overlap_s !== null) {
      const rows = charts.flatMap((chart) => this.of(chart)?.rows ?? []);
      from = cutAt(rows, Math.max(...rows.map(({ x_end }) => x_end.at(-1) ?? -Infinity)) - overlap_s);
      if (!Number.isFinite(from)) from = view.from;
    }
    const query = charts.map(({ fields }) => `chart=${encodedOf(fields)}`);
    for (const run of view.runs) query.push(`run=${encodeURIComponent(run)}`);
    const most = Math.max(...charts.map((chart) => this.board.buckets(chart)));
    const buckets = overlap_s === null ? most : this.#tail(view, from, most);
    for (const [name, value] of Object.entries({ x: view.axis, from, to: view.to, buckets })) if (value !== null) query.push(`${name}=${value}`);
    try {
      const answer = await send(`charts?${query.join("&")}`);
      if (key !== this.#key) return; // another range was chosen meanwhile
      charts.forEach((chart, i) => this.#keep(chart, key, answer, answer.charts[i], overlap_s !== null));
      this.#follow(answer.followed);
      this.board.changed(charts, answer.cursor);
    } catch (error) {
      if (charts.length > 1 && lasting(error)) {
        for (const chart of charts) await this.#ask([chart], view, key, overlap_s); // what is wrong with one costs no other
        return;
      }
      const trouble = sentenceOf(error);
      for (const chart of charts) this.held.set(questionOf(chart.fields), { rows: [], left: [], lo: null, hi: null, ...this.of(chart), key, trouble, read_ms: performance.now() });
      this.board.changed(charts, 0);
      this.timer = setTimeout(() => this.next(), AGAIN_MS);
    }
  }

  /** As many buckets for the end as are as wide as those of the whole. @param {View} view @param {number | null} from @param {number} most of the whole */
  #tail(view, from, most) {
    const now_s = this.board.now_s();
    const [whole, end] = [now_s - (view.from ?? now_s), now_s - (from ?? now_s)];
    return Math.min(most, Math.max(MIN_TAIL, Math.ceil((end / Math.max(whole, 1e-9)) * most) + 1));
  }

  /** @param {PlacedChart} chart @param {string} key @param {import("../types/api").Answer<"charts">} answer @param {import("../types/api").Row<"DrawnChartRow">} drawn @param {boolean} tail */
  #keep(chart, key, { x }, drawn, tail) {
    const before = this.of(chart);
    const rows = drawn.curves.map((row) => ({ ...row, cut: row.x.length }));
    if (!tail || !before) {
      this.held.set(questionOf(chart.fields), { key, rows, left: drawn.left_out, trouble: "", read_ms: performance.now(), lo: x.lo, hi: x.hi });
      return;
    }
    const { from, live } = this.board.view();
    const lo = live === null || from === null ? -Infinity : from;
    const news = new Map(rows.map((row) => [rowKey(row), row]));
    const keys = before.rows.map(rowKey);
    const known = before.rows.map((row, i) => joined(row, news.get(keys[i]), lo));
    for (const key of keys) news.delete(key);
    const more = [...news.values()].some((row) => row.x.length);
    this.held.set(questionOf(chart.fields), { ...before, rows: known, trouble: "", hi: x.hi, read_ms: more ? -Infinity : before.read_ms });
  }

  /** @param {Followed[]} series */
  #follow(series) {
    const before = this.followed.size;
    for (const found of series) this.followed.set(JSON.stringify([found.run, found.name]), found);
    if (this.followed.size !== before) this.board.followed([...this.followed.values()]);
  }
}

/** @type {WeakMap<import("./model.js").ChartFields, string>} */
const encoded = new WeakMap();

/** As it stands in an address: it is asked twice a second. @param {import("./model.js").ChartFields} fields */
function encodedOf(fields) {
  let text = encoded.get(fields);
  if (text === undefined) encoded.set(fields, (text = encodeURIComponent(questionOf(fields))));
  return text;
}

/** So many at once as an address can hold. @param {PlacedChart[]} charts @returns {PlacedChart[][]} */
function parts(charts) {
  /** @type {PlacedChart[][]} */
  const out = [[]];
  let bytes = 0;
  for (const chart of charts) {
    const size = encodedOf(chart.fields).length + 10;
    if (bytes + size > MAX_BYTES && out[out.length - 1].length) {
      out.push([]);
      bytes = 0;
    }
    out[out.length - 1].push(chart);
    bytes += size;
  }
  return out;
}
