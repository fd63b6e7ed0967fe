/** The ledger on the Live page: the bar of the view, its lane, and the table of the selected window. */

import { lane } from "../data/lanes.js";
import { isOwner } from "../lib/api.js";
import { TIME } from "../lib/axis.js";
import { el, setClass, setText, visible } from "../lib/dom.js";
import { percent } from "../lib/figures.js";
import { capital, duration } from "../lib/format.js";
import { fillOf } from "../lib/theme.js";
import { pathTo } from "../lib/url.js";
import { LaneView, fillRows } from "../timeline/lane.js";
import { LedgerSchedule } from "./schedule.js";
import { SMALL, keyOf, lineOf, partsOf, rangeOf, segmentsOf, shareOf } from "./shares.js";

/** @typedef {import("./shares.js").KindRow} KindRow */
/** @typedef {import("./shares.js").Part} Part */
/** @typedef {import("../types/api").Row<"LedgerAnswer">} Ledger of a window */

// A lane of shares: blocks of time, each a column of kinds that fill it, as the ledger gave them out.

/** @typedef {import("../types/api").Row<"LedgerBlocks">} Blocks */
/** @typedef {{blocks: Blocks, window: [number, number], why: string}} Shares `window`: of the blocks, whose edges may lie outside of it, Unix seconds; `why`: there are no blocks, or "" */

const ROW_PX = 14; // of the right column, and what is above the first
const TOP_PX = 6;
const LEAST = 0.5; // percent: less is none

class SharesLane extends LaneView {
  /** @type {Shares | null} */
  shares = null;

  /** @param {import("../timeline/timeline.js").Picture} picture */
  draw({ view, axis, cursor_s, shares = null }) {
    this.element.hidden = axis !== TIME; // steps have no blocks
    const changed = shares !== this.shares || view.lo !== this.view.lo || view.hi !== this.view.hi;
    if (changed) {
      this.shares = shares;
      this.view = view;
      this.axis = axis;
      this.say(shares?.why ?? "");
      setClass(this.element, "waiting", shares === null);
      this.chart?.setData(this.data());
    }
    this.#showValues(cursor_s ?? view.hi);
  }

  /** A row for each block and kind. */
  table() {
    const { start, end, labels, seconds } = this.shares?.blocks ?? { start: [], end: [], labels: [], seconds: [] };
    const rows = start.flatMap((from, at) => labels.map((label, i) => [label, from, end[at], seconds[i][at]]));
    return { columns: ["kind", "from_s", "to_s", "seconds"], rows };
  }

  data() {
    return [
      [this.view.lo, this.view.hi],
      [undefined, undefined],
    ];
  }

  /** @param {number} width @param {number} height */
  options(width, height) {
    const options = super.options(width, height);
    return { ...options, series: [{}, { show: false }], hooks: { draw: [(/** @type {any} */ u) => this.shares && drawShares(u, this.shares)] } };
  }

  /** Of the block there, else of the last one before. @param {number} time_s */
  #showValues(time_s) {
    const rows = this.shares ? sharesAt(this.shares.blocks, time_s) : [];
    const fit = Math.max(1, Math.floor((this.values.clientHeight - TOP_PX) / ROW_PX));
    const shown = rows.slice(0, this.narrow ? rows.length : fit);
    fillRows(this.values, shown.map(({ label, title, colour, share }) => ({ label, title, value: percent(share / 100), colour: `c${colour}`, mark: "box" })));
  }
}

/** The kinds of the block at a time, else of the last one before it, the largest first (pure). @param {Blocks} blocks @param {number} time_s @returns {{label: string, title: string, colour: number, share: number}[]} */
function sharesAt({ start, labels, short, colours, seconds }, time_s) {
  let at = start.length - 1;
  while (at >= 0 && start[at] > time_s) at--;
  if (at < 0) return [];
  const total = seconds.reduce((sum, column) => sum + column[at], 0);
  if (total <= 0) return [];
  return labels
    .map((title, i) => ({ label: short[i], title, colour: colours[i], share: (100 * seconds[i][at]) / total }))
    .filter(({ share }) => share >= LEAST)
    .sort((a, b) => b.share - a.share);
}

/**
 * From the foot up in the order of the kinds; a block's column is full whatever part of it was covered.
 * @param {any} u uPlot @param {Shares} shares
 */
function drawShares(u, { blocks: { start, end, colours, seconds }, window: [from, to] }) {
  const { ctx, bbox } = u;
  const right = bbox.left + bbox.width;
  const x = (/** @type {number} */ time_s) => Math.max(bbox.left, Math.min(right, Math.round(u.valToPos(Math.max(from, Math.min(to, time_s)), "x", true))));
  const y = (/** @type {number} */ share) => Math.round(u.valToPos(share, "y", true));
  const fills = colours.map((colour) => fillOf(`c${colour}`));
  start.forEach((from_s, at) => {
    const [x0, x1] = [x(from_s), x(end[at])];
    const total = seconds.reduce((sum, column) => sum + column[at], 0);
    if (x1 <= x0 || total <= 0) return;
    let below = 0;
    fills.forEach((fill, i) => {
      const above = below + (100 * seconds[i][at]) / total;
      const [foot, top] = [y(below), y(above)];
      ctx.fillStyle = fill;
      if (foot > top) ctx.fillRect(x0, top, x1 - x0, foot - top);
      below = above;
    });
  });
}

// The bar of the view, its lane, and the table of the selected window.

/** @typedef {import("../data/lanes.js").Lane} Lane */

const BELOW = new Set(["loss", "phases", "gpu_phases"]); // the lane stands under these
const LANE = lane("ledger", "Where time went", 64, "percent", [], { note: "% of each block", viewClass: SharesLane });

export class LedgerView {
  /** @param {import("./loader.js").LedgerLoader} place */
  constructor(place) {
    this.bar = new LedgerBar(place);
    this.table = new LedgerTable(place.table);
    /** @type {Shares | null} */
    this.shares = null;
    /** @type {string | null} */
    this.run = null;
    this.schedule = new LedgerSchedule({
      view: (ledger, { run }) => {
        if (run !== this.run) return;
        this.bar.show(ledger);
        this.shares = sharesOf(ledger);
        place.page.drawn();
      },
      window: (ledger, question) => this.table.show(ledger, question),
      failed: (sentence) => this.table.fail(sentence),
    });
  }

  /** With the ledger's lane. @param {Lane[]} lanes @returns {Lane[]} */
  among(lanes) {
    const at = lanes.findLastIndex(({ id }) => BELOW.has(id)) + 1;
    return [...lanes.slice(0, at), LANE, ...lanes.slice(at)];
  }

  /** @param {import("./schedule.js").Sight | null} sight null where no ledger can be */
  look(sight) {
    const run = sight?.run ?? null;
    if (run !== this.run) {
      this.run = run;
      this.shares = null;
      this.bar.clear();
      this.schedule.forget();
    }
    this.schedule.look(sight);
  }

  /** @param {boolean} selected a window is selected or drawn: it is blamed first */
  select(selected) {
    if (selected) {
      this.schedule.pause();
      this.table.dim();
    } else {
      this.schedule.resume();
      this.table.clear();
    }
  }

  /** @param {import("./schedule.js").Question} question */
  judged(question) {
    this.schedule.judged(question);
  }
}

/** @param {Ledger} ledger @returns {Shares} */
const sharesOf = ({ blocks, window, rows, sentence }) => ({ blocks, window, why: rows.length ? "" : sentence });

// Where the time of the view went: one thin bar below the run's strip, a segment per kind, and the sentence beside it.

class LedgerBar {
  /** @param {import("./loader.js").LedgerLoader} place */
  constructor(place) {
    this.element = place.bar;
    this.name = this.element.firstElementChild;
    this.parts = el("ul", { class: "shares", "aria-label": "Shares of the time on view" });
    this.said = el("p");
    this.button = el("button", { class: "btn", type: "button", title: "A lane that shows it over time" }, "Over time");
    this.button.addEventListener("click", () => {
      place.turn();
      this.#press(place.over);
    });
    this.element.append(this.parts, this.said, this.button);
    this.#press(place.over);
  }

  /** @param {Ledger} ledger */
  show(ledger) {
    this.parts.replaceChildren(...segmentsOf(ledger.rows));
    const { sentence, rows, window } = ledger;
    setText(this.said, capital(sentence));
    setClass(this.said, "dim", !rows.length);
    this.said.title = visible(rows.length ? `${capital(sentence)} ${capital(ledger.basis)}` : sentence);
    this.name.title = `${TIME.range(...window)}, ${TIME.length(window[1] - window[0])}`;
  }

  /** Another run is shown: nothing is known of it. */
  clear() {
    this.parts.replaceChildren();
    setText(this.said, "");
    this.said.title = this.name.title = "";
  }

  /** @param {boolean} over the lane is shown */
  #press(over) {
    this.button.setAttribute("aria-pressed", String(over));
  }
}

// Where the time of the selected window went: a row per kind with its share, what a fix saves, its line and what exposes it.

/** @typedef {import("./schedule.js").Question} Question */

const MIN_QUEUED_S = 1;

export class LedgerTable {
  /** @param {HTMLElement} element its place in the panel */
  constructor(element) {
    this.element = element;
    this.rows = el("tbody");
    this.basis = el("p", { class: "dim" });
    this.why = el("p", { class: "why" });
    const saves = el("th", { class: "num", scope: "col", title: "Percent of the window’s time that the same steps would need less; the range is meant to hold nine in ten measured savings" }, "a fix saves");
    const head = el("tr", {}, el("th", { scope: "col" }, "Where time went"), el("th", { class: "num", scope: "col" }, "share"), saves);
    this.table = el("table", {}, el("thead", {}, head), this.rows);
    this.element.append(this.table, this.why, this.basis);
    this.clear();
  }

  /** @param {Ledger} ledger @param {Question} question */
  show(ledger, { run }) {
    const { rows, sentence, window, communication, queued_s } = ledger;
    if (!rows.length) return this.fail(sentence);
    const inside = { run, from: String(window[0]), to: String(window[1]) };
    const queued = queued_s >= MIN_QUEUED_S ? [queuedRow(queued_s)] : [];
    this.rows.replaceChildren(...partsOf(rows).map((part) => tableRow(part, inside, communicationOf(communication))), ...queued);
    setText(this.basis, capital(ledger.basis));
    this.#turn(true, "");
    return undefined;
  }

  /** @param {string} sentence why there is no ledger */
  fail(sentence) {
    this.#turn(false, sentence);
  }

  /** Older content stays, dimmed, while another window is drawn and blamed. */
  dim() {
    setClass(this.element, "stale", true);
  }

  /** Nothing is known of the window yet. */
  clear() {
    this.rows.replaceChildren();
    this.#turn(false, "");
  }

  /** @param {boolean} filled @param {string} why */
  #turn(filled, why) {
    this.rows.hidden = this.basis.hidden = !filled;
    this.why.hidden = filled;
    setText(this.why, why);
    setClass(this.element, "stale", false);
  }
}

/** @param {Part} part @param {Record<string, string>} inside run and window @param {string} communication within the busy time, or "" */
function tableRow(part, inside, communication) {
  const { row, label, colour } = part;
  const range = row ? rangeOf(row) : "";
  const fix = row?.prediction;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, keyOf(colour), label, ...(row ? notes(row, inside, communication) : [])),
    el("td", { class: "num" }, el("b", {}, shareOf(part)), range ? el("small", { title: `confidence ${row?.confidence}` }, range) : null),
    el("td", { class: "num mid", title: fix?.sentence ?? "" }, ...(fix ? [percent(fix.saves / 100), el("small", {}, `${fix.least.toFixed(0)} to ${percent(fix.most / 100)}`)] : [])),
  );
}

/** Time in the queue of jobs: no device was the run's then, so it has no share. @param {number} seconds */
const queuedRow = (seconds) =>
  el("tr", { class: "queued" }, el("th", { scope: "row" }, el("i", { class: "key", style: "background:var(--line-strong)" }), "queued", el("small", {}, "besides: not the device’s time")), el("td", { class: "num" }, el("b", {}, duration(seconds))), el("td"));

/** The dearest line, what of busy may be communication, and the wait that makes it cost time. @param {KindRow} row @param {Record<string, string>} inside @param {string} communication */
function notes(row, inside, communication) {
  const [line] = row.lines;
  const exposed = row.exposed_by;
  return [
    line ? el("small", {}, link(line, inside)) : "",
    row.kind === "busy" && communication ? el("small", {}, communication) : "",
    row.kind === "cpu_taken" && isOwner ? el("small", {}, el("a", { href: pathTo("/hosts#host-processes") }, "host processes")) : "",
    exposed ? el("small", {}, "exposed by ", link(exposed, inside), ", which waits for the GPU") : "",
  ];
}

/** To its source, on the flame graph of the window. @param {{file: string, line: number | null, function: string}} where @param {Record<string, string>} inside */
function link(where, inside) {
  const query = new URLSearchParams({ ...inside, ...(where.line ? { code: `${where.file}:${where.line}` } : {}) });
  return el("a", { href: pathTo(`/flame?${query}`), title: where.file }, lineOf(where));
}

/** `probably communication: 10 to 30%` within the busy time, or "". @param {Ledger["communication"]} communication */
function communicationOf(communication) {
  const [least, most] = communication ?? [0, 0];
  return most >= SMALL ? `probably communication: ${least.toFixed(0)} to ${percent(most / 100)}` : "";
}
