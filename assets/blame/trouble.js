/** Why there is no profile, and the remedy: one sentence, one command, one button. */

import { copyButton } from "../lib/copy.js";
import { el } from "../lib/dom.js";

/** @typedef {import("./profile.js").Trouble} Trouble */

const BUTTON = { on: "Turn on", retry: "Try again" };

export class TroubleBox {
  /** @param {(action: "on" | "retry") => void} act */
  constructor(act) {
    this.act = act;
    this.element = el("div", { class: "trouble", hidden: true });
  }

  /** @param {Trouble | null} trouble */
  show(trouble) {
    this.element.hidden = trouble === null;
    const drawn = JSON.stringify(trouble);
    if (trouble === null || drawn === this.element.dataset.drawn) return;
    this.element.dataset.drawn = drawn;
    const { sentence, remedy, action } = trouble;
    const button = action && el("button", { class: "btn pri", type: "button", "data-owners": "", onclick: () => this.act(action) }, BUTTON[action]);
    this.element.replaceChildren(
      el("p", {}, sentence),
      remedy ? el("div", { class: "remedy" }, el("b", {}, "Remedy: "), el("code", {}, remedy)) : "",
      el("div", { class: "actions" }, button, remedy ? copyButton("Copy", () => remedy) : null),
    );
  }
}
