/** The page's data of the shown series: read once, then updated by deltas. */

import { Refused, get } from "../lib/api.js";
import { TIME } from "../lib/axis.js";
import { firstName, keysOf, lanesOf } from "./lanes.js";
import { Pace, UNITS, counterOf, leads, unitsIn, unitsPerStep } from "./progress.js";
import { Continuation } from "./refresh.js";
import { Series, keyOf } from "./series.js";

/** @typedef {import("../lib/axis.js").View} View */
/** @typedef {import("./series.js").Meta} Meta */
/**
 * @typedef {Object} Read
 * @property {Map<string, Series>} series
 * @property {Map<string, string>} failed by key, why a series could not be read
 * @property {number} cursor what deltas must follow on
 * @property {string | null} run
 * @property {import("../lib/axis.js").Axis} axis
 */

const BUCKETS = 800;
const MAX_SERIES = 200; // that one question may name
const NOTHING = ["none/*"]; // a pattern may match nothing, and the answer's cursor is needed all the same
const HALVINGS = 24; // further requests to find the series that cannot be read
const STORE_FAILS = 503; // for every series

export class SeriesStore {
  /**
   * @param {(metas: Meta[]) => import("./lanes.js").Lane[]} [lanes] what to show of the series that there are
   * @param {number} [buckets] that a view is read in
   */
  constructor(lanes = lanesOf, buckets = BUCKETS) {
    this.lanesOf = lanes;
    this.buckets = buckets;
    /** @type {Map<string, Series>} */
    this.series = new Map();
    /** @type {Meta[]} */
    this.metas = [];
    /** @type {import("./lanes.js").Lane[]} */
    this.lanes = [];
    /** @type {string | null} */
    this.run = null;
    this.axis = TIME;
    /** @type {Map<string, string>} by key, why a series could not be read */
    this.failed = new Map();
    this.version = 0; // rises when there is something new to draw
    this.points = 0; // of all series, in the store
    this.origin = Infinity; // where on the axis the run's first point stands, else the machine's
    this.pace = new Pace();
    this.continuation = new Continuation();
  }

  /** Read the list of series. @param {Promise<string | null>} chosen the run to show; the machine is asked meanwhile @param {() => import("../lib/axis.js").Axis} [axis] of that run */
  async readCatalogue(chosen, axis = () => TIME) {
    const ask = (/** @type {string | null} */ of) =>
      get("series", { run: of }).then(({ series }) => series.map((meta) => ({ ...meta, run: of })));
    const asked = chosen.then((name) => (name === null ? [] : ask(name)));
    const [run, machine, own] = await Promise.all([chosen, ask(null), asked]);
    if (run !== this.run) this.pace = new Pace();
    this.run = run;
    this.axis = axis();
    this.metas = this.axis === TIME ? [...machine, ...own] : own; // the machine has no steps
    this.lanes = this.lanesOf(this.metas);
    this.points = this.metas.reduce((sum, meta) => sum + (meta.points ?? 0), 0);
    const shown = this.metas.filter((meta) => run === null || meta.run !== null);
    const first = (/** @type {Meta} */ meta) => (this.axis === TIME ? meta.first_time_s : meta.first_step) ?? Infinity;
    this.origin = shown.reduce((least, meta) => Math.min(least, first(meta)), Infinity);
  }

  /**
   * Read the shown series over a view; one that cannot be read affects only itself.
   * @param {View} view @param {boolean} growing the end is open
   * @returns {Promise<Read>}
   */
  async readPoints(view, growing) {
    this.continuation.begin();
    const { axis, buckets, run } = this;
    const width = (view.hi - view.lo) / buckets;
    const window = { from: view.lo - 2 * width, to: growing ? null : view.hi + 2 * width, axis: axis.name, buckets };
    const runs = axis === TIME && run !== null ? [null, run] : [run];
    const questions = runs.flatMap((of) => this.#portions(of).map((names) => ({ of, names })));
    const spare = { halvings: HALVINGS };
    const answers = (await Promise.all(questions.map(({ of, names }) => this.#ask(of, names, window, spare)))).flat();
    /** @type {Read} */
    const read = { series: new Map(), cursor: Infinity, failed: new Map(), run, axis };
    for (const { of, names, answer, error } of answers) {
      if (!answer) for (const meta of this.#metasOf(of, names)) read.failed.set(keyOf(meta), error);
      else for (const row of answer.series) this.#fill(read.series, { run: of, ...row }, width);
      if (answer) read.cursor = Math.min(read.cursor, answer.cursor);
    }
    if (read.cursor === Infinity) throw new Refused(answers[0].error, STORE_FAILS); // not one of them answered
    return read;
  }

  /**
   * Names that cannot be read together are requested in halves, until the failing one is found.
   * @param {string | null} of the run @param {string[]} names @param {Record<string, string | number | null>} window @param {{halvings: number}} spare
   * @returns {Promise<{of: string | null, names: string[], answer: import("../types/api").Answer<"points"> | null, error: string}[]>}
   */
  async #ask(of, names, window, spare) {
    try {
      return [{ of, names, answer: await get("points", { run: of, series: names, ...window }), error: "" }];
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // there is no connection
      if (names.length === 1 || error.status === STORE_FAILS || spare.halvings <= 0) return [{ of, names, answer: null, error: error.message }];
      spare.halvings -= 2;
      const half = names.length >> 1;
      const halves = [names.slice(0, half), names.slice(half)].map((some) => this.#ask(of, some, window, spare));
      return (await Promise.all(halves)).flat();
    }
  }

  /** @param {string | null} run @param {string[]} names */
  #metasOf(run, names) {
    return this.metas.filter((meta) => meta.run === run && names.includes(meta.name));
  }

  /** Use the read series, with the deltas that came meanwhile; keep the old ones of series that could not be read. @param {Read} read @param {boolean} growing */
  replace({ series, failed, run, axis, cursor }, growing) {
    const same = run === this.run && axis === this.axis;
    const width = [...series.values()][0]?.width;
    const kept = [...this.series].filter(([key, old]) => failed.has(key) && old.width === width);
    if (same) this.series = new Map([...kept, ...series]);
    if (same) this.failed = failed;
    this.version++;
    this.#pace();
    for (const delta of this.continuation.end(cursor)) this.onDelta(delta, growing);
  }

  /** @param {import("../types/api").Delta} delta @param {boolean} growing otherwise only the newest values are kept: nothing new comes into view */
  onDelta(delta, growing) {
    this.continuation.onDelta(delta);
    if (growing) this.version++;
    const counter = counterOf(this.series, this.stepper());
    for (const row of delta.series) {
      const series = this.series.get(keyOf({ ...row, run: row.run ?? null }));
      if (growing) series?.append(row);
      else series?.glance(row);
    }
    if (this.axis !== TIME) return;
    const stepper = this.stepper();
    if (counter) this.#paceByUnits(delta.series, counter);
    else if (stepper) this.pace.add(stepper.newest.t, stepper.newest.step);
  }

  /** Update the rate from the read series. */
  #pace() {
    const stepper = this.stepper();
    if (!stepper || this.axis !== TIME) return;
    const counter = counterOf(this.series, stepper);
    stepper.t.forEach((t, i) => {
      const units = counter && unitsIn(stepper.finite[i], counter, stepper.bin[i]);
      this.pace.add(t, stepper.step[i], units, stepper.t[i - 1]);
    });
  }

  /** Update the rate from new lines that say how many units they stand for. @param {import("../types/api").Delta["series"]} rows @param {Series} counter */
  #paceByUnits(rows, counter) {
    const stepper = this.stepper();
    const rowOf = (/** @type {Series | null} */ of) => rows.find((row) => of && keyOf({ ...row, run: row.run ?? null }) === keyOf(of.meta));
    const [lines, counts] = [rowOf(stepper), rowOf(counter)];
    const units = new Map(counts?.t.map((t, i) => [t, Number(counts.v[i])]));
    lines?.t.forEach((t, i) => {
      if (t !== null) this.pace.add(t, lines.step[i], units.get(t) ?? 1);
    });
  }

  /** Update the rate on an axis of steps, whose points have no times. @param {number} time_s of the run's last line @param {number | null} step */
  paceBySteps(time_s, step) {
    const stepper = this.stepper();
    const counter = counterOf(this.series, stepper);
    const steps = (step ?? 0) - (this.pace.step ?? step ?? 0);
    this.pace.add(time_s, step, stepper && counter ? steps * unitsPerStep(stepper, counter) : null);
  }

  /** Another run, or another axis, is to be shown: what is on its way for the old one is not used. @param {import("../lib/axis.js").Axis} axis */
  forget(axis) {
    if (axis !== this.axis) this.origin = Infinity;
    this.axis = axis;
    this.series = new Map();
    this.failed = new Map();
    this.lanes = [];
    this.version++;
  }

  /** @param {number} time_s */
  trim(time_s) {
    for (const series of this.series.values()) series.trim(time_s);
  }

  /** Names of the shown series of a run, or of the machine. @param {string | null} run @returns {string[]} */
  names(run) {
    const keys = keysOf(this.lanes);
    const metas = this.metas.filter((meta) => meta.run === run);
    const shown = metas.filter((meta) => keys.has(keyOf(meta)));
    const counters = run !== null && shown.length ? metas.filter((meta) => meta.name === UNITS) : []; // rates need them
    return [...new Set([...shown, ...counters].map((meta) => meta.name))];
  }

  /** The same in portions for one request. @param {string | null} run @returns {string[][]} */
  #portions(run) {
    const portions = [{ names: /** @type {string[]} */ ([]), series: 0 }];
    for (const name of this.names(run)) {
      const series = this.metas.filter((meta) => meta.run === run && meta.name === name).length;
      const last = portions[portions.length - 1];
      if (last.series && last.series + series > MAX_SERIES) portions.push({ names: [name], series });
      else {
        last.names.push(name);
        last.series += series;
      }
    }
    return portions.map(({ names }) => (names.length ? names : NOTHING));
  }

  /** @returns {import("./feed.js").Wish[]} */
  wishes() {
    const machine = this.names(null);
    const source = (/** @type {string} */ name) => ({ source: name, series: machine.filter((key) => key.startsWith(`${name}/`)) });
    const run = this.run === null ? [] : [{ run: this.run, series: this.names(this.run) }];
    return this.axis === TIME ? [...run, source("gpu"), source("host")] : run;
  }

  /** The series on whose axis the run's steps count. @returns {Series | null} */
  stepper() {
    const own = [...this.series.values()].filter(({ meta, newest }) => meta.run !== null && meta.name !== UNITS && newest.step !== null);
    return own.reduce((/** @type {Series | null} */ best, series) => (best === null || leads(series, best) ? series : best), null);
  }

  /** The first series of these names that has points. @param {string[]} names @returns {Series | null} */
  first(names) {
    const known = [...this.series.values()].filter(({ meta, bin }) => meta.run !== null && bin.length > 0);
    const name = firstName(new Set(known.map(({ meta }) => meta.name)), names);
    return known.find(({ meta }) => meta.name === name) ?? null;
  }

  /** @param {Map<string, Series>} all @param {{run: string | null} & import("../types/api").Row<"PointsRow">} row @param {number} width */
  #fill(all, row, width) {
    const series = new Series({ run: row.run, name: row.name, labels: row.labels }, width, this.axis);
    series.fill(row);
    all.set(keyOf(series.meta), series);
  }
}
