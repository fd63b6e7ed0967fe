/** Whether the shown run is slower than the last one of its script on its card: one quiet sentence, where nothing else is to be said. */

import { get } from "../lib/api.js";

/** @typedef {import("./run_strip.js").Finding} Finding */

const AGAIN_MS = 60_000; // of a run that goes on

export class SinceLast {
  /** @param {() => void} changed there is another sentence */
  constructor(changed) {
    this.changed = changed;
    /** @type {string | null} */
    this.run = null;
    this.sentence = "";
    this.asked_ms = -Infinity;
  }

  /** @param {import("../data/runs.js").Runs} runs @returns {Finding | null} */
  finding({ current, over }) {
    if (!current) return null;
    const now_ms = performance.now();
    if (current.run !== this.run) {
      Object.assign(this, { run: current.run, sentence: "", asked_ms: -Infinity });
    }
    if (this.asked_ms === -Infinity || (!over && now_ms - this.asked_ms > AGAIN_MS)) {
      this.asked_ms = now_ms;
      this.#ask(current.run);
    }
    return this.sentence ? { tone: "dim", sentence: this.sentence } : null;
  }

  /** @param {string} run */
  async #ask(run) {
    const answer = await get("since_last", { run }).catch(() => null); // the strip has other sentences for a lost connection
    if (!answer || run !== this.run || answer.sentence === this.sentence) return;
    this.sentence = answer.sentence;
    this.changed();
  }
}

/** What is wrong comes first, then this, then what is only to be known. @param {Finding | null} found @param {Finding | null} since */
export const foremost = (found, since) => (since && found?.tone !== "bad" && found?.tone !== "warn" ? since : found);
