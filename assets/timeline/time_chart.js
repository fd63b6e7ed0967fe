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
/** @typedef {{runs: string[], series: string[], axis: "time" | "step", window?: Window | null}} Wanted */

const HEIGHT = 120;
const MAX_NAMED = 5; // series of a sentence

export class TimeLanes {
  /**
   * @param {HTMLElement} place @param {Wanted} wanted
   * @param {import("../pages/plain_page.js").default} page
   * @param {(window: Window | null) => void} chosen a window was drawn on any chart of the page
   */
  constructor(place, wanted, page, chosen) {
    this.wanted = wanted;
    this.chosen = chosen;
    /** @type {string[]} that it shows */
    this.runs = [];
    this.lack = ""; // what there is not of what was asked for
    this.failure = ""; // why the newest answer is missing
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
        this.failure = "";
        this.cursor = Math.min(...reads.map(({ cursor }) => cursor));
        page.follow();
      },
      (error) => page.failed(error, this),
    );
  }

  /** Learn which series there are. @param {string | null} selected the run to show where the chart names none @param {Set<string>} known runs that there are */
  async loadCatalogue(selected, known) {
    const { wanted } = this;
    const named = wanted.runs.length ? wanted.runs : selected === null ? [] : [selected];
    const runs = named.filter((run) => known.has(run));
    runColours.choose(runs, this);
    const stores = runs.map(() => new SeriesStore((metas) => this.#lanes(metas)));
    await Promise.all(stores.map((store, i) => store.readCatalogue(Promise.resolve(runs[i]), () => this.axis)));
    [this.runs, this.stores] = [runs, stores];
    this.timeline.setLanes(this.#lanes(this.metas));
    this.lack = this.#lackOf(named.filter((run) => !known.has(run)));
    this.failure = "";
  }

  /** @param {string[]} missing runs */
  #lackOf(missing) {
    const { series } = this.wanted;
    if (!series.length) return "There is nothing to draw: name series=[...].";
    if (missing.length) return `There is no run ${missing.join(", ")}. The Runs page lists all of them.`;
    if (!this.runs.length) return "There are no runs yet.";
    const there = [...new Set(this.metas.map(({ name }) => name))];
    const lacking = series.filter((name) => !there.includes(name));
    if (!lacking.length) return "";
    const some = there.length ? `It has ${there.slice(0, MAX_NAMED).join(", ")}${there.length > MAX_NAMED ? ` and ${there.length - MAX_NAMED} more` : ""}.` : "It has none so far.";
    const expressions = lacking.some((name) => /[()+*]/.test(name)) ? " Here a TimeChart draws series by their names: expressions are for boards, and for data=." : "";
    return `No series ${lacking.join(", ")} in ${this.runs.join(", ")}. ${this.runs.length > 1 ? some.replace("It has", "They have") : some}${expressions}`;
  }

  /** Why there is nothing to see in a view, or less than was asked for. @param {import("../lib/axis.js").View} view */
  say(view) {
    const { lo, hi } = this.extent;
    const isAway = lo <= hi && (hi < view.lo || lo > view.hi);
    const away = `${this.runs.join(", ")} is outside of the shown ${this.axis === STEP ? "steps" : "time"}: press 0 for the whole range.`;
    this.timeline.say(this.failure || this.lack || (isAway ? away : ""));
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
  let known = props.window ?? null; // the newest window, whoever chose it
  const make = (/** @type {Wanted} */ wanted) =>
    new TimeLanes(place, wanted, view, (window) => {
      known = window;
      setProps({ window });
    });
  let chart = make(props);
  view.add(chart);
  if (known && !view.range.window) view.choose(known); // what the address says comes first
  return {
    /** @param {Wanted} changed */
    update({ runs, series, axis, window = null }) {
      if (JSON.stringify([runs, series, axis]) !== JSON.stringify([chart.wanted.runs, chart.wanted.series, chart.wanted.axis])) {
        const before = chart;
        chart = make({ runs, series, axis });
        before.close();
        view.replace(before, chart);
      }
      if (JSON.stringify(window) === JSON.stringify(known)) return;
      known = window;
      view.choose(window);
    },
    close: () => {
      view.remove(chart);
      chart.close();
    },
  };
}
