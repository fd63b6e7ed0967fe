/** How the GPUs are read: the meaning of one point of utilization, sources that are polled less often, and the cost of polling. */

import { el } from "../../lib/dom.js";
import { duration, figure } from "../../lib/format.js";

/** @typedef {{source: string, mean_ms: number, slowest_ms: number, sentence: string}} Looks a row of `GET /gpus` */

const DEAREST = 4;

export class Reading {
  constructor() {
    this.element = el("section", { class: "reading" });
  }

  /** @param {import("./head.js").Card[]} cards @param {Looks[]} looks */
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

/** @param {import("./head.js").Card[]} cards */
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
