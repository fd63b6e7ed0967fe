/** Which steps a window holds, exactly: its first and last point of the run's densest series, wherever the page shows them. */

import { get, newest, sentenceOf } from "../lib/api.js";

/** @typedef {import("./range.js").Window} Window */
/** @typedef {{from: number | null, to: number | null}} Steps null where the window holds none */
/** @typedef {{run: string, series: string, window: Window}} Question */

const NONE = { from: null, to: null };

export class WindowSteps {
  /** @param {() => void} known an answer is there */
  constructor(known) {
    this.known = known;
    /** @type {{of: string, steps: Steps}} */
    this.last = { of: "", steps: NONE };
    this.asked = "";
    this.ask = newest(firstAndLast, (steps, question) => this.#keep(question, steps), (error) => this.#fail(error));
  }

  /** The steps of a window, or null while they are requested. @param {string | null} run @param {import("./series.js").Meta[]} metas @param {Window} window @returns {Steps | null} */
  of(run, metas, window) {
    const series = densest(metas);
    if (run === null || series === null) return NONE;
    const question = { run, series, window };
    const key = JSON.stringify(question);
    if (key === this.last.of) return this.last.steps;
    if (key !== this.asked) {
      this.asked = key;
      this.ask(question);
    }
    return null;
  }

  /** @param {Question} question @param {Steps} steps */
  #keep(question, steps) {
    this.last = { of: JSON.stringify(question), steps };
    this.known();
  }

  /** Requested again at the next drawing. @param {unknown} error */
  #fail(error) {
    sentenceOf(error); // the chart says it
    this.asked = "";
    this.last = { of: "", steps: NONE };
  }
}

/** The name of the run's series that counts its steps best. @param {import("./series.js").Meta[]} metas @returns {string | null} */
const densest = (metas) => densestOf(metas)?.name ?? null;

/** The run's series with most points that have steps, whatever part of it is shown. @param {import("./series.js").Meta[]} metas */
export function densestOf(metas) {
  const own = metas.filter((meta) => meta.run !== null && (meta.last_step ?? null) !== null);
  return own.reduce((/** @type {import("./series.js").Meta | null} */ best, meta) => (best && (best.points ?? 0) >= (meta.points ?? 0) ? best : meta), null);
}

/** The last step of the window is in its one bucket; the first is that of the bucket's first point. @param {Question} question @returns {Promise<Steps>} */
async function firstAndLast({ run, series, window }) {
  const whole = await bounds(run, series, window);
  if (!whole) return NONE;
  const first = await bounds(run, series, { from: whole.begins_s, to: whole.begins_s });
  return { from: first?.last ?? whole.last, to: whole.last };
}

/** @param {string} run @param {string} name @param {Window} window */
async function bounds(run, name, window) {
  const { series } = await get("points", { run, series: [name], ...window, buckets: 1 });
  const filled = series.filter(({ t }) => t.length);
  if (!filled.length) return null;
  return {
    begins_s: Math.min(...filled.map(({ t }) => t[0])),
    last: filled[0].step.at(-1) ?? null,
  };
}
