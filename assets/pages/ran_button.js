/** The button that opens what ran, in a dialog, whose content is loaded when it is first opened. */

import { get, sentenceOf } from "../lib/api.js";
import { dialogOf, el } from "../lib/dom.js";

const LOST = "The dashboard does not answer.";

export class RanButton {
  constructor() {
    /** @type {string | null} */
    this.run = null;
    this.body = el("div", { class: "ran-body" });
    this.dialog = dialogOf("ran", "What ran", this.body);
    this.button = el("button", { class: "ran-button", type: "button", title: "What ran (i)", "aria-label": "What ran", hidden: true, onclick: () => this.open() }, el("kbd", {}, "i"));
    this.element = this.button;
  }

  /** @param {import("../types/api").Run | null} run the shown one */
  draw(run) {
    if (run?.run === this.run) return;
    this.run = run?.run ?? null;
    this.button.hidden = this.run === null;
    if (this.dialog.open) this.dialog.close();
  }

  async open() {
    const { run } = this;
    if (run === null || this.dialog.open) return;
    this.body.replaceChildren(el("h2", {}, run), el("p", { class: "dim" }, "Reading …"));
    this.dialog.showModal();
    try {
      const [{ info }, { partsOf }] = await Promise.all([get("run", { run }), import("./ran.js")]);
      if (run === this.run) this.body.replaceChildren(el("h2", {}, run), ...partsOf(run, info));
    } catch (error) {
      this.body.replaceChildren(el("h2", {}, run), el("p", {}, error instanceof TypeError ? LOST : sentenceOf(error)));
    }
  }

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    return [{ keys: ["i"], shown: "i", says: "what ran: command, commit, versions", run: () => this.open() }];
  }
}
