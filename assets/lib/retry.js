/** Retry a failed action with growing pauses until it succeeds. */

const FIRST_MS = 1000;
const LAST_MS = 30_000;

export class Retry {
  /** @param {() => void} again */
  constructor(again) {
    this.again = again;
    this.wait_ms = FIRST_MS;
    this.timer = 0;
  }

  /** It failed: retry after a pause. @returns {number} seconds until then */
  failed() {
    const wait_ms = this.wait_ms;
    if (this.timer) return wait_ms / 1000;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.again();
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
export const asked = (sentence, wait_s) => `${sentence.replace(/[.\s]*$/, "")}. Asking again in ${wait_s} s.`;
