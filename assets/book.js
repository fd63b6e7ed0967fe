/** What the page knows of the series that are shown: read once, then kept by deltas. */

import { get } from "./api.js";
import { keysOf, lanesOf } from "./lanes.js";
import { Pace } from "./progress.js";
import { Series, keyOf } from "./series.js";

/** @typedef {{lo: number, hi: number}} View */
/** @typedef {import("./series.js").Meta} Meta */

const BUCKETS = 800;
const MOST_SERIES = 200; // that one question may name
const NOTHING = ["none/*"]; // a pattern may match nothing, and the answer's cursor is needed all the same

export class Book {
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
    this.version = 0; // rises when there is something new to draw
    this.points = 0; // of all series, in the store
    this.first_s = Infinity; // of the run's first point, else of the machine's
    this.pace = new Pace();
    /** @type {any[] | null} deltas that came while a read was under way */
    this.meanwhile = null;
  }

  /** Learn which series there are. @param {Promise<string | null>} chosen the run to show; the machine is asked meanwhile */
  async catalogue(chosen) {
    const ask = (/** @type {string | null} */ of) =>
      get("series", { run: of }).then(({ series }) => series.map((/** @type {Meta} */ meta) => ({ ...meta, run: of })));
    const asked = chosen.then((name) => (name === null ? [] : ask(name)));
    const [run, machine, own] = await Promise.all([chosen, ask(null), asked]);
    if (run !== this.run) this.pace = new Pace();
    this.run = run;
    this.metas = [...machine, ...own];
    this.lanes = this.lanesOf(this.metas);
    this.points = this.metas.reduce((sum, meta) => sum + (meta.points ?? 0), 0);
    const shown = this.metas.filter((meta) => run === null || meta.run !== null);
    this.first_s = Math.min(...shown.map((meta) => meta.first_time_s ?? Infinity));
  }

  /**
   * Read the shown series over a view. @param {View} view @param {boolean} growing the end is open
   * @returns {Promise<{series: Map<string, Series>, cursor: number}>} `cursor`: what deltas must follow on
   */
  async read(view, growing) {
    this.meanwhile = [];
    const width = (view.hi - view.lo) / this.buckets;
    const from = view.lo - 2 * width;
    const to = growing ? null : view.hi + 2 * width;
    const told = await Promise.all(
      (this.run === null ? [null] : [null, this.run]).flatMap((run) =>
        this.#portions(run).map(async (series) => ({
          ...(await get("points", { run, series, from, to, buckets: this.buckets })),
          run,
        })),
      ),
    );
    /** @type {Map<string, Series>} */
    const series = new Map();
    for (const { run, series: list } of told) for (const one of list) this.#fill(series, { run, ...one }, width);
    return { series, cursor: Math.min(...told.map(({ cursor }) => cursor)) };
  }

  /** Let what was read stand, with what came meanwhile. @param {Map<string, Series>} series @param {boolean} growing */
  replace(series, growing) {
    this.series = series;
    this.version++;
    const stepper = this.stepper();
    stepper?.t.forEach((t, i) => this.pace.add(t, stepper.step[i]));
    const late = this.meanwhile ?? [];
    this.meanwhile = null;
    for (const delta of late) this.take(delta, growing);
  }

  /** @param {any} delta @param {boolean} growing otherwise only the newest values are kept: nothing new comes into view */
  take(delta, growing) {
    this.meanwhile?.push(delta);
    if (growing) this.version++;
    for (const told of delta.series) {
      const one = this.series.get(keyOf({ ...told, run: told.run ?? null }));
      if (growing) one?.append(told);
      else one?.glance(told);
      if (one?.meta.run) this.pace.add(one.newest.t, one.newest.step);
    }
  }

  /** @param {number} time_s */
  trim(time_s) {
    for (const one of this.series.values()) one.trim(time_s);
  }

  /** Names of the shown series of a run, or of the machine. @param {string | null} run @returns {string[]} */
  names(run) {
    const keys = keysOf(this.lanes);
    return [...new Set(this.metas.filter((meta) => meta.run === run && keys.has(keyOf(meta))).map((meta) => meta.name))];
  }

  /** The same in portions that one question may ask for. @param {string | null} run @returns {string[][]} */
  #portions(run) {
    const portions = [{ names: /** @type {string[]} */ ([]), series: 0 }];
    for (const name of this.names(run)) {
      const series = this.metas.filter((meta) => meta.run === run && meta.name === name).length;
      const last = portions[portions.length - 1];
      if (last.series && last.series + series > MOST_SERIES) portions.push({ names: [name], series });
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
    const source = (/** @type {string} */ name) => ({ source: name, series: machine.filter((one) => one.startsWith(`${name}/`)) });
    return [...(this.run === null ? [] : [{ run: this.run, series: this.names(this.run) }]), source("gpu"), source("host")];
  }

  /** The run's series that counts steps best: the one with the most points. @returns {Series | null} */
  stepper() {
    const own = [...this.series.values()].filter((one) => one.meta.run !== null && one.newest.step !== null);
    return own.sort((a, b) => b.points - a.points)[0] ?? null;
  }

  /** The first series of these names that has points. @param {string[]} names @returns {Series | null} */
  first(names) {
    const known = names.flatMap((name) =>
      [...this.series.values()].filter((one) => one.meta.name === name && one.meta.run !== null),
    );
    return known.find((one) => one.bin.length > 0) ?? null;
  }

  /** @param {Map<string, Series>} series @param {any} told @param {number} width */
  #fill(series, told, width) {
    const one = new Series({ run: told.run, name: told.name, labels: told.labels }, width);
    one.fill(told);
    series.set(keyOf(one.meta), one);
  }
}
