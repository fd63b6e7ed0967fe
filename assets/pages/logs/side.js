/** Beside the lines: what the log says in the window that it does not say otherwise, and the templates. */

import { el } from "../../lib/dom.js";
import { ChangePanel } from "../../logs/changes.js";
import { TemplatePanel } from "../../logs/templates.js";

/** @typedef {import("../../logs/asking.js").Question} Question */

const PAUSE_MS = 250; // after the last change of the view

export class LogsSide {
  /** @param {{filter: (template: import("../../logs/templates.js").Template, only: boolean) => void, search: (text: string) => void}} page */
  constructor(page) {
    this.page = page;
    this.changes = new ChangePanel((change) => this.#show(change));
    this.templates = new TemplatePanel(page.filter);
    this.element = el("aside", { class: "side logs-side", "aria-label": "What the lines say", tabindex: "0" }, this.changes.element, this.templates.element);
  }

  #timer = 0;

  /** @param {Question} question @param {{from: number, to: number}} window or the view @param {string | null} run null: all @param {boolean} selected a window is */
  ask(question, { from, to }, run, selected) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.changes.ask(selected && run !== null ? { run, from, to } : null);
      if (to > from) this.templates.ask({ ...question, from, to, template: [] });
    }, PAUSE_MS);
  }

  /** The lines of a change: by its template, else by the longest words that it has in common. @param {import("../../logs/changes.js").Change} change */
  #show({ text, example }) {
    const template = this.templates.find(text);
    const words = text.split(/#|<(?:time|path|text|hex|id)>/).sort((a, b) => b.length - a.length)[0]?.trim();
    if (template) this.page.filter(template, true);
    else this.page.search(words || example);
  }
}
