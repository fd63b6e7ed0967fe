/** What the log says in the window that it does not say otherwise: one sentence beside the blame; nothing where nothing differs. */

import { get, newest } from "../lib/api.js";
import { el } from "../lib/dom.js";

/** @typedef {{run: string, from: number, to: number}} Asked */

export class LogDifference {
  constructor() {
    this.element = el("p", { class: "log-difference", hidden: true });
    this.key = "";
    /** @type {Asked | null} not read yet */
    this.wanted = null;
    this.read = newest(
      (/** @type {Asked} */ asked) => get("logs/difference", asked),
      (answer, asked) => this.key === keyOf(asked) && this.#show(answer),
      () => this.#show(null), // the panel says why the dashboard does not answer
    );
  }

  /** The log of this window is wanted. @param {Asked | null} asked null where there is no window */
  ask(asked) {
    const key = asked ? keyOf(asked) : "";
    if (key === this.key) return;
    this.key = key;
    this.#show(null);
    this.wanted = asked;
  }

  /** Its blame was answered: until then this would only delay that. */
  judged() {
    if (this.wanted) this.read(this.wanted);
    this.wanted = null;
  }

  /** @param {import("../types/api").Answer<"logs/difference"> | null} answer */
  #show(answer) {
    this.element.hidden = !answer?.sentence;
    if (!answer?.sentence) return;
    this.element.replaceChildren(el("b", {}, "In the log: "), ...quoted(answer.sentence));
    this.element.title = answer.changes.map(({ example, sure }) => (example ? `${example} (${sure})` : "")).filter(Boolean).join("\n");
  }
}

/** What stands in quotes in the code font. @param {string} sentence @returns {(Node | string)[]} */
export function quoted(sentence) {
  return sentence.split(/("[^"]*")/).map((part) => (part.startsWith('"') ? el("code", {}, part.slice(1, -1)) : part));
}

/** @param {Asked} asked */
const keyOf = ({ run, from, to }) => JSON.stringify([run, from, to]);
