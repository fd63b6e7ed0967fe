/** The strip at the top of the GPUs page: the cards, their figures now or in the window, and what is wrong. */

import { average } from "../../data/columns.js";
import { el, icon, setText } from "../../lib/dom.js";
import { duration, figure } from "../../lib/format.js";
import { Figure, worst } from "../run_strip.js";

/** @typedef {import("../../data/series.js").Series} Series */
/** @typedef {import("../run_strip.js").Finding} Finding */

/**
 * @typedef {Object} Card of `GET /gpus`
 * @property {number} index
 * @property {string} uuid
 * @property {string} name
 * @property {number | null} mig
 * @property {"ok" | "lost"} state
 * @property {string} reason one sentence when it is lost
 * @property {number | null} since_s when it was lost
 * @property {number | null} sample_period_s
 * @property {string} [processes_note] where its processes are not known
 * @property {Record<string, number>} [latest] by metric
 * @property {string[]} [clock_reasons] why its clock is not higher
 */

/**
 * @typedef {Object} Standing
 * @property {Card[]} cards
 * @property {import("../../data/runs.js").Runs} server
 * @property {Series[]} series of what works
 * @property {{lo: number, hi: number}} view
 * @property {{from: number, to: number} | null} window
 */

const GIB = 2 ** -30;
const HARMLESS = new Set(["idle", "power cap", "clocks set by a user", "sync boost", "display clock"]); // at full load the cap is normal

/** Name, series, aggregation over GPUs, scale, digits, the series of its limit. @type {[string, string, "mean" | "sum" | "most", number, number, string?][]} */
const FIGURES = [
  ["Busy, %", "gpu/utilization_pct", "mean", 1, 0],
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

export class GpuHead {
  constructor() {
    this.title = el("div", { class: "title" });
    this.sub = el("div", { class: "state" });
    this.figures = FIGURES.map(() => new Figure(""));
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
  draw({ cards, server, series, view, window }) {
    const whole = cards.filter(({ mig }) => mig === null);
    const names = [...new Set(whole.flatMap(({ name }) => name || []))];
    setText(this.title, names.length ? names.join(", ") : (server.message?.host ?? ""));
    const working = whole.filter(({ state }) => state === "ok").length;
    const span = window ? `, mean over ${duration(window.to - window.from)}` : "";
    setText(this.sub, whole.length ? `${working === whole.length ? "" : `${working} of `}${whole.length} ${whole.length > 1 ? "GPUs" : "GPU"}${span}` : `The host${span}`);
    const alive = series.filter(({ meta }) => meta.labels.mig === undefined);
    (whole.length || !server.message ? FIGURES : HOST_FIGURES).forEach(([name, of, how, scale, digits, limit], i) => {
      const now = (/** @type {Series} */ member) => (window ? average(member, view, window, false).mean : member.newest.v);
      const value = together(alive, of, how, now);
      const most = limit ? together(alive, limit, how, (member) => member.newest.v) : null;
      const scaled = (/** @type {number | null} */ v) => figure(v === null ? null : v * scale, digits);
      setText(this.figures[i].label, name);
      const where = how === "most" && whole.length > 1 ? alive.find((member) => member.meta.name === of && now(member) === value) : null;
      const more = most !== null ? `of ${scaled(most)}` : where ? `GPU ${where.meta.labels.gpu}` : "";
      this.figures[i].draw(scaled(value), value === null ? "" : more);
    });
    this.#say(findings(cards, server));
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

/** What is wrong, the worst first; [] if nothing. @param {Card[]} cards @param {import("../../data/runs.js").Runs} server @returns {Finding[]} */
function findings(cards, server) {
  const general = worst(server);
  /** @type {Finding[]} */
  const lost = cards.filter(({ state }) => state === "lost").map(({ reason }) => ({ tone: "bad", sentence: reason }));
  /** @type {Map<string, string[]>} */
  const slowed = new Map();
  for (const { index, clock_reasons = [] } of cards)
    for (const reason of clock_reasons.filter((name) => !HARMLESS.has(name))) slowed.set(reason, [...(slowed.get(reason) ?? []), String(index)]);
  const slow = [...slowed].map(([reason, gpus]) => ({
    tone: /** @type {const} */ ("warn"),
    sentence: gpus.length > 1 ? `GPUs ${gpus.join(", ")} are slowed down: ${reason}.` : `GPU ${gpus[0]} is slowed down: ${reason}.`,
  }));
  return [...(general ? [general] : []), ...lost, ...slow];
}
