/** What surrounds the lines on the Logs page: the ends of its row of tools, its filters, the panels beside the lines, and progress bars. */

import { get } from "../../lib/api.js";
import { el, setClass } from "../../lib/dom.js";
import { count, duration } from "../../lib/format.js";
import { barLine, withoutSequences } from "../../logs/line.js";
import { chosenAddress, chosenOf, narrows } from "../../logs/logs_view.js";
import { ChangePanel, TemplatePanel } from "../../logs/templates.js";

// At the right of the controls: how far the search is, the ways to the next match or error, and the end.

export class LogsBar {
  /**
   * @param {{next: (what: "hit" | "error", back: boolean) => void, follow: () => void}} page
   * @param {HTMLElement} search how far it is @param {HTMLElement} findings the way from one to the next @param {boolean} searches from the first
   */
  constructor(page, search, findings, searches) {
    const way = (/** @type {string} */ arrow, /** @type {string} */ label, /** @type {string} */ key, /** @type {"hit" | "error"} */ what, /** @type {boolean} */ back) =>
      el("button", { class: "btn way", type: "button", title: `${label} (${key})`, "aria-label": label, onclick: () => page.next(what, back) }, arrow);
    this.hits = el("span", { class: "ways", hidden: !searches }, way("↑", "Previous match", "N", "hit", true), way("↓", "Next match", "n", "hit", false));
    this.errors = el("span", { class: "ways", hidden: true }, el("span", { class: "dim" }, "error"), way("↑", "Previous error", "E", "error", true), way("↓", "Next error", "e", "error", false));
    this.follow = el("button", { class: "btn follow", type: "button", "aria-pressed": "false", title: "Stay at the newest line (l)", onclick: page.follow }, "Follow");
    this.walk = el("section", { class: searches ? "logs-walk searches" : "logs-walk", "aria-label": "Matches and errors" }, search, this.hits, this.errors);
    this.element = el("section", { class: "logs-bar", "aria-label": "Findings and the newest line" }, findings, this.follow);
  }

  /** @param {import("../../data/runs.js").Runs} runs @param {{searches: boolean, errors: number, follows: boolean}} state */
  draw(runs, { searches, errors, follows }) {
    this.hits.hidden = !searches;
    this.errors.hidden = searches || !errors;
    setClass(this.walk, "searches", searches);
    this.follow.setAttribute("aria-pressed", String(follows));
    setClass(this.follow, "off", !follows && !runs.over);
  }
}

// The controls of the Logs page (`dashboard/pages/logs.py`).

/** @typedef {import("../../logs/logs_view.js").View} View */
/** @typedef {"regex" | "case" | "only" | "all" | "wrap"} Flag */

const MATCHING = /** @type {Flag[]} */ (["case", "regex"]);
const VIEWING = /** @type {Flag[]} */ (["only", "all", "wrap"]);

/** @type {import("../../lib/dash_controls.js").About} */
export const CONTROLS = {
  area: ".logs-controls",
  search: "logs-text",
  valuesOf: (/** @type {View} */ view) => ({
    "logs-text": view.text,
    "logs-matching": MATCHING.filter((flag) => view[flag]),
    "logs-level": String(view.level),
    "logs-viewing": VIEWING.filter((flag) => view[flag]),
    "logs-files": view.files,
    "logs-ranks": view.ranks,
  }),
};

/** What the switch of levels says beside its words. @param {{warnings: number, errors: number} | null} counts @returns {Record<string, string>} by id */
export const countsOf = (counts) => ({ "logs-count-30": counts ? count(counts.warnings) : "", "logs-count-40": counts ? count(counts.errors) : "" });

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
const NO_LINES = "No lines yet. Whatever the program writes to a *.log file in the run’s folder appears here: python train.py 2>&1 | tee logs/NAME/train.log";

/**
 * @param {{run: string | null, absent: string, folder: string, view: import("../../logs/logs_view.js").View, chosen: import("../../logs/logs_view.js").Chosen, hasWindow: boolean, isSearching: boolean, over: boolean}} shown
 * @returns {string}
 */
export function whyEmpty({ run, absent, folder, view, chosen, hasWindow, isSearching, over }) {
  if (run === null) return `No runs in ${folder} yet. Any text log in a folder there becomes one.`;
  if (absent) return `${absent} Choose one at the top left.`;
  if (view.text && view.only) return isSearching ? "No match so far …" : "No line matches the search.";
  if (narrows(view, chosen)) return "No lines match the filters.";
  return hasWindow ? "No lines in this window. Esc clears it." : over ? NO_FILE : NO_LINES;
}

// Beside the lines: their patterns, and those that are unusual in the window.

/** @typedef {import("../../logs/logs_view.js").Question} Question */

const PAUSE_MS = 250; // after the last change of the view
const PART = 1 / 3; // of the run: a longer view has too little to be compared with
const OFTEN_S = 30; // a view that follows is compared anew

export class LogsSide {
  /** @param {{filter: (template: import("../../logs/templates.js").Template, only: boolean) => void, search: (text: string) => void}} page */
  constructor(page) {
    this.page = page;
    this.changes = new ChangePanel((change) => this.#show(change));
    this.templates = new TemplatePanel(page.filter);
    this.element = el("aside", { class: "side logs-side", "aria-label": "Log patterns and what is unusual" }, this.templates.element, this.changes.element);
    this.templates.element.tabIndex = 0; // it scrolls
  }

  #timer = 0;

  /** @param {Question} question @param {{from: number, to: number}} window or the view @param {import("../../types/api").Run | null} run null: all @param {boolean} selected a window is */
  ask(question, { from, to }, run, selected) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const begun_s = run?.started_s ?? Infinity;
      if (run && selected) this.changes.ask({ run: run.run, from, to }, "this window", true);
      else if (run && to - from < PART * (to - begun_s)) {
        const end_s = Math.ceil(to / OFTEN_S) * OFTEN_S;
        this.changes.ask({ run: run.run, from: end_s - (to - from), to: end_s }, `these ${duration(to - from)}`);
      } else this.changes.ask(null);
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
