/** Work that is done a little in each frame, so that none waits for all of it. */

const FRAME_MS = 8;

/** @template T */
export class Turns {
  /** @param {(item: T) => void} work @param {number} [frame_ms] of each frame */
  constructor(work, frame_ms = FRAME_MS) {
    this.work = work;
    this.frame_ms = frame_ms;
    /** @type {Set<T>} */
    this.waiting = new Set();
    this.frame = 0;
  }

  /** One that waits already keeps its turn. @param {Iterable<T>} items */
  add(items) {
    for (const item of items) this.waiting.add(item);
    if (this.waiting.size) this.frame ||= requestAnimationFrame(() => this.#turn());
  }

  #turn() {
    this.frame = 0;
    const begun_ms = performance.now();
    for (const item of this.waiting) {
      this.waiting.delete(item);
      this.work(item);
      if (performance.now() - begun_ms > this.frame_ms) break;
    }
    this.add([]);
  }
}
