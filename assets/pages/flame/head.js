/** The head of the Flame page: the run and window, the blamed function, its basis, and downloads. */

import { basis, sentence } from "../../blame/blame.js";
import { copyButton } from "../../lib/copy.js";
import { el, setText } from "../../lib/dom.js";
import { LogDifference } from "../../blame/log_difference.js";
import { ReportButton } from "../../blame/report.js";
import { clock, duration, stepRange } from "../../lib/format.js";
import { Picker } from "../../lib/picker.js";

/** @typedef {import("../../blame/blame.js").Blame} Blame */
/** @typedef {import("../../data/range.js").Window} Window */

export class FlameHead {
  /** @param {{pick: (run: string) => void, download: (format: "speedscope" | "folded") => void, report: () => import("../../blame/report.js").Reported | null}} actions */
  constructor(actions) {
    this.picker = new Picker(actions.pick);
    this.when = el("div", { class: "state" });
    this.said = el("p", { class: "said", "aria-live": "polite" });
    this.basis = el("p", { class: "sub" });
    this.logDifference = new LogDifference();
    const button = (/** @type {"speedscope" | "folded"} */ format, /** @type {string} */ name, /** @type {string} */ key) =>
      el(
        "button",
        { class: `btn ${format === "speedscope" ? "pri" : ""}`, type: "button", "data-exports": "", onclick: () => actions.download(format) },
        name,
        el("kbd", {}, key),
      );
    this.element = el(
      "section",
      { class: "verdict flame-head", "aria-label": "The window" },
      el("div", { class: "who" }, this.picker.element, this.when),
      el("div", { class: "finding" }, el("div", {}, this.said, this.basis, this.logDifference.element)),
      el(
        "div",
        { class: "actions" },
        copyButton("Copy link", () => location.href),
        new ReportButton(actions.report).element,
        button("folded", "Export folded", "E"),
        button("speedscope", "Export to speedscope", "e"),
      ),
    );
  }

  /** @param {import("../../data/runs.js").Runs} runs */
  drawRuns(runs) {
    this.picker.draw(runs);
  }

  /** @param {Window} shown @param {boolean} chosen by the user; else the last seconds @param {{from: number | null, to: number | null}} steps */
  drawWindow(shown, chosen, steps) {
    const length = duration(shown.to - shown.from);
    const words = [`${clock(shown.from)} – ${clock(shown.to)}`, length, stepRange(steps)];
    setText(this.when, chosen ? words.filter(Boolean).join(", ") : `the last ${length}`);
  }

  /** @param {Blame | null} blame @param {{said: (Node | string)[], aside: string}} own the page's words while the server has none @param {boolean} chosen the user chose what to compare with @param {import("../../flame/tree.js").Tree | null} tree that is drawn */
  say(blame, own, chosen, tree) {
    const verdict = blame?.sentence ? blame : null;
    this.said.replaceChildren(...(verdict ? sentence(verdict) : own.said));
    const rests = verdict && verdict.verdict !== "no_profile" ? basis(verdict, chosen, tree) : own.aside;
    setText(this.basis, rests === this.said.textContent ? "" : rests);
    this.basis.title = this.basis.textContent;
  }
}
