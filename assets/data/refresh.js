/** Reading again: a failed request after growing pauses, and deltas that continue what was read. */

// Retry a failed action with growing pauses until it succeeds.

const FIRST_MS = 1000;
const LAST_MS = 30_000;

export class Retry {
  /** @param {() => void} action */
  constructor(action) {
    this.action = action;
    this.wait_ms = FIRST_MS;
    this.timer = 0;
  }

  /** It failed: retry after a pause. @returns {number} seconds until then */
  failed() {
    const wait_ms = this.wait_ms;
    if (this.timer) return wait_ms / 1000;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.action();
    }, wait_ms);
    this.wait_ms = Math.min(LAST_MS, 2 * wait_ms);
    return wait_ms / 1000;
  }

  /** It succeeded. */
  done() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.wait_ms = FIRST_MS;
  }
}

/** @param {string} sentence of the server @param {number} wait_s */
export const retryText = (sentence, wait_s) => `${sentence.replace(/[.\s]*$/, "")}. Asking again in ${wait_s} s.`;

// What a page has read once and deltas continue: nothing is lost between the two and nothing comes twice, whichever comes first (pure).

/** @typedef {import("../types/api").Delta} Delta */

export class Continuation {
  /** @type {Delta[] | null} that came since the question was asked */
  #late = null;

  /** A question is sent. */
  begin() {
    this.#late = [];
  }

  /** @param {Delta} delta */
  onDelta(delta) {
    this.#late?.push(delta);
  }

  /** The deltas that may hold what the answer does not. @param {number} cursor of the answer @returns {Delta[]} */
  end(cursor) {
    const late = (this.#late ?? []).filter((delta) => delta.cursor > cursor);
    this.#late = null;
    return late;
  }
}
