/** What the log says in the window that it does not say otherwise: a sentence, and the lines behind each part of it. */

import { get, newest, sentenceOf } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { capital, count, figure } from "../lib/format.js";
import { quoted } from "../blame/log_difference.js";

/** @typedef {import("../types/api").Row<"LogChangeRow">} Change */
/** @typedef {import("../blame/log_difference.js").Asked} Asked */

const MAX_CHANGES = 8; // that are listed
const WORDS = { new: "new", more: "more often", silent: "did not come", number: "another number" };

export class ChangePanel {
  /** @param {(change: Change) => void} show the lines of a change */
  constructor(show) {
    this.show = show;
    this.body = el("div", {});
    this.element = el("section", { class: "change-panel", "aria-label": "What the log says here", hidden: true }, el("div", { class: "head" }, el("h2", {}, "What the log says here and not otherwise")), this.body);
    this.key = "";
    this.read = newest(
      (/** @type {Asked} */ asked) => get("logs/difference", asked),
      (answer, asked) => this.key === JSON.stringify(asked) && this.#fill(answer),
      (error, asked) => this.key === JSON.stringify(asked) && this.#say(sentenceOf(error)),
    );
  }

  /** @param {Asked | null} asked null where there is no window of one run */
  ask(asked) {
    const key = asked ? JSON.stringify(asked) : "";
    if (key === this.key) return;
    this.key = key;
    this.element.hidden = asked === null;
    if (!asked) return;
    this.#say("Comparing with the rest of the run …");
    this.read(asked);
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.body.replaceChildren(el("p", { class: "dim" }, sentence));
  }

  /** @param {import("../types/api").Answer<"logs/difference">} answer */
  #fill({ sentence, reason, windows, changes }) {
    if (!sentence) return this.#say(reason ? `${capital(reason)}.` : `Nothing that it does not say in ${count(windows)} other windows of this length.`);
    const rows = changes.filter(({ text }) => text).slice(0, MAX_CHANGES);
    return this.body.replaceChildren(el("p", { class: "changed" }, ...quoted(sentence)), ...rows.map((change) => this.#row(change)));
  }

  /** @param {Change} change */
  #row(change) {
    const { kind, text, example, sure, count: lines } = change;
    const what = kind === "number" && change.value !== null ? `${figure(change.value)}` : kind === "silent" ? "" : count(lines);
    return el(
      "button",
      { class: "template change", type: "button", title: `${example || text} (${sure} confidence)`, onclick: () => this.show(change) },
      el("b", {}, what),
      el("code", {}, text),
      el("span", { class: "dim" }, WORDS[kind]),
    );
  }
}
