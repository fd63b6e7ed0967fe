/** One lane: its name, its plot on uPlot, and its values. */

import { dashOf, swatchClass } from "../data/colours.js";
import { holders, layersOf, median, peaksOf, stepSeconds } from "../data/phases.js";
import { counterOf, rateColumns, rateNow } from "../data/progress.js";
import { columns } from "../data/series.js";
import { addressOf, mayExport } from "../lib/api.js";
import { TIME, anyStep, fromZero, logTicks, robust, robustLog, ticks } from "../lib/axis.js";
import { chartTools, flip, isFlipped } from "../lib/chart_tools.js";
import { el, setClass, setText, visibleName } from "../lib/dom.js";
import { behind } from "../lib/figures.js";
import { AXIS_PX, counted, figure, tick, tickWords } from "../lib/format.js";
import { faded, fillOf, theme, token } from "../lib/theme.js";
import UPlot from "../vendor/uPlot.min.js";
import { drawBad, drawCuts, drawHatch, drawHeat, drawLimit, drawPeaks } from "./marks.js";

/** @typedef {import("../data/lanes.js").Lane} Lane */
/** @typedef {import("../data/series.js").Columns} Columns */
/** @typedef {import("../data/series.js").Series} Series */

const Plot = /** @type {any} */ (UPlot); // its types are not vendored
const TICK_HEIGHT = 26;
const TICK_LEAST = 18;
const TICKS = 8; // at most about so many
const SMOOTH = 50; // a lane this high draws slopes between whole pixels; a flat line is crisper on them
const POINT_PX = 10; // a line's points stand at least so far apart, or are not marked
const VALUE_HEIGHT = 14; // of a row in the right column, and what is above the first
const VALUES_TOP = 6;
const JUDGE_MS = 1000;
const GROWN = 1.2; // growth in bins after which it is judged at once
const PICTURE_TICK_PX = 90;
const FOLDED = "folded lanes";
const PERCENT = { lo: 0, hi: 104 };
const MAX_BINS = 50_000;

export class LaneView {
  /** @param {Lane} spec @param {boolean} narrow a phone: the name stands above the plot, without an axis */
  constructor(spec, narrow) {
    this.spec = spec;
    this.narrow = narrow;
    this.rows = Infinity; // for which there is room in the right column
    this.range = PERCENT;
    this.view = { lo: 0, hi: 1 };
    /** @type {import("../lib/axis.js").Axis} */
    this.axis = TIME;
    /** @type {any} */
    this.chart = null;
    /** @type {Columns[]} */
    this.columns = [];
    /** @type {(number | null | undefined)[][]} of a stack: the sums from the bottom up, the whole first */
    this.layers = [];
    /** @type {ReturnType<typeof peaksOf>} of a stack: the longest step of each bin */
    this.peaks = [];
    /** @type {number[]} */
    this.times = [];
    /** @type {number | null} */
    this.limit = null;
    /** @type {Set<number>} lines of a stack that contain others: only their parts are drawn */
    this.holding = new Set();
    /** @type {Map<string, Series>} */
    this.series = new Map();
    this.trouble = el("p", { class: "lane-trouble", role: "status", hidden: true });
    this.note = el("span", {}, spec.note ?? "");
    const ramp = spec.kind === "heat" && spec.height > 80 ? el("span", { class: "ramp" }, "0", el("i"), "100%") : null;
    this.name = el(
      "button",
      {
        class: "name",
        type: "button",
        title: `${spec.title}: click to fold, drag to move; Shift and arrow keys move it, too`,
        onclick: () => this.fold(!this.folded),
      },
      visibleName(spec.title),
      this.note,
      ramp,
    );
    this.plot = el("div", { class: "plot", role: "img", "aria-label": spec.title });
    this.values = el("div", { class: "vals" });
    this.element = el(
      "section",
      { class: `lane lane-${spec.kind} waiting`, "data-lane": spec.id, style: `--h:${spec.height}px;--grow:${spec.height}` },
      this.name,
      this.plot,
      this.values,
      this.trouble,
    );
    this.element.append(chartTools(this.#tooled(), { menuOnly: true }));
    this.fold(foldedLanes().includes(spec.id));
  }

  /** @returns {import("../lib/chart_tools.js").Tooled} */
  #tooled() {
    const { spec } = this;
    return {
      element: this.element,
      focus: this.plot,
      title: () => spec.title,
      table: () => this.table(),
      logged: () => this.#logged(),
      picture: () => this.#paper(),
      stage: () => this.element.closest(".timeline"),
      logY: spec.kind === "lines" ? { on: () => this.y === "log", turn: () => (flip(spec.id), this.fit(), this.#drawAgain()) } : null,
    };
  }

  /** Of the pages of ours, whose data is all of this dashboard: the logged points of its series in the view. */
  #logged() {
    const { spec, series, view, axis } = this;
    const metas = spec.lines.flatMap(({ keys }) => keys.flatMap((key) => series.get(key)?.meta ?? []));
    if (!mayExport || spec.rate || !metas.length || !this.element.closest("[data-logged]")) return null;
    const query = new URLSearchParams({ x: axis.name, from: String(view.lo), to: String(view.hi) });
    for (const name of new Set(metas.map(({ name }) => name))) query.append("expr", name);
    for (const run of new Set(metas.map(({ run }) => run))) if (run !== null) query.append("run", run);
    return addressOf(`export?${query}`);
  }

  /** How its values are spread: as the page says, or the other way. */
  get y() {
    const { id, y } = this.spec;
    return isFlipped(id) ? (y === "log" ? "robust" : "log") : y;
  }

  #drawAgain() {
    this.range = this.#yRange();
    this.chart?.setData(this.data());
  }

  /** What is drawn, a row for each bin and line. @returns {import("../lib/chart_tools.js").Table | null} */
  table() {
    const { axis, spec, columns, times, view } = this;
    const inside = times.flatMap((at, i) => (at >= view.lo && at <= view.hi ? [i] : []));
    const rows = spec.lines.flatMap(({ label }, k) =>
      inside.flatMap((i) => {
        const { mean = [], min = [], max = [] } = columns[k] ?? {};
        return typeof mean[i] === "number" ? [[label, times[i], mean[i], min[i] ?? null, max[i] ?? null]] : [];
      }),
    );
    return { columns: ["line", axis === TIME ? "time_s" : "step", `mean${spec.unit ? `, ${spec.unit}` : ""}`, "min", "max"], rows };
  }

  /** @returns {import("../lib/chart_tools.js").Picture | null} */
  #paper() {
    const { chart, axis, view, spec } = this;
    if (!chart) return null;
    const left = chart.bbox.left / devicePixelRatio;
    const ticks = axis.ticks(view, chart.width / PICTURE_TICK_PX);
    return {
      canvas: chart.ctx.canvas,
      xTicks: ticks.map(({ at, word }) => ({ at: left + chart.valToPos(at, "x"), word })),
      legend: spec.lines.map(({ label, colour }) => ({ label, colour })),
    };
  }

  get folded() {
    return this.element.classList.contains("folded");
  }

  /** @param {boolean} folded */
  fold(folded) {
    setClass(this.element, "folded", folded);
    this.name.setAttribute("aria-expanded", String(!folded));
    const others = foldedLanes().filter((id) => id !== this.spec.id);
    localStorage.setItem(FOLDED, JSON.stringify(folded ? [...others, this.spec.id] : others));
  }

  #looks = ""; // that the plot was made for

  /** Fit the plot to its place; call when the place or the theme changed. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    this.rows = this.narrow ? Infinity : Math.floor((this.values.clientHeight - VALUES_TOP) / VALUE_HEIGHT);
    const looks = `${width} ${height} ${devicePixelRatio} ${theme()} ${this.y}`;
    if (!width || !height || looks === this.#looks) return;
    this.#looks = looks;
    this.chart?.destroy();
    this.chart = new Plot(this.options(width, height), this.data(), this.plot);
  }

  /** Redraw lines when there are new points or another view, values always: they follow the cursor. @param {import("./timeline.js").Picture} picture */
  draw({ series, version, view, cursor_s, axis, failed, following }) {
    const drawn = `${version} ${view.lo} ${view.hi}`;
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.series = series;
      this.view = view;
      this.axis = axis;
      this.element.hidden = Boolean(this.spec.rate) && axis !== TIME; // steps have no rate on an axis of steps
      this.say(this.spec.lines.flatMap((line) => line.keys.flatMap((key) => failed.get(key) ?? []))[0] ?? "");
      this.#gather(series, view);
      if (this.chart) this.chart.setData(this.data());
    }
    this.#showValues(cursor_s, following);
  }

  #drawn = "";

  /** The reason shown in place of the chart, or "". @param {string} sentence */
  say(sentence) {
    this.trouble.hidden = !sentence;
    setText(this.trouble, sentence);
    if (sentence) setClass(this.element, "waiting", false);
  }

  /** @param {number} place on the axis */
  #shows(place) {
    return place >= this.view.lo && place <= this.view.hi;
  }

  destroy() {
    this.chart?.destroy();
    this.element.remove();
  }

  /** @param {Map<string, Series>} series @param {{lo: number, hi: number}} view */
  #gather(series, view) {
    const members = this.spec.lines.map((line) => line.keys.flatMap((key) => series.get(key) ?? []));
    const width = members.flat()[0]?.width ?? view.hi - view.lo;
    const first = Math.floor(view.lo / width) - 1;
    const bins = Math.ceil((view.hi - view.lo) / width) + 3;
    const length = bins <= MAX_BINS ? bins : 0; // a far wider view than that which was read: nothing, until it is read
    this.times = Array.from({ length }, (_, i) => (first + i + 0.5) * width);
    const drawn = (/** @type {Series[]} */ some) => columns(some, first, length, this.spec.scale);
    this.columns = members.map((some) => (this.spec.rate ? rateColumns(some[0], first, length) : drawn(some)));
    const limit = this.spec.limit && series.get(this.spec.limit);
    this.limit = limit && Number.isFinite(limit.newest.v) ? limit.newest.v * this.spec.scale : null;
    this.layers = this.spec.kind === "stack" ? this.#stack(members, { first, length }) : [];
    this.range = this.#yRange();
    setClass(this.element, "waiting", !members.flat().length && this.trouble.hidden);
  }

  #judged = { at_ms: -Infinity, bins: 0 }; // when nested phases were last detected, and on how many bins

  /** Sums from the bottom up of the phases that contain no others. @param {Series[][]} members @param {import("../data/phases.js").Grid} grid */
  #stack(members, grid) {
    const { lines, scale } = this.spec;
    const counter = counterOf(this.series, members.flat()[0]);
    const { layers, longest, regular } = layersOf(members.map(([phase]) => phase), grid, counter);
    const bins = members.reduce((all, [phase]) => all + (phase?.bin.length ?? 0), 0);
    if (bins > GROWN * this.#judged.bins || performance.now() - this.#judged.at_ms > JUDGE_MS) {
      this.#judged = { at_ms: performance.now(), bins };
      const typical = layers.map((layer, i) => (regular[i] ? (median(layer.filter((v) => typeof v === "number")) ?? 0) : 0));
      this.holding = holders(
        lines.map(({ label }) => label),
        typical,
        stepSeconds(members.flat(), counter),
      );
    }
    const drawn = layers.map((layer, i) => (this.holding.has(i) ? layer.map(() => undefined) : layer.map((v) => (v ? v * scale : v))));
    this.columns = layers.map((layer, i) => ({ ...this.columns[i], mean: layer.map((v) => (v ? v * scale : v)) }));
    this.peaks = peaksOf(drawn.map((layer, i) => (this.holding.has(i) ? [] : layer)), longest.map((layer) => layer.map((v) => v * scale)));
    return stacked(drawn);
  }

  #yRange() {
    const { kind } = this.spec;
    const { y } = this;
    const numbers = (/** @type {(number | null | undefined)[]} */ values) =>
      /** @type {number[]} */ (values.filter((v) => v !== null && v !== undefined));
    const highs = kind === "stack" ? numbers(this.#tops()) : this.columns.flatMap((column) => numbers(column.max));
    const lows = kind === "stack" ? [] : this.columns.flatMap((column) => numbers(column.min));
    if (y === "percent") return PERCENT;
    if (y === "zero") return fromZero(highs, this.limit, this.spec.least ?? 0);
    return y === "log" ? robustLog(lows, highs) : robust(lows, highs);
  }

  /** How high a stack reaches in each bin, its longest step included. */
  #tops() {
    return (this.layers[0] ?? []).map((top, i) => this.peaks[i]?.seconds ?? top);
  }

  data() {
    const { kind } = this.spec;
    if (kind === "heat") return [this.times, this.times.map(() => undefined)];
    if (kind === "stack") return [this.times, ...(this.layers.length ? this.layers : this.spec.lines.map(() => []))];
    const empty = { min: [], max: [], mean: [] };
    return [
      this.times,
      ...this.spec.lines.flatMap((_, i) => [
        this.columns[i]?.max ?? empty.max,
        this.columns[i]?.min ?? empty.min,
        this.columns[i]?.mean ?? empty.mean,
      ]),
    ];
  }

  /** @param {number} width @param {number} height */
  options(width, height) {
    const { kind, lines } = this.spec;
    const { y } = this;
    const wanted = Math.max(1, Math.min(TICKS, Math.floor(height / TICK_HEIGHT)));
    const splits = () =>
      kind === "heat"
        ? []
        : y === "percent"
          ? height > 60
            ? [0, 50, 100]
            : [0, 100]
          : y === "log"
            ? logTicks(this.range, wanted)
            : spaced(ticks(this.range, wanted), Math.max(1, Math.floor(height / TICK_LEAST)));
    const axis = {
      ...anyStep(() => this.range),
      size: this.narrow ? 0 : AXIS_PX,
      gap: 4,
      stroke: token("ink-3"),
      font: `11px ${token("font-ui")}`,
      splits,
      filter: (/** @type {any} */ _, /** @type {number[]} */ at) => at,
      values: (/** @type {any} */ _, /** @type {number[]} */ at) =>
        this.narrow ? at.map(() => "") : tickWords(at),
      grid: { stroke: token("line"), width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height,
      padding: [6, 0, 5, 0],
      legend: { show: false },
      cursor: { show: false },
      select: { show: false },
      scales: {
        x: { time: false, range: () => [this.view.lo, this.view.hi] },
        y: { range: () => [this.range.lo, this.range.hi], distr: y === "log" ? 3 : 1, log: 10 },
      },
      axes: [{ show: false }, axis],
      series: [
        {},
        ...(kind === "heat"
          ? [{ show: false }]
          : kind === "stack"
            ? lines.map((line) => ({ stroke: "transparent", width: 0, fill: fillOf(line.colour), points: { show: false } }))
            : lines.flatMap((line) => this.#line(line))),
      ],
      bands:
        kind === "lines"
          ? lines.map((line, i) => ({
              series: [3 * i + 1, 3 * i + 2],
              fill: faded(token(line.colour), lines.length > 2 ? 0.12 : 0.24),
            }))
          : [],
      hooks: { draw: [(/** @type {any} */ u) => this.#mark(u)] },
    };
  }

  /** The series of one line: the two edges of its band, and its mean. @param {Lane["lines"][0]} line */
  #line(line) {
    const many = this.spec.lines.length > 3;
    const smooth = this.spec.height >= SMOOTH && ["robust", "log"].includes(this.y);
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    const paths = this.spec.stepped ? Plot.paths.stepped({ align: 1 }) : Plot.paths.linear();
    const index = this.spec.lines.indexOf(line);
    const filter = (/** @type {any} */ _, /** @type {number} */ _series, /** @type {boolean} */ all) => {
      const { lone = [] } = this.columns[index] ?? {};
      return all || !lone.length ? null : lone;
    };
    const show = (/** @type {any} */ u) => {
      const { mean = [] } = this.columns[index] ?? {};
      return Boolean(line.points) && mean.reduce((/** @type {number} */ n, v) => n + Number(typeof v === "number"), 0) * POINT_PX < u.width;
    };
    const points = { show, size: 5, width: 0, fill: token(line.colour), filter };
    const gaps = (/** @type {any} */ u, /** @type {number} */ _series, /** @type {number} */ _from, /** @type {number} */ _to, /** @type {[number, number][]} */ found) =>
      [...found, ...this.#cuts(u, index)].sort(([a], [b]) => a - b);
    return [edge, edge, { stroke: token(line.colour), dash: dashOf(line.colour), width: many ? 1 : 1.4, pxAlign: Number(many || !smooth), paths, points, gaps }];
  }

  /** A line breaks where its run restarted. @param {any} u @param {number} index of a line @returns {[number, number][]} device pixels */
  #cuts(u, index) {
    const { mean = [], cuts = [] } = this.columns[index] ?? {};
    return cuts.flatMap((at) => {
      let before = at - 1;
      while (before >= 0 && typeof mean[before] !== "number") before--;
      const pixel = (/** @type {number} */ i) => u.valToPos(this.times[i], "x", true);
      return before < 0 ? [] : [/** @type {[number, number]} */ ([pixel(before), pixel(at)])];
    });
  }

  /** @param {any} u */
  #mark(u) {
    const { kind, digits, lines } = this.spec;
    if (kind === "heat") {
      drawHeat(u, this.columns, this.times);
      lines.forEach(({ lost_s }, k) => lost_s !== undefined && drawHatch(u, k, lines.length, { from: lost_s, to: Infinity }, "bad"));
    }
    const row = kind === "heat" ? (/** @type {number} */ k) => k : () => 0;
    lines.forEach(({ waits = [] }, k) => waits.forEach((stretch) => drawHatch(u, row(k), kind === "heat" ? lines.length : 1, stretch, "warn")));
    if (this.limit !== null) drawLimit(u, this.limit);
    const [above, below] = [[], []]; // where numbers stand
    for (const column of kind === "lines" ? this.columns : []) {
      drawCuts(u, column.max, this.times, true, digits, above);
      drawCuts(u, column.min, this.times, false, digits, below);
    }
    if (kind === "lines") drawBad(u, this.columns.flatMap(({ bad }) => bad));
    if (kind === "stack" && this.layers.length) {
      drawPeaks(u, this.layers[0], this.peaks, this.times, lines.map(({ colour }) => token(colour)));
      drawCuts(u, this.#tops(), this.times, true, digits, above);
    }
    this.ondrawn?.(this);
  }

  /** @type {((lane: LaneView) => void) | undefined} called when the canvas has been painted */
  ondrawn;

  /** The values under the cursor, else now, else at the end of the view. @param {number | null} cursor_s @param {boolean} following */
  #showValues(cursor_s, following) {
    const all = this.spec.lines.map((line, i) => (this.holding.has(i) ? [] : line.keys.flatMap((key) => this.series.get(key) ?? [])));
    const values = all.map((series, i) => {
      const { lost_s } = this.spec.lines[i];
      if (lost_s !== undefined && (cursor_s ?? Infinity) >= lost_s) return null;
      if (this.holding.has(i)) return null;
      const now = cursor_s === null && this.spec.kind !== "stack" && (following || series.every((member) => this.#shows(member.newest.t)));
      if (now) return this.spec.rate ? rateNow(series[0]) : newest(series, this.spec.scale, this.view.hi - (this.spec.stale_s ?? Infinity));
      return under(this.columns[i], this.times, cursor_s ?? this.view.hi);
    });
    const bad = this.columns.flatMap((column) => column.bad).at(-1);
    const when = cursor_s !== null ? "here" : following ? "now" : "last";
    const at = cursor_s ?? this.view.hi;
    const named = this.spec.lines.map((line) => ({ ...line, ...(line.label === "now" ? { label: when } : {}), waiting: line.waits?.some(({ from, to }) => at >= from && at <= to) }));
    const shown = { ...this.spec, lines: named.filter((_, i) => !this.holding.has(i)) };
    const rows = legend(
      shown,
      values.filter((_, i) => !this.holding.has(i)),
      bad ? { text: bad.text, place: this.axis.word(bad.t) } : null,
      this.rows,
    );
    fillRows(this.values, rows);
    const points = Math.max(0, ...all.flat().map((series) => series.points));
    const held = this.spec.lines.filter((_, i) => this.holding.has(i)).map(({ label }) => label);
    const note = held.length ? `parts of ${held.join(", ")}` : (this.spec.note ?? (points ? counted(points, "point") : ""));
    setText(this.note, this.limit === null ? note : `${note}, limit ${tick(Number(this.limit.toPrecision(3)))}`);
  }
}

/** At most so many of them. @param {number[]} all @param {number} most */
const spaced = (all, most) => all.filter((_, i) => i % Math.ceil(all.length / most) === 0);

/** @returns {string[]} */
const foldedLanes = () => JSON.parse(localStorage.getItem(FOLDED) ?? "[]");

/** Sums from the bottom up; the first layer is the whole. @param {import("../data/phases.js").Layer[]} layers from the top down @returns {import("../data/phases.js").Layer[]} */
function stacked(layers) {
  /** @type {import("../data/phases.js").Layer[]} */
  const out = [];
  for (const layer of [...layers].reverse()) {
    const below = out[0];
    out.unshift(layer.map((value, i) => (typeof value === "number" ? value + Number(below?.[i] ?? 0) : (below?.[i] ?? value))));
  }
  return out;
}

/** Of those with a point since then. @param {Series[]} series @param {number} scale @param {number} since_s @returns {number | null} */
function newest(series, scale, since_s) {
  const known = series.filter((member) => member.newest.t > -Infinity && member.newest.t >= since_s);
  return known.length ? (known.reduce((sum, member) => sum + member.newest.v, 0) / known.length) * scale : null;
}

/** The value under the cursor: of the last bin at or before it. @param {Columns} column @param {number[]} times @param {number} cursor_s */
function under(column, times, cursor_s) {
  let i = Math.min(times.length - 1, Math.round((cursor_s - times[0]) / (times[1] - times[0])));
  while (i > 0 && column.mean[i] === undefined) i--;
  return column.mean[i] ?? null;
}

const looks = /** @type {WeakMap<Element, string>} */ (new WeakMap()); // of rows, that are set only when they change

/** @param {HTMLElement} host @param {Row[]} rows */
export function fillRows(host, rows) {
  while (host.children.length > rows.length) host.lastElementChild?.remove();
  while (host.children.length < rows.length) host.append(el("div", {}, el("span", {}, el("i"), el("span")), el("b")));
  rows.forEach((row, i) => {
    const [left, value] = host.children[i].children;
    const [mark, label] = left.children;
    const look = `${row.tone} ${row.mark} ${row.colour}`;
    if (looks.get(mark) !== look) {
      looks.set(mark, look);
      host.children[i].className = `row ${row.tone ?? ""}`;
      mark.className = row.mark ? swatchClass(row.colour ?? "", row.mark === "line" ? "keyl" : "key") : "none";
      /** @type {HTMLElement} */ (mark).style.background = row.colour && row.mark ? `var(--${row.colour})` : "";
    }
    if (label.textContent !== row.label) /** @type {HTMLElement} */ (left).title = row.title ?? row.label;
    setText(label, row.label);
    setText(value, row.value);
  });
}

// The right column of a lane: its values now, or under the cursor (pure).

/** @typedef {{label: string, title?: string, value: string, colour?: string, mark?: "box" | "line", tone?: "bad" | "main"}} Row */

const LAYERS = 5; // of a stack that are listed, where they fit; of more, the largest and the sum of the others
const LONGEST = 9; // characters beside a label
const FEW = 3; // with more lines than this, only the highest and the range of the others are listed

/**
 * @param {Lane} lane
 * @param {(number | null)[]} values one per line, in the lane's unit; null where there is none
 * @param {{place: string, text: string} | null} bad the last non-finite point in view
 * @param {number} [room] rows that fit
 * @returns {Row[]}
 */
export function legend(lane, values, bad, room = Infinity) {
  const rows = lane.kind === "heat" ? /** @type {Row[]} */ (each(lane, values, "box").map(({ label, value }) => ({ label, value }))) : lane.kind === "stack" ? layerRows(lane, values, Math.max(1, Math.min(LAYERS, room - 1))) : lineRows(lane, values);
  if (bad) rows.push({ label: `${bad.text} at ${bad.place.replace("step ", "")}`, value: "", tone: "bad" }); // the axis says of what
  return rows;
}

/** A value below one keeps a digit where whole numbers are shown. @param {Lane} lane @param {number | null} value */
function valueText({ digits, unit }, value) {
  if (value === null) return figure(null);
  const number = figure(value, digits === 0 && value !== 0 && Math.abs(value) < 1 ? 1 : digits);
  return `${number}${behind(unit ?? "")}`;
}

/** @param {Lane} lane @param {(number | null)[]} values @param {"box" | "line"} mark @returns {Row[]} */
const each = (lane, values, mark) =>
  lane.lines.map(({ label, colour, lost_s, waiting }, i) => {
    const gone = lost_s !== undefined && values[i] === null;
    return { label, value: gone ? "lost" : waiting ? "waiting" : valueText(lane, values[i]), colour, mark };
  });

/** @param {Lane} lane @param {(number | null)[]} values @returns {Row[]} */
function lineRows(lane, values) {
  if (lane.lines.length === 1) return each(lane, values, "line").map(({ label, value }) => ({ label, value, tone: "main" }));
  if (lane.lines.length <= FEW) return each(lane, values, "line").map((row, i) => (i ? row : { ...row, tone: "main" }));
  const known = values.flatMap((value, i) => (value === null ? [] : [{ value, i }])).sort((a, b) => b.value - a.value);
  /** @type {Row[]} */
  const rows = [];
  if (lane.sum && known.length)
    rows.push({ label: "sum", value: `${figure(known.reduce((sum, { value }) => sum + value, 0))} ${lane.sum}`, tone: "main" });
  if (!known.length) return [{ label: "now", value: valueText(lane, null), tone: "main" }];
  const [top, ...others] = known;
  rows.push({
    label: lane.lines[top.i].label,
    value: valueText(lane, top.value),
    colour: lane.lines[top.i].colour,
    mark: "box",
    tone: lane.sum ? undefined : "main",
  });
  if (!others.length) return rows;
  const [high, low] = [others[0], others[others.length - 1]].map(({ value }) => brief(value, lane.digits));
  const range = high === low ? high : `${low}–${high}`;
  rows.push(range.length > LONGEST ? { label: "lowest", value: low } : { label: "others", value: range });
  return rows;
}

/** Two of them stand in one row. @param {number} value @param {number | undefined} digits */
const brief = (value, digits) => (value >= 10 ? figure(value, 0) : figure(digits === undefined ? Number(value.toPrecision(2)) : value, digits));

/** @param {Lane} lane @param {(number | null)[]} values @param {number} most rows below the sum @returns {Row[]} */
function layerRows(lane, values, most) {
  const known = values.filter((value) => value !== null);
  const total = known.length ? known.reduce((sum, value) => Number(sum) + Number(value), 0) : null;
  const parts = each(lane, values, "box");
  const step = /** @type {Row} */ ({ label: lane.whole ?? "sum", value: valueText(lane, total), tone: "main" });
  if (parts.length <= most) return [step, ...parts];
  const size = (/** @type {number} */ i) => values[i] ?? -Infinity;
  const large = new Set(parts.map((_, i) => i).sort((a, b) => size(b) - size(a)).slice(0, most - 1));
  const small = values.filter((value, i) => value !== null && !large.has(i));
  const others = small.length ? small.reduce((sum, value) => Number(sum) + Number(value), 0) : null;
  return [step, ...parts.filter((_, i) => large.has(i)), { label: "others", value: valueText(lane, others) }];
}
