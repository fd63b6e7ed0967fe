/** The last lines of the run at the foot of the Live page, all of them or those that the filter finds. */

import { Continuation, Retry, retryText } from "../../data/refresh.js";
import { get, newest, sentenceOf } from "../../lib/api.js";
import { el, setClass, setText } from "../../lib/dom.js";
import { count } from "../../lib/format.js";
import { barLine, folded, linesIn, logLine, pointLine, timeOf } from "../../logs/line.js";

/** @typedef {import("../../logs/line.js").LogLine} Line */
/** @typedef {import("../../types/api").Row<"ProgressBar">} Bar */

const NO_LINES = "Whatever the program prints, or writes to a *.log file in the run’s folder, appears here: python train.py 2>&1 | tee logs/NAME/train.log";
const LINES = 5;
const RANKS = 16; // whose equal lines are one row
const MAX_LINES = 200; // that are asked for
const BARS = 3; // of the ranks of a run, those that changed last
const ERROR_LINES = 60; // a traceback is shown whole
const ERROR = 40; // level
const LEVELS = /** @type {[number, string][]} */ ([
  [0, "all levels"],
  [30, "warnings and errors"],
  [40, "errors"],
]);

export class LogTail {
  /** @param {{hover: (time_s: number | null) => void, follow: (cursor: number) => void, changed: () => void}} page `follow`: deltas are to continue from there */
  constructor(page) {
    this.page = page;
    const address = new URLSearchParams(location.search);
    /** @type {string | null} */
    this.run = null;
    /** @type {Line[]} */
    this.lines = [];
    this.total = 0; // matching lines of the run
    /** @type {Map<string, Bar>} by file, the one that changed last comes last */
    this.bars = new Map();
    this.count = el("span", { class: "dim", role: "status" });
    this.input = el("input", {
      type: "search",
      placeholder: "filter",
      "aria-label": "Filter the log",
      value: address.get("log") ?? "",
      oninput: () => this.#look(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.#leave(),
    });
    const options = LEVELS.map(([level, name]) => el("option", { value: level, selected: String(level) === address.get("level") }, name));
    this.least = el("select", { class: "chip", "aria-label": "Levels", onchange: () => this.#look() }, ...options);
    this.body = el("div", {
      class: "log",
      role: "log",
      "aria-live": "off",
      onpointerover: (/** @type {PointerEvent} */ event) => page.hover(timeOf(event)),
      onpointerleave: () => page.hover(null),
    });
    this.element = el(
      "section",
      { class: "tail", "aria-label": "Log" },
      el(
        "div",
        { class: "tail-head" },
        el("h2", {}, "Log"),
        this.count,
        el("span", { class: "search" }, el("kbd", {}, "/"), this.input),
        this.least,
      ),
      this.body,
    );
    this.continuation = new Continuation();
    this.ask = newest(
      (/** @type {Record<string, any>} */ question) => {
        this.continuation.begin();
        return get("logs", question);
      },
      (answer, { run }) => run === this.run && this.#showAnswer(answer, page.follow),
      (error) => this.#failed(error),
    );
    this.retry = new Retry(() => this.loadLines(this.run));
  }

  get level() {
    return Number(this.least.value);
  }

  /** Its part of the address. */
  address() {
    return { log: this.input.value || null, level: this.level || null };
  }

  /** The run's last lines. @param {string | null} run */
  async loadLines(run) {
    if (run !== this.run) {
      this.bars.clear();
      this.#replace([], 0);
    }
    this.run = run;
    setClass(this.element, "tall", this.#most > LINES);
    if (run !== null) await this.ask({ run, q: this.input.value, level: this.level, limit: this.#limit });
  }

  get #limit() {
    return Math.min(MAX_LINES, RANKS * this.#most);
  }

  get #most() {
    return this.level >= ERROR ? ERROR_LINES : LINES;
  }

  /** Show what came just now. @param {import("../../types/api").Delta} delta */
  onDelta(delta) {
    this.continuation.onDelta(delta);
    const own = (/** @type {{run: string}} */ { run }) => run === this.run;
    const bars = delta.bars.filter(own);
    this.#keep(bars);
    const text = this.input.value.toLowerCase();
    const last = this.lines.at(-1)?.number ?? 0;
    const fits = (/** @type {Line} */ line) => line.number > last && line.level >= this.level && line.text.toLowerCase().includes(text);
    const lines = delta.lines.filter(own).filter(fits);
    if (lines.length || bars.length) this.#replace([...this.lines, ...lines], this.total + lines.length);
  }

  /** The crosshair. @param {number | null} time_s */
  point(time_s) {
    pointLine(this.body, time_s);
  }

  #look() {
    this.page.changed();
    this.loadLines(this.run);
  }

  #leave() {
    this.input.value = "";
    this.input.blur();
    this.#look();
  }

  /** @param {import("../../types/api").Answer<"logs">} answer @param {(cursor: number) => void} follow */
  #showAnswer({ lines, bars, total, cursor }, follow) {
    this.retry.done();
    this.bars.clear();
    this.#keep(bars);
    this.#replace(lines, total);
    for (const delta of this.continuation.end(cursor)) this.onDelta(delta);
    follow(cursor);
  }

  /** @param {Bar[]} bars */
  #keep(bars) {
    for (const bar of bars) {
      this.bars.delete(bar.file);
      if (bar.text) this.bars.set(bar.file, bar);
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    setText(this.count, retryText(sentenceOf(error), this.retry.failed()));
  }

  /** @param {Line[]} lines oldest first @param {number} total */
  #replace(lines, total) {
    this.lines = lines.slice(-this.#limit);
    this.total = total;
    if (document.hidden) return;
    const what = this.input.value || this.level ? "lines that match" : "lines";
    const rows = folded(this.lines).slice(-this.#most);
    const bars = [...this.bars.values()].slice(-BARS);
    const without = !bars.length ? `no ${what}` : what === "lines" ? "progress bar only" : `progress bar, no ${what}`;
    setText(this.count, total ? `last ${linesIn(rows)} of ${count(total)} ${what}` : without);
    const none = !total && !bars.length && what === "lines" && this.run !== null ? el("p", { class: "none" }, NO_LINES) : "";
    this.body.replaceChildren(none, ...rows.map((row) => logLine(row, { file: true })), ...bars.map(barLine));
    this.body.scrollTop = this.body.scrollHeight;
  }
}
