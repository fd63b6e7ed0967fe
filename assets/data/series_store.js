/** The page's data of the shown series: read once, then updated by deltas. */

import { get } from "../lib/api.js";
import { TIME } from "../lib/axis.js";
import { readCurves } from "./curve_reader.js";
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
const NOTHING = ["none/*"]; // a pattern may match nothing, and the answer's cursor is needed all the same

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
    const window = { from: view.lo - 2 * width, to: growing ? null : view.hi + 2 * width, x: axis.name, buckets };
    const runs = axis === TIME && run !== null ? [null, run] : [run];
    const answers = await Promise.all(
      runs.map(async (of) => {
        const names = this.names(of);
        const metas = names.map((name) => this.metas.filter((meta) => meta.run === of && meta.name === name));
        const curves = (/** @type {number} */ place) => metas[place]?.length ?? 1;
        return { of, metas, answer: await readCurves(names.length ? names : NOTHING, { run: of, ...window }, { curves }) };
      }),
    );
    /** @type {Read} */
    const read = { series: new Map(), cursor: Math.min(...answers.map(({ answer }) => answer.cursor)), failed: new Map(), run, axis };
    for (const { of, metas, answer } of answers) {
      for (const [place, sentence] of answer.failed) for (const meta of metas[place]) read.failed.set(keyOf(meta), sentence);
      for (const row of answer.curves) if (row.run === of) this.#fill(read.series, row, width);
    }
    return read;
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

  /** @param {Map<string, Series>} all @param {import("./curve_reader.js").CurveRow} row @param {number} width */
  #fill(all, row, width) {
    const series = new Series({ run: row.run, name: row.name, labels: row.labels }, width, this.axis);
    series.fill(row);
    all.set(keyOf(series.meta), series);
  }
}
