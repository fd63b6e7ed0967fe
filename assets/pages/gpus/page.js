/** The Hosts page: every metric of every card on one time axis, their processes and those of the host, and how they are read. */

import { UTILIZATION } from "../../data/lanes.js";
import { average } from "../../data/series.js";
import { get, isOwner, sentenceOf } from "../../lib/api.js";
import { el, icon, setClass, setText } from "../../lib/dom.js";
import { clock, duration, figure } from "../../lib/format.js";
import { every } from "../../lib/life.js";
import { go, pathTo, timeAddress } from "../../lib/url.js";
import { Figure, worst } from "../run_strip.js";
import { TimePage } from "../time_page.js";
import { gpuPageLanes } from "./lanes.js";
import { HostProcesses, Processes } from "./processes.js";
import { GpuTiles, slowing } from "./tiles.js";

const BUCKETS = 400; // each is drawn from its lowest to its highest value, so that fewer hide nothing
const PROCESSES_MS = 2000;
const CATALOGUE_MS = { first: 1500, last: 12_000 }; // some series have their first point late; each wait is twice the one before

export default class GpusPage extends TimePage {
  /** @param {import("../session.js").Session} session */
  constructor(session) {
    super(session, { address: timeAddress, run: null, buckets: BUCKETS });
    this.all = new URLSearchParams(location.search).has("all");
    /** @type {Card[]} */
    this.cards = [];
    /** @type {import("../../data/gpu_states.js").GpuStates} */
    this.states = { lost: new Map(), waits: new Map() };
    this.head = new GpuHead();
    this.tiles = new GpuTiles();
    this.processes = new Processes();
    this.hostProcesses = isOwner ? new HostProcesses() : null; // a viewer sees no users and commands
    this.head.element.append(this.findings.nav);
    this.more = el("button", { class: "btn", type: "button", hidden: true, onclick: () => this.showAll(!this.all) });
    this.moment = el("div", { class: "title" });
    this.hint = el("div", { class: "sub" });
    this.flame = el("a", { class: "btn pri" }, "Flame graph of this window");
    this.polling = new PollingNote();
    this.side = el(
      "aside",
      { class: "side" },
      el("section", { class: "chosen" }, this.moment, this.hint, this.flame),
      this.findings.detail,
      this.processes.element,
      this.hostProcesses?.element ?? null,
      this.polling.element,
    );
    this.element = el(
      "div",
      { class: "live-page gpus-page arriving" },
      this.head.element,
      this.tiles.element,
      el("div", { class: "left" }, this.timeline.element, el("div", { class: "further" }, this.more)),
      this.side,
    );
    this.parts = { GpusView: this.element };
    this.ahead = this.element;
    this.ready.then(() => {
      setClass(this.element, "arriving", false); // parts below the lanes do not jump
      this.hostProcesses?.show();
    });
    every(PROCESSES_MS, () => document.hidden || this.#readProcesses());
    this.#pollCatalogue(CATALOGUE_MS.first);
    this.#readProcesses();
  }

  /** Read the lists of cards and series. */
  async loadCatalogue() {
    await Promise.all([this.#readCards(), this.store.readCatalogue(Promise.resolve(null))]);
    this.store.lanes = this.lanesOf(this.store.metas);
  }

  /** @param {number} wait_ms */
  #pollCatalogue(wait_ms) {
    setTimeout(async () => {
      if (this.life.signal.aborted) return;
      if (!document.hidden && !this.isAway) await this.loadSeries(false);
      this.#pollCatalogue(Math.min(2 * wait_ms, CATALOGUE_MS.last));
    }, wait_ms);
  }

  get about() {
    return this.runs.message?.host || "This host";
  }

  foundOf() {
    return null;
  }

  chartRuns() {
    return [this.about];
  }

  loadPoints() {
    this.#readXids(this.range.view(this.end_s)).catch((error) => this.failed(error, this.retries.points));
    super.loadPoints();
  }

  /** @param {import("../../lib/axis.js").View} view */
  drawMore(view) {
    const { window } = this.range;
    const working = [...this.store.series.values()].filter(({ meta }) => !this.states.lost.has(meta.labels.uuid));
    const waiting = this.findings.waitingNow();
    this.tiles.set(this.cards, waiting);
    this.head.draw({ cards: this.cards, server: this.runs, series: working, waiting, view, window });
    this.tiles.draw(this.store.series, view, window);
    this.#drawSide(window);
  }

  /** @param {import("../../data/view_range.js").Window | null} window */
  #drawSide(window) {
    const alone = this.runs.message !== null && !this.cards.length;
    setClass(this.element, "alone", alone);
    this.side.ariaLabel = alone ? "Processes" : "Processes, and how the GPUs are read";
    setClass(this.element, "sideless", alone && !this.hostProcesses);
    setText(this.moment, window ? `${clock(window.from)} – ${clock(window.to)}` : "Now");
    setText(
      this.hint,
      window ? `${duration(window.to - window.from)}: which Python code was running?` : alone ? "Drag over a peak to see which Python code was running." : "Drag over a dip to see which line of Python caused it.",
    );
    this.flame.hidden = window === null;
    this.processes.name(window !== null);
    this.hostProcesses?.name(window !== null);
    if (window) this.flame.href = pathTo(`/flame${location.search}`);
  }

  /** @param {import("../../data/series.js").Meta[]} metas @returns {import("../../data/lanes.js").Lane[]} */
  lanesOf(metas) {
    const { lo, hi } = this.range.view(this.end_s);
    const known = new Set(this.cards.map(({ uuid }) => uuid));
    const shown = metas.filter(
      ({ labels, first_time_s, last_time_s }) => !labels.uuid || known.has(labels.uuid) || ((last_time_s ?? -Infinity) >= lo && (first_time_s ?? Infinity) <= hi),
    );
    this.states = this.statesOf(shown, this.cards);
    const lanes = (/** @type {boolean} */ all) => gpuPageLanes(shown, this.states, all);
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
    this.updateLanes();
    this.loadPoints();
  }

  /** @returns {import("../../lib/keys.js").Key[]} */
  keys() {
    return [
      ...super.keys(),
      { keys: ["f"], shown: "f", says: "flame graph", run: () => go(`/flame${location.search}`) },
      { keys: ["m"], shown: "m", says: "all metrics, or the most important", run: () => this.showAll(!this.all) },
    ];
  }

  // Messages of the server

  async #readCards() {
    const { gpus, looks } = await get("gpus");
    this.#setCards(gpus);
    this.polling.draw(this.cards, looks);
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
    const { curves } = await get("curves", { expr: "gpu/xid*", from: lo, to: this.range.following ? null : hi });
    this.events = curves.flatMap(({ x, last, labels }) =>
      x.map((/** @type {number} */ time_s, /** @type {number} */ i) => ({ kind: "xid", time_s, text: `GPU ${labels.gpu}: XID ${last[i]}` })),
    );
    this.invalidate();
  }

  /** Update the cards; one that appears, disappears, stops answering or recovers changes the lanes. @param {Card[]} cards */
  #setCards(cards) {
    const looks = (/** @type {Card[]} */ all) => JSON.stringify(all.map(({ uuid, since_s }) => [uuid, since_s]));
    const changed = looks(cards) !== looks(this.cards);
    const notes = this.#processNotes().join();
    const reasons = new Map(this.cards.map(({ uuid, clock_reasons }) => [uuid, clock_reasons]));
    this.cards = cards.map((card) => ({ clock_reasons: reasons.get(card.uuid), ...card }));
    this.invalidate();
    if (notes !== this.#processNotes().join()) this.#readProcesses();
    if (changed) this.loadSeries(false);
  }

  /** @param {import("../../types/api").State} state @param {import("../../data/runs.js").News} news */
  onState(state, news) {
    this.#setCards(state.gpus);
    super.onState(state, news);
  }
}

// The strip at the top of the Hosts page: the cards, their figures now or in the window, and what is wrong.

/** @typedef {import("../../data/series.js").Series} Series */
/** @typedef {import("../run_strip.js").Finding} Finding */

/** @typedef {import("../../types/api").Row<"GpuRow"> & Partial<import("../../types/api").Row<"GpuNow">>} Card */

/**
 * @typedef {Object} Standing
 * @property {Card[]} cards
 * @property {import("../../data/runs.js").Runs} server
 * @property {Series[]} series of what works
 * @property {Map<string, string>} waiting by uuid, the sentence about each GPU that counts as busy now and only waits
 * @property {{lo: number, hi: number}} view
 * @property {{from: number, to: number} | null} window
 */

const GIB = 2 ** -30;

/** Name, series, aggregation over GPUs, scale, digits, the series of its limit. @type {[string, string, "mean" | "sum" | "most", number, number, string?][]} */
const FIGURES = [
  ["Busy, %", UTILIZATION, "mean", 1, 0],
  ["Memory, GiB", "gpu/memory_used_bytes", "sum", GIB, 0, "gpu/memory_total_bytes"],
  ["Power, kW", "gpu/power_w", "sum", 1e-3, 2, "gpu/power_limit_w"],
  ["Hottest, °C", "gpu/temperature_c", "most", 1, 0],
];
const HOST_FIGURES = /** @type {typeof FIGURES} */ ([
  ["CPU, %", "host/cpu_pct", "mean", 1, 0],
  ["Memory, GiB", "host/memory_used_bytes", "sum", GIB, 1, "host/memory_total_bytes"],
  ["Read, MB/s", "host/disk_read_bytes_per_s", "sum", 1e-6, 1],
  ["Net in, MB/s", "host/net_recv_bytes_per_s", "sum", 1e-6, 1],
]);

class GpuHead {
  constructor() {
    this.title = el("div", { class: "title" });
    this.sub = el("div", { class: "state" });
    this.figures = FIGURES.map(([name]) => new Figure(name));
    this.finding = el("div", { class: "finding", role: "status" });
    this.element = el(
      "section",
      { class: "verdict", "aria-label": "The GPUs" },
      el("div", { class: "who" }, this.title, this.sub),
      ...this.figures.map(({ element }) => element),
      this.finding,
    );
  }

  /** @param {Standing} standing */
  draw({ cards, server, series, waiting, view, window }) {
    const whole = cards.filter(({ mig }) => mig === null);
    const names = [...new Set(whole.flatMap(({ name }) => name || []))];
    setText(this.title, names.length ? names.join(", ") : (server.message?.host ?? ""));
    this.title.title = names.join(", ");
    const working = whole.filter(({ state }) => state === "ok").length;
    const span = window ? `, mean over ${duration(window.to - window.from)}` : "";
    setText(this.sub, whole.length ? `${working === whole.length ? "" : `${working} of `}${whole.length} ${whole.length > 1 ? "GPUs" : "GPU"}${span}` : `The host${span}`);
    const alive = series.filter(({ meta }) => meta.labels.mig === undefined);
    const onlyWaits = (/** @type {Series} */ { meta }) => meta.name === UTILIZATION && waiting.has(meta.labels.uuid);
    (whole.length || !server.message ? FIGURES : HOST_FIGURES).forEach(([name, of, how, scale, digits, limit], i) => {
      const now = (/** @type {Series} */ member) => (window ? average(member, view, window, false).mean : onlyWaits(member) ? 0 : member.newest.v);
      const value = together(alive, of, how, now);
      const most = limit ? together(alive, limit, how, (member) => member.newest.v) : null;
      const scaled = (/** @type {number | null} */ v) => figure(v === null ? null : v * scale, digits);
      setText(this.figures[i].label, name);
      const where = how === "most" && whole.length > 1 ? alive.find((member) => member.meta.name === of && now(member) === value) : null;
      const more = most !== null ? `of ${scaled(most)}` : where ? `GPU ${where.meta.labels.gpu}` : "";
      this.figures[i].draw(scaled(value), value === null ? "" : more);
    });
    this.#say(findings(cards, server, waiting));
  }

  /** @param {Finding[]} all */
  #say(all) {
    const drawn = JSON.stringify(all);
    if (drawn === this.finding.dataset.drawn) return;
    this.finding.dataset.drawn = drawn;
    this.finding.replaceChildren(
      ...all.map(({ tone, sentence }) =>
        el(
          "div",
          { class: "said-of" },
          tone === "dim" ? null : icon(tone === "bad" ? "cross" : "triangle", tone),
          el("span", { class: `text ${tone}` }, sentence),
        ),
      ),
    );
  }
}

/**
 * @param {Series[]} series @param {string} name @param {"mean" | "sum" | "most"} how @param {(member: Series) => number} value
 * @returns {number | null}
 */
function together(series, name, how, value) {
  const values = series.filter(({ meta }) => meta.name === name).map(value).filter(Number.isFinite);
  if (!values.length) return null;
  if (how === "most") return Math.max(...values);
  const sum = values.reduce((all, value) => all + value, 0);
  return how === "sum" ? sum : sum / values.length;
}

/** What is wrong, the worst first; [] if nothing. @param {Card[]} cards @param {import("../../data/runs.js").Runs} server @param {Standing["waiting"]} waiting @returns {Finding[]} */
function findings(cards, server, waiting) {
  const general = worst(server);
  /** @type {Finding[]} */
  const lost = cards.filter(({ state }) => state === "lost").map(({ reason }) => ({ tone: "bad", sentence: reason }));
  /** @type {Map<string, string[]>} */
  const slowed = new Map();
  for (const { index, clock_reasons = [] } of cards)
    for (const reason of slowing(clock_reasons)) slowed.set(reason, [...(slowed.get(reason) ?? []), String(index)]);
  const slow = [...slowed].map(([reason, gpus]) => ({
    tone: /** @type {const} */ ("warn"),
    sentence: gpus.length > 1 ? `GPUs ${gpus.join(", ")} are slowed down: ${reason}.` : `GPU ${gpus[0]} is slowed down: ${reason}.`,
  }));
  const waits = [...new Set(waiting.values())].map((sentence) => ({ tone: /** @type {const} */ ("warn"), sentence }));
  return [...(general ? [general] : []), ...lost, ...waits, ...slow];
}

// How the GPUs are read: the meaning of one point of utilization, sources that are polled less often, and the cost of polling.

/** @typedef {import("../../types/api").Row<"LooksRow">} Looks */

const DEAREST = 4;

export class PollingNote {
  constructor() {
    this.element = el("section", { class: "reading" });
  }

  /** @param {Card[]} cards @param {Looks[]} looks */
  draw(cards, looks) {
    const dearest = [...looks].sort((a, b) => b.mean_ms - a.mean_ms).slice(0, DEAREST);
    const slowed = looks.filter(({ sentence }) => sentence).map(({ source, sentence }) => `${source}: ${sentence}`);
    const number = (/** @type {string} */ text) => el("td", { class: "num" }, text);
    this.element.replaceChildren(
      el("h2", {}, "How it is read"),
      ...[sampling(cards), ...slowed].map((sentence) => el("p", {}, sentence)),
      el(
        "table",
        {},
        el("tr", {}, ...["Slowest calls to the driver", "mean, ms", "slowest"].map((title, i) => el("th", { class: i ? "num" : null }, title))),
        ...dearest.map(({ source, mean_ms, slowest_ms }) =>
          el("tr", {}, el("td", {}, source), number(figure(mean_ms, 2)), number(figure(slowest_ms, 2))),
        ),
      ),
    );
  }
}

/** @param {Card[]} cards */
function sampling(cards) {
  const periods = cards.flatMap(({ sample_period_s }) => sample_period_s ?? []);
  const has = (/** @type {string} */ name) => cards.some(({ latest }) => latest && name in latest);
  if (!has("gpu/utilization_pct") && cards.some(({ latest }) => latest))
    return has("gpu/graphics_active_pct")
      ? "Busy is the counter of each GPU’s own compute engine (GPM): the driver gives no utilization."
      : "The driver does not say how busy these GPUs are.";
  if (!periods.length) return "These cards keep no samples of their own: utilization is the value at each poll.";
  const [least, most] = [Math.min(...periods), Math.max(...periods)].map(duration);
  const each = least === most ? least : `${least} to ${most}`;
  return `Busy is the driver’s own mean over each ${each}, as measured on these cards: a dip between two polls is not lost.`;
}
