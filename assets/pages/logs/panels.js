/** What surrounds the lines on the Logs page: the bar with its filters, the panels beside them, and progress bars. */

import { get } from "../../lib/api.js";
import { el, setClass } from "../../lib/dom.js";
import { barLine, withoutSequences } from "../../logs/line.js";
import { chosenAddress, chosenOf, narrows } from "../../logs/logs_view.js";
import { ChangePanel, TemplatePanel } from "../../logs/templates.js";

// The row above the axis: the run, how far the search is, the ways to the next hit and error, what filters beside the controls, and the end.

export class LogsBar {
  /**
   * @param {{next: (what: "hit" | "error", back: boolean) => void, follow: () => void, wrap: () => void}} page
   * @param {HTMLElement[]} parts how far the search is, and what can be removed
   */
  constructor(page, [search, ...chips]) {
    const way = (/** @type {string} */ key, /** @type {string} */ arrow, /** @type {string} */ label, /** @type {"hit" | "error"} */ what, /** @type {boolean} */ back) =>
      el("button", { class: "btn", type: "button", title: label, onclick: () => page.next(what, back) }, el("span", { class: "unseen" }, `${label} `), arrow, el("kbd", {}, key));
    this.hits = el("span", { class: "ways", hidden: true }, el("span", { class: "dim" }, "hit"), way("N", "↑", "Previous hit", "hit", true), way("n", "↓", "Next hit", "hit", false));
    this.errors = el("span", { class: "ways" }, el("span", { class: "dim" }, "error"), way("E", "↑", "Previous error", "error", true), way("e", "↓", "Next error", "error", false));
    this.wrap = el("button", { class: "btn", type: "button", "aria-pressed": "false", onclick: page.wrap }, "Wrap", el("kbd", {}, "w"));
    this.follow = el("button", { class: "btn", type: "button", "aria-pressed": "false", onclick: page.follow }, "Follow", el("kbd", {}, "l"));
    this.element = el("section", { class: "logs-bar", "aria-label": "Search and filters" }, search, this.hits, this.errors, ...chips, el("span", { class: "right" }, this.wrap, this.follow));
  }

  /** @param {import("../../data/runs.js").Runs} runs @param {{searches: boolean, follows: boolean, wraps: boolean}} state */
  draw(runs, { searches, follows, wraps }) {
    this.hits.hidden = !searches;
    this.wrap.setAttribute("aria-pressed", String(wraps));
    this.follow.setAttribute("aria-pressed", String(follows));
    setClass(this.follow, "off", !follows && !runs.over);
  }
}

// The controls of the Logs page (`dashboard/pages/logs.py`).

/** @typedef {import("../../logs/logs_view.js").View} View */

const FLAGS = /** @type {("regex" | "case" | "only" | "all")[]} */ (["regex", "case", "only", "all"]);

/** @type {import("../../lib/dash_controls.js").About} */
export const CONTROLS = {
  area: ".logs-controls",
  search: "logs-text",
  valuesOf: (/** @type {View} */ view) => ({
    "logs-text": view.text,
    "logs-flags": FLAGS.filter((flag) => view[flag]),
    "logs-level": String(view.level),
    "logs-files": view.files,
    "logs-ranks": view.ranks,
  }),
};

// The templates that filter the lines, beside the controls: a chip each, and their part of the address.

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

// Why there are no lines, in one sentence (pure).

const NO_FILE = "This run is over and wrote no line of text that the dashboard reads: its curves are on Live. For the next one: python train.py 2>&1 | tee logs/NAME/train.log";
const NO_LINES = "No lines yet. What the program prints into a *.log file in the run’s folder stands here: python train.py 2>&1 | tee logs/NAME/train.log";

/**
 * @param {{run: string | null, absent: string, folder: string, view: import("../../logs/logs_view.js").View, chosen: import("../../logs/logs_view.js").Chosen, hasWindow: boolean, isSearching: boolean, over: boolean}} shown
 * @returns {string}
 */
export function whyEmpty({ run, absent, folder, view, chosen, hasWindow, isSearching, over }) {
  if (run === null) return `No runs in ${folder} yet. Any text log in a folder there becomes one.`;
  if (absent) return `${absent} Choose one at the top left.`;
  if (view.text && view.only) return isSearching ? "No hit so far …" : "No line has what is searched for.";
  if (narrows(view, chosen)) return "No line fits the filters.";
  return hasWindow ? "No lines in this window. Esc clears it." : over ? NO_FILE : NO_LINES;
}

// Beside the lines: what the log says in the window that it does not say otherwise, and the templates.

/** @typedef {import("../../logs/logs_view.js").Question} Question */

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

  /** The lines of a change: by its template, else by the longest words that it has in common. @param {import("../../logs/templates.js").Change} change */
  #show({ text, example }) {
    const template = this.templates.find(text);
    const words = text.split(/#|<(?:time|path|text|hex|id)>/).sort((a, b) => b.length - a.length)[0]?.trim();
    if (template) this.page.filter(template, true);
    else this.page.search(words || example);
  }
}

// The progress bars that are drawn at the end of a run's text logs, at the foot of the lines: one row each, whatever was rewritten.

/** @typedef {import("../../types/api").Row<"ProgressBar">} Bar */

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
  async loadBars(run) {
    if (run === this.run) return;
    this.run = run;
    this.bars.clear();
    this.#draw();
    if (run === null) return;
    const answer = await get("logs", { run, limit: 1 }).catch(() => null); // the lines say why there is no answer
    if (answer && run === this.run) this.update(answer.bars);
  }

  /** @param {Bar[]} bars that have changed */
  update(bars) {
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
