/** Why a run ended that did not end by itself. What is shown of it is loaded once there is such a run. */

import { get } from "../../lib/api.js";
import { el } from "../../lib/dom.js";

const OVER = new Set(["failed", "killed", "ended", "stalled", "preempted", "requeued"]);

export class CrashNote {
  /** @param {((line: import("../../types/api").Row<"LogLine">) => void) | null} [show] a line in the log below */
  constructor(show = null) {
    this.show = show;
    this.element = el("section", { class: "crash", "aria-label": "Why the run ended", hidden: true });
    this.key = "";
  }

  /** @param {import("../../types/api").Run | null} run the shown one */
  draw(run) {
    const key = run && OVER.has(run.state) ? JSON.stringify([run.run, run.state, run.lines_read]) : "";
    if (key === this.key) return;
    this.key = key;
    this.element.hidden = true;
    if (run && key) this.#loadCrash(run.run, key);
  }

  /** @param {string} run @param {string} key */
  async #loadCrash(run, key) {
    const [answer, cause] = await Promise.all([get("logs/crash", { run }), import("./cause.js")]).catch(() => []); // the log itself stands below
    if (!answer?.cause || !cause || key !== this.key) return;
    this.element.replaceChildren(...cause.partsOf(run, answer.cause, answer.others, this.show));
    this.element.hidden = false;
  }
}
