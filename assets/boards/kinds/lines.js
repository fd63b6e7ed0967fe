/** The newest log lines of the shown range, of the shown run. */

import { get, newest, sentenceOf } from "../../lib/api.js";
import { el, setText } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { folded, logLine } from "../../pages/live/log.js";

/** @typedef {import("./kinds.js").Drawing} Drawing */
/** @typedef {{run: string, from: number, to: number, q: string | null, limit: number}} Question */

const EVERY_MS = 1000; // while the range grows
const MAX_LINES = 100; // lines
const NO_RUN = "There is no run to show lines of. Choose one above.";
const BY_STEP = "Lines have a time. Choose time as the board's axis.";

export class LogLines {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor({ fields }) {
    this.text = fields.text ?? "";
    this.log = el("div", { class: "log board-log", tabindex: "0", role: "log", "aria-live": "off", "aria-label": fields.title ?? "Log lines" });
    this.said = el("p", { class: "chart-instead", role: "status", hidden: true });
    this.element = el("div", { class: "board-lines" }, this.log, this.said);
    this.asked_ms = -Infinity;
    this.asked = "";
    this.last = -1; // number of the newest line
    this.ask = newest(
      (/** @type {Question} */ question) => get("logs", question),
      ({ lines, total }) => this.#show(lines, total),
      (error) => this.#say(sentenceOf(error)),
    );
  }

  /** @param {import("../../pages/live/log.js").LogLine[]} lines @param {number} total */
  #show(lines, total) {
    this.#say(lines.length ? "" : this.text ? `No line of this range has “${this.text}”.` : "No log line in this range.");
    this.log.title = total > lines.length ? `the newest ${lines.length} of ${counted(total, "line")}` : "";
    const newestLine = lines.at(-1)?.number ?? -1;
    if (newestLine === this.last) return;
    this.last = newestLine;
    const below = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 20;
    this.log.replaceChildren(...folded(lines).map((line) => logLine(line, { file: false })));
    if (below) this.log.scrollTop = this.log.scrollHeight; // who has scrolled up stays there
  }

  /** @param {Drawing} drawing */
  show({ run, span: { lo, hi }, axis }) {
    if (run === null || axis === "step") return this.#say(run === null ? NO_RUN : BY_STEP);
    const key = `${run} ${Math.round(lo)}`;
    if (!(hi > lo) || (key === this.asked && performance.now() - this.asked_ms < EVERY_MS)) return undefined;
    Object.assign(this, { asked: key, asked_ms: performance.now() });
    this.ask({ run, from: lo, to: hi, q: this.text || null, limit: MAX_LINES });
    return undefined;
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.said.hidden = !sentence;
    setText(this.said, sentence);
    if (sentence) this.log.replaceChildren();
    if (sentence) this.last = -1;
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    Object.assign(this.element.style, { width: `${width}px`, height: `${height}px` });
  }

  redraw() {}

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}
