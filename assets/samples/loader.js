/** The bytes of samples, a few at once, and which samples belong to a step. */

import { Refused, addressOf, raw } from "../lib/api.js";

// The bytes of samples: a few are loaded and decoded at once, those that are still wanted, and the newest are kept.

/** @typedef {import("../types/api").Row<"SampleRow">} Sample */
/** @typedef {{blob: Blob, total: number, width: number, height: number}} Loaded `total`: bytes of all of it, where only the beginning came */

const NOT_FOUND = 404; // also of a sample whose file is gone: a request for it is quiet
const AT_ONCE = 3;
const MAX_BYTES = 48e6; // kept
const LARGE_BYTES = 4e6; // not kept

/** It is no longer wanted. */
export class Dropped extends Error {}

export class SampleLoader {
  #busy = 0;
  /** @type {(() => void)[]} */
  #waiting = [];
  /** @type {Map<string, Loaded>} the oldest first */
  #kept = new Map();
  #bytes = 0;

  /**
   * Load a sample and make something of it, in its turn. Throws Dropped, Refused and Unreachable.
   * @template T
   * @param {string} run @param {Sample} sample @param {(loaded: Loaded) => T | Promise<T>} make @param {() => boolean} wanted
   * @returns {Promise<T>}
   */
  async load(run, sample, make, wanted) {
    if (this.#busy >= AT_ONCE) await new Promise((turn) => this.#waiting.push(() => turn(null)));
    this.#busy += 1;
    try {
      if (!wanted()) throw new Dropped();
      return await make(await this.#load(pathOf(run, sample)));
    } finally {
      this.#busy -= 1;
      this.#waiting.shift()?.();
    }
  }

  /** @param {string} path @returns {Promise<Loaded>} */
  async #load(path) {
    const known = this.#kept.get(path);
    if (known) {
      this.#kept.delete(path);
      this.#kept.set(path, known);
      return known;
    }
    const response = await raw(`${path}&quiet=true`);
    const refused = response.headers.get("X-Error");
    if (refused !== null) throw new Refused(JSON.parse(decodeURIComponent(refused)).error, NOT_FOUND);
    const number = (/** @type {string} */ name) => Number(response.headers.get(name) ?? 0);
    const loaded = { blob: await response.blob(), total: number("X-Total-Bytes"), width: number("X-Width"), height: number("X-Height") };
    if (loaded.blob.size < LARGE_BYTES) this.#keep(path, loaded);
    return loaded;
  }

  /** @param {string} path @param {Loaded} loaded */
  #keep(path, loaded) {
    this.#kept.set(path, loaded);
    this.#bytes += loaded.blob.size;
    for (const [oldest, { blob }] of this.#kept) {
      if (this.#bytes <= MAX_BYTES) return;
      this.#kept.delete(oldest);
      this.#bytes -= blob.size;
    }
  }
}

/** @param {string} run @param {Sample} sample */
const pathOf = (run, { id }) => `sample?${new URLSearchParams({ run, id: String(id) })}`;

/** For a link. @param {string} run @param {Sample} sample */
export const linkOf = (run, sample) => addressOf(pathOf(run, sample));

// Which samples belong to a step: the nearest to it that there are (pure).

/**
 * The samples nearest to a step, one a rank, the newest of each; of the last step without one.
 * @param {Sample[]} rows by step, those without a step first @param {number | null} step
 * @returns {Sample[]}
 */
export function samplesAt(rows, step) {
  if (!rows.length) return [];
  const at = nearest(rows, step);
  /** @type {Map<number, Sample>} */
  const ranks = new Map();
  for (const row of rows) if (row.step === at && (ranks.get(row.rank)?.id ?? -1) < row.id) ranks.set(row.rank, row);
  return [...ranks.values()].sort((a, b) => a.rank - b.rank);
}

/** @param {Sample[]} rows @param {number | null} wanted @returns {number | null} */
function nearest(rows, wanted) {
  const last = rows[rows.length - 1].step;
  if (wanted === null) return last;
  let best = last;
  for (const { step } of rows) if (step !== null && (best === null || Math.abs(step - wanted) < Math.abs(best - wanted))) best = step;
  return best;
}

/** All different steps, in order. @param {Iterable<Sample[]>} lists @returns {number[]} */
export function allSteps(lists) {
  const found = new Set();
  for (const rows of lists) for (const { step } of rows) if (step !== null) found.add(step);
  return [...found].sort((a, b) => a - b);
}

/** The index of the step nearest to one; the last for null. @param {number[]} steps @param {number | null} step */
export function indexOf(steps, step) {
  if (step === null) return steps.length - 1;
  let best = 0;
  for (let i = 1; i < steps.length; i += 1) if (Math.abs(steps[i] - step) < Math.abs(steps[best] - step)) best = i;
  return best;
}

/** At most so many of a list, evenly, always the first, the last and `kept`. @template T @param {T[]} list @param {number} most @param {T} kept @returns {T[]} */
export function some(list, most, kept) {
  if (list.length <= most) return list;
  const chosen = new Set(Array.from({ length: most - 1 }, (_, i) => Math.round((i * (list.length - 1)) / (most - 2))));
  const at = list.indexOf(kept);
  if (at >= 0) chosen.add(at);
  return [...chosen].sort((a, b) => a - b).map((i) => list[i]);
}
