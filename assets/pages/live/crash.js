/** Why a run ended that did not end by itself. What is shown of it is loaded once there is such a run. */

import { get } from "../../lib/api.js";
import { el } from "../../lib/dom.js";

const OVER = new Set(["failed", "killed", "ended", "stalled", "preempted", "requeued"]);

export class CrashNote {
  /** @param {((line: import("../../types/api").Row<"LogLine">) => void) | null} show a line in the log below; null where the page says the sentence itself @param {() => void} [changed] */
  constructor(show, changed = () => {}) {
    this.show = show;
    this.changed = changed;
    this.element = el("section", { class: "crash", "aria-label": "Why the run ended", hidden: true });
    this.key = "";
    /** Resolves when it is known of the run that was looked at. @type {Promise<void>} */
    this.known = Promise.resolve();
  }

  sentence = "";

  /** @param {import("../../types/api").Run | null} run the shown one */
  look(run) {
    const key = run && OVER.has(run.state) ? JSON.stringify([run.run, run.state, run.lines_read]) : "";
    if (key === this.key) return;
    this.key = key;
    this.element.hidden = true;
    this.sentence = "";
    if (run && key) this.known = this.#load(run.run, key);
  }

  /** @param {string} run @param {string} key */
  async #load(run, key) {
    const [answer, cause] = await Promise.all([get("logs/crash", { run }), import("./cause.js")]).catch(() => []); // the log itself stands below
    if (!answer?.cause || !cause || key !== this.key) return;
    const parts = cause.partsOf(run, answer.cause, answer.others, this.show);
    this.element.replaceChildren(...parts);
    this.element.hidden = !parts.length;
    this.sentence = answer.cause.sentence;
    this.changed();
  }
}
