/** The GPUs page: every metric of every card on one time axis, their processes and those of the host, and how they are read. */

import { get, sentenceOf } from "../../lib/api.js";
import { el, setClass, setText } from "../../lib/dom.js";
import { isOwner } from "../../role.js";
import { clock, duration } from "../../lib/format.js";
import { GpuHead } from "./head.js";
import { gpuPageLanes } from "./lanes.js";
import { lostSince } from "../../data/lost.js";
import { TimePage } from "../time_page.js";
import { HostProcesses } from "./host_processes.js";
import { Processes } from "./processes.js";
import { Reading } from "./reading.js";
import { pathTo, timeAddress } from "../../lib/url.js";

/** @typedef {import("./head.js").Card} Card */

const BUCKETS = 400; // each is drawn from its lowest to its highest value, so that fewer hide nothing
const PROCESSES_MS = 2000;
const CATALOGUE_MS = { first: 1500, last: 12_000 }; // some series have their first point late; each wait is twice the one before

export default class Gpus extends TimePage {
  /** @param {HTMLElement} bar @param {HTMLElement} foot the status line */
  constructor(bar, foot) {
    super(bar, foot, { address: timeAddress(), run: null, buckets: BUCKETS });
    this.all = new URLSearchParams(location.search).has("all");
    /** @type {Card[]} */
    this.cards = [];
    /** @type {Map<string, number>} by uuid, since when */
    this.lost = new Map();
    this.head = new GpuHead();
    this.processes = new Processes();
    this.hostProcesses = isOwner ? new HostProcesses() : null; // a viewer sees no users and commands
    this.head.element.append(this.findings.nav);
    this.more = el("button", { class: "btn", type: "button", hidden: true, onclick: () => this.showAll(!this.all) });
    this.moment = el("div", { class: "title" });
    this.hint = el("div", { class: "sub" });
    this.flame = el("a", { class: "btn pri" }, "Flame graph of this window");
    this.reading = new Reading();
    this.side = el(
      "aside",
      { class: "side", "aria-label": "Processes, and how the GPUs are read" },
      el("section", { class: "chosen" }, this.moment, this.hint, this.flame),
      this.findings.detail,
      this.processes.element,
      this.hostProcesses?.element ?? null,
      this.reading.element,
    );
    this.element = el(
      "div",
      { class: "live-page gpus-page arriving" },
      this.head.element,
      el("div", { class: "left" }, this.timeline.element, el("div", { class: "further" }, this.more)),
      this.side,
    );
    this.ready.then(() => {
      setClass(this.element, "arriving", false); // parts below the lanes do not jump
      this.hostProcesses?.show();
    });
    setInterval(() => document.hidden || this.#readProcesses(), PROCESSES_MS);
    this.#learnAgain(CATALOGUE_MS.first);
    this.#readProcesses();
    this.start();
  }

  /** Read the lists of cards and series. */
  async learn() {
    await Promise.all([this.#readCards(), this.book.catalogue(Promise.resolve(null))]);
    this.book.lanes = this.lanesOf(this.book.metas);
  }

  /** @param {number} wait_ms */
  #learnAgain(wait_ms) {
    setTimeout(async () => {
      if (!document.hidden) await this.load(false);
      this.#learnAgain(Math.min(2 * wait_ms, CATALOGUE_MS.last));
    }, wait_ms);
  }

  foundOf() {
    return null;
  }

  refresh() {
    this.#readXids(this.range.view(this.end_s)).catch((error) => this.failed(error, this.again.points));
    super.refresh();
  }

  /** @param {import("../../lib/axis.js").View} view */
  drawMore(view) {
    const { window } = this.range;
    const working = [...this.book.series.values()].filter(({ meta }) => !this.lost.has(meta.labels.uuid));
    this.head.draw({ cards: this.cards, server: this.runs, series: working, view, window });
    this.#drawSide(window);
  }

  /** @param {import("../../data/range.js").Window | null} window */
  #drawSide(window) {
    const alone = this.runs.message !== null && !this.cards.length;
    setClass(this.element, "alone", alone);
    setClass(this.element, "sideless", alone && !this.hostProcesses);
    setText(this.moment, window ? `${clock(window.from)} – ${clock(window.to)}` : "Now");
    setText(
      this.hint,
      window ? `${duration(window.to - window.from)}: which Python code was running?` : "Drag over a dip to see which line of Python caused it.",
    );
    this.flame.hidden = window === null;
    if (window) this.flame.href = pathTo(`/flame${location.search}`);
  }

  /** @param {import("../../data/series.js").Meta[]} metas @returns {import("../../data/lanes.js").Lane[]} */
  lanesOf(metas) {
    const { lo, hi } = this.range.view(this.end_s);
    const known = new Set(this.cards.map(({ uuid }) => uuid));
    const shown = metas.filter(
      ({ labels, first_time_s, last_time_s }) => !labels.uuid || known.has(labels.uuid) || ((last_time_s ?? -Infinity) >= lo && (first_time_s ?? Infinity) <= hi),
    );
    this.lost = lostSince(this.cards, shown);
    const lanes = (/** @type {boolean} */ all) => gpuPageLanes(shown, this.lost, all);
    const further = lanes(true).length - lanes(false).length;
    this.more.hidden = !further;
    setText(this.more, this.all ? "Show fewer metrics" : `Show ${further} more metrics`);
    return lanes(this.all);
  }

  address() {
    return { ...super.address(), all: this.all ? 1 : null };
  }

  // What the user does

  /** @param {boolean} all */
  showAll(all) {
    this.all = all;
    this.relane();
    this.refresh();
  }

  /** @returns {import("../../lib/keys.js").Key[]} */
  keys() {
    return [
      ...super.keys(),
      { keys: ["f"], shown: "f", says: "flame graph", run: () => location.assign(pathTo(`/flame${location.search}`)) },
      { keys: ["m"], shown: "m", says: "all metrics, or the most important", run: () => this.showAll(!this.all) },
    ];
  }

  // Messages of the server

  async #readCards() {
    const { gpus, looks } = await get("gpus");
    this.#take(gpus);
    this.reading.draw(this.cards, looks);
  }

  #readProcesses() {
    get("processes").then(
      ({ processes }) => this.processes.draw(processes, this.#processNotes()),
      (error) => (isOwner ? this.failed(error) : this.processes.draw([], [sentenceOf(error)])),
    );
  }

  /** Why the list of processes is not whole, each sentence once. */
  #processNotes() {
    return [...new Set(this.cards.flatMap(({ processes_note }) => processes_note || []))];
  }

  /** XID errors in view, as marks on the axis. @param {import("../../lib/axis.js").View} view */
  async #readXids({ lo, hi }) {
    const { series } = await get("points", { series: ["gpu/xid*"], from: lo, to: this.range.following ? null : hi });
    this.events = series.flatMap(({ t, last, labels }) =>
      t.map((/** @type {number} */ time_s, /** @type {number} */ i) => ({ kind: "xid", time_s, text: `GPU ${labels.gpu}: XID ${last[i]}` })),
    );
    this.invalidate();
  }

  /** Update the cards; one that appears, disappears, stops answering or recovers changes the lanes. @param {Card[]} cards */
  #take(cards) {
    const looks = (/** @type {Card[]} */ all) => JSON.stringify(all.map(({ uuid, since_s }) => [uuid, since_s]));
    const changed = looks(cards) !== looks(this.cards);
    const notes = this.#processNotes().join();
    const reasons = new Map(this.cards.map(({ uuid, clock_reasons }) => [uuid, clock_reasons]));
    this.cards = cards.map((card) => ({ clock_reasons: reasons.get(card.uuid), ...card }));
    if (notes !== this.#processNotes().join()) this.#readProcesses();
    if (changed) this.load(false);
  }

  /** @param {import("../../types/api").State} message */
  received(message) {
    this.#take(message.gpus);
  }
}
