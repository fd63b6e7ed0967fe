/** Marks on the lanes: heat, limits, NaN, cut values, and the run's events. */

import { el, icon } from "../lib/dom.js";
import { count, duration, figure } from "../lib/format.js";
import { heatRamp, token } from "../lib/theme.js";

// Marks on a lane beside its lines: the heat map, limits, NaN tags and arrows at cut values. All positions are device pixels.

/** @typedef {import("../data/series.js").Columns} Columns */

const TAG = { width: 30, height: 14 };
const HATCH_PX = 6;
const CLOSE_PX = 4;
const AREA_ALPHA = 0.25;
const VEIL_ALPHA = 0.6;

/** @param {any} u uPlot @param {number} css_px */
const px = (u, css_px) => css_px * (u.ctx.canvas.width / u.width);

/**
 * One row per line; each pixel shows the lowest value that falls on it, so that a dip cannot vanish.
 * @param {any} u @param {Columns[]} rows @param {number[]} times of the grid's bins
 */
export function drawHeat(u, rows, times) {
  const { left, top, width, height } = u.bbox;
  const ramp = heatRamp();
  const edges = times.map((time) => Math.round(u.valToPos(time, "x", true)));
  const pitch = height / rows.length;
  const gap = Math.max(1, Math.round(px(u, 1)));
  rows.forEach((row, k) => {
    const y = Math.round(top + k * pitch);
    const tall = Math.round(top + (k + 1) * pitch) - y - gap;
    for (const [value, x0, x1] of runs(lowestPerPixel(row.min, edges), left, left + width)) {
      u.ctx.fillStyle = ramp[Math.max(0, Math.min(100, Math.round(value)))];
      u.ctx.fillRect(x0, y, x1 - x0, tall);
    }
  });
}

/**
 * @param {(number | null | undefined)[]} lows @param {number[]} edges
 * @returns {Map<number, number | null>} by pixel; null where the row must be empty
 */
function lowestPerPixel(lows, edges) {
  /** @type {Map<number, number | null>} */
  const out = new Map();
  lows.forEach((low, i) => {
    if (low === undefined) return;
    const known = out.get(edges[i]);
    out.set(edges[i], low === null || known === null || known === undefined ? low : Math.min(known, low));
  });
  return out;
}

/** Stretches of pixels; a value stands until the next one. @param {Map<number, number | null>} pixels @param {number} from @param {number} to @returns {[number, number, number][]} */
function runs(pixels, from, to) {
  const entries = [...pixels];
  /** @type {[number, number, number][]} */
  const out = [];
  entries.forEach(([x, value], i) => {
    const [x0, x1] = [Math.max(from, x), Math.min(to, i + 1 < entries.length ? entries[i + 1][0] : x + 1)];
    if (value !== null && x1 > x0) out.push([value, x0, x1]);
  });
  return out;
}

/** A stretch of a row that does not mean what its colour says. @param {any} u @param {number} row @param {number} rows @param {import("../data/lanes.js").Stretch} stretch @param {"bad" | "warn"} tone */
export function drawHatch(u, row, rows, { from, to }, tone) {
  const { ctx, bbox } = u;
  const [lo, hi] = [bbox.left, bbox.left + bbox.width];
  const [x, x1] = [from, to].map((at) => (Number.isFinite(at) ? Math.max(lo, Math.min(hi, Math.round(u.valToPos(at, "x", true)))) : hi));
  if (x1 <= x) return;
  const [y, y1] = [row, row + 1].map((k) => Math.round(bbox.top + (k * bbox.height) / rows));
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, x1 - x, y1 - y - px(u, 1));
  ctx.clip();
  ctx.fillStyle = token("bg");
  ctx.globalAlpha = VEIL_ALPHA;
  ctx.fillRect(x, y, x1 - x, y1 - y);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = token(tone);
  ctx.lineWidth = px(u, 1);
  ctx.beginPath();
  for (let at = x - bbox.height; at < x1; at += px(u, HATCH_PX)) {
    ctx.moveTo(at, y1);
    ctx.lineTo(at + y1 - y, y);
  }
  ctx.stroke();
  ctx.restore();
}

/** A dashed line at a value. @param {any} u @param {number} value */
export function drawLimit(u, value) {
  const { ctx, bbox } = u;
  const y = Math.round(u.valToPos(value, "y", true)) + 0.5;
  ctx.save();
  ctx.strokeStyle = token("bad");
  ctx.lineWidth = px(u, 1);
  ctx.setLineDash([px(u, 4), px(u, 3)]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

const PEAK_ALPHA = 0.55; // one step among those of its bin

/**
 * The longest step of each bin above the mean of all: a column in the colour of the phase that made it long, a pixel wide at least.
 * @param {any} u @param {(number | null | undefined)[]} tops of the stack @param {({seconds: number, phase: number} | null)[]} peaks
 * @param {number[]} times @param {string[]} colours of the phases
 */
export function drawPeaks(u, tops, peaks, times, colours) {
  const { ctx, bbox } = u;
  const width = times.length > 1 ? Math.max(px(u, 1), Math.abs(u.valToPos(times[1], "x", true) - u.valToPos(times[0], "x", true))) : px(u, 1);
  ctx.save();
  ctx.globalAlpha = PEAK_ALPHA;
  peaks.forEach((peak, i) => {
    const x = u.valToPos(times[i], "x", true) - width / 2;
    if (!peak || x + width < bbox.left || x > bbox.left + bbox.width) return;
    const [high, low] = [Math.max(bbox.top, u.valToPos(peak.seconds, "y", true)), u.valToPos(tops[i] ?? 0, "y", true)];
    ctx.fillStyle = colours[peak.phase];
    ctx.fillRect(x, high, width, Math.max(0, low - high));
  });
  ctx.restore();
}

/** Red marks for values that were not numbers, of all lines of a lane: a line each, an area where they are close, and tags that do not overlap. @param {any} u @param {Columns["bad"]} all */
export function drawBad(u, all) {
  const { ctx, bbox } = u;
  const seen = all.map(({ t, text }) => ({ x: Math.round(u.valToPos(t, "x", true)), text })).sort((a, b) => a.x - b.x);
  const found = stretches(
    seen.filter(({ x }) => x >= bbox.left && x <= bbox.left + bbox.width),
    px(u, CLOSE_PX),
  );
  ctx.save();
  ctx.fillStyle = token("bad");
  for (const { from, to } of found) {
    ctx.globalAlpha = AREA_ALPHA;
    ctx.fillRect(from, bbox.top, to - from, bbox.height);
    ctx.globalAlpha = 1;
    ctx.fillRect(from, bbox.top, px(u, 1), bbox.height);
  }
  ctx.font = `600 ${px(u, 10)}px ${token("font-ui")}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  const half = px(u, TAG.width / 2);
  let free = -Infinity;
  for (const { from, text } of found) {
    const middle = Math.max(bbox.left + half, Math.min(bbox.left + bbox.width - half, from)); // whole at the edges, too
    if (middle - half < free) continue;
    free = middle + half + px(u, 4);
    ctx.fillStyle = token("bad");
    ctx.fillRect(middle - half, bbox.top, 2 * half, px(u, TAG.height));
    ctx.fillStyle = token("bg");
    ctx.fillText(text === "Infinity" ? "inf" : text === "-Infinity" ? "−inf" : text, middle, bbox.top + px(u, TAG.height / 2 + 0.5));
  }
  ctx.restore();
}

/**
 * Marks closer together than `close` form one stretch, named by its first (pure).
 * @param {{x: number, text: string}[]} seen from left to right @param {number} close
 * @returns {{from: number, to: number, text: string}[]}
 */
export function stretches(seen, close) {
  /** @type {{from: number, to: number, text: string}[]} */
  const out = [];
  for (const { x, text } of seen) {
    const last = out.at(-1);
    if (last && x - last.to <= close) last.to = x;
    else out.push({ from: x, to: x, text });
  }
  return out;
}

/**
 * Arrows where values lie outside the range, each with its number: the farthest of neighbours that would overlap.
 * @param {any} u @param {(number | null | undefined)[]} values @param {number[]} times @param {boolean} up above the range, or below it
 * @param {number | undefined} digits @param {{from: number, to: number}[]} taken where numbers stand already; it grows
 */
export function drawCuts(u, values, times, up, digits, taken) {
  const bound = up ? u.scales.y.max : u.scales.y.min;
  const beyond = (/** @type {number | null | undefined} */ v) => v !== null && v !== undefined && (up ? v > bound : v < bound);
  /** @type {{x: number, value: number}[]} */
  const cuts = [];
  values.forEach((value, i) => {
    if (!beyond(value)) return;
    const cut = { x: u.valToPos(times[i], "x", true), value: /** @type {number} */ (value) };
    const last = cuts.at(-1);
    if (!last || cut.x - last.x > px(u, 48)) cuts.push(cut);
    else if (up ? cut.value > last.value : cut.value < last.value) Object.assign(last, cut);
  });
  for (const cut of cuts) drawArrow(u, cut, up, digits, taken);
}

/** @param {any} u @param {{x: number, value: number}} cut @param {boolean} up @param {number | undefined} digits @param {{from: number, to: number}[]} taken */
function drawArrow(u, { x, value }, up, digits, taken) {
  const { ctx, bbox } = u;
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  const tip = up ? bbox.top : bbox.top + bbox.height;
  const base = tip + px(u, up ? 7 : -7);
  const onRight = x < bbox.left + bbox.width - px(u, 48);
  ctx.save();
  ctx.fillStyle = token("ink");
  ctx.beginPath();
  ctx.moveTo(x, tip);
  ctx.lineTo(x - px(u, 4), base);
  ctx.lineTo(x + px(u, 4), base);
  ctx.fill();
  ctx.font = `${px(u, 11)}px ${token("font-ui")}`;
  ctx.textAlign = onRight ? "left" : "right";
  ctx.textBaseline = "middle";
  const word = figure(value, Math.abs(value) < 1 ? undefined : digits && Math.min(digits, 2));
  const [at, width] = [x + px(u, onRight ? 8 : -8), ctx.measureText(word).width];
  const room = onRight ? { from: x, to: at + width } : { from: at - width, to: x };
  if (!taken.some(({ from, to }) => room.from < to && room.to > from)) {
    taken.push(room);
    ctx.fillText(word, at, tip + px(u, up ? 6 : -6));
  }
  ctx.restore();
}

// Event markers: their choice, shapes and labels (pure), and their elements.

/** @typedef {import("../types/api").Row<"EventRow">} EventRow */
/** @typedef {Pick<EventRow, "kind" | "time_s"> & Partial<EventRow>} Event of a run, or made by the page */
/** @typedef {{x: number, event: Event, shape: "diamond" | "triangle" | "cross" | "bar", tone: string, label: string, labelled: boolean}} Mark */

const CHARACTER_PX = 5.8; // of an 11 px label, generously
const ICON_PX = 16;
const MOST = 80; // more markers than this are not shown
const APART_PX = 4; // markers of a kind
const CROWDED_PX = 12; // quiet ones of a kind that are closer are ticks without a word or a line
const UNDRAWN = new Set(["ran", "process"]); // what ran is shown beside the run; that its processes were found is said nowhere
const MINOR = new Set(["validation", "gc", "collective", "denied", "image"]); // drawn as ticks without a word

/**
 * @param {Event[]} events @param {{lo: number, hi: number}} view @param {number} width px
 * @param {{from: number, to: number}} taken px, where no label may stand
 * @returns {Mark[]}
 */
export function placed(events, view, width, taken) {
  const inside = events.filter(({ kind, time_s }) => !UNDRAWN.has(kind) && time_s >= view.lo && time_s <= view.hi).sort((a, b) => a.time_s - b.time_s);
  const major = inside.filter(({ kind }) => !MINOR.has(kind));
  const shown = apart(inside.length > MOST ? major : inside, ((view.hi - view.lo) * APART_PX) / width).slice(-MOST);
  const marks = shown.map((event) => ({
    ...looks(event),
    event,
    x: ((event.time_s - view.lo) / (view.hi - view.lo)) * width,
    labelled: false,
  }));
  for (const mark of crowded(marks)) Object.assign(mark, { shape: "bar", label: "" });
  let free = -Infinity;
  marks.forEach((mark, i) => {
    const next = marks.slice(i + 1).find(({ label }) => label);
    const end = mark.x + ICON_PX + mark.label.length * CHARACTER_PX;
    const clear = end < taken.from || mark.x > taken.to;
    mark.labelled = mark.label !== "" && clear && mark.x >= free && end < Math.min(width, next ? next.x - ICON_PX / 2 : width);
    if (mark.labelled) free = end;
  });
  return marks;
}

/** Quiet marks with a neighbour of their kind too near for an icon. @param {Mark[]} marks from left to right @returns {Mark[]} */
function crowded(marks) {
  /** @type {Map<string, Mark>} by kind, the one before */
  const last = new Map();
  const found = new Set();
  for (const mark of marks) {
    const before = last.get(mark.event.kind);
    last.set(mark.event.kind, mark);
    if (before && mark.tone === "dim" && mark.x - before.x < CROWDED_PX) found.add(before).add(mark);
  }
  return [...found];
}

/** Those that are not there yet. @param {Event[]} events @param {Event[]} more */
export function addNew(events, more) {
  const known = new Set(more.length ? events.map((event) => JSON.stringify(event)) : []);
  events.push(...more.filter((event) => !known.has(JSON.stringify(event))));
}

/** Without markers that would be hidden by one of their kind. @param {Event[]} events in order @param {number} least seconds between two */
function apart(events, least) {
  /** @type {Map<string, number>} */
  const last = new Map();
  return events.filter(({ kind, time_s }) => {
    if (time_s - (last.get(kind) ?? -Infinity) < least) return false;
    last.set(kind, time_s);
    return true;
  });
}

/** @param {Event} event @returns {{shape: Mark["shape"], tone: string, label: string}} */
function looks({ kind, step, seconds, text = "", ...fields }) {
  const status = /** @type {any} */ (fields).status ?? "";
  switch (kind) {
    case "checkpoint":
      return {
        shape: "diamond",
        tone: "dim",
        label: step != null ? `ckpt ${step >= 10000 ? `${Math.round(step / 1000)}k` : step}` : "ckpt",
      };
    case "overflow":
      return { shape: "cross", tone: "bad", label: "overflow" };
    case "end":
      if (/(stopped|ended) by (SIGTERM|SIGUSR1|exit code 75)$/.test(String(/** @type {any} */ (fields).reason ?? "")))
        return { shape: "bar", tone: "dim", label: "pre-empted" };
      return /crash|error|fail|kill/.test(status)
        ? { shape: "cross", tone: "bad", label: /kill/.test(status) ? "killed" : "crashed" }
        : { shape: "bar", tone: "dim", label: "end" };
    case "exit": {
      const state = /** @type {any} */ (fields).state ?? "";
      return ["failed", "killed"].includes(state)
        ? { shape: "cross", tone: "bad", label: state === "failed" ? "crashed" : state }
        : { shape: "bar", tone: "dim", label: { preempted: "pre-empted", requeued: "requeued" }[String(state)] ?? "ended" };
    }
    case "start":
      return { shape: "bar", tone: "dim", label: "start" };
    case "resume":
      return { shape: "bar", tone: "acc", label: step ? `resumed at ${count(step)}` : "resumed" };
    case "note":
      return { shape: "bar", tone: "acc", label: text.slice(0, 24) };
    case "allocator_retry":
      return { shape: "triangle", tone: "warn", label: "allocator retry" };
    case "xid":
      return { shape: "cross", tone: "bad", label: text };
    case "recompile":
      return { shape: "triangle", tone: "warn", label: seconds ? `recompile ${duration(seconds)}` : "recompile" };
    default:
      return { shape: "bar", tone: "dim", label: MINOR.has(kind) ? "" : kind };
  }
}

/** The icon and word of a mark on the axis. @param {Mark} mark */
export function axisMark({ x, event, shape, tone, label, labelled }) {
  const text = [
    event.kind,
    event.step === null || event.step === undefined ? "" : `step ${count(event.step)}`,
    event.seconds ? duration(event.seconds) : "",
    event.text ?? "",
  ];
  return el(
    "div",
    { class: `mark ${tone} ${label ? "" : "minor"}`, title: text.filter(Boolean).join(", "), style: `left:${x}px` },
    icon(shape, tone),
    labelled ? el("span", {}, label) : null,
  );
}

/** The line of a mark across all lanes. Minor ones have none, nor has an overflow, which has NaN tags. @param {Mark} mark */
export const laneMark = ({ x, tone, label, event }) =>
  label && event.kind !== "overflow" ? el("i", { class: `event ${tone}`, style: `left:${x}px` }) : null;
