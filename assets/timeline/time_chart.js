/** A time chart in a page of Dash components: a lane for each series, a line for each run. */

import { runColours } from "../data/colours.js";
import { lane } from "../data/lanes.js";
import { keyOf } from "../data/series.js";
import { SeriesStore } from "../data/series_store.js";
import { newest } from "../lib/api.js";
import { STEP, TIME } from "../lib/axis.js";
import { paintedLane } from "../lib/probe.js";
import PlainPage from "../pages/plain_page.js";
import { session } from "../pages/session.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("../data/view_range.js").Window} Window */
/** @typedef {{runs: string[], series: string[], axis: "time" | "step"}} Wanted */

const HEIGHT = 120;

export class TimeLanes {
  /**
   * @param {HTMLElement} place @param {Wanted} wanted
   * @param {import("../pages/plain_page.js").default} page
   * @param {(window: Window | null) => void} chosen a window was drawn on any chart of the page
   */
  constructor(place, wanted, page, chosen) {
    this.wanted = wanted;
    this.chosen = chosen;
    this.axis = wanted.axis === "step" ? STEP : TIME;
    this.cursor = Infinity; // what deltas must follow on
    /** @type {SeriesStore[]} one per run */
    this.stores = [];
    const { controller } = page;
    this.timeline = new Timeline({ ...controller.gestures(), hover: (time_s) => page.hover(time_s), click: () => controller.clear() }, paintedLane);
    place.replaceChildren(this.timeline.element);
    this.read = newest(
      (/** @type {{view: import("../lib/axis.js").View, growing: boolean}} */ { view, growing }) =>
        Promise.all(this.stores.map((store) => store.readPoints(view, growing))),
      (reads, { growing }) => {
        this.stores.forEach((store, i) => store.replace(reads[i], growing));
        this.cursor = Math.min(...reads.map(({ cursor }) => cursor));
        page.follow();
      },
      (error) => page.failed(error),
    );
  }

  /** Learn which series there are. @param {string | null} selected the run to show where the chart names none */
  async loadCatalogue(selected) {
    const runs = this.wanted.runs.length ? this.wanted.runs : selected === null ? [] : [selected];
    runColours.choose(runs, this);
    this.stores = runs.map(() => new SeriesStore((metas) => this.#lanes(metas)));
    await Promise.all(this.stores.map((store, i) => store.readCatalogue(Promise.resolve(runs[i]), () => this.axis)));
    this.timeline.setLanes(this.#lanes(this.metas));
  }

  get metas() {
    return this.stores.flatMap((store) => store.metas.filter(({ run }) => run !== null));
  }

  /** A lane per series, a line per run. @param {import("../data/series.js").Meta[]} metas */
  #lanes(metas) {
    return this.wanted.series.map((name) => {
      const found = metas.filter((meta) => meta.name === name && meta.run !== null);
      const colourOf = (/** @type {string} */ run) => (this.stores.length > 1 ? runColours.of(run) : "ink");
      const lines = found.map((meta) => ({ label: String(meta.run), colour: colourOf(String(meta.run)), keys: [keyOf(meta)] }));
      return lane(`chart ${name}`, name, HEIGHT, "robust", lines);
    });
  }

  close() {
    runColours.release(this);
  }

  /** Everything that is stored, on the chart's axis. @returns {{lo: number, hi: number}} */
  get extent() {
    const ends = this.metas.map((meta) => (this.axis === STEP ? [meta.first_step, meta.last_step] : [meta.first_time_s, meta.last_time_s]));
    const [first, last] = [ends.map(([lo]) => lo ?? Infinity), ends.map(([, hi]) => hi ?? -Infinity)];
    return { lo: Math.min(...first), hi: Math.max(...last) };
  }

  /** @returns {import("../data/feed.js").Wish[]} */
  wishes() {
    return this.stores.flatMap((store) => store.wishes()).filter(({ run }) => run !== undefined);
  }

  /** @param {import("../types/api").Delta} delta @param {boolean} growing */
  onDelta(delta, growing) {
    for (const store of this.stores) store.onDelta(delta, growing);
  }

  /** @param {Omit<import("../timeline/timeline.js").Picture, "series" | "failed" | "version" | "axis">} picture */
  draw(picture) {
    this.timeline.draw({
      ...picture,
      axis: this.axis,
      series: new Map(this.stores.flatMap((store) => [...store.series])),
      failed: new Map(this.stores.flatMap((store) => [...store.failed])),
      version: this.stores.reduce((sum, store) => sum + store.version, 0),
    });
  }
}

/** The component on a page of ours. @param {HTMLElement} place @param {Wanted} props @param {(changed: {window: Window | null}) => void} setProps */
export function mountLanes(place, props, setProps) {
  const { view } = session();
  if (!(view instanceof PlainPage)) throw new Error("a TimeChart stands on a page of its own");
  let chart = new TimeLanes(place, props, view, (window) => setProps({ window }));
  view.add(chart);
  return {
    /** @param {Wanted} changed */
    update({ runs, series, axis }) {
      if (JSON.stringify([runs, series, axis]) === JSON.stringify([chart.wanted.runs, chart.wanted.series, chart.wanted.axis])) return;
      view.remove(chart);
      chart.close();
      chart = new TimeLanes(place, { runs, series, axis }, view, (window) => setProps({ window }));
      view.add(chart);
    },
    close: () => {
      view.remove(chart);
      chart.close();
    },
  };
}
