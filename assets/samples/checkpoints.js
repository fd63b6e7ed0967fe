/** A run's checkpoints: step, age and size of each, the newest first. */

import { get, sentenceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { count, counted, duration } from "../lib/format.js";

/** @typedef {import("../types/api").Row<"CheckpointRow">} Checkpoint */

const MOST = 200; // rows

export class Checkpoints {
  constructor() {
    this.total = el("span", { class: "dim" });
    this.rows = el("tbody");
    const heads = [["Step", "num"], ["Age", "num"], ["Size", "num"], ["Saved in", "num"], ["File", ""]];
    this.table = el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...heads.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
      this.rows,
    );
    this.element = el("section", { class: "checkpoints", hidden: true, "aria-label": "Checkpoints" }, el("h2", {}, "Checkpoints ", this.total), this.table);
  }

  /** @param {string} run @param {number} now_s */
  async read(run, now_s) {
    try {
      const { checkpoints } = await get("checkpoints", { run });
      this.#draw(checkpoints, now_s);
    } catch (error) {
      this.#draw([], now_s);
      setText(this.total, sentenceOf(error));
    }
  }

  /** @param {Checkpoint[]} all @param {number} now_s */
  #draw(all, now_s) {
    this.element.hidden = !all.length;
    const there = all.filter(({ bytes }) => bytes !== null);
    const shown = all.slice(-MOST).reverse();
    const sum = there.reduce((bytes, one) => bytes + (one.bytes ?? 0), 0);
    const rest = all.length > shown.length ? `, the newest ${count(shown.length)} are listed` : "";
    setText(this.total, there.length ? `${counted(there.length, "file")}, ${sizeOf(sum)}${rest}` : `${counted(all.length, "event")}${rest}`);
    this.rows.replaceChildren(...shown.map((checkpoint) => row(checkpoint, now_s)));
  }
}

/** @param {Checkpoint} checkpoint @param {number} now_s */
function row({ name, step, time_s, bytes, seconds, note }, now_s) {
  return el(
    "tr",
    {},
    el("td", { class: "num" }, count(step)),
    el("td", { class: "num" }, `${duration(Math.max(0, now_s - time_s))}`),
    el("td", { class: "num" }, bytes === null ? "–" : sizeOf(bytes)),
    el("td", { class: "num" }, seconds === null ? "–" : duration(seconds)),
    el("td", {}, el("code", {}, name || "–"), note && el("span", { class: "dim" }, ` ${note}`)),
  );
}

/** `300 -> "300 B"`, `5_250_000_000 -> "5.25 GB"` @param {number} bytes */
export function sizeOf(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const at = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${Number((bytes / 1000 ** at).toPrecision(3))} ${units[at]}`;
}
