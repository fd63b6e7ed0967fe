/** The main thread in time order: its stacks as a flame chart on the page's time axis, a lane like the others. */

import { chartTools } from "../lib/chart_tools.js";
import { el, emptyContext, onResize, setClass, setText } from "../lib/dom.js";
import { clock, duration, place } from "../lib/format.js";
import { onTheme } from "../lib/theme.js";
import { Painter, kindToken, tokenTint, words } from "./paint.js";

/** @typedef {import("./tree.js").Frame} Frame */
/** @typedef {import("../types/api").Row<"Bars">} Spans Unix seconds */
/** @typedef {import("../types/api").Row<"Lane">} Thread */
/** @typedef {import("../types/api").Answer<"flamechart">} Chart */
/** @typedef {import("../lib/axis.js").View} View */
/** @typedef {{span: number, row: number, x: number, width: number}} Box */
/** @typedef {(frame: Frame, kind: string) => import("./paint.js").Tint} Tinting */

const ROW = 13;
const TRUNK = 0.97; // a frame that stands for so much of the time says nothing
const TIP = 4; // rows of a trunk that does not split: what it ends in does say something

const ALL_THREADS = "All threads"; // of a service, one at a time

export class ChartLane {
  constructor() {
    /** @type {Chart | null} */
    this.chart = null;
    /** @type {View} */
    this.view = { lo: 0, hi: 1 };
    /** @type {Box[]} */
    this.boxes = [];
    this.note = el("span", {}, "in time order");
    this.title = el("b", {}, "Main thread");
    this.name = el("div", { class: "name" }, this.title, this.note);
    this.canvas = el("canvas", { role: "img", "aria-label": "The main thread’s stacks in time order" });
    this.plot = el("div", { class: "plot" }, this.canvas);
    this.values = el("div", { class: "vals" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.element = el("section", { class: "lane lane-chart", "data-lane": "stacks" }, this.name, this.plot, this.values, this.tip);
    this.element.append(chartTools({ element: this.element, focus: this.plot, title: () => this.title.textContent ?? "", table: () => this.#table(), picture: () => (this.chart ? { canvas: this.canvas, legend: [] } : null), stage: () => this.element.closest(".timeline") }, { menuOnly: true }));
    onResize(this.plot, () => this.#paint());
    onTheme(() => this.#paint());
  }

  /** @type {Tinting} */
  tint = () => ({ fill: "", ink: "" });

  /** @param {Chart | null} chart @param {Tinting} tint */
  show(chart, tint) {
    Object.assign(this, { chart, tint });
    this.#paint();
  }

  /** @param {Tinting} tint */
  colour(tint) {
    this.show(this.chart, tint);
  }

  /** Move to another stretch of time. @param {View} view */
  draw(view) {
    if (view.lo === this.view.lo && view.hi === this.view.hi) return;
    this.view = view;
    this.#paint();
  }

  #paint() {
    const thread = this.chart?.lanes[0];
    const width = this.plot.clientWidth;
    const hidden = thread ? trunkOf(thread.spans) : 0;
    const rows = Math.floor(this.plot.clientHeight / ROW); // the style sheet's, whatever there is to see: nothing below it moves
    this.boxes = thread ? boxes(thread.spans, this.view, width, hidden, rows) : [];
    const painter = new Painter(emptyContext(this.canvas, width, rows * ROW), ROW, "");
    if (this.chart && thread) for (const box of this.boxes) this.#box(painter, box, this.chart, thread.spans, hidden > 0 && box.row === 0);
    const who = thread && (thread.tid !== thread.pid || thread.name === ALL_THREADS) ? thread.name : "Main thread";
    setText(this.title, thread?.rank ? `${who}, rank ${thread.rank}` : who);
    setClass(this.element, "empty", this.chart !== null && !thread);
    setText(this.values, !this.chart ? "" : !thread ? "no stacks" : thread.depth - hidden > rows ? `${rows} of ${thread.depth - hidden} rows` : "");
  }

  /** What is drawn. */
  #table() {
    const { spans } = this.chart?.lanes[0] ?? { spans: null };
    const rows = spans ? this.boxes.map(({ span, row }) => [row, spans.start[span], spans.end[span], this.chart?.frames[spans.frame[span]].name, this.chart?.frames[spans.frame[span]].file, this.chart?.frames[spans.frame[span]].line]) : [];
    return { columns: ["row", "from_s", "to_s", "function", "file", "line"], rows };
  }

  /** @param {Painter} painter @param {Box} box @param {Chart} chart @param {Spans} spans @param {boolean} trunk stands all the time, whatever else differs */
  #box(painter, { span, row, x, width }, chart, spans, trunk) {
    const [frame, kind] = [chart.frames[spans.frame[span]], spans.kind[span]];
    const hatched = width > 3 && (kind === "wait" || kind === "joined");
    painter.box(x, row * ROW, width, { tint: trunk ? tokenTint(kindToken("library"), false) : this.tint(frame, kind), ...words(frame), hatched });
  }

  /** What stands at a place of the screen, beside the pointer. @param {PointerEvent} event */
  point(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const found =
      y >= 0 && y < height
        ? this.boxes.find((box) => box.row === Math.floor(y / ROW) && x >= box.x && x < box.x + box.width)
        : null;
    this.tip.hidden = !found;
    if (!found || !this.chart) return;
    const { spans } = this.chart.lanes[0];
    const { name, file, line } = this.chart.frames[spans.frame[found.span]];
    const [start, end] = [spans.start[found.span], spans.end[found.span]];
    this.tip.replaceChildren(
      el("b", {}, name),
      el("span", {}, file ? place(file, line) : ""),
      el("span", { class: "dim" }, `${clock(start)}, ${duration(end - start)}`),
    );
    this.tip.style.left = `${Math.min(width - 160, x) + this.plot.offsetLeft + 12}px`;
    this.tip.style.top = `${y + 20}px`;
  }
}

/** How many rows at the top are left out, because one frame stands there nearly all the time. @param {Spans} spans */
export function trunkOf({ start, end, depth, frame }) {
  /** @type {Map<number, number>[]} by row, the seconds of each frame */
  const rows = [];
  for (let i = 0; i < start.length; i++) {
    const row = (rows[depth[i]] ??= new Map());
    row.set(frame[i], (row.get(frame[i]) ?? 0) + end[i] - start[i]);
  }
  const filled_s = rows.map((row) => [...row.values()].reduce((sum, seconds) => sum + seconds, 0));
  const trunk = rows.findIndex((row) => Math.max(...row.values()) < TRUNK * filled_s[0]);
  const splits = trunk >= 0 && filled_s[trunk] >= (1 - TRUNK) * filled_s[0];
  return Math.max(0, (trunk < 0 ? rows.length : trunk) - (splits ? 1 : TIP));
}

/** Where the spans stand that are in view. @param {Spans} spans @param {View} view @param {number} width @param {number} from the first row shown @param {number} rows @returns {Box[]} */
export function boxes({ start, end, depth }, { lo, hi }, width, from, rows) {
  const scale = width / (hi - lo);
  /** @type {Box[]} */
  const out = [];
  for (let i = 0; i < start.length; i++) {
    const row = depth[i] - from;
    if (row < 0 || row >= rows || end[i] <= lo || start[i] >= hi) continue;
    const [x0, x1] = [Math.max(0, (start[i] - lo) * scale), Math.min(width, (end[i] - lo) * scale)];
    out.push({ span: i, row, x: x0, width: x1 - x0 });
  }
  return out;
}
