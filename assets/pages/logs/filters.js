/** The templates that filter the lines, beside the controls: a chip each, and their part of the address. */

import { el } from "../../lib/dom.js";
import { withoutSequences } from "../../logs/ansi.js";
import { chosenAddress, chosenOf } from "../../logs/asking.js";

export class TemplateFilters {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    this.chosen = chosenOf(location.search);
    /** @type {Map<number, string>} texts of templates, by id */
    this.texts = new Map();
    this.element = el("span", { class: "chips" });
    this.#draw();
  }

  /** Only lines of a template, or none of them; once more: not any more. @param {number} id @param {string} text of the template @param {boolean} only */
  toggle(id, text, only) {
    this.texts.set(id, text);
    const { shown, hidden } = this.chosen;
    const was = (only ? shown : hidden).includes(id);
    this.drop(id, false);
    if (!was) (only ? this.chosen.shown : this.chosen.hidden).push(id);
    this.#draw();
    this.changed();
  }

  /** @param {number} id @param {boolean} [says] */
  drop(id, says = true) {
    const without = (/** @type {number[]} */ ids) => ids.filter((other) => other !== id);
    this.chosen = { shown: without(this.chosen.shown), hidden: without(this.chosen.hidden) };
    if (!says) return;
    this.#draw();
    this.changed();
  }

  clear() {
    this.chosen = { shown: [], hidden: [] };
    this.texts.clear();
    this.#draw();
  }

  #draw() {
    const chip = (/** @type {string} */ word) => (/** @type {number} */ id) => {
      const said = `${word} ${withoutSequences(this.texts.get(id) ?? `template ${id}`)}`;
      return el("button", { class: "chip filter", type: "button", title: `${said}. A click removes it.`, onclick: () => this.drop(id) }, el("span", {}, said), " ×");
    };
    this.element.replaceChildren(...this.chosen.shown.map(chip("only")), ...this.chosen.hidden.map(chip("without")));
  }

  address() {
    return chosenAddress(this.chosen);
  }
}
