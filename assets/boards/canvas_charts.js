/** Charts on a canvas of their own: bars, heat maps, histograms and scatter plots. */

import { nearest } from "../curves/curve.js";
import { xTicks, xWord } from "../curves/training_view.js";
import { logTicks, ticks } from "../lib/axis.js";
import { isFlipped } from "../lib/chart_tools.js";
import { el, emptyContext, setText } from "../lib/dom.js";
import { behind } from "../lib/figures.js";
import { AXIS_PX, count, counted, figure, tick } from "../lib/format.js";
import { faded, mixed, token } from "../lib/theme.js";
import { binned, endsOf, logIdOf, thresholdsOf, titleOf, toneOf, valuesOf } from "./model.js";

// What charts on a canvas of their own have in common: the canvas, a tip beside the pointer, and the last drawing.

const LEFT_PX = AXIS_PX;
const FOOT_PX = 18;

/** @typedef {import("./kinds.js").Drawing} Drawing */

class CanvasChart {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor(chart) {
    this.fields = chart.fields;
    /** @type {Drawing | null} */
    this.drawing = null;
    this.drawn = new Canvas(titleOf(chart.fields), (context, width, height) => this.drawing && this.paint(context, width, height, this.drawing));
    this.tip = el("div", { class: "tip", hidden: true, role: "tooltip" });
    this.element = el("div", { class: "board-drawn" }, this.drawn.element, this.tip);
    this.element.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.#point(event));
    this.element.addEventListener("pointerleave", () => (this.tip.hidden = true));
  }

  get canvas() {
    return this.drawn.element;
  }

  /** @param {CanvasRenderingContext2D} _context @param {number} _width @param {number} _height @param {Drawing} _drawing */
  paint(_context, _width, _height, _drawing) {}

  /** What stands below the pointer, or "". @param {number} _x @param {number} _y CSS pixels @returns {string} */
  at(_x, _y) {
    return "";
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const { left, top, width } = this.element.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const text = this.drawing ? this.at(x, y) : "";
    this.tip.hidden = !text;
    setText(this.tip, text);
    Object.assign(this.tip.style, { left: `${Math.max(0, Math.min(x + 12, width - this.tip.offsetWidth))}px`, top: `${Math.max(0, y - 30)}px` });
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    this.drawn.fit(width, height);
  }

  /** @param {Drawing} drawing */
  show(drawing) {
    this.drawing = drawing;
    this.drawn.draw();
  }

  redraw() {
    this.drawn.draw();
  }

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}

// A canvas that is drawn in CSS pixels, sharp on any screen.

const FONT_PX = 11;

export class Canvas {
  /** @param {string} label @param {(context: CanvasRenderingContext2D, width: number, height: number) => void} paint */
  constructor(label, paint) {
    this.paint = paint;
    this.element = el("canvas", { class: "board-canvas", role: "img", "aria-label": label });
    this.width = 0;
    this.height = 0;
  }

  /** @param {number} width @param {number} height */
  fit(width, height) {
    if (width === this.width && height === this.height) return;
    Object.assign(this, { width: Math.max(1, Math.floor(width)), height: Math.max(1, Math.floor(height)) });
    this.draw();
  }

  draw() {
    const { element, width, height } = this;
    if (!width) return;
    element.style.width = `${width}px`;
    const context = emptyContext(element, width, height);
    context.font = `${FONT_PX}px ${token("font-ui")}`;
    context.textBaseline = "middle";
    this.paint(context, width, height);
  }
}

/** A text that fits, with an ellipsis where it is cut. @param {CanvasRenderingContext2D} context @param {string} text @param {number} width */
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `${text.slice(0, low)}…` : "";
}

// A bar per series, as long as its value.

const [ROW_PX, MIN_PX, VALUE_PX] = [24, 12, 84];

export class BarChart extends CanvasChart {
  /** @type {{label: string, value: number, colour: string}[]} */
  rows = [];

  /** @param {Drawing} drawing */
  show(drawing) {
    const { value = "last" } = this.fields;
    const thresholds = thresholdsOf(this.fields.thresholds, drawing.by);
    this.rows = drawing.curves.map((curve) => {
      const found = valuesOf(curve, drawing.span)[/** @type {import("./model.js").ValueName} */ (value)];
      return { label: curve.label, value: found, colour: toneOf(found, thresholds) || (curve.colour ?? "accent") };
    });
    super.show(drawing);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {Drawing} drawing */
  paint(context, width, height, { unit, by }) {
    const rows = this.rows;
    const [low, high] = endsOf(this.fields.range, by);
    const known = rows.map(({ value }) => value).filter(Number.isFinite);
    const lo = low ?? Math.min(0, ...known);
    const hi = high ?? Math.max(0, ...known);
    const step = Math.max(MIN_PX, Math.min(ROW_PX, height / Math.max(1, rows.length)));
    const label = Math.min(width * 0.4, Math.max(40, ...rows.map((row) => context.measureText(row.label).width + 8)));
    const inner = Math.max(10, width - label - VALUE_PX);
    const x = (/** @type {number} */ value) => label + (hi > lo ? Math.max(0, Math.min(1, (value - lo) / (hi - lo))) : 0) * inner;
    const fits = Math.floor(height / step);
    rows.slice(0, fits).forEach(({ label: name, value, colour }, i) => {
      const y = i * step;
      const last = i === fits - 1 && rows.length > fits;
      context.fillStyle = token("ink-2");
      context.fillText(last ? `${rows.length - i} more` : fitted(context, name, label - 8), 0, y + step / 2);
      if (last || !Number.isFinite(value)) return void (last || context.fillText("–", label, y + step / 2));
      const [from, to] = [x(Math.min(0, value)), x(Math.max(0, value))];
      context.fillStyle = faded(token(colour), 0.85);
      context.fillRect(from, y + 2, Math.max(1, to - from), step - 5);
      context.fillStyle = token("ink");
      context.fillText(fitted(context, `${figure(value)}${behind(unit)}`, VALUE_PX - 8), Math.max(from, to) + 6, y + step / 2);
    });
  }

  /** @param {number} _x @param {number} y */
  at(_x, y) {
    const step = Math.max(MIN_PX, Math.min(ROW_PX, this.drawn.height / Math.max(1, this.rows.length)));
    const row = this.rows[Math.floor(y / step)];
    return row ? `${row.label}: ${figure(row.value)}${behind(this.drawing?.unit ?? "")}` : "";
  }
}

// A row of cells per series; the colour is the mean of a cell.

const [LABEL_PX, CELL_PX, GAP_PX, KEY_PX] = [88, 4, 1, 14];
const STOPS = ["heat-0", "heat-1", "heat-2", "heat-3", "heat-4"];

/**
 * The mean of each cell of equal width, NaN where there is none (pure).
 * @param {import("../curves/curve.js").Curve} curve @param {{lo: number, hi: number}} span @param {number} cells
 */
function cellsOf({ from, to, mean, old }, { lo, hi }, cells) {
  const [sum, seen] = [new Float64Array(cells), new Float64Array(cells)];
  const at = (/** @type {number} */ place) => Math.floor(((place - lo) / (hi - lo)) * cells);
  for (let i = 0; i < from.length; i++) {
    if (old[i] || Number.isNaN(mean[i]) || to[i] < lo || from[i] > hi) continue;
    const [first, last] = [Math.max(0, Math.min(cells - 1, at(from[i]))), Math.max(0, Math.min(cells - 1, at(to[i])))];
    for (let k = first; k <= last; k++) {
      sum[k] += mean[i];
      seen[k] += 1;
    }
  }
  const held = holdOf(from, (hi - lo) / cells);
  let [before, since] = [NaN, Infinity];
  return sum.map((total, k) => {
    if (seen[k]) [before, since] = [total / seen[k], 0];
    else since += 1;
    return since <= held ? before : NaN;
  });
}

/** For how many cells a value stands, as series are read less often than cells are wide. @param {Float64Array} from @param {number} width */
function holdOf(from, width) {
  const steps = Float64Array.from({ length: Math.max(0, from.length - 1) }, (_, i) => from[i + 1] - from[i]).sort();
  return Math.ceil((1.5 * (steps[steps.length >> 1] ?? 0)) / width);
}

export class HeatMap extends CanvasChart {
  /** @type {Float64Array[]} */
  cells = [];
  least = 0;
  most = 1;

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {Drawing} drawing */
  paint(context, width, height, { curves, span, axis, by }) {
    const inner = Math.max(1, width - LABEL_PX - 8);
    const count = Math.max(1, Math.floor(inner / CELL_PX));
    this.cells = curves.map((curve) => cellsOf(curve, span, count));
    const values = this.cells.flatMap((row) => [...row].filter(Number.isFinite));
    const [low, high] = endsOf(this.fields.range, by);
    this.least = low ??  values.reduce((a, b) => Math.min(a, b), Infinity);
    this.most = high ??  values.reduce((a, b) => Math.max(a, b), -Infinity);
    const rowHeight = Math.max(2, (height - FOOT_PX - KEY_PX) / Math.max(1, curves.length));
    this.cells.forEach((row, r) => {
      const y = r * rowHeight;
      if (rowHeight >= FONT_PX) {
        context.fillStyle = token("ink-2");
        context.fillText(fitted(context, curves[r].label, LABEL_PX - 8), 0, y + rowHeight / 2);
      }
      row.forEach((value, k) => {
        context.fillStyle = Number.isNaN(value) ? faded(token("line"), 0.5) : this.#colour(value);
        context.fillRect(LABEL_PX + k * CELL_PX, y, CELL_PX, Math.max(1, rowHeight - GAP_PX));
      });
    });
    context.fillStyle = token("ink-3");
    context.textAlign = "center";
    for (const { at, word } of xTicks(axis, false, span, Math.max(2, Math.floor(inner / 72)))) {
      const x = LABEL_PX + ((at - span.lo) / (span.hi - span.lo)) * inner;
      if (x < width - 20) context.fillText(word, x, height - KEY_PX - FOOT_PX / 2);
    }
    context.textAlign = "left";
    this.#key(context, width, height);
  }

  /** What the colours mean. @param {CanvasRenderingContext2D} context @param {number} width @param {number} height */
  #key(context, width, height) {
    if (!(this.least <= this.most)) return;
    const unit = this.drawing?.unit ?? "";
    const [from, to] = [figure(this.least), `${figure(this.most)}${behind(unit)}`];
    const y = height - KEY_PX / 2;
    context.fillText(from, LABEL_PX, y);
    let x = LABEL_PX + context.measureText(from).width + 6;
    for (let i = 0; i <= 8; i++, x += 10) {
      context.fillStyle = this.#colour(this.least + ((this.most - this.least) * i) / 8);
      context.fillRect(x, y - 4, 10, 8);
    }
    context.fillStyle = token("ink-3");
    if (x + 6 < width) context.fillText(to, x + 6, y);
  }

  /** @param {number} value */
  #colour(value) {
    const share = this.most > this.least ? Math.max(0, Math.min(1, (value - this.least) / (this.most - this.least))) : 0.5;
    const at = Math.min(STOPS.length - 2, Math.floor(share * (STOPS.length - 1)));
    return mixed(token(STOPS[at + 1]), token(STOPS[at]), share * (STOPS.length - 1) - at);
  }

  /** @param {number} x @param {number} y */
  at(x, y) {
    const { drawing, drawn, cells } = this;
    if (!drawing || x < LABEL_PX) return "";
    const { curves, span, axis, unit } = drawing;
    const rowHeight = Math.max(2, (drawn.height - FOOT_PX - KEY_PX) / Math.max(1, curves.length));
    const [r, k] = [Math.floor(y / rowHeight), Math.floor((x - LABEL_PX) / CELL_PX)];
    const value = cells[r]?.[k];
    if (value === undefined) return "";
    const place = span.lo + ((k + 0.5) / cells[r].length) * (span.hi - span.lo);
    return `${curves[r].label}: ${Number.isNaN(value) ? "no point" : `${figure(value)}${behind(unit)}`}, ${xWord(axis, place)}`;
  }
}

// How often which values occur in the shown range.

const TOP_PX = 6;
const BINS = 40;

export class HistogramChart extends CanvasChart {
  legend = true;
  /** @type {ReturnType<typeof binned>} */
  found = null;

  /** @param {Drawing} drawing */
  show(drawing) {
    this.found = binned(drawing.curves, drawing.span, this.fields.bins ?? BINS);
    super.show(drawing);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {Drawing} drawing */
  paint(context, width, height, { curves }) {
    const { found } = this;
    if (!found) return;
    const totals = found.counts[0].map((_, i) => found.counts.reduce((sum, row) => sum + row[i], 0));
    const most = Math.max(1, ...totals);
    const [inner, foot] = [width - LEFT_PX - 8, height - FOOT_PX];
    const y = (/** @type {number} */ n) => foot - (n / most) * (foot - TOP_PX);
    context.strokeStyle = token("line");
    context.fillStyle = token("ink-3");
    context.textAlign = "right";
    for (const at of ticks({ lo: 0, hi: most }, 3)) {
      context.beginPath();
      context.moveTo(LEFT_PX, Math.round(y(at)) + 0.5);
      context.lineTo(width - 8, Math.round(y(at)) + 0.5);
      context.stroke();
      context.fillText(tick(at), LEFT_PX - 6, y(at));
    }
    const wide = inner / totals.length;
    totals.forEach((_, i) => {
      let below = 0;
      found.counts.forEach((row, r) => {
        if (!row[i]) return;
        context.fillStyle = faded(token(curves[r].colour ?? "accent"), 0.8);
        context.fillRect(LEFT_PX + i * wide + 0.5, y(below + row[i]), Math.max(1, wide - 1), y(below) - y(below + row[i]));
        below += row[i];
      });
    });
    context.fillStyle = token("ink-3");
    context.textAlign = "center";
    for (const at of ticks({ lo: found.lo, hi: found.hi }, Math.max(2, Math.floor(inner / 64)))) {
      context.fillText(tick(at), LEFT_PX + ((at - found.lo) / (found.hi - found.lo)) * inner, height - FOOT_PX / 2);
    }
    context.textAlign = "left";
  }

  /** @param {number} x */
  at(x) {
    const { found, drawn, drawing } = this;
    if (!found || !drawing) return "";
    const bins = found.counts[0].length;
    const i = Math.floor(((x - LEFT_PX) / (drawn.width - LEFT_PX - 8)) * bins);
    if (i < 0 || i >= bins) return "";
    const width = (found.hi - found.lo) / bins;
    const n = found.counts.reduce((sum, row) => sum + row[i], 0);
    const about = found.whole ? "" : "; of points that are read together the mean counts";
    return `${figure(found.lo + i * width)} to ${figure(found.lo + (i + 1) * width)}${behind(drawing.unit)}: ${counted(n, "point")} of ${count(found.points)}${about}`;
  }
}

// One series against another: a point per place of the series, at the value that x has there.

/** @typedef {import("../curves/curve.js").Curve} Curve */
/** @typedef {{x: number, y: number, place: number, curve: Curve}} Dot */

const [DOT_PX, FEW_PX, FRONT_PX, NEAR_PX] = [1.8, 2.6, 3.5, 10];
const FEW = 200; // dots that do not cover each other
const X_ITEM = -1; // of a curve that lies along x
const REACH = 0.01; // of the range: so far beside its points x has no value

/** The curve of x that belongs to another: with the same labels as far as both have them (pure). @param {Curve} curve @param {Curve[]} xs */
function partner({ row }, xs) {
  const fits = xs.filter((x) => Object.entries(x.row.labels).every(([key, value]) => row.labels[key] === undefined || row.labels[key] === value) && (!x.row.run || !row.run || x.row.run === row.run));
  return fits.find((x) => x.row.run === row.run) ?? fits[0] ?? null;
}

/** @param {Curve[]} curves @param {{lo: number, hi: number}} span @returns {Dot[]} */
function dotsOf(curves, span) {
  const item = (/** @type {Curve} */ { row }) => /** @type {any} */ (row).item;
  const xs = curves.filter((curve) => item(curve) === X_ITEM);
  return curves
    .filter((curve) => item(curve) !== X_ITEM)
    .flatMap((curve) => {
      const along = partner(curve, xs);
      if (!along) return [];
      return [...curve.x.keys()].flatMap((i) => {
        if (!(curve.x[i] >= span.lo && curve.x[i] <= span.hi) || curve.old[i]) return [];
        const j = nearest(along, curve.x[i], (span.hi - span.lo) * REACH);
        return j >= 0 && Number.isFinite(along.mean[j]) && Number.isFinite(curve.mean[i]) ? [{ x: along.mean[j], y: curve.mean[i], place: curve.x[i], curve }] : [];
      });
    });
}

/** Those that no other beats in both values, from left to right (pure). @param {Dot[]} dots @param {string} best the corner where good ones lie, `top left` @returns {Dot[]} */
export function frontOf(dots, best) {
  const [up, right] = [best.startsWith("top") ? 1 : -1, best.endsWith("right") ? 1 : -1];
  const sorted = [...dots].sort((a, b) => right * (b.x - a.x) || up * (b.y - a.y));
  let most = -Infinity;
  const front = sorted.filter(({ y }) => up * y > most && ((most = up * y), true));
  return right > 0 ? front.reverse() : front;
}

export class ScatterChart extends CanvasChart {
  legend = true;
  /** @type {Dot[]} */
  dots = [];
  /** @type {(dot: Dot) => [number, number]} */
  pixel = () => [0, 0];
  logId = logIdOf(this.fields);

  get isLog() {
    return Boolean(this.fields.log) !== isFlipped(this.logId);
  }

  /** @param {Drawing} drawing */
  show(drawing) {
    this.dots = dotsOf(drawing.curves, drawing.span);
    super.show(drawing);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {Drawing} drawing */
  paint(context, width, height, { by }) {
    const log = this.isLog;
    const dots = log ? this.dots.filter(({ x, y }) => x > 0 && y > 0) : this.dots;
    if (!dots.length) return;
    const scale = log ? Math.log10 : (/** @type {number} */ value) => value;
    const [low, high] = endsOf(this.fields.range, by);
    const xs = spread(dots.map(({ x }) => x), log);
    const found = spread(dots.map(({ y }) => y), log);
    const ys = { lo: low !== null && !(log && low <= 0) ? low : found.lo, hi: high ?? found.hi };
    const [inner, foot] = [width - LEFT_PX - 12, height - FOOT_PX];
    const share = (/** @type {number} */ value, /** @type {{lo: number, hi: number}} */ { lo, hi }) => (scale(value) - scale(lo)) / (scale(hi) - scale(lo));
    this.pixel = ({ x, y }) => [LEFT_PX + share(x, xs) * inner, foot - share(y, ys) * (foot - 6)];
    context.strokeStyle = token("line");
    context.fillStyle = token("ink-3");
    context.textAlign = "right";
    for (const at of log ? logTicks(ys, 3) : ticks(ys, 3)) {
      const y = Math.round(foot - share(at, ys) * (foot - 6)) + 0.5;
      context.beginPath();
      context.moveTo(LEFT_PX, y);
      context.lineTo(width - 12, y);
      context.stroke();
      context.fillText(tick(at), LEFT_PX - 6, y);
    }
    context.textAlign = "center";
    for (const at of log ? logTicks(xs, 4) : ticks(xs, Math.max(2, Math.floor(inner / 64)))) context.fillText(tick(at), LEFT_PX + share(at, xs) * inner, height - FOOT_PX / 2);
    context.textAlign = "left";
    if (this.fields.best) this.paintFront(context, frontOf(dots, this.fields.best));
    for (const dot of dots) {
      const [x, y] = this.pixel(dot);
      context.fillStyle = faded(token(dot.curve.colour ?? "accent"), 0.6);
      context.beginPath();
      context.arc(x, y, dots.length > FEW ? DOT_PX : FEW_PX, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {Dot[]} front */
  paintFront(context, front) {
    context.strokeStyle = context.fillStyle = token("accent");
    context.beginPath();
    for (const [x, y] of front.map(this.pixel)) context.lineTo(x, y);
    context.stroke();
    for (const dot of front) {
      const [x, y] = this.pixel(dot);
      context.beginPath();
      context.arc(x, y, FRONT_PX, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** @param {number} x @param {number} y */
  at(x, y) {
    /** @type {Dot | null} */
    let best = null;
    let least = NEAR_PX;
    for (const dot of this.dots) {
      const [a, b] = this.pixel(dot);
      const away = Math.hypot(a - x, b - y);
      if (away < least) [best, least] = [dot, away];
    }
    return best && this.drawing ? `${best.curve.label}: ${figure(best.y)} at ${figure(best.x)}, ${xWord(this.drawing.axis, best.place)}` : "";
  }
}

/** @param {number[]} values @param {boolean} log */
function spread(values, log) {
  const [lo, hi] = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
  if (log) return hi > lo ? { lo: lo / 1.1, hi: hi * 1.1 } : { lo: lo / 10, hi: hi * 10 };
  const room = (hi - lo) * 0.05 || Math.abs(hi) * 0.1 || 1;
  return { lo: lo - room, hi: hi + room };
}
