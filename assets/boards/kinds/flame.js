/** The Python stacks of the shown range, of the shown run. */

import { FlameGraph } from "../../flame/flame.js";
import { Tree } from "../../flame/tree.js";
import { get, newest, sentenceOf } from "../../lib/api.js";
import { el, setText } from "../../lib/dom.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */
/** @typedef {{run: string, from: number, to: number}} Question */

const EVERY_MS = 3000; // while the range grows
const NO_RUN = "There is no run to show stacks of. Choose one above.";
const BY_STEP = "Stacks are of a time. Choose time as the board's axis.";

export class FlameChart {
  legend = false;

  constructor() {
    this.graph = new FlameGraph();
    this.said = el("p", { class: "chart-instead", role: "status", hidden: true });
    this.element = el("div", { class: "board-flame" }, this.graph.element, this.said);
    this.asked_ms = -Infinity;
    this.asked = "";
    this.ask = newest(
      (/** @type {Question} */ question) => get("flame", question),
      (answer) => {
        const some = answer.samples > 0;
        this.graph.show(some ? new Tree(answer) : null);
        this.#say(some ? "" : (answer.note?.sentence ?? "No stacks were sampled in this range."));
      },
      (error) => this.#say(sentenceOf(error)),
    );
  }

  /** @param {Drawing} drawing */
  show({ run, span: { lo, hi }, axis }) {
    if (run === null || axis === "step") return this.#say(run === null ? NO_RUN : BY_STEP);
    const key = `${run} ${Math.round(lo)}`;
    if (!(hi > lo) || (key === this.asked && performance.now() - this.asked_ms < EVERY_MS)) return undefined;
    Object.assign(this, { asked: key, asked_ms: performance.now() });
    this.ask({ run, from: lo, to: hi });
    return undefined;
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.said.hidden = !sentence;
    this.graph.element.hidden = Boolean(sentence);
    setText(this.said, sentence);
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    Object.assign(this.element.style, { width: `${width}px`, height: `${height}px` });
    this.graph.draw();
  }

  redraw() {
    this.graph.draw();
  }

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}
