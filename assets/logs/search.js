/** A search that goes on in slices until all lines are searched: how far it is, in words, and the button that stops it. */

import { el, setText } from "../lib/dom.js";
import { count, counted } from "../lib/format.js";

/** @typedef {import("./book.js").Progress} Progress */

const PAUSE_MS = 30; // between two slices

export class SearchRun {
  /** @param {{slice: (times: number) => Promise<void>, failed: (error: unknown) => void}} page `slice`: ask on; `times`: how often that was done */
  constructor(page) {
    this.page = page;
    /** @type {Progress | null} */
    this.progress = null;
    this.isStopped = false;
    this.word = el("span", { class: "hits", role: "status" });
    this.button = el("button", { class: "btn", type: "button", hidden: true, onclick: () => this.turn() }, "Stop");
    this.element = el("span", { class: "search-run" }, this.word, this.button);
  }

  #running = 0;

  /** Another question. */
  begin() {
    this.#running++;
    this.progress = null;
    this.isStopped = false;
    this.draw();
  }

  /** @param {Progress | null} progress of the question that was begun last */
  take(progress) {
    const isFirst = this.progress === null && progress !== null;
    this.progress = progress;
    this.draw();
    if (isFirst && !progress.done) this.#run();
  }

  async #run() {
    const run = ++this.#running;
    for (let times = 0; run === this.#running && !this.isStopped && !this.progress?.done; times++) {
      try {
        await this.page.slice(times);
      } catch (error) {
        if (run === this.#running) this.page.failed(error);
        this.isStopped = true;
        this.draw();
        return;
      }
      await new Promise((next) => setTimeout(next, PAUSE_MS));
    }
  }

  /** Stop, or go on. */
  turn() {
    this.isStopped = !this.isStopped;
    this.draw();
    if (!this.isStopped) this.#run();
  }

  draw() {
    const { progress, isStopped } = this;
    setText(this.word, progress ? wordsOf(progress, isStopped) : "");
    this.button.hidden = !progress || progress.done;
    setText(this.button, isStopped ? "Go on" : "Stop");
  }
}

/** @param {Progress} progress @param {boolean} isStopped */
export function wordsOf({ hits, searched, lines, done }, isStopped) {
  if (done) return hits ? counted(hits, "hit") : `no hit in ${counted(lines, "line")}`;
  return `${counted(hits, "hit")} in the newest ${count(searched)} of ${counted(lines, "line")}${isStopped ? "" : " …"}`;
}
