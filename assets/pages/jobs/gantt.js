/** Who was on which slot, and when: a lane a slot on an axis of time, jobs as bars. */

import { TIME } from "../../lib/axis.js";
import { chartTools } from "../../lib/chart_tools.js";
import { el, onResize, setClass, setText } from "../../lib/dom.js";
import { mixed, token } from "../../lib/theme.js";
import { endOf, exactly, place } from "./queue.js";

/** @typedef {import("../../types/api").Answer<"jobs/attempts">} Attempts */
/** @typedef {import("../../types/api").Row<"SlotAnswer">} Slot */

export const SPANS = /** @type {[string, number][]} */ ([["1 h", 3600], ["6 h", 21600], ["1 d", 86400], ["7 d", 604800]]);
/** The shortest span that has the starts of all jobs that run, or else of the newest one that ran. @param {{start: number, end: number | null}[]} attempts @param {number} now_s */
export function fittingSpan(attempts, now_s) {
  const run = attempts.filter(({ end }) => end === null);
  const from_s = run.length ? Math.min(...run.map(({ start }) => start)) : Math.max(...attempts.map(({ start }) => start));
  if (!attempts.length) return SPANS[0][1];
  return (SPANS.find(([, seconds]) => seconds >= now_s - from_s) ?? SPANS[SPANS.length - 1])[1];
}

const LEGEND = [
  ["is-ended", "finished"],
  ["is-open", "running"],
  ["is-filled", "short"],
  ["is-several", "several short ones"],
  ["is-foreign", "others’ use"],
];
const AHEAD = 0.04; // of the span, behind now
const MAIN = ".gantt-bar:not(.is-more)";
const TICK_PX = 90;
const WORD_PX = 44; // a bar with less room has its number alone
const DIGIT_PX = 7;
const EDGES_PX = 10;
const NARROW_PX = 8;

export class Gantt {
  /** @param {{open: (job: number) => void, span: (seconds: number) => void}} does */
  constructor(does) {
    this.does = does;
    this.spans = SPANS.map(([word, seconds]) => el("button", { class: "btn", type: "button", onclick: () => does.span(seconds) }, word));
    this.axis = el("div", { class: "gantt-scale" });
    this.lanes = el("div", { class: "gantt-lanes", role: "group", "aria-label": "Jobs by slot" });
    this.note = el("p", { class: "dim", hidden: true });
    this.element = el(
      "section",
      { class: "jobs-slots", "aria-label": "Slots" },
      (this.head = el("div", { class: "jobs-part" }, el("h2", {}, "Slots"), el("div", { class: "jobs-spans", role: "group", "aria-label": "Time shown" }, ...this.spans))),
      el("div", { class: "gantt" }, el("div", { class: "gantt-axis", "aria-hidden": "true" }, this.axis), this.lanes),
      el("p", { class: "gantt-legend dim" }, ...LEGEND.map(([kind, says]) => el("span", {}, el("i", { class: `gantt-key ${kind}` }), says))),
      this.note,
    );
    this.head.lastElementChild?.before(chartTools({ element: this.element, focus: this.lanes, title: () => (this.#word ? `Jobs by slot, last ${this.#word}` : "Jobs by slot"), table: () => this.#table(), picture: () => this.#paper() }));
    this.lanes.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#move(event));
    onResize(this.lanes, () => this.#answer && this.draw(this.#answer, this.#span_s, this.#now_s));
  }

  /** @type {Attempts | null} */
  #answer = null;
  #span_s = 0;
  #now_s = 0;

  /** @param {Attempts} answer @param {number} span_s @param {number} now_s */
  draw(answer, span_s, now_s) {
    [this.#answer, this.#span_s, this.#now_s] = [answer, span_s, now_s];
    this.spans.forEach((button, i) => button.setAttribute("aria-pressed", String(SPANS[i][1] === span_s)));
    const view = this.#view;
    const lanes = lanesOf(answer.slots, answer.attempts);
    const width = this.axis.clientWidth;
    if (!width) return; // it has no place yet, and is drawn again when it has
    const at = (/** @type {number} */ time_s) => `${(100 * (time_s - view.lo)) / (view.hi - view.lo)}%`;
    this.#drawAxis(view, now_s, width, at);
    const rows = lanes.map((lane) => {
      const row = this.#rows.get(lane.id) ?? new SlotLane(this.does.open);
      row.draw(/** @type {Slot} */ (lane), barsOf(answer.attempts, lane.id, view, now_s, width), { at, now_s, px: width / (view.hi - view.lo) });
      return /** @type {[string, SlotLane]} */ ([lane.id, row]);
    });
    this.#rows = new Map(rows);
    place(this.lanes, rows.map(([, { element }]) => element));
    const bars = this.#bars();
    if (!bars.some(({ tabIndex }) => tabIndex === 0)) bars.at(-1)?.setAttribute("tabindex", "0");
    const nothing = lanes.length ? (bars.length ? "" : `No job ran in the last ${this.#word}.`) : "Slots appear once the queue has run.";
    this.note.hidden = !(nothing || answer.left_out);
    setText(this.note, nothing || "Older jobs of this time are left out: only the newest 5,000 starts are drawn.");
  }

  get #word() {
    return SPANS.find(([, seconds]) => seconds === this.#span_s)?.[0] ?? "";
  }

  get #view() {
    return { lo: this.#now_s - this.#span_s, hi: this.#now_s + AHEAD * this.#span_s };
  }

  /** A row for each slot of each job in view, whether or not it is long enough to have a bar of its own. */
  #table() {
    const { lo, hi } = this.#view;
    const { slots = [], attempts = [] } = this.#answer ?? {};
    const rows = lanesOf(slots, attempts).flatMap(({ id, name }) =>
      attempts
        .filter(({ slots, start, started, end }) => slots.includes(id) && (started ?? start) <= hi && (end ?? this.#now_s) >= lo)
        .map((attempt) => [name, attempt.job, attempt.name, attempt.number, attempt.started ?? attempt.start, attempt.end, attempt.end === null ? "running" : endOf(attempt) || "finished"]),
    );
    return { columns: ["slot", "job", "name", "attempt", "from_s", "to_s", "state"], rows };
  }

  /** What is drawn, on a canvas. @returns {import("../../lib/chart_tools.js").Picture | null} */
  #paper() {
    if (!this.#answer || !this.lanes.children.length) return null;
    const { left, top, width, height } = this.lanes.getBoundingClientRect();
    const canvas = el("canvas", { style: `width: ${width}px` });
    Object.assign(canvas, { width: Math.round(width * devicePixelRatio), height: Math.round(height * devicePixelRatio) });
    const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    ctx.scale(devicePixelRatio, devicePixelRatio);
    ctx.font = `11px ${token("font-ui")}`;
    ctx.textBaseline = "middle";
    const box = (/** @type {Element} */ node) => {
      const found = node.getBoundingClientRect();
      return { x: found.left - left, y: found.top - top, width: found.width, height: found.height };
    };
    const words = (/** @type {string} */ text, /** @type {{x: number, y: number, width: number, height: number}} */ { x, y, width, height }, /** @type {string} */ colour) => {
      ctx.save();
      ctx.beginPath();
      ctx.rect(x, y, width, height);
      ctx.clip();
      ctx.fillStyle = token(colour);
      ctx.fillText(text, x + 5, y + height / 2);
      ctx.restore();
    };
    for (const lane of this.lanes.children) {
      const { y, height } = box(lane);
      ctx.fillStyle = token("line");
      ctx.fillRect(0, y + height - 1, width, 1);
      const name = /** @type {HTMLElement} */ (lane.querySelector(".gantt-name"));
      words(name.firstChild?.textContent ?? "", box(name), "ink-2");
      const track = box(/** @type {Element} */ (lane.querySelector(".gantt-track")));
      ctx.save();
      ctx.beginPath();
      ctx.rect(track.x, track.y, track.width, track.height);
      ctx.clip();
      for (const bar of lane.querySelectorAll(".gantt-bar")) {
        const place = box(bar);
        const colour = token(bar.classList.contains("is-open") ? RUNNING : ENDED);
        ctx.fillStyle = mixed(colour, token("bg"), place.width < NARROW_PX ? 1 : 0.28);
        ctx.fillRect(place.x, place.y, place.width, place.height);
        ctx.fillStyle = colour;
        ctx.fillRect(place.x, place.y, 3, place.height);
        words(bar.textContent ?? "", place, "ink");
      }
      ctx.restore();
    }
    const ticks = [...this.axis.querySelectorAll("span")].map((tick) => ({ at: box(tick).x, word: tick.textContent ?? "" }));
    return { canvas, xTicks: ticks, legend: [{ label: "finished", colour: ENDED }, { label: "running", colour: RUNNING }] };
  }

  /** @type {Map<string, SlotLane>} */
  #rows = new Map();

  /** @param {{lo: number, hi: number}} view @param {number} now_s @param {number} width @param {(time_s: number) => string} at */
  #drawAxis(view, now_s, width, at) {
    const ticks = TIME.ticks(view, Math.max(2, Math.floor(width / TICK_PX))).filter((tick) => tick.at < now_s);
    this.axis.replaceChildren(
      ...ticks.map((tick) => Object.assign(el("span", {}, tick.word), { style: `left: ${at(tick.at)}` })),
      Object.assign(el("i"), { style: `left: ${at(now_s)}` }),
    );
  }

  /** @returns {HTMLElement[]} */
  #bars() {
    return [...this.lanes.querySelectorAll(MAIN)];
  }

  /** Left and right along a lane, up and down to the bar beside. @param {KeyboardEvent} event */
  #move(event) {
    const from = /** @type {HTMLElement} */ (event.target);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step || !from.classList.contains("gantt-bar")) return;
    event.preventDefault();
    event.stopPropagation();
    const lanes = [...this.lanes.children].map((lane) => /** @type {HTMLElement[]} */ ([...lane.querySelectorAll(MAIN)])).filter(({ length }) => length);
    const lane = lanes.findIndex((bars) => bars.includes(from));
    const middle = (/** @type {HTMLElement} */ bar) => bar.offsetLeft + bar.offsetWidth / 2;
    const across = event.key === "ArrowLeft" || event.key === "ArrowRight";
    const to = across
      ? lanes[lane][lanes[lane].indexOf(from) + step]
      : [...(lanes[lane + step] ?? [])].sort((a, b) => Math.abs(middle(a) - middle(from)) - Math.abs(middle(b) - middle(from)))[0];
    if (!to) return;
    from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }
}

const [RUNNING, ENDED] = ["c3", "c8"]; // computing, and idle

class SlotLane {
  /** @param {(job: number) => void} open */
  constructor(open) {
    this.open = open;
    this.name = el("b");
    this.said = el("span", { class: "dim" });
    this.foreign = el("div", { class: "gantt-foreign", hidden: true });
    this.now = el("i");
    this.track = el("div", { class: "gantt-track" });
    this.element = el("div", { class: "gantt-lane" }, el("div", { class: "gantt-name" }, this.name, this.said), this.track);
  }

  /** @param {Slot} slot @param {Bar[]} bars @param {{at: (time_s: number) => string, now_s: number, px: number}} how */
  draw(slot, bars, { at, now_s, px }) {
    setText(this.name, slot.name);
    setText(this.said, slot.foreign ? slot.why || "others use it" : "");
    this.name.title = slot.id;
    this.said.title = slot.why ?? "";
    this.foreign.hidden = !slot.foreign;
    this.foreign.title = slot.why ?? "";
    if (slot.foreign) this.foreign.style.left = at(slot.seen);
    this.now.style.left = at(now_s);
    const nodes = bars.map((bar) => {
      const node = this.#nodes.get(bar.key) ?? el("button", { class: "gantt-bar", type: "button", tabindex: "-1", onclick: () => this.open(Number(node.dataset.job)) });
      this.#draw(node, bar, slot.name, (bar.to - bar.from) * px, at);
      return /** @type {[string, HTMLElement]} */ ([bar.key, node]);
    });
    this.#nodes = new Map(nodes);
    place(this.track, [this.foreign, this.now, ...nodes.map(([, node]) => node)]);
  }

  /** @type {Map<string, any>} */
  #nodes = new Map();

  /** @param {HTMLElement} node @param {Bar} bar @param {string} slot @param {number} width @param {(time_s: number) => string} at */
  #draw(node, bar, slot, width, at) {
    const [first] = bar.attempts;
    const several = bar.attempts.length > 1;
    const colour = several || first.end !== null ? ENDED : RUNNING;
    const narrow = bar.main && width < NARROW_PX;
    Object.assign(node.style, {
      left: at(bar.from),
      width: `max(3px, calc(${at(bar.to)} - ${at(bar.from)}))`,
      top: `${(100 * bar.row) / bar.rows}%`,
      height: `${100 / bar.rows}%`,
      background: `color-mix(in srgb, var(--${colour}) ${narrow ? 100 : 28}%, var(--bg))`,
      borderColor: `var(--${colour})`,
    });
    node.dataset.job = String(first.job);
    setClass(node, "is-open", !several && first.end === null && bar.ends);
    setClass(node, "goes-on", !bar.ends);
    setClass(node, "went-on", !bar.begins);
    setClass(node, "is-more", !bar.main);
    setText(node, several || !bar.main ? "" : width >= WORD_PX ? `${first.job} ${first.name}` : width >= EDGES_PX + DIGIT_PX * String(first.job).length ? String(first.job) : "");
    if (bar.main) node.removeAttribute("aria-hidden");
    else node.setAttribute("aria-hidden", "true");
    const said = several ? `${bar.attempts.length} short jobs, from ${first.job} to ${bar.attempts.at(-1)?.job}` : sentence(first);
    node.title = said;
    node.setAttribute("aria-label", `${said}, on ${slot}`);
  }
}

/** `job 12 train-12, 24 Nov 14:02:11 to now` @param {Attempt} attempt */
function sentence(attempt) {
  const until = attempt.end === null ? "now" : exactly(attempt.end);
  const why = attempt.end === null ? "" : endOf(attempt);
  return `job ${attempt.job} ${attempt.name}, ${exactly(attempt.started ?? attempt.start)} to ${until}${why ? `, ${why}` : ""}`;
}

// Where the bars of a Gantt chart stand: a lane a slot, jobs that share one stacked while they do, those too short to see joined (pure).

/** @typedef {import("../../types/api").Row<"JobAttemptAnswer">} Attempt */
/** @typedef {{id: string, name: string}} NamedSlot */

/**
 * @typedef {Object} Bar
 * @property {string} key
 * @property {Attempt[]} attempts one, or those that are too short to be seen alone
 * @property {number} from Unix seconds, not before the view
 * @property {number} to not after the view
 * @property {number} row from the top
 * @property {number} rows of the lane at this place
 * @property {boolean} begins with its attempt
 * @property {boolean} ends with it
 * @property {boolean} main the longest bar of its attempt: where it shares the slot for a part of its time, it has several
 */

const MIN_PX = 4; // a shorter bar is joined with its neighbour
const GAP_PX = 3; // where there is less than this between them

/** The slots of the host in their order, then those that only attempts know: a card that is gone, a host of Slurm's. @param {NamedSlot[]} slots @param {Attempt[]} attempts @returns {NamedSlot[]} */
export function lanesOf(slots, attempts) {
  const known = new Set(slots.map(({ id }) => id));
  const others = new Set(attempts.flatMap((attempt) => attempt.slots).filter((id) => !known.has(id)));
  return [...slots, ...[...others].sort().map((id) => ({ id, name: id }))];
}

/**
 * The bars of a lane, from left to right.
 * @param {Attempt[]} attempts of all lanes @param {string} slot @param {{lo: number, hi: number}} view @param {number} now @param {number} width in pixels
 * @returns {Bar[]}
 */
export function barsOf(attempts, slot, { lo, hi }, now, width) {
  const px = width / (hi - lo);
  const bars = attempts
    .filter((attempt) => attempt.slots.includes(slot))
    .map((attempt) => ({ attempt, from: Math.max(lo, attempt.started ?? attempt.start), to: Math.min(hi, attempt.end ?? now) }))
    .filter(({ from, to }) => to >= lo && from <= hi && to >= from)
    .sort((a, b) => a.from - b.from || a.attempt.job - b.attempt.job);
  /** @type {Bar[]} */
  const placed = [];
  for (const group of groupsOf(bars)) {
    const rows = stacked(group);
    group.forEach(({ attempt, from, to }, i) => {
      const before = placed.at(-1);
      const short = (to - from) * px < MIN_PX;
      if (before && group.length === 1 && before.rows === 1 && short && (before.to - before.from) * px < MIN_PX * before.attempts.length && (from - before.to) * px < GAP_PX) {
        before.attempts.push(attempt);
        before.to = to;
        return;
      }
      const pieces = group.length === 1 ? [{ from, to, row: 0, rows: 1 }] : piecesOf(group, rows, i);
      const main = pieces.reduce((found, piece) => (piece.to - piece.from > found.to - found.from ? piece : found));
      pieces.forEach((piece, n) => placed.push({ ...piece, key: `${attempt.job}.${attempt.number}${piece === main ? "" : `.${n}`}`, attempts: [attempt], main: piece === main, begins: !n, ends: n === pieces.length - 1 }));
    });
  }
  return placed;
}

/** Bars that overlap, directly or by others. @template {{from: number, to: number}} T @param {T[]} bars by their start @returns {T[][]} */
function groupsOf(bars) {
  /** @type {T[][]} */
  const groups = [];
  let reached = -Infinity;
  for (const bar of bars) {
    if (bar.from >= reached) groups.push([]);
    /** @type {T[]} */ (groups.at(-1)).push(bar);
    reached = Math.max(reached, bar.to);
  }
  return groups;
}

/**
 * A bar has the whole lane while it is alone, and its row while it is not.
 * @param {{from: number, to: number}[]} group bars that overlap @param {number[]} rows of each @param {number} at which of them
 */
function piecesOf(group, rows, at) {
  const { from, to } = group[at];
  const times = [...new Set([from, to, ...group.flatMap((bar) => [bar.from, bar.to]).filter((time) => time > from && time < to)])].sort((a, b) => a - b);
  /** @type {{from: number, to: number, row: number, rows: number}[]} */
  const pieces = [];
  for (let i = 0; i + 1 < times.length || !i; i++) {
    const [start, end] = [times[i], times[i + 1] ?? to];
    const there = rows.filter((_, n) => n === at || (group[n].from < end && group[n].to > start));
    const piece = { row: there.length > 1 ? rows[at] : 0, rows: there.length > 1 ? Math.max(...there) + 1 : 1 };
    const before = pieces.at(-1);
    if (before?.row === piece.row && before.rows === piece.rows) before.to = end;
    else pieces.push({ from: start, to: end, ...piece });
  }
  return pieces;
}

/** For each bar the first row that is free. @param {{from: number, to: number}[]} bars */
function stacked(bars) {
  /** @type {number[]} */
  const ends = [];
  return bars.map(({ from, to }) => {
    const free = ends.findIndex((end) => end <= from);
    const row = free < 0 ? ends.length : free;
    ends[row] = to;
    return row;
  });
}
