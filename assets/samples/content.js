/** What a sample looks like, by its kind: an image as a thumbnail, audio as a player, all else as text. Nothing that is logged becomes HTML. */

import { sentenceOf } from "../lib/api.js";
import { chartTools } from "../lib/chart_tools.js";
import { el, emptyContext, onResize, setText } from "../lib/dom.js";
import { count, figure, size, tick } from "../lib/format.js";
import { mixed, onTheme, token } from "../lib/theme.js";
import { Dropped, linkOf, some } from "./loader.js";
import { isMarkdown, markdown } from "./markdown.js";

/** @typedef {import("./loader.js").Sample} Sample */
/** @typedef {import("./loader.js").Loaded} Loaded */
/**
 * @typedef {Object} Place
 * @property {string} run
 * @property {import("./loader.js").SampleLoader} loader
 * @property {Sample[]} rows all samples of the name
 * @property {() => boolean} wanted whether this is still what is to be shown
 * @property {(title: string, blob: Blob) => void} enlarge
 * @property {boolean} pixels images as large as they are, a pixel a pixel
 */

const THUMB_PX = 360;
const SMALL_PX = 128; // an image is drawn larger, without blur
const MAX_PIXELS_PX = 2048; // of a side, where a pixel is a pixel
const MAX_TEXT = 100_000; // characters
const MAX_AUDIO_BYTES = 16e6; // a longer one is loaded when it is asked for
const RIDGES = 12;

/** Fill the host with a sample, once it is there; the earlier content stays until then. @param {HTMLElement} host @param {Sample} sample @param {Place} place */
export async function fill(host, sample, place) {
  try {
    const made = await makers[sample.kind](sample, place);
    if (!place.wanted()) return;
    for (const player of host.querySelectorAll("audio")) URL.revokeObjectURL(player.src);
    host.replaceChildren(...made);
  } catch (error) {
    if (!(error instanceof Dropped) && place.wanted()) host.replaceChildren(el("p", { class: "sample-trouble" }, sentenceOf(error)));
  }
}

/** @type {Record<Sample["kind"], (sample: Sample, place: Place) => Promise<Node[]>>} */
const makers = { image, audio, text, table, histogram, file: async (sample, place) => [link(sample, place)] };

/** @param {Sample} sample @param {Place} place */
async function image(sample, place) {
  return load(sample, place, async ({ blob, width, height }) => {
    if (!blob.type.startsWith("image/")) return [link(sample, place)];
    const most = place.pixels ? MAX_PIXELS_PX : THUMB_PX * Math.min(2, devicePixelRatio);
    const scale = Math.min(1, most / Math.max(width, height, 1));
    const wanted = scale < 1 ? { resizeWidth: Math.max(1, Math.round(width * scale)), resizeHeight: Math.max(1, Math.round(height * scale)) } : {};
    /** @type {ImageBitmap} */
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob, { ...wanted, resizeQuality: "medium" });
    } catch {
      return [el("p", { class: "sample-trouble" }, "The image is damaged."), link(sample, place)];
    }
    const canvas = el("canvas", { width: bitmap.width, height: bitmap.height, class: !place.pixels && Math.max(width, height) <= SMALL_PX ? "pixels" : "", style: place.pixels ? `width:${bitmap.width / devicePixelRatio}px` : null });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    const title = `${sample.name}${sample.step === null ? "" : `, step ${sample.step}`}`;
    const about = width ? `${width} × ${height}` : "";
    return [
      el("button", { type: "button", class: "sample-image", "aria-label": `Enlarge ${title}`, onclick: () => place.enlarge(title, blob) }, canvas),
      el("p", { class: "sub" }, about),
    ];
  });
}

/** @param {Sample} sample @param {Place} place */
async function audio(sample, place) {
  const player = () =>
    load(sample, place, ({ blob }) => {
      if (!blob.type.startsWith("audio/")) return [link(sample, place)];
      return [el("audio", { controls: true, src: URL.createObjectURL(blob), "aria-label": sample.name })];
    });
  if ((sample.bytes ?? 0) <= MAX_AUDIO_BYTES) return player();
  const host = el("div");
  const button = el("button", { class: "btn", type: "button", onclick: () => player().then((made) => host.replaceChildren(...made), (error) => host.replaceChildren(sentenceOf(error))) }, `Load ${size(sample.bytes ?? 0)}`);
  host.append(button);
  return [host];
}

/** @param {Sample} sample @param {Place} place */
async function text(sample, place) {
  return load(sample, place, async (loaded) => {
    const found = await loaded.blob.text();
    const source = plain(sample, place, found, loaded);
    if (!isMarkdown(found) || /\.(svg|html?|jsonl)$/i.test(sample.path)) return source;
    const rendered = [markdown(found.slice(0, MAX_TEXT))];
    const body = el("div", {}, ...rendered);
    const turn = el("button", { class: "sample-turn", type: "button", "aria-pressed": "false", onclick: () => {
      const asSource = turn.getAttribute("aria-pressed") === "false";
      turn.setAttribute("aria-pressed", String(asSource));
      body.replaceChildren(...(asSource ? source : rendered));
    } }, "Source");
    return [turn, body];
  });
}

/** @param {Sample} sample @param {Place} place */
async function table(sample, place) {
  return load(sample, place, async (loaded) => {
    const found = await loaded.blob.text();
    const path = sample.path.toLowerCase();
    const separator = path.endsWith(".tsv") ? "\t" : path.endsWith(".csv") ? "," : "";
    const made = separator ? tableOfText(found, separator) : tableOfJson(found);
    const cut = loaded.total > loaded.blob.size ? [el("p", { class: "sub" }, `The first ${size(loaded.blob.size)} of ${size(loaded.total)}`)] : [];
    return made ? [tableElement(made, sample.name), ...cut] : plain(sample, place, found, loaded);
  });
}

/** @param {Sample} sample @param {Place} place */
async function histogram(sample, place) {
  const chosen = some(
    place.rows.filter(({ rank, kind }) => rank === sample.rank && kind === "histogram"),
    RIDGES,
    sample,
  );
  const read = (/** @type {Sample} */ row) => load(row, place, async ({ blob }) => ({ step: row.step, histogram: histogramOf(await blob.text()) }));
  const all = await Promise.all(chosen.map((row) => (row === sample ? read(row) : read(row).catch(optional))));
  const ridges = /** @type {Ridge[]} */ (all.filter((ridge) => ridge?.histogram));
  const own = ridges.find(({ step }) => step === sample.step);
  if (!own) return [el("p", { class: "sub" }, "It holds no values."), link(sample, place)];
  const chart = new RidgeChart();
  chart.show(ridges, sample.step);
  const element = el("div", { class: "tooled ridges" }, chart.canvas);
  const title = () => `${sample.name}${sample.step === null ? "" : `, step ${sample.step}`}`;
  const rows = () => ridges.flatMap(({ step, histogram: { edges, counts } }) => counts.map((one, i) => [step, edges[i], edges[i + 1], one]));
  element.append(chartTools({ element, focus: chart.canvas, title, table: () => ({ columns: ["step", "from", "to", "count"], rows: rows() }), picture: () => ({ canvas: chart.canvas, legend: [] }) }, { menuOnly: true }));
  return [element, el("p", { class: "sub" }, wordsOf(own.histogram))];
}

/** A neighbour that cannot be read is left out. @param {unknown} error */
function optional(error) {
  if (error instanceof Dropped) throw error;
  sentenceOf(error);
  return null;
}

/** @param {Sample} sample @param {Place} place @param {string} found @param {Loaded} loaded */
function plain(sample, place, found, { blob, total }) {
  const pre = el("pre", { tabindex: "0", role: "region", "aria-label": sample.name });
  setText(pre, found.slice(0, MAX_TEXT));
  const shown = found.length > MAX_TEXT || total > blob.size;
  return shown ? [pre, el("p", { class: "sub" }, `The beginning of ${size(total)}. `, link(sample, place))] : [pre];
}

/** @param {Sample} sample @param {Place} place */
function link(sample, place) {
  const about = sample.bytes === null ? "" : `, ${size(sample.bytes)}`;
  const name = sample.path.split("/").pop() || sample.name;
  return el("a", { href: linkOf(place.run, sample), target: "_blank", rel: "noopener" }, `${name}${about}`);
}

/** @template T @param {Sample} sample @param {Place} place @param {(loaded: Loaded) => T | Promise<T>} make */
const load = (sample, place, make) => place.loader.load(place.run, sample, make, place.wanted);

// Tables out of CSV, TSV and JSON, as far as they are shown: text in cells, and nothing else.

/** @typedef {{columns: string[], rows: string[][], total: number}} Table */

const MAX_ROWS = 200;
const MAX_COLUMNS = 50;
const MAX_CELL = 500; // characters

/** `{"columns": [...], "rows": [...]}`, a list of objects or of lists, or one object. Null for what is none of these. @param {string} text @returns {Table | null} */
function tableOfJson(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (Array.isArray(value?.rows)) return cut((value.columns ?? []).map(word), value.rows.map(cells), Number(value.total) || value.rows.length);
  if (Array.isArray(value)) {
    const objects = value.filter((item) => item !== null && typeof item === "object" && !Array.isArray(item));
    if (objects.length === value.length && value.length) {
      const columns = [...new Set(objects.slice(0, MAX_ROWS).flatMap((item) => Object.keys(item)))];
      return cut(columns, objects.slice(0, MAX_ROWS).map((item) => columns.map((name) => Object.hasOwn(item, name) ? word(item[name]) : "")), value.length);
    }
    return cut([], value.slice(0, MAX_ROWS).map(cells), value.length);
  }
  if (value === null || typeof value !== "object") return null;
  const entries = Object.entries(value);
  return cut(["name", "value"], entries.slice(0, MAX_ROWS).map(([name, item]) => [name, word(item)]), entries.length);
}

/** The first line names the columns; cells may be quoted and span lines. @param {string} text @param {string} separator @returns {Table} */
function tableOfText(text, separator) {
  /** @type {string[][]} */
  const rows = [[]];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    if (quoted && char === '"' && text[i + 1] === '"') (cell += '"'), (i += 1);
    else if (char === '"' && (quoted || !cell)) quoted = !quoted;
    else if (quoted || (char !== separator && char !== "\n")) cell += char === "\r" && text[i + 1] === "\n" ? "" : char;
    else {
      rows[rows.length - 1].push(cell);
      cell = "";
      if (char === "\n") rows.push([]);
    }
  }
  if (cell || rows[rows.length - 1].length) rows[rows.length - 1].push(cell);
  const filled = rows.filter((row) => row.some(Boolean));
  const [columns = [], ...others] = filled;
  return cut(columns, others, others.length);
}

/** @param {Table} table @param {string} label */
function tableElement({ columns, rows, total }, label) {
  const numeric = columns.map((_, i) => rows.length > 0 && rows.every((row) => row[i] === "" || Number.isFinite(Number(row[i] ?? "x"))));
  const shown = rows.length < total ? el("p", { class: "sub" }, `${count(rows.length)} of ${count(total)} rows`) : null;
  return el(
    "div",
    { class: "sample-table", tabindex: "0", role: "region", "aria-label": label },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...columns.map((name, i) => el("th", { scope: "col", class: numeric[i] ? "num" : "" }, name)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell, i) => el("td", { class: numeric[i] ? "num" : "" }, cell))))),
    ),
    shown,
  );
}

/** @param {string[]} columns @param {string[][]} rows @param {number} total @returns {Table} */
function cut(columns, rows, total) {
  const kept = rows.slice(0, MAX_ROWS).map((row) => row.slice(0, MAX_COLUMNS).map((cell) => cell.slice(0, MAX_CELL)));
  const width = Math.max(0, ...kept.map((row) => row.length));
  const names = columns.length ? columns : Array.from({ length: width }, (_, i) => String(i + 1));
  return { columns: names.slice(0, MAX_COLUMNS).map((name) => name.slice(0, MAX_CELL)), rows: kept, total };
}

/** @param {unknown} row @returns {string[]} */
const cells = (row) => (Array.isArray(row) ? row.map(word) : [word(row)]);

/** @param {unknown} value */
const word = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

// A histogram over steps: one ridge a step, the oldest on top, the chosen one in colour.

/** @typedef {{edges: number[], counts: number[]}} Histogram */
/** @typedef {{step: number | null, histogram: Histogram}} Ridge */

const MAX_RIDGE_PX = 96; // height of the highest bar
const FOOT_PX = 18;
const LABEL_PX = 52;
const BUCKETS = 60; // of equal width, into which all histograms of a chart are spread: writers choose widths that differ a thousandfold

/** Null for what is none. @param {string} text @returns {Histogram | null} */
function histogramOf(text) {
  try {
    const { edges, counts } = JSON.parse(text);
    if (!Array.isArray(edges) || !Array.isArray(counts)) return null;
    const found = { edges: edges.map(Number), counts: counts.map(Number) };
    const sound = found.edges.length === found.counts.length + 1 && found.counts.length > 0 && [...found.edges, ...found.counts].every(Number.isFinite);
    return sound ? found : null;
  } catch {
    return null;
  }
}

/** The same values in buckets of equal width between two values, each spread evenly over those that it meets (pure). @param {Histogram} histogram @param {number} lo @param {number} hi @param {number} [buckets] @returns {number[]} */
function evened({ edges, counts }, lo, hi, buckets = BUCKETS) {
  const found = Array(buckets).fill(0);
  const place = (/** @type {number} */ value) => ((value - lo) / (hi - lo)) * buckets;
  counts.forEach((count, i) => {
    const [from, to] = [place(edges[i]), place(edges[i + 1])];
    const [first, last] = [from, to].map((at) => Math.max(0, Math.min(buckets - 1, Math.floor(at))));
    for (let k = first; k <= last; k += 1) {
      const part = to > from ? Math.max(0, Math.min(to, k + 1) - Math.max(from, k)) / (to - from) : k === first ? 1 : 0;
      found[k] += count * part;
    }
  });
  return found;
}

/** `10,000 values from −3.8 to 4.1` @param {Histogram} histogram */
function wordsOf({ edges, counts }) {
  const total = counts.reduce((all, one) => all + one, 0);
  return `${count(total)} values from ${figure(edges[0])} to ${figure(edges[edges.length - 1])}`;
}

class RidgeChart {
  constructor() {
    this.canvas = el("canvas", { role: "img" });
    /** @type {Ridge[]} */
    this.ridges = [];
    /** @type {number | null} */
    this.chosen = null;
    onResize(this.canvas, () => this.draw());
    onTheme(() => this.draw());
  }

  /** @param {Ridge[]} ridges the oldest first @param {number | null} chosen step */
  show(ridges, chosen) {
    this.ridges = ridges;
    this.chosen = chosen;
    const shown = ridges.find(({ step }) => step === chosen);
    this.canvas.setAttribute("aria-label", shown ? `Histogram at step ${count(chosen)}: ${wordsOf(shown.histogram)}` : "Histogram");
    this.draw();
  }

  draw() {
    const { canvas, ridges } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !ridges.length) return;
    const context = emptyContext(canvas, width, height);
    const lo = Math.min(...ridges.map(({ histogram }) => histogram.edges[0]));
    const hi = Math.max(...ridges.map(({ histogram: { edges } }) => edges[edges.length - 1]));
    const plot = { lo, hi: hi > lo ? hi : lo + 1, width: width - LABEL_PX };
    const high = Math.min(MAX_RIDGE_PX, (height - FOOT_PX) / Math.max(2, ridges.length / 2));
    const room = height - FOOT_PX - high - 4;
    drawGrid(context, plot, height);
    ridges.forEach((ridge, i) => {
      const foot_px = high + 4 + (ridges.length > 1 ? (room * i) / (ridges.length - 1) : room);
      drawRidge(context, ridge, { ...plot, foot_px, high, age: ridges.length > 1 ? i / (ridges.length - 1) : 1, isChosen: ridge.step === this.chosen });
    });
    drawAxis(context, plot, height);
  }
}

/** @typedef {{lo: number, hi: number, width: number}} Plot */

/** @param {CanvasRenderingContext2D} context @param {Plot} plot @param {number} height */
function drawGrid(context, { width }, height) {
  context.fillStyle = token("line");
  for (const part of [0.25, 0.5, 0.75]) context.fillRect(Math.round(part * width), 0, 1, height - FOOT_PX);
}

/** Opaque, so that what is newer hides what is older behind it. @param {CanvasRenderingContext2D} context @param {Ridge} ridge @param {Plot & {foot_px: number, high: number, age: number, isChosen: boolean}} place `age`: 0 of the oldest, 1 of the newest */
function drawRidge(context, { step, histogram }, { lo, hi, width, foot_px, high, age, isChosen }) {
  const counts = evened(histogram, lo, hi);
  const most = Math.max(...counts) || 1;
  const [ridge, ground] = [token("c3"), token("bg")];
  context.beginPath();
  context.moveTo(0, foot_px);
  counts.forEach((count, i) => context.lineTo(((i + 0.5) / BUCKETS) * width, foot_px - (count / most) * high));
  context.lineTo(width, foot_px);
  context.closePath();
  context.fillStyle = isChosen ? ridge : mixed(ridge, ground, 0.16 + 0.26 * age);
  context.fill();
  context.strokeStyle = isChosen ? token("accent") : mixed(ridge, ground, 0.85);
  context.lineWidth = isChosen ? 1.5 : 1;
  context.stroke();
  if (step === null) return;
  context.font = `10px ${token("font-ui")}`;
  context.fillStyle = token(isChosen ? "ink" : "ink-3");
  context.textAlign = "left";
  context.fillText(tick(step), width + 6, foot_px);
}

/** @param {CanvasRenderingContext2D} context @param {Plot} plot @param {number} height */
function drawAxis(context, { lo, hi, width }, height) {
  context.font = `10px ${token("font-ui")}`;
  context.fillStyle = token("ink-3");
  const at = [lo, (lo + hi) / 2, hi];
  at.forEach((value, i) => {
    context.textAlign = /** @type {CanvasTextAlign[]} */ (["left", "center", "right"])[i];
    context.fillText(tick(Number(value.toPrecision(3))), (width * i) / 2, height - 4);
  });
}
