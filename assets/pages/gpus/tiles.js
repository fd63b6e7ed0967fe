/** A tile for each card, or for each of its MIG instances: how busy it is, its memory, heat and power, and whether something is wrong. The odd one is seen at a glance. */

import { ACTIVE, UTILIZATION } from "../../data/lanes.js";
import { average } from "../../data/series.js";
import { el, icon, setClass, setText } from "../../lib/dom.js";
import { figure } from "../../lib/format.js";

/** @typedef {import("./page.js").Card} Card */
/** @typedef {import("../../data/series.js").Series} Series */

const GIB = 2 ** -30;
const [WIDTH, HEIGHT] = [80, 20]; // of a curve

const HARMLESS = new Set(["idle", "power cap", "clocks set by a user", "sync boost", "display clock"]); // at full load the cap is normal

/** Why it runs slower than it could. @param {string[]} reasons */
export const slowing = (reasons) => reasons.filter((name) => !HARMLESS.has(name));

/** What is wrong with a card, or "". @param {Card} card @param {string} waits the sentence about it, if it only waits */
function troubleOf({ state, reason, clock_reasons = [] }, waits) {
  if (state === "lost") return reason;
  return waits || (slowing(clock_reasons).length ? `Slowed down: ${slowing(clock_reasons).join(", ")}` : "");
}

export class GpuTiles {
  constructor() {
    /** @type {Map<string, Tile>} by uuid */
    this.tiles = new Map();
    this.element = el("section", { class: "gpu-tiles", "aria-label": "Each GPU", hidden: true });
  }

  /** @param {Card[]} all @param {Map<string, string>} waiting by uuid, the sentence about each that counts as busy and only waits */
  set(all, waiting) {
    const divided = new Set(all.filter(({ mig }) => mig !== null).map(({ index }) => index));
    const cards = all.filter(({ index, mig }) => mig !== null || !divided.has(index));
    const same = cards.length === this.tiles.size && cards.every(({ uuid }) => this.tiles.has(uuid));
    if (!same) {
      this.tiles = new Map(cards.map((card) => [card.uuid, new Tile(card)]));
      this.element.replaceChildren(...[...this.tiles.values()].map(({ element }) => element));
    }
    this.element.hidden = cards.length < 2; // of one alone the head says all
    for (const card of cards) this.tiles.get(card.uuid)?.warn(card, waiting.get(card.uuid) ?? "");
  }

  /** @param {Map<string, Series>} series @param {{lo: number, hi: number}} view @param {{from: number, to: number} | null} window */
  draw(series, view, window) {
    /** @type {Map<string, Map<string, Series>>} by uuid and name */
    const of = new Map();
    for (const member of series.values()) {
      const { name, labels } = member.meta;
      if (!labels.uuid) continue;
      of.set(labels.uuid, (of.get(labels.uuid) ?? new Map()).set(name, member));
    }
    for (const [uuid, tile] of this.tiles) tile.draw(of.get(uuid) ?? new Map(), view, window);
  }
}

class Tile {
  /** @param {Card} card */
  constructor({ index, uuid, mig }) {
    this.waits = false;
    this.busy = el("b");
    this.sign = el("span", { class: "tile-sign" });
    this.shared = el("span", { class: "tile-shared" });
    this.path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(this.path);
    this.used = el("i");
    this.memory = el("span");
    this.heat = el("span");
    this.power = el("span");
    this.element = el(
      "div",
      { class: "gpu-tile", "data-gpu": uuid },
      el("div", { class: "tile-head" }, `GPU ${index}${mig === null ? "" : `.${mig}`}`, this.shared, this.sign),
      el("div", { class: "tile-busy" }, this.busy, svg),
      el("div", { class: "tile-memory" }, this.used),
      el("div", { class: "tile-foot" }, this.memory, this.heat, this.power),
    );
  }

  /** @param {Card} card @param {string} waits the sentence about it, if it only waits */
  warn(card, waits) {
    const { state } = card;
    const trouble = troubleOf(card, waits);
    this.waits = waits !== "";
    const users = (card.processes ?? []).filter(({ kind }) => kind === "compute").length;
    setText(this.shared, users > 1 ? `shared by ${users}` : ""); // what each of them has of the card's time, no driver tells
    if (this.element.title !== trouble) this.element.title = trouble;
    setClass(this.element, "warned", Boolean(trouble));
    const tone = state === "lost" ? "bad" : trouble ? "warn" : "";
    if (this.sign.dataset.tone === tone) return;
    this.sign.dataset.tone = tone;
    this.sign.replaceChildren(...(tone ? [icon(tone === "bad" ? "cross" : "triangle", tone)] : []));
  }

  /** @param {Map<string, Series>} series by name @param {{lo: number, hi: number}} view @param {{from: number, to: number} | null} window */
  draw(series, view, window) {
    const value = (/** @type {string} */ name) => {
      const member = series.get(name);
      return member ? (window ? average(member, view, window, false).mean : member.newest.v) : NaN;
    };
    const said = (/** @type {string} */ name, /** @type {number} */ scale, /** @type {string} */ unit) => (Number.isFinite(value(name)) ? `${figure(value(name) * scale, 0)}${unit}` : "–");
    const counter = series.has(UTILIZATION) ? UTILIZATION : ACTIVE;
    setText(this.busy, this.waits && !window ? "waiting" : said(counter, 1, "%"));
    setText(this.memory, said("gpu/memory_used_bytes", GIB, " GiB"));
    setText(this.heat, said("gpu/temperature_c", 1, " °C"));
    setText(this.power, said("gpu/power_w", 1, " W"));
    const share = value("gpu/memory_used_bytes") / (series.get("gpu/memory_total_bytes")?.newest.v ?? NaN);
    this.used.style.width = `${Number.isFinite(share) ? Math.min(100, 100 * share).toFixed(0) : 0}%`;
    this.path.setAttribute("d", curveOf(series.get(counter), view));
  }
}

/** @param {Series | undefined} series of percents @param {{lo: number, hi: number}} view */
function curveOf(series, { lo, hi }) {
  if (!series) return "";
  const each = Math.max(1, Math.floor(series.t.length / WIDTH));
  /** @type {string[]} */
  const points = [];
  for (let i = 0; i < series.t.length; i += each) {
    const [x, v] = [((series.t[i] - lo) / (hi - lo)) * WIDTH, series.sum[i] / series.finite[i]];
    if (x >= 0 && x <= WIDTH && Number.isFinite(v)) points.push(`${x.toFixed(1)} ${(HEIGHT - 1 - (v / 100) * (HEIGHT - 2)).toFixed(1)}`);
  }
  return points.length > 1 ? `M${points.join("L")}` : "";
}
