/** Lines that come while the page is open: those in view are read soon, what counts them less often, nothing in a hidden tab. */

const READ_MS = 250;
const COUNT_MS = 1000;

export class Growth {
  /** @param {{read: () => void, counted: () => void}} page `counted`: what counts lines is to be read anew */
  constructor(page) {
    this.page = page;
  }

  #timer = 0;
  #counted_ms = -Infinity;
  #lines = 0;
  #isOld = false; // the counts are

  /** Lines have come. */
  note() {
    this.#isOld = true;
    this.#timer ||= setTimeout(() => this.#work(), READ_MS);
  }

  /** How many lines there are, as the server says about once a second. @param {number} lines */
  count(lines) {
    if (lines !== this.#lines) this.note();
    this.#lines = lines;
  }

  #work() {
    this.#timer = 0;
    if (document.hidden) {
      this.#timer = setTimeout(() => this.#work(), COUNT_MS);
      return;
    }
    this.page.read();
    const now_ms = performance.now();
    if (now_ms - this.#counted_ms >= COUNT_MS) {
      this.#counted_ms = now_ms;
      this.#isOld = false;
      this.page.counted();
    } else if (this.#isOld) this.#timer = setTimeout(() => this.#work(), COUNT_MS);
  }
}
