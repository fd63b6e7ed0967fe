/** The bytes of samples: a few are loaded and decoded at once, those that are still wanted, and the newest are kept. */

import { addressOf, raw } from "../lib/api.js";

/** @typedef {import("../types/api").Row<"SampleRow">} Sample */
/** @typedef {{blob: Blob, total: number, width: number, height: number}} Loaded `total`: bytes of all of it, where only the beginning came */

const AT_ONCE = 3;
const MOST_BYTES = 48e6; // kept
const LARGE_BYTES = 4e6; // not kept

/** It is no longer wanted. */
export class Dropped extends Error {}

export class Loading {
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
  async take(run, sample, make, wanted) {
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
    const response = await raw(path);
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
      if (this.#bytes <= MOST_BYTES) return;
      this.#kept.delete(oldest);
      this.#bytes -= blob.size;
    }
  }
}

/** @param {string} run @param {Sample} sample */
const pathOf = (run, { id }) => `sample?${new URLSearchParams({ run, id: String(id) })}`;

/** For a link. @param {string} run @param {Sample} sample */
export const linkOf = (run, sample) => addressOf(pathOf(run, sample));
