/** The progress bars that are drawn at the end of a run's text logs, at the foot of the lines: one row each, whatever was rewritten. */

import { get } from "../../lib/api.js";
import { el } from "../../lib/dom.js";
import { barLine } from "../live/log.js";

/** @typedef {import("../../types/api").Row<"BarRow">} Bar */

const MOST = 3; // of the ranks of a run, those that changed last

export class Bars {
  constructor() {
    /** @type {string | null} */
    this.run = null;
    /** @type {Map<string, Bar>} by file, the one that changed last comes last */
    this.bars = new Map();
    this.element = el("div", { class: "log-bars log", hidden: true });
  }

  /** @param {string | null} run null: of none */
  async read(run) {
    if (run === this.run) return;
    this.run = run;
    this.bars.clear();
    this.#draw();
    if (run === null) return;
    const answer = await get("logs", { run, limit: 1 }).catch(() => null); // the lines say why there is no answer
    if (answer && run === this.run) this.take(answer.bars);
  }

  /** @param {Bar[]} bars that have changed */
  take(bars) {
    const own = bars.filter(({ run }) => run === this.run);
    for (const bar of own) {
      this.bars.delete(bar.file);
      if (bar.text) this.bars.set(bar.file, bar);
    }
    if (own.length) this.#draw();
  }

  #draw() {
    const shown = [...this.bars.values()].slice(-MOST);
    this.element.hidden = !shown.length;
    this.element.replaceChildren(...shown.map(barLine));
  }
}
