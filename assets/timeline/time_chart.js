/** A time chart in a page of Dash components: one canvas timeline in an element that `dashboard/pages/time_chart.py` made. */

import { newest } from "../lib/api.js";
import { STEP, TIME } from "../lib/axis.js";
import { Book } from "../data/book.js";
import { lane } from "../data/lanes.js";
import { keyOf } from "../data/series.js";
import { Timeline } from "./timeline.js";

/** @typedef {{runs: string[], series: string[], axis: "time" | "step"}} Wanted */

const HEIGHT = 120;
const COLOURS = 8;

export class TimeChart {
  /**
   * @param {HTMLElement} host
   * @param {import("./steering.js").Steering} steering of the page
   * @param {{hover: (time_s: number | null) => void, failed: (error: unknown) => void, drawn: (lane: any) => void, follow: () => void}} page
   */
  constructor(host, steering, page) {
    this.host = host;
    /** @type {Wanted} */
    this.wanted = JSON.parse(host.dataset.timeChart ?? "{}");
    this.axis = this.wanted.axis === "step" ? STEP : TIME;
    this.cursor = Infinity; // what deltas must follow on
    /** @type {Book[]} one per run */
    this.books = [];
    const gestures = steering.gestures();
    this.timeline = new Timeline({ ...gestures, hover: page.hover, click: () => steering.clear() }, page.drawn);
    host.replaceChildren(this.timeline.element);
    this.read = newest(
      (/** @type {{view: import("../lib/axis.js").View, growing: boolean}} */ { view, growing }) =>
        Promise.all(this.books.map((book) => book.read(view, growing))),
      (reads, { growing }) => {
        this.books.forEach((book, i) => book.replace(reads[i], growing));
        this.cursor = Math.min(...reads.map(({ cursor }) => cursor));
        page.follow();
      },
      page.failed,
    );
  }

  /** Learn which series there are. @param {string | null} selected the run to show where the chart names none */
  async learn(selected) {
    const runs = this.wanted.runs.length ? this.wanted.runs : selected === null ? [] : [selected];
    this.books = runs.map(() => new Book((metas) => this.#lanes(metas)));
    await Promise.all(this.books.map((book, i) => book.catalogue(Promise.resolve(runs[i]), () => this.axis)));
    this.timeline.setLanes(this.#lanes(this.metas));
  }

  get metas() {
    return this.books.flatMap((book) => book.metas.filter(({ run }) => run !== null));
  }

  /** A lane per series, a line per run. @param {import("../data/series.js").Meta[]} metas */
  #lanes(metas) {
    return this.wanted.series.map((name) => {
      const found = metas.filter((meta) => meta.name === name && meta.run !== null);
      const traces = found.map((meta, i) => ({ label: String(meta.run), colour: `gpu-${i % COLOURS}`, keys: [keyOf(meta)] }));
      return lane(`chart ${name}`, name, HEIGHT, "robust", traces);
    });
  }

  /** Everything that is stored, on the chart's axis. @returns {{lo: number, hi: number}} */
  get extent() {
    const ends = this.metas.map((meta) => (this.axis === STEP ? [meta.first_step, meta.last_step] : [meta.first_time_s, meta.last_time_s]));
    const [first, last] = [ends.map(([lo]) => lo ?? Infinity), ends.map(([, hi]) => hi ?? -Infinity)];
    return { lo: Math.min(...first), hi: Math.max(...last) };
  }

  /** @returns {import("../data/feed.js").Wish[]} */
  wishes() {
    return this.books.flatMap((book) => book.wishes()).filter(({ run }) => run !== undefined);
  }

  /** @param {import("../types/api").Delta} delta @param {boolean} growing */
  take(delta, growing) {
    for (const book of this.books) book.take(delta, growing);
  }

  /** @param {Omit<import("./timeline.js").Picture, "series" | "failed" | "version" | "axis">} picture */
  draw(picture) {
    this.timeline.draw({
      ...picture,
      axis: this.axis,
      series: new Map(this.books.flatMap((book) => [...book.series])),
      failed: new Map(this.books.flatMap((book) => [...book.failed])),
      version: this.books.reduce((sum, book) => sum + book.version, 0),
    });
  }
}
