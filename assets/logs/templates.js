/** What the lines have in common: their patterns, and those that are unusual in the window. */

import { get, newest, sentenceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { capital, count, counted, duration, figure, minute } from "../lib/format.js";
import { levelOf } from "./entry.js";
import { withoutSequences } from "./line.js";

// The templates of the lines, the most frequent first: what they have in common, how many there are, and when they came.

/** @typedef {import("../types/api").Row<"TemplateAnswer">} Template */
/** @typedef {import("./logs_view.js").Question} Question */

const BUCKETS = 80;
const MAX_TEMPLATES = 100; // that are listed

export class TemplatePanel {
  /** @param {(template: Template, only: boolean) => void} filter by it, or leave it out */
  constructor(filter) {
    this.filter = filter;
    /** @type {Template[]} */
    this.templates = [];
    this.count = el("span", { class: "dim" });
    this.list = el("div", { class: "templates" });
    this.note = el("p", { class: "dim" });
    this.element = el("section", { class: "template-panel", "aria-label": "Log patterns" }, el("div", { class: "head" }, el("h2", {}, "Log patterns"), this.count), this.list, this.note);
    this.key = "";
    this.read = newest(
      (/** @type {Question} */ question) => get("logs/templates", { ...question, buckets: BUCKETS, limit: MAX_TEMPLATES }),
      (answer, question) => this.key === JSON.stringify(question) && this.#show(answer),
      (error) => setText(this.note, sentenceOf(error)),
    );
  }

  /** @param {Question} question @param {boolean} [anew] also if it is the same one */
  ask(question, anew = false) {
    const key = JSON.stringify(question);
    if (key === this.key && !anew) return;
    this.key = key;
    this.read(question);
  }

  /** @param {string} text of a template @returns {Template | undefined} */
  find(text) {
    return this.templates.find((template) => template.text === text);
  }

  /** @param {import("../types/api").Answer<"logs/templates">} answer */
  #show({ templates, total }) {
    const looks = JSON.stringify(templates);
    if (looks === this.#looks) return;
    this.#looks = looks;
    this.templates = templates;
    const single = new Set(templates.map(({ run }) => run)).size < 2;
    const lines = templates.reduce((sum, template) => sum + template.lines, 0);
    setText(this.count, total > templates.length ? counted(total, "pattern") : `${counted(lines, "line")}, ${counted(total, "pattern")}`);
    setText(this.note, !total ? "No lines here." : single ? "Click to show only these lines; Alt-click to hide them." : "Patterns of several runs. Show one run to filter by them.");
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.template;
    this.list.replaceChildren(...templates.map((template) => this.#row(template, single)));
    if (focused) /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-template="${focused}"]`))?.focus({ preventScroll: true });
  }

  #looks = "";

  /** @param {Template} template @param {boolean} single */
  #row(template, single) {
    const [word, tone] = levelOf(template.level);
    const parts = withoutStamp(withoutSequences(template.text)).split(/(#|<(?:time|path|text|hex|id)>)/).map((part, i) => (i % 2 ? el("i", {}, part) : part));
    return el(
      "button",
      {
        class: `template ${tone}`,
        type: "button",
        disabled: !single,
        "data-template": template.id,
        title: `${word ? `${word}: ` : ""}${withoutSequences(template.example)}${template.of_run > template.lines ? ` (${count(template.of_run)} in the whole run)` : ""}`,
        onclick: (/** @type {MouseEvent} */ event) => this.filter(template, !event.altKey),
      },
      el("b", {}, count(template.lines)),
      el("code", {}, ...parts),
      strokesOf(template.strokes),
    );
  }
}

/** The part that the columns of the list show already. `"<time> INFO step #" -> "step #"` */
const STAMP = /^\[?<time>\]?[\s:-]*(?:\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL)\]?[\s:-]+)?(?=\S)/;
/** @param {string} text of a template */
const withoutStamp = (text) => text.replace(STAMP, "");

/** When its lines came: higher where there were more. One element, whatever there is to see. @param {number[]} strokes */
function strokesOf(strokes) {
  const most = Math.sqrt(Math.max(...strokes, 1));
  const width = 100 / strokes.length;
  const bars = strokes.map((lines, i) => {
    const tall = lines ? 2 + (6 * Math.sqrt(lines)) / most : 0;
    return lines ? `M${(i * width).toFixed(2)} ${(8 - tall).toFixed(1)}h${(0.9 * width).toFixed(2)}V8h-${(0.9 * width).toFixed(2)}z` : "";
  });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 100 8", preserveAspectRatio: "none", class: "strokes", "aria-hidden": "true" })) svg.setAttribute(name, value);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", bars.join(""));
  svg.append(path);
  return svg;
}

// Patterns that are unusual in the window, each with what is usual.

/** @typedef {import("../types/api").Row<"LogChangeRow">} Change */
/** @typedef {import("../blame/log_difference.js").Asked} Asked */

const MAX_CHANGES = 8; // that are listed

export class ChangePanel {
  /** @param {(change: Change) => void} show the lines of a change */
  constructor(show) {
    this.show = show;
    this.heading = el("h2", {});
    this.body = el("div", {});
    this.element = el("section", { class: "change-panel", "aria-label": "Unusual log patterns", hidden: true }, el("div", { class: "head" }, this.heading), this.body);
    this.key = "";
    this.isSelected = false;
    this.read = newest(
      (/** @type {Asked} */ asked) => get("logs/difference", asked),
      (answer, asked) => this.key === JSON.stringify(asked) && this.#fill(answer),
      (error, asked) => this.key === JSON.stringify(asked) && this.#say(sentenceOf(error)),
    );
  }

  /** @param {Asked | null} asked null where there is nothing to compare with @param {string} where `this window` @param {boolean} selected by the user, who hears also that nothing is unusual */
  ask(asked, where = "", selected = false) {
    const key = asked ? JSON.stringify(asked) : "";
    if (key === this.key) return;
    this.key = key;
    this.isSelected = selected;
    setText(this.heading, `Unusual in ${where}`);
    if (!asked || selected) this.element.hidden = asked === null;
    if (!asked) return;
    if (selected) this.#say("Comparing with the rest of the run …");
    this.read(asked);
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.element.hidden = !this.isSelected;
    this.body.replaceChildren(el("p", { class: "dim" }, sentence));
  }

  /** @param {import("../types/api").Answer<"logs/difference">} answer */
  #fill({ reason, windows, changes }) {
    const rows = changes.filter(({ text }) => text).slice(0, MAX_CHANGES);
    if (!rows.length) return this.#say(reason ? `${capital(reason)}.` : `Nothing, compared with ${counted(windows, "other window")} of this length.`);
    this.element.hidden = false;
    return this.body.replaceChildren(...rows.map((change) => this.#row(change)));
  }

  /** @param {Change} change */
  #row(change) {
    const { text, example, sure } = change;
    return el(
      "button",
      { class: "change", type: "button", title: `${example || text} (${sure} confidence)`, onclick: () => this.show(change) },
      el("code", {}, withoutStamp(text)),
      el("span", { class: "dim" }, usualOf(change)),
    );
  }
}

/** `6 times, never before 14:24`, `9 times, usually 0` @param {Change} change */
function usualOf({ kind, count: lines, expected, since_s, before, every_s, pause_s, value, usual }) {
  const range = (/** @type {[number, number]} */ [lo, hi], /** @type {(n: number) => string} */ word) => (word(lo) === word(hi) ? word(lo) : `${word(lo)} to ${word(hi)}`);
  const times = counted(lines, "time");
  if (kind === "number" && value !== null && usual) return `${figure(value)}, usually ${range(usual, figure)}`;
  if (kind === "silent") return pause_s !== null && every_s !== null ? `silent for ${duration(pause_s)}, usually every ${duration(every_s)}` : "silent";
  return kind === "new" && !before ? `${times}, never before ${minute(since_s)}` : `${times}, usually ${range(expected, (n) => figure(n, 0))}`;
}
