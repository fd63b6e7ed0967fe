/** What a page has read once and deltas continue: nothing is lost between the two and nothing comes twice, whichever comes first (pure). */

/** @typedef {import("../types/api").Delta} Delta */

export class Continued {
  /** @type {Delta[] | null} that came since the question was asked */
  #meanwhile = null;

  /** A question is sent. */
  asked() {
    this.#meanwhile = [];
  }

  /** @param {Delta} delta */
  heard(delta) {
    this.#meanwhile?.push(delta);
  }

  /** The deltas that may hold what the answer does not. @param {number} cursor of the answer @returns {Delta[]} */
  answered(cursor) {
    const late = (this.#meanwhile ?? []).filter((delta) => delta.cursor > cursor);
    this.#meanwhile = null;
    return late;
  }
}
