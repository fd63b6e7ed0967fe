/** One chart of curves: its head, its plot on uPlot, and what it says below. */

import { anyStep, logTicks, ticks } from "../lib/axis.js";
import { el, setClass, setText } from "../lib/dom.js";
import { unitBeside } from "../lib/figures.js";
import { AXIS_PX, count, counted, figure, tickWords } from "../lib/format.js";
import { paintedCurves } from "../lib/probe.js";
import { faded, mixed, token } from "../lib/theme.js";
import UPlot from "../vendor/uPlot.min.js";
import { badOf, linesOf, shapesOf, yRangeOf } from "./curve.js";
import { xTicks } from "./training_view.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("./curve.js").Curve} Curve */
/** @typedef {import("./training_view.js").View} View */
/** @typedef {import("./training_view.js").Span} Span */

/**
 * @typedef {Object} Picture what a chart is to draw
 * @property {Curve[] | null} curves null until they are read
 * @property {View} view
 * @property {Span} span
 * @property {(curve: Curve) => string} colourOf
 * @property {string} lit the name whose curves stand out, or ""
 * @property {string} trouble why there is nothing, or ""
 * @property {boolean} stale other curves are on their way
 * @property {boolean} [thin] its lines are a pixel wide
 * @property {Span | null} [window] a selected stretch
 * @property {number | null} [limit] a line across
 * @property {number[]} [moments] lines down, at these places of the axis
 * @property {import("./curve.js").YRange} [y] of the values, where it does not follow from the curves
 */
/** @typedef {"open" | "pin" | "hide" | "log"} Act */
/**
 * @typedef {Object} Gestures
 * @property {(chart: Chart, x: number | null, event: PointerEvent | null) => void} hover
 * @property {(span: Span) => void} zoom
 * @property {(factor: number, x: number) => void} scale
 * @property {() => void} whole
 * @property {(chart: Chart, x: number, event: MouseEvent, touched: boolean) => void} point
 * @property {(chart: Chart, act: Act) => void} act
 */

const Plot = /** @type {any} */ (UPlot); // its types are not vendored
const X_PX = 20;
const TICK_Y_PX = 34;
const TICK_X_PX = 64;
const MAX_TICKS = 8; // of the y axis
const CHARACTER_PX = 7; // of a tick's word, at most
const MIN_RIGHT_PX = 8;
const DRAG_PX = 4; // less is a click
const ZOOM_PER_PX = 1.002; // of the wheel
export const HEAD_PX = 24;
export const FOOT_PX = 16;

export class Chart {
  /** @param {Tag} tag @param {Gestures} gestures */
  constructor(tag, gestures) {
    this.tag = tag;
    this.gestures = gestures;
    /** @type {any} */
    this.plot = null;
    /** @type {Picture | null} */
    this.picture = null;
    this.y = { lo: 0.1, hi: 1, cut: 0, most: NaN, notPositive: 0 };
    this.unit = el("span", {}, unitBeside(tag.name, tag.unit));
    this.name = el("button", { class: "chart-name", type: "button", title: `${tag.name}: opens to full size; drag to move, Shift and an arrow key move it, too`, onclick: () => gestures.act(this, "open") }, el("b", {}, tag.title), this.unit);
    this.cross = el("i", { class: "chart-cross", hidden: true });
    this.dragged = el("i", { class: "chart-drag", hidden: true });
    this.instead = el("p", { class: "chart-instead", role: "status", hidden: true });
    this.place = el("div", { class: "chart-plot", role: "img", "aria-label": tag.name }, this.cross, this.dragged, this.instead);
    this.foot = el("footer", { class: "chart-foot" });
    this.head = el("header", { class: "chart-head" }, this.name);
    this.element = el("article", { class: "chart waiting", "data-tag": tag.name }, this.head, this.place, this.foot);
    this.#listen();
  }

  get built() {
    return this.plot !== null;
  }

  /** Make the plot, in CSS pixels of the whole element. @param {number} width @param {number} height */
  fit(width, height) {
    const [w, h] = [Math.max(40, Math.floor(width)), Math.max(30, Math.floor(height - HEAD_PX - FOOT_PX))];
    if (this.plot && this.plot.width === w && this.plot.height === h) return;
    this.#make(w, h);
  }

  /** @param {Picture} picture */
  show(picture) {
    this.picture = picture;
    const { curves, view, span, trouble, stale } = picture;
    const drawn = curves !== null && curves.some(({ x }) => x.length > 0);
    setClass(this.element, "waiting", curves === null && !trouble);
    setClass(this.element, "stale", stale);
    this.instead.hidden = drawn || !trouble;
    setText(this.instead, trouble);
    if (curves) this.y = picture.y ?? yRangeOf(curves, span, view);
    setText(this.unit, view.baseline && !this.tag.machine ? `% of ${view.baseline}, difference` : unitBeside(this.tag.name, this.tag.unit));
    const [points, ...rest] = curves ? said(curves, this.y, view, span) : [""];
    setText(this.foot, (this.element.closest(".curves-full") ? [points, ...rest] : rest).join(" · "));
    this.foot.title = [points, ...rest].join(" · ");
    this.redraw();
  }

  /** Draw again, if there is a plot: the picture or the theme changed. */
  redraw() {
    if (!this.plot || !this.picture) return;
    if (this.#made !== this.#scales) this.recolour(); // uPlot's scales keep how they spread values
    else this.plot.setData(this.#data());
  }

  #made = "";

  get #scales() {
    const { ylog, xlog } = this.picture?.view ?? { ylog: false, xlog: false };
    return `${ylog} ${xlog}`;
  }

  /** @param {number} width @param {number} height */
  #make(width, height) {
    this.plot?.destroy();
    this.#made = this.#scales;
    this.plot = takePlot(this.#kind(width, height));
    if (this.plot) {
      this.plot.owner.chart = this;
      this.place.append(this.plot.root);
      this.plot.setData(this.#data());
      return;
    }
    const owner = { chart: /** @type {Chart} */ (this) };
    this.plot = new Plot(this.#options(width, height, owner), this.#data(), this.place);
    this.plot.owner = owner;
  }

  /** Plots of one kind can take each other's place. @param {number} width @param {number} height */
  #kind(width, height) {
    return `${width} ${height} ${this.#scales} ${token("ink-3")} ${token("line")}`;
  }

  /** Make the plot anew: it keeps colours and scales. */
  recolour() {
    dropPlots();
    if (this.plot) this.#make(this.plot.width, this.plot.height);
  }

  destroy() {
    if (this.plot && this.#made === this.#scales) keepPlot(this.#kind(this.plot.width, this.plot.height), this.plot);
    else this.plot?.destroy();
    this.plot = null;
    this.element.remove();
  }

  /** uPlot draws the axes; the curves are painted in a hook. */
  #data() {
    const { lo, hi } = this.span;
    return [
      [lo, hi],
      [null, null],
    ];
  }

  get span() {
    const { lo, hi } = this.picture?.span ?? { lo: 0, hi: 1 };
    return this.picture?.view.xlog ? { lo: Math.max(lo, Number.MIN_VALUE * 1e20), hi } : { lo, hi };
  }

  /** @param {number} width @param {number} height @param {Owner} owner */
  #options(width, height, owner) {
    const view = this.picture?.view;
    const xOf = () => owner.chart.picture?.view.x ?? "step";
    const [ylog, xlog] = [view?.ylog ?? false, view?.xlog ?? false];
    const axis = { stroke: token("ink-3"), font: `11px ${token("font-ui")}`, ticks: { show: false } };
    const wanted = Math.max(2, Math.min(MAX_TICKS, Math.floor((height - X_PX) / TICK_Y_PX)));
    const words = () => new Map(xTicks(xOf(), xlog, owner.chart.span, wantedTicks(width)).map(({ at, word }) => [at, word]));
    return {
      width,
      height,
      padding: [6, () => rightOf(xOf(), xlog, owner.chart.span, width), 0, 0],
      legend: { show: false },
      cursor: { show: false },
      select: { show: false },
      scales: {
        x: { time: false, range: () => [owner.chart.span.lo, owner.chart.span.hi], distr: xlog ? 3 : 1, log: 10 },
        y: { range: () => [owner.chart.y.lo, owner.chart.y.hi], distr: ylog ? 3 : 1, log: 10 },
      },
      axes: [
        { ...axis, ...anyStep(() => owner.chart.span), size: X_PX, gap: 2, grid: { show: false }, splits: () => [...words().keys()], filter: same, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((place) => words().get(place) ?? "") },
        { ...axis, ...anyStep(() => owner.chart.y), size: AXIS_PX, gap: 4, grid: { stroke: token("line"), width: 1 }, splits: () => yTicks(owner.chart.y, ylog, wanted), filter: same, values: (/** @type {any} */ _, /** @type {number[]} */ at) => tickWords(at) },
      ],
      series: [{}, { show: false }],
      hooks: { draw: [() => owner.chart.#paint()] },
    };
  }

  /** Where values lie, in CSS pixels of the canvas. @returns {import("./curve.js").Place} */
  get pixels() {
    const u = this.plot;
    const ratio = devicePixelRatio;
    const { left, top, width, height } = u.bbox;
    const box = { left: left / ratio, right: (left + width) / ratio, top: top / ratio, bottom: (top + height) / ratio };
    const ylog = this.picture?.view.ylog ?? false;
    const xlog = this.picture?.view.xlog ?? false;
    const [x, y] = [u.scales.x, u.scales.y];
    const [across, up] = [(box.right - box.left) / (x.max - x.min), (box.bottom - box.top) / (y.max - y.min)];
    return {
      ...box,
      ylog,
      span: this.span,
      x: xlog ? (value) => box.left + u.valToPos(value, "x") : (value) => box.left + (value - x.min) * across,
      y: ylog ? (value) => box.top + u.valToPos(value, "y") : (value) => box.bottom - (value - y.min) * up,
    };
  }

  #paint() {
    const { picture, plot } = this;
    if (!plot || !picture?.curves) return;
    const place = this.pixels;
    const [shapes, bad] = [[...shapesOf(picture.curves, picture.colourOf, place, picture.lit, picture.thin), ...linesOf(picture, place)], badOf(picture.curves, place)];
    paint(plot, shapes, bad);
    if (!this.#dragging) this.#mark(picture.window ?? null);
    paintedCurves(this.tag.name, { curves: picture.curves, shapes, bad, span: this.span, y: this.y, place, stale: picture.stale });
  }

  // Pointer

  /** @param {number | null} x a place on the axis; the line that all charts have in common */
  crosshair(x) {
    const at = x === null || !this.plot ? NaN : this.pixels.x(x);
    const { left, right } = this.plot ? this.pixels : { left: 0, right: -1 };
    this.cross.hidden = !(at >= left && at <= right);
    if (!this.cross.hidden) this.cross.style.transform = `translateX(${at}px)`;
  }

  /** @param {MouseEvent} event @returns {number} the place below the pointer */
  at(event) {
    const { left, right } = this.pixels;
    const pixel = event.clientX - this.place.getBoundingClientRect().left;
    return this.plot.posToVal(Math.max(left, Math.min(right, pixel)) - left, "x");
  }

  #listen() {
    /** @type {{x: number, from: number, moved: boolean} | null} */
    let drag = null;
    let clicked = false;
    let touched = false; // by a finger, which shows values first
    const { place, gestures } = this;
    place.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      if (event.button !== 0 || !this.plot) return;
      if (event.pointerType !== "touch") place.setPointerCapture(event.pointerId);
      touched = event.pointerType === "touch";
      drag = { x: event.clientX, from: this.at(event), moved: false };
    });
    place.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      if (!this.plot || (event.pointerType === "touch" && !drag)) return;
      gestures.hover(this, this.at(event), event);
      if (!drag || !(drag.moved ||= Math.abs(event.clientX - drag.x) > DRAG_PX)) return;
      this.#dragging = true;
      this.#mark(spanOf(drag.from, this.at(event)));
    });
    place.addEventListener("pointerup", (/** @type {PointerEvent} */ event) => {
      const done = drag;
      drag = null;
      this.#drop();
      if (!done || !this.plot) return;
      const to = this.at(event);
      if (done.moved && to !== done.from) gestures.zoom(spanOf(done.from, to));
      else clicked = !done.moved;
    });
    place.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      // Not before: the browser closes what is opened between the press of a button and this.
      if (clicked && this.plot && event.detail < 2) gestures.point(this, this.at(event), event, touched);
      clicked = false;
    });
    const leave = () => {
      drag = null;
      this.#drop();
      gestures.hover(this, null, null);
    };
    place.addEventListener("pointercancel", leave);
    place.addEventListener("pointerleave", (/** @type {PointerEvent} */ event) => event.pointerType === "touch" || leave()); // a finger that is lifted leaves the values
    place.addEventListener("dblclick", () => gestures.whole());
    place.addEventListener(
      "wheel",
      (/** @type {WheelEvent} */ event) => {
        if (!event.ctrlKey || !this.plot) return; // it scrolls the page
        event.preventDefault();
        gestures.scale(ZOOM_PER_PX ** event.deltaY, this.at(event));
      },
      { passive: false },
    );
  }

  #dragging = false;

  /** A drag is over. */
  #drop() {
    this.#dragging = false;
    this.#mark(this.plot ? (this.picture?.window ?? null) : null);
  }

  /** @param {Span | null} span */
  #mark(span) {
    this.dragged.hidden = span === null;
    if (!span) return;
    const [a, b] = [this.pixels.x(span.lo), this.pixels.x(span.hi)];
    Object.assign(this.dragged.style, { left: `${a}px`, width: `${b - a}px` });
  }
}

/** @param {number} a @param {number} b @returns {Span} */
const spanOf = (a, b) => ({ lo: Math.min(a, b), hi: Math.max(a, b) });

/** Of less than a decade, round numbers are more than powers of ten are. @param {Span} y @param {boolean} ylog @param {number} wanted */
export function yTicks(y, ylog, wanted) {
  const powers = ylog ? logTicks(y, wanted) : [];
  return powers.length > 2 ? powers : ticks(y, wanted).filter((value) => !ylog || value > 0);
}

/** Of the x axis. @param {number} width of a chart */
const wantedTicks = (width) => Math.max(2, Math.floor((width - AXIS_PX) / TICK_X_PX));

/** So much room is right of the plot that the last word of the x axis is whole. @param {string} x @param {boolean} xlog @param {Span} span @param {number} width */
export function rightOf(x, xlog, span, width) {
  const last = xTicks(x, xlog, span, wantedTicks(width)).at(-1);
  const [lo, hi] = xlog ? [Math.log10(span.lo), Math.log10(span.hi)] : [span.lo, span.hi];
  const away = last ? ((hi - (xlog ? Math.log10(last.at) : last.at)) / (hi - lo)) * (width - AXIS_PX) : Infinity;
  return Math.max(MIN_RIGHT_PX, Math.ceil(((last?.word.length ?? 0) * CHARACTER_PX) / 2 - away) + 1 || 0);
}

/** @param {unknown} _ @param {number[]} at uPlot's own filter leaves out what it finds too dense */
const same = (_, at) => at;

/** How many points it stands for, and what is not seen. @param {Curve[]} curves @param {import("./curve.js").YRange} y @param {View} view @param {Span} span */
function said(curves, y, view, span) {
  const drawn = curves.reduce((sum, { x }) => sum + x.length, 0);
  const all = curves.reduce((sum, { total }) => sum + total, 0);
  const parts = [`${count(drawn)} of ${counted(all, "point")}`];
  if (y.notPositive) parts.push(`${count(y.notPositive)} reach to 0 or below: not on a log axis`);
  if (view.xlog && span) {
    const left = curves.reduce((sum, { x }) => sum + x.reduce((n, at) => n + Number(at <= 0), 0), 0);
    if (left) parts.push(`${counted(left, "place")} at 0 or below: not on a log axis`);
  }
  if (y.cut) parts.push(`${count(y.cut)} cut, up to ${figure(y.most)}`);
  return parts;
}

// Plots of charts that were scrolled away, for those that come into view: a canvas made anew is work for the browser's garbage collector.

/** @typedef {{chart: Chart}} Owner whose curves a plot draws now */

const MOST = 48;

/** @type {Map<string, any[]>} by size, scales and theme */
const idle = new Map();
let kept = 0;

/** @param {string} key @returns {any | null} */
function takePlot(key) {
  const plot = idle.get(key)?.pop();
  if (plot) kept -= 1;
  return plot ?? null;
}

/** @param {string} key @param {any} plot */
function keepPlot(key, plot) {
  if (kept >= MOST) return plot.destroy();
  plot.root.remove();
  const plots = idle.get(key) ?? [];
  plots.push(plot);
  idle.set(key, plots);
  kept += 1;
  return undefined;
}

/** Those of another theme are never asked for again. */
function dropPlots() {
  for (const plots of idle.values()) for (const plot of plots) plot.destroy();
  idle.clear();
  kept = 0;
}

// Shapes on a canvas.

/** @typedef {import("./curve.js").Shape} Shape */
/** @typedef {import("./curve.js").Bad} Bad */

const TAG = { width: 26, height: 13 };
const DOT = 2;

/**
 * Inside the plot of a uPlot chart, in CSS pixels from its canvas' corner.
 * @param {any} u @param {Shape[]} shapes @param {Bad[]} bad
 */
function paint(u, shapes, bad) {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.scale(ratio, ratio);
  ctx.lineJoin = "round";
  for (const shape of shapes) draw(ctx, shape);
  drawBad(ctx, bad, { left: bbox.left / ratio, right: (bbox.left + bbox.width) / ratio, top: bbox.top / ratio, bottom: (bbox.top + bbox.height) / ratio });
  ctx.restore();
}

/** @param {CanvasRenderingContext2D} ctx @param {Shape} shape */
function draw(ctx, { kind, colour, alpha, width, dash, parts }) {
  ctx.beginPath();
  for (const part of parts) {
    if (part.length === 2) ctx.rect(part[0] - DOT / 2, part[1] - DOT / 2, DOT, DOT);
    else ctx.moveTo(part[0], part[1]);
    for (let i = 2; i < part.length; i += 2) ctx.lineTo(part[i], part[i + 1]);
    if (kind === "area") ctx.closePath();
  }
  if (kind === "area") {
    ctx.fillStyle = faded(token(colour), alpha);
    ctx.fill();
    return;
  }
  ctx.setLineDash(dash);
  ctx.strokeStyle = mixed(token(colour), token("bg"), alpha);
  ctx.lineWidth = width;
  ctx.stroke();
}

/** Tags lie above the marks of their neighbours. @param {CanvasRenderingContext2D} ctx @param {Bad[]} bad @param {{left: number, right: number, top: number, bottom: number}} plot */
function drawBad(ctx, bad, plot) {
  ctx.setLineDash([]);
  ctx.font = `600 10px ${token("font-ui")}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (const { from, to } of bad) {
    ctx.fillStyle = faded(token("bad"), 0.16);
    ctx.fillRect(from, plot.top, to - from, plot.bottom - plot.top);
    ctx.fillStyle = token("bad");
    ctx.fillRect(from, plot.top, 1, plot.bottom - plot.top);
  }
  let free = -Infinity;
  for (const { from, text } of bad) {
    const half = TAG.width / 2;
    const middle = Math.max(plot.left + half, Math.min(plot.right - half, from)); // whole at the edges, too
    if (middle - half < free) continue;
    free = middle + half + 4;
    ctx.fillStyle = token("bad");
    ctx.fillRect(middle - half, plot.top, TAG.width, TAG.height);
    ctx.fillStyle = token("bg");
    ctx.fillText(text, middle, plot.top + TAG.height / 2 + 0.5);
  }
}

// Work that is done a little in each frame, so that none waits for all of it.

const FRAME_MS = 8;

/** @template T */
export class FrameQueue {
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
