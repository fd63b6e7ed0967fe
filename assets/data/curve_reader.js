/** Reads `GET /api/v1/curves`, for every chart: one answer, or those of many charts, kept and continued while they are shown. */

import { Refused, get, sentenceOf } from "../lib/api.js";
import { listen } from "../lib/life.js";

/** @typedef {import("../types/api").Answer<"curves">} CurveAnswer */
/** @typedef {import("../types/api").Row<"CurveRow">} CurveRow */
/** @typedef {import("../types/api").Row<"LeftOutRow">} LeftOut */
/** @typedef {import("../types/api").Row<"FollowedRow">} Followed */
/** @typedef {Record<string, string | number | string[] | null>} Parameters of the question, without `expr` */
/** @typedef {CurveAnswer & {failed: Map<number, string>}} Curves `failed`: by expression, why the server could not answer it */

// One answer. An expression that the server cannot answer affects only itself, however many are asked together.

const MAX_CURVES = 240; // of a request
const MAX_BYTES = 24_000; // of an address
const HALVINGS = 24; // further requests to find the expressions that fail
const FOR_ALL = [404, 503]; // no such run, the store fails: the same for every expression

/** @typedef {{places: number[], answer: CurveAnswer | null, error: Refused | null}} Part of an answer: of the expressions at these places */

/**
 * Throws Refused where no expression is answered, and Unreachable.
 * @param {string[]} exprs @param {Parameters} parameters
 * @param {{curves?: (place: number) => number, signal?: AbortSignal, ask?: typeof get}} [how] `curves`: how many the expression at a place has, about; `ask`: another dashboard
 * @returns {Promise<Curves>} `expr` counts in `exprs`
 */
export async function readCurves(exprs, parameters, { curves = () => 1, signal, ask = get } = {}) {
  const spare = { halvings: HALVINGS };
  const request = (/** @type {string[]} */ expr) => ask("curves", { ...parameters, expr }, { signal });
  const asked = portions(exprs, curves).map((places) => askPart(exprs, places, request, spare));
  const parts = (await Promise.all(asked)).flat();
  const answers = parts.flatMap(({ answer }) => answer ?? []);
  if (!answers.length) throw parts[0].error;
  return {
    cursor: Math.min(...answers.map(({ cursor }) => cursor)),
    x: { ...answers[0].x, lo: least(answers.map(({ x }) => x.lo)), hi: most(answers.map(({ x }) => x.hi)) },
    curves: parts.flatMap(({ places, answer }) => (answer?.curves ?? []).map((row) => ({ ...row, expr: places[row.expr] }))),
    left_out: parts.flatMap(({ places, answer }) => (answer?.left_out ?? []).map((row) => ({ ...row, expr: row.expr === null ? null : places[row.expr] }))),
    followed: answers.flatMap(({ followed }) => followed),
    failed: new Map(parts.flatMap(({ places, error }) => (error ? places.map((place) => /** @type {[number, string]} */ ([place, error.message])) : []))),
  };
}

/** @param {(number | null)[]} ends */
const least = (ends) => ends.reduce((a, b) => (a === null || (b !== null && b < a) ? b : a), null);
/** @param {(number | null)[]} ends */
const most = (ends) => ends.reduce((a, b) => (a === null || (b !== null && b > a) ? b : a), null);

/** The places of as many as one request may ask for. @param {string[]} exprs @param {(place: number) => number} curves @returns {number[][]} */
function portions(exprs, curves) {
  /** @type {number[][]} */
  const out = [];
  let [bytes, expected] = [0, 0];
  exprs.forEach((expr, place) => {
    const [size, more] = [encodeURIComponent(expr).length + "&expr=".length, curves(place)];
    if (!out.length || bytes + size > MAX_BYTES || expected + more > MAX_CURVES) {
      out.push([]);
      [bytes, expected] = [0, 0];
    }
    out[out.length - 1].push(place);
    [bytes, expected] = [bytes + size, expected + more];
  });
  return out;
}

/**
 * Expressions that cannot be answered together are asked in halves, until the failing one is found.
 * @param {string[]} exprs @param {number[]} places @param {(exprs: string[]) => Promise<CurveAnswer>} request @param {{halvings: number}} spare
 * @returns {Promise<Part[]>}
 */
async function askPart(exprs, places, request, spare) {
  try {
    return [{ places, answer: await request(places.map((place) => exprs[place])), error: null }];
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // there is no connection, or the answer is not wanted any more
    if (places.length === 1 || FOR_ALL.includes(error.status) || spare.halvings <= 0) return [{ places, answer: null, error }];
    spare.halvings -= 2;
    const half = places.length >> 1;
    const halves = [places.slice(0, half), places.slice(half)].map((some) => askPart(exprs, some, request, spare));
    return (await Promise.all(halves)).flat();
  }
}

// Charts that are shown: the first in view first, one request at a time, and again when there are new points.

/**
 * @typedef {Object} Question what a chart asks now
 * @property {string} id what was read for another one is stale; charts of one are asked together
 * @property {string[]} exprs
 * @property {Parameters} parameters those of the moment, such as where a range begins that ends now
 * @property {number} buckets
 * @property {number} [weight] how long it takes, as so many plain curves
 * @property {boolean} [grows] points come at its end alone: only that is read again
 */
/**
 * @typedef {Object} Held
 * @property {string} id of the question
 * @property {HeldRow[]} rows
 * @property {LeftOut[]} left
 * @property {string} trouble why it could not be read, or ""
 * @property {{lo: number | null, hi: number | null}} x
 * @property {boolean} dirty there are new points
 * @property {number} read_ms when it was read, or could not be
 * @property {number} whole_ms when all of it was read
 */
/**
 * @template T
 * @typedef {Object} Reading
 * @property {T[]} charts
 * @property {Question} question of the first
 * @property {string[][]} exprs of each
 * @property {boolean} tail
 */

const MAX_HELD = 400;
const LIVE_MS = 500; // between two readings of a chart
const WHOLE_MS = 30_000; // after which all is read again: points may come late
const AGAIN_MS = 5000; // after a failure
const OVERLAP_S = 3; // before the newest point, that is read again: points of other sources come later
const MIN_TAIL = 2; // buckets of what is read again: the last one grows until it lies before the overlap
const GROWN = 2; // times as many buckets as asked for: then all is read again

/** @template {{key: string}} T a chart; those of one key ask the same */
export class CurveReader {
  /**
   * @param {Object} page
   * @param {(chart: T) => Question} page.question
   * @param {(charts: T[], answer: Curves | null) => void} page.changed null: they could not be read
   * @param {typeof readCurves} [page.read]
   */
  constructor({ question, changed, read = readCurves }) {
    this.question = question;
    this.changed = changed;
    this.read = read;
    /** @type {Map<string, Held>} by the chart's key; the last read at the end */
    this.held = new Map();
    /** @type {T[]} in the order in which they are wanted */
    this.wanted = [];
    /** @type {Map<string, Followed>} the stored series behind what was read */
    this.followed = new Map();
    /** @type {(Reading<T> & {control: AbortController}) | null} */
    this.under_way = null;
    this.timer = 0;
    listen(document, "visibilitychange", () => document.hidden || this.#next());
  }

  /** The charts in view; what is under way for another question is not awaited. @param {T[]} charts */
  want(charts) {
    this.wanted = [...new Map(charts.map((chart) => [chart.key, chart])).values()];
    const { under_way } = this;
    if (under_way?.charts.every((chart) => this.question(chart).id !== under_way.question.id)) under_way.control.abort();
    this.#next();
  }

  /** @param {T} chart @returns {Held | null} */
  of({ key }) {
    return this.held.get(key) ?? null;
  }

  /** The charts have new points, of those that are shown these. @param {(chart: T) => boolean} grown */
  touch(grown = () => true) {
    const shown = new Map(this.wanted.map((chart) => [chart.key, chart]));
    for (const [key, held] of this.held) {
      const chart = shown.get(key);
      held.dirty ||= !chart || grown(chart); // what is not shown is read again when it is
    }
    this.#next();
  }

  /** All of what is held may have changed; what failed is asked again at once. */
  refresh() {
    for (const held of this.held.values()) Object.assign(held, { dirty: true, whole_ms: -Infinity, ...(held.trouble && { read_ms: -Infinity }) });
    this.#next();
  }

  /** What is held has nothing to do with what is wanted from now on. */
  forget() {
    this.under_way?.control.abort();
    this.held.clear();
    this.followed.clear();
  }

  /** How long until it may be read: 0 now; null: it need not. @param {Held | null} held @param {Question} question */
  #due(held, { id }) {
    if (!held || held.id !== id) return 0;
    const since_ms = performance.now() - held.read_ms;
    if (held.trouble) return Math.max(0, AGAIN_MS - since_ms);
    return held.dirty ? Math.max(0, LIVE_MS - since_ms) : null;
  }

  /** Whether only its end is to be read. @param {Held | null} held @param {Question} question */
  #tail(held, { id, grows, buckets }) {
    if (!grows || !held || held.id !== id || held.trouble || !held.rows.length) return false;
    return performance.now() - held.whole_ms < WHOLE_MS && held.rows.every(({ x }) => x.length <= GROWN * buckets);
  }

  #next() {
    if (this.under_way || document.hidden) return; // a tab is read when it is seen again
    clearTimeout(this.timer);
    const waiting = this.wanted.flatMap((chart) => {
      const [held, question] = [this.of(chart), this.question(chart)];
      const wait_ms = this.#due(held, question);
      return wait_ms === null ? [] : [{ chart, question, wait_ms, tail: this.#tail(held, question) }];
    });
    const first = waiting.find(({ wait_ms }) => wait_ms <= 0);
    if (!first) {
      if (waiting.length) this.timer = setTimeout(() => this.#next(), Math.min(...waiting.map(({ wait_ms }) => wait_ms)));
      return;
    }
    const soon = first.tail ? LIVE_MS : 0; // ends are read together
    let left = MAX_CURVES;
    const some = waiting.filter(({ question, tail, wait_ms }) => {
      if (wait_ms > soon || tail !== first.tail || question.id !== first.question.id) return false;
      left -= question.weight ?? question.exprs.length;
      return left >= 0 || question === first.question;
    });
    const question = { ...first.question, buckets: Math.max(...some.map(({ question }) => question.buckets)) };
    this.#read({ charts: some.map(({ chart }) => chart), question, exprs: some.map(({ question }) => question.exprs), tail: first.tail });
  }

  /** @param {Reading<T>} reading */
  async #read(reading) {
    const { charts, question, exprs, tail } = reading;
    const control = new AbortController();
    this.under_way = { ...reading, control };
    const held = charts.flatMap((chart) => this.of(chart) ?? []);
    for (const one of held) one.dirty = false; // what comes from now on needs another reading
    const range = tail ? tailOf(held, question.buckets) : {};
    try {
      const answer = await this.read(exprs.flat(), { buckets: question.buckets, ...question.parameters, ...range }, { signal: control.signal });
      if (!control.signal.aborted) this.#keep(reading, answer);
    } catch (error) {
      if (!control.signal.aborted) this.#fail(reading, sentenceOf(error));
    } finally {
      this.under_way = null;
    }
    this.#next();
  }

  /** @param {Reading<T>} reading @param {Curves} answer */
  #keep({ charts, question, exprs, tail }, answer) {
    const { x } = answer;
    let first = 0;
    charts.forEach((chart, i) => {
      const [begin, end] = [first, (first += exprs[i].length)];
      const own = (/** @type {number | null} */ expr) => expr !== null && expr >= begin && expr < end;
      const rows = answer.curves.filter(({ expr }) => own(expr)).map((row) => ({ ...row, expr: row.expr - begin, cut: row.x.length }));
      const left = answer.left_out.filter(({ expr }) => expr === null || own(expr)).map((row) => ({ ...row, expr: row.expr === null ? null : row.expr - begin }));
      const [trouble = ""] = [...answer.failed].flatMap(([expr, sentence]) => (own(expr) ? [sentence] : []));
      const now = performance.now();
      const before = this.of(chart);
      const dirty = before?.dirty ?? false;
      if (!tail || !before) return this.#hold(chart, { id: question.id, rows, left, trouble, x, dirty, read_ms: now, whole_ms: now });
      const { rows: all, more } = continued(before.rows, rows, Number(question.parameters.from ?? -Infinity));
      return this.#hold(chart, { ...before, rows: all, trouble, x: { ...before.x, hi: x.hi }, dirty: dirty || more, read_ms: now, whole_ms: more ? -Infinity : before.whole_ms });
    });
    for (const series of answer.followed) this.followed.set(JSON.stringify([series.run, series.name]), series);
    this.changed(charts, answer);
  }

  /** @param {Reading<T>} reading @param {string} trouble */
  #fail({ charts, question }, trouble) {
    const none = { rows: [], left: [], x: { lo: null, hi: null }, whole_ms: -Infinity };
    for (const chart of charts) this.#hold(chart, { ...none, ...this.of(chart), id: question.id, trouble, dirty: false, read_ms: performance.now() });
    this.changed(charts, null);
  }

  /** @param {T} chart @param {Held} held */
  #hold({ key }, held) {
    this.held.delete(key);
    this.held.set(key, held);
    for (const oldest of this.held.keys()) {
      if (this.held.size <= MAX_HELD) break;
      this.held.delete(oldest);
    }
  }
}

/** The end of what is held, in buckets about as wide as those of the whole. @param {Held[]} held @param {number} buckets of the whole @returns {Parameters} */
function tailOf(held, buckets) {
  const rows = held.flatMap(({ rows }) => rows);
  const from = cutAt(rows, Math.max(...rows.map(({ x_end }) => x_end.at(-1) ?? -Infinity)) - OVERLAP_S);
  const lo = Math.min(...held.map(({ x }) => x.lo ?? Infinity));
  const now = Math.max(...held.map(({ x, read_ms }) => (x.hi ?? -Infinity) + (performance.now() - read_ms) / 1000));
  const share = (now - from) / Math.max(now - lo, 1e-9);
  return Number.isFinite(from) ? { from, buckets: Math.min(buckets, Math.max(MIN_TAIL, Math.ceil(share * buckets) + 1)) } : {};
}

// The columns of curves, to which what is new is added at their end (pure).

/** @typedef {CurveRow & {cut: number}} HeldRow `cut`: from this bucket on, it is read again */

const COLUMNS = /** @type {const} */ (["x", "x_end", "step", "segment", "min", "max", "mean", "last", "count", "non_finite", "smooth", "superseded"]);

/** Which curve it is. @param {CurveRow} row */
const rowKey = ({ expr, run, group, name, labels }) => JSON.stringify([expr, run, group, name, labels]);

/**
 * Rows with what was read of their ends; `more`: there are curves that were not there before.
 * @param {HeldRow[]} rows @param {HeldRow[]} ends @param {number} lo what lies before it is dropped
 */
function continued(rows, ends, lo) {
  const news = new Map(ends.map((row) => [rowKey(row), row]));
  const all = rows.map((row) => {
    const [key, before] = [rowKey(row), row];
    const end = news.get(key);
    news.delete(key);
    return joined(before, end, lo);
  });
  return { rows: all, more: [...news.values()].some(({ x }) => x.length) };
}

/**
 * Where the next reading begins so that nothing after `since` is missed: the first place of the buckets that reach there.
 * Each row remembers from which bucket on it is read again. @param {HeldRow[]} rows @param {number} since
 */
export function cutAt(rows, since) {
  let from = since;
  for (const row of rows) {
    let cut = row.x.length;
    while (cut > 0 && (row.x_end[cut - 1] ?? 0) >= since) cut--;
    row.cut = cut;
    if (cut < row.x.length) from = Math.min(from, row.x[cut]);
  }
  return from;
}

/**
 * The row with what was read of its end, without what lies before `lo`. A bucket that was read as a whole is not there twice.
 * @param {HeldRow} row @param {CurveRow | undefined} tail @param {number} lo @returns {HeldRow}
 */
export function joined(row, tail, lo) {
  const kept = row.cut;
  const end = kept ? row.x_end[kept - 1] : -Infinity;
  let begin = 0;
  while (tail && begin < tail.x.length && tail.x_end[begin] <= end) begin++;
  let first = 0;
  while (first + 1 < kept && row.x_end[first + 1] < lo) first++; // one before it is kept, so that the line comes in from the edge
  const out = /** @type {HeldRow} */ ({ ...row });
  for (const name of COLUMNS) {
    const old = /** @type {any[] | null} */ (row[name]);
    if (old) /** @type {any} */ (out)[name] = tail ? old.slice(first, kept).concat(/** @type {any[]} */ (tail[name]).slice(begin)) : first ? old.slice(first) : old;
  }
  out.cut = out.x.length;
  return out;
}
