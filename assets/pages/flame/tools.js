/** The chips above the flame graph: threads, ranks, phases, the drawing, and the search. */

import { el, setText } from "../../lib/dom.js";
import { percent } from "../../lib/figures.js";
import { legendOfDifference, legendOfKinds } from "../../flame/legends.js";
import { count, duration } from "../../lib/format.js";
import { holders } from "../../data/phases.js";

/** @typedef {import("./options.js").Choice} Choice */
/** @typedef {import("../../flame/tree.js").Flame} Flame */
/** @typedef {(on: boolean, change: Partial<Choice>, ...words: (Node | string)[]) => HTMLButtonElement} Chip */

const VIEWS = /** @type {const} */ ([
  ["joined", "Joined at waits", "what the main thread waited for hangs below its wait"],
  ["main", "Main thread", "waits stay waits"],
  ["threads", "Every thread", "each with its own time"],
  ["kernels", "Kernels", "of traced steps, below the lines that launched them"],
]);
const ROLLS = /** @type {const} */ ([
  ["function", "By function"],
  ["module", "By module"],
  ["file", "By file"],
]);
const CLEARLY = 0.1; // a phase that differs by more than this share of the step has the colour of its difference

export class FlameTools {
  /** @param {(change: Partial<Choice>) => void} choose */
  constructor(choose) {
    this.choose = choose;
    this.views = el("div", { class: "chips", role: "group", "aria-label": "Threads" });
    this.thread = el("select", {
      class: "chip",
      "aria-label": "One thread alone",
      onchange: () => choose({ thread: this.thread.value || null }),
    });
    this.ranks = el("div", { class: "chips", role: "group", "aria-label": "Ranks" });
    this.phases = el("div", { class: "chips", role: "group", "aria-label": "Phases" });
    this.input = el("input", {
      type: "search",
      placeholder: "search functions and files",
      "aria-label": "Search",
      oninput: () => choose({ q: this.input.value }),
      onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.#leave(),
    });
    this.found = el("span", { class: "dim", role: "status" });
    this.cuts = el("div", { class: "chips", role: "group", "aria-label": "Stacks and frames" });
    this.legend = el("span", { class: "kinds", "aria-hidden": "true" });
    this.colours = el("div", { class: "switch", role: "group", "aria-label": "Colours" });
    this.roll = el(
      "select",
      { class: "chip", "aria-label": "Roll up", onchange: () => choose({ roll: this.roll.value }) },
      ...ROLLS.map(([value, name]) => el("option", { value }, name)),
    );
    this.ways = el("div", { class: "chips" });
    this.element = el(
      "section",
      { class: "tools", "aria-label": "What the flame graph shows" },
      el(
        "div",
        { class: "tool-row" },
        el("span", { class: "lab" }, "Threads"),
        this.views,
        this.thread,
        this.roll,
        this.ranks,
        el("div", { class: "search" }, el("kbd", {}, "/"), this.input, this.found, this.cuts),
      ),
      el(
        "div",
        { class: "tool-row" },
        el("span", { class: "lab" }, "Phases"),
        this.phases,
        el("span", { class: "right" }, this.legend, this.colours, this.ways),
      ),
    );
  }

  #leave() {
    this.input.value = "";
    this.choose({ q: "" });
    this.input.blur();
  }

  /** @param {Choice} choice @param {Flame | null} flame @param {boolean} compared */
  draw(choice, flame, compared) {
    const drawn = JSON.stringify([choice, compared, flame?.phases, flame?.ranks, flame?.threads]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const { thread, rank, phase, waits, callers, invert, difference } = choice;
    const chip = (/** @type {boolean} */ on, /** @type {Partial<Choice>} */ change, /** @type {(Node | string)[]} */ ...words) =>
      el("button", { class: "chip", type: "button", "aria-pressed": String(on), onclick: () => this.choose(change) }, ...words);
    this.views.replaceChildren(
      ...VIEWS.map(([view, name, title]) => {
        const button = chip(!thread && choice.view === view, { view, thread: null }, name);
        button.title = title;
        return button;
      }),
    );
    this.#drawThreads(flame?.threads ?? [], thread);
    const ranks = flame?.ranks ?? [];
    this.ranks.replaceChildren(
      ...(ranks.length > 1 || rank !== null
        ? [
            chip(rank === null, { rank: null }, "All ranks"),
            ...ranks.map((number) => chip(rank === String(number), { rank: String(number) }, String(number))),
          ]
        : []),
    );
    this.#drawPhases(flame, phase, chip, choice.view === "kernels" ? "traced steps are not divided into phases" : "no phases to choose from");
    this.legend.replaceChildren(...(compared && difference ? legendOfDifference() : legendOfKinds()));
    this.colours.hidden = !compared;
    this.colours.replaceChildren(
      chip(difference, { difference: true }, "Difference"),
      chip(!difference, { difference: false }, "Share"),
    );
    this.roll.value = choice.roll;
    this.ways.replaceChildren(
      chip(!waits, { waits: !waits }, "No waits"),
      chip(invert, { invert: !invert, callers: false }, "Invert", el("kbd", {}, "i")),
      chip(callers, { callers: !callers }, "Callers", el("kbd", {}, "c")),
    );
    this.#drawCuts(choice, chip);
    if (this.input.value !== choice.q) this.input.value = choice.q;
  }

  #drawn = "";

  /** @param {Flame["threads"]} threads @param {string | null} chosen */
  #drawThreads(threads, chosen) {
    /** @type {Map<string, Flame["threads"]>} */
    const groups = new Map();
    for (const thread of threads) {
      const title = `rank ${thread.rank}${thread.role === "main" ? "" : `, worker ${thread.pid}`}`;
      groups.set(title, [...(groups.get(title) ?? []), thread]);
    }
    const option = (/** @type {Flame["threads"][0]} */ { tid, name, seconds }) =>
      el("option", { value: String(tid), selected: String(tid) === chosen }, `${name}, ${duration(seconds)}`);
    this.thread.replaceChildren(
      el("option", { value: "" }, `${count(threads.length)} threads …`),
      ...[...groups].map(([label, members]) => el("optgroup", { label }, ...members.map(option))),
    );
    this.thread.setAttribute("aria-pressed", String(chosen !== null));
    this.thread.hidden = threads.length < 2;
  }

  /** @param {Flame | null} flame @param {string | null} chosen @param {Chip} chip @param {string} none */
  #drawPhases(flame, chosen, chip, none) {
    const phases = flame?.phases ?? [];
    const step_s = flame?.units ? flame.seconds / flame.units / Math.max(1, flame.ranks.length) : null;
    const held = holders(
      phases.map(({ name }) => name),
      phases.map(({ seconds }) => seconds),
      step_s,
    );
    const whole_s = phases.reduce((sum, { seconds }, i) => sum + (held.has(i) ? 0 : seconds), 0) || 1; // parts of a step, each once
    const tone = (/** @type {number} */ seconds, /** @type {number | null} */ normal_s) => {
      const change = normal_s === null ? 0 : (seconds - normal_s) / whole_s;
      return change > CLEARLY ? "more" : change < -CLEARLY ? "less" : "";
    };
    this.phases.replaceChildren(
      chip(chosen === null, { phase: null }, "All"),
      ...phases.map(({ name, seconds, normal_s }) =>
        chip(chosen === name, { phase: name }, name, el("em", { class: tone(seconds, normal_s) }, percent(seconds / whole_s))),
      ),
      phases.length ? "" : el("span", { class: "dim" }, none),
    );
  }

  /** A search can also become a filter: only its frames, or all others. @param {Choice} choice @param {Chip} chip */
  #drawCuts({ q, focus, hide }, chip) {
    this.cuts.replaceChildren(
      ...(q ? [chip(false, { focus: q, q: "" }, "only"), chip(false, { hide: q, q: "" }, "without")] : []),
      ...(focus ? [chip(true, { focus: null }, `only ${focus} ×`)] : []),
      ...(hide ? [chip(true, { hide: null }, `without ${hide} ×`)] : []),
    );
  }

  /** @param {import("../../flame/tree.js").Match} match */
  showFound({ functions, share }) {
    const { value } = this.input;
    setText(
      this.found,
      value ? (functions ? `${count(functions)} ${functions === 1 ? "function" : "functions"}, ${percent(share)}` : "none") : "",
    );
  }
}
