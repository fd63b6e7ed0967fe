/** From one hit or error to the next: the server knows where it is, among millions of lines. */

import { get } from "../lib/api.js";

/** @typedef {import("./asking.js").Question} Question */
/** @typedef {"hit" | "error"} Kind */
/** @typedef {{run: string, number: number, offset: number, time_s: number}} Found */

const MOST_SLICES = 200; // of a search that goes on: a minute
const NAMES = { hit: "hit", error: "error" };

export class Walk {
  /** @param {{found: (found: Found) => void, said: (sentence: string) => void, failed: (error: unknown) => void}} page */
  constructor(page) {
    this.page = page;
    this.turn = 0; // the newest walk counts
  }

  /** @param {Question} question @param {Kind} what @param {boolean} back @param {number} number of the line from which it goes on */
  async go(question, what, back, number) {
    const turn = ++this.turn;
    this.page.said("");
    for (let slice = 0; slice < MOST_SLICES; slice++) {
      const answer = await get("logs/next", { ...question, number, what, back: back ? "true" : null }).catch((error) => this.page.failed(error));
      if (turn !== this.turn || !answer) return;
      const { run, number: found, offset, time_s, search } = answer;
      if (run !== null && found !== null && offset !== null && time_s !== null) return void this.page.found({ run, number: found, offset, time_s });
      if (what === "error" || !search || search.done) break;
    }
    this.page.said(`There is no ${NAMES[what]} ${back ? "before" : "behind"} this line.`);
  }

  /** Another question: what was found for the last one does not count. */
  stop() {
    this.turn++;
  }
}
