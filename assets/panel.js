/** The side panel: what Python is doing now, or what it did in the selected window. */

import { copyButton, el, setClass, setText } from "./dom.js";
import { clock, count, duration, figure, place } from "./format.js";
import { FlameGraph, percent } from "./flame.js";
import { logLine } from "./log.js";

const FEW_SAMPLES = 50;
const LINES = 8;
const SHEETS = ["peek", "half", "full"]; // how far the panel is pulled up on a phone

/** @typedef {import("./tree.js").Flame} Flame */
/** @typedef {{from: number, to: number}} Window */
/** @typedef {{sentence: string, remedy: string, action: "on" | "retry" | null}} Trouble */

export class Panel {
  /** @param {{clear: () => void, profile: (action: "on" | "retry") => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.flame = new FlameGraph();
    this.title = el("div", { class: "title" });
    this.sub = el("div", { class: "sub" });
    this.escape = el(
      "button",
      { class: "key-button", type: "button", title: "Clear the window", onclick: actions.clear },
      el("kbd", {}, "Esc"),
    );
    this.said = el("p", { class: "said", "aria-live": "polite" });
    this.aside = el("p", { class: "aside" });
    this.facts = el("tbody");
    this.table = el(
      "section",
      { class: "facts" },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, ...["", "window", "rest", ""].map((name, i) => el("th", i ? { class: "num" } : {}, name)))),
        this.facts,
      ),
    );
    this.samples = el("span", { class: "dim" });
    this.trouble = el("div", { class: "trouble" });
    this.lines = el("div", { class: "log" });
    this.told = el("span", { class: "dim" });
    this.logs = el(
      "section",
      { class: "window-log" },
      el("div", { class: "head" }, el("h2", {}, "Log in this window"), this.told),
      this.lines,
    );
    this.hint = el("p", { class: "hint" }, "Drag over a dip to see which line of Python caused it.");
    this.actionsRow = el(
      "section",
      { class: "actions" },
      copyButton("Copy link", () => location.href),
    );
    this.grip = el("button", {
      class: "grip",
      type: "button",
      "aria-label": "Pull the panel up or down",
      onclick: () => this.pull(),
    });
    this.element = el(
      "aside",
      { class: "panel", "aria-label": "What Python does", "data-sheet": "peek" },
      this.grip,
      el("section", { class: "head" }, el("div", {}, this.title, this.sub), this.escape),
      el("section", { class: "verdict-line" }, this.said, this.aside),
      this.table,
      el(
        "section",
        { class: "graph" },
        el("div", { class: "head" }, el("h2", {}, "Flame graph"), legendOfKinds(), this.samples),
        this.trouble,
        el("div", { class: "graph-box" }, this.flame.element),
      ),
      this.logs,
      this.hint,
      this.actionsRow,
    );
  }

  pull() {
    const { dataset } = this.element;
    dataset.sheet = SHEETS[(SHEETS.indexOf(dataset.sheet) + 1) % SHEETS.length];
  }

  /** Older content stays, dimmed, until the answer is there. @param {boolean} stale */
  dim(stale) {
    setClass(this.element, "stale", stale);
  }

  /** @param {Window | null} window @param {{from: number | null, to: number | null}} steps @param {string} otherwise the title without a window */
  showWindow(window, steps, otherwise) {
    const had = this.element.classList.contains("selected");
    setClass(this.element, "selected", window !== null);
    if (window !== null && !had) this.element.dataset.sheet = "half";
    this.escape.hidden = this.table.hidden = this.logs.hidden = this.actionsRow.hidden = window === null;
    this.hint.hidden = window !== null;
    if (!window) {
      setText(this.title, otherwise);
      return;
    }
    const fine = window.to - window.from < 10;
    const time = (/** @type {number} */ t) => (fine ? `${clock(t)}.${String(Math.floor((t % 1) * 10))}` : clock(t));
    setText(this.title, `${time(window.from)} – ${time(window.to)}`);
    const range =
      steps.from === null || steps.to === null
        ? ""
        : steps.from === steps.to
          ? `, step ${count(steps.to)}`
          : `, steps ${count(steps.from)}–${count(steps.to)}`;
    setText(this.sub, `${duration(window.to - window.from)}${range}`);
  }

  /** @param {import("./evidence.js").Fact[]} facts */
  showFacts(facts) {
    this.facts.replaceChildren(...facts.map(factRow));
  }

  /**
   * @param {Flame | null} flame @param {Window} asked
   * @param {{now: boolean, growing: boolean, trouble: Trouble | null}} about `now`: the last seconds, not a selected window; `growing`: more of the profile may come
   */
  showFlame(flame, asked, { now, growing, trouble }) {
    this.flame.show(flame);
    this.#say(asked, now);
    setText(this.aside, aside(flame, asked, growing));
    if (now)
      setText(this.sub, flame?.samples ? `${duration(asked.to - asked.from)}, ${clock(asked.from)} – ${clock(asked.to)}` : "");
    setText(this.samples, flame?.samples ? `${count(flame.samples)} samples` : "");
    this.showTrouble(flame?.samples ? null : trouble);
  }

  /** @param {Window} asked @param {boolean} now */
  #say(asked, now) {
    const top = this.flame.tree?.hottest();
    const whole = now ? `the last ${duration(asked.to - asked.from)}` : "this window";
    if (top)
      this.said.replaceChildren(
        el("b", {}, percent(top.share)),
        ` of ${whole}: `,
        el("code", {}, `${place(top.frame.file, top.frame.line)} ${top.frame.name}`),
      );
    else this.said.replaceChildren();
  }

  /** @param {Trouble | null} trouble */
  showTrouble(trouble) {
    if (trouble) setText(this.aside, "");
    this.trouble.hidden = trouble === null;
    const told = JSON.stringify(trouble);
    if (trouble === null || told === this.trouble.dataset.told) return;
    this.trouble.dataset.told = told;
    const { sentence, remedy, action } = trouble;
    const button =
      action &&
      el(
        "button",
        { class: "btn pri", type: "button", onclick: () => this.actions.profile(action) },
        action === "on" ? "Turn on" : "Try again",
      );
    const copy = remedy && copyButton("Copy", () => remedy);
    this.trouble.replaceChildren(
      el("p", {}, sentence),
      remedy ? el("div", { class: "remedy" }, el("b", {}, "Remedy: "), el("code", {}, remedy)) : "",
      el("div", { class: "actions" }, button, copy || null),
    );
  }

  /** @param {import("./log.js").Line[]} lines of the window, oldest first @param {number} total */
  showLines(lines, total) {
    const kept = choose(lines);
    this.lines.replaceChildren(...kept.map((line) => logLine(line, { file: false })));
    setText(this.told, total ? `${kept.length} of ${count(total)} lines, from 2 s before` : "no lines, from 2 s before");
  }
}

/** Warnings and errors stay when not all fit. @param {import("./log.js").Line[]} lines */
function choose(lines) {
  const loud = lines.filter(({ level }) => level >= 30).slice(0, LINES);
  const rest = lines.filter((line) => !loud.includes(line)).slice(0, LINES - loud.length);
  return lines.filter((line) => loud.includes(line) || rest.includes(line));
}

/** What the samples are worth. @param {Flame | null} flame @param {Window} asked @param {boolean} growing */
function aside(flame, asked, growing) {
  if (!flame) return "";
  if (growing && flame.profile_until !== null && flame.profile_until < asked.to)
    return `The profile arrives until ${clock(asked.to)}; so far it reaches ${clock(flame.profile_until)}.`;
  if (!flame.samples) return flame.note ? "" : "No stack was sampled in this time.";
  if (flame.samples < FEW_SAMPLES) return `Only ${flame.samples} samples in this window: too few to blame a line.`;
  return `Share of the main thread’s time, ${flame.sampler} at ${figure(flame.hz, 0)} Hz.`;
}

/** @param {import("./evidence.js").Fact} fact */
function factRow({ name, window, rest, digits }) {
  const most = Math.max(Math.abs(window), Math.abs(rest)) * 1.15 || 1;
  const at = (/** @type {number} */ value) => (Math.max(0, value) / most) * 100;
  const [left, right] = [Math.min(at(window), at(rest)), Math.max(at(window), at(rest))];
  const bar = el(
    "span",
    { class: "delta", "aria-hidden": "true" },
    el("i", { class: window > rest ? "more" : "less", style: `left:${left}%;width:${right - left}%` }),
    el("i", { class: "normal", style: `left:${at(rest)}%` }),
  );
  return el(
    "tr",
    {},
    el("td", {}, name),
    el("td", { class: "num strong" }, figure(window, digits)),
    el("td", { class: "num mid" }, figure(rest, digits)),
    el("td", { class: "num" }, bar),
  );
}

const legendOfKinds = () =>
  el(
    "span",
    { class: "kinds", "aria-hidden": "true" },
    el("i", { class: "own" }),
    "your code",
    el("i", { class: "library" }),
    "library",
    el("i", { class: "wait" }),
    "waits",
  );
