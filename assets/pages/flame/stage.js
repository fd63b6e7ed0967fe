/** The main part of the Flame page: the graph of a window with its chips and its side, as the user chose to see it. */

import { isPart, ownWords } from "../../blame/blame.js";
import { TroubleBox } from "../../blame/requests.js";
import { holders } from "../../data/phases.js";
import { FlameGraph } from "../../flame/flame.js";
import { differenceTint, kindToken, legendOfDifference, legendOfKinds, tokenTint } from "../../flame/paint.js";
import { Tree, callersOf, nameOf, spent } from "../../flame/tree.js";
import { el, setText } from "../../lib/dom.js";
import { percent } from "../../lib/figures.js";
import { count, duration } from "../../lib/format.js";
import { FlameSide } from "./side.js";

/** @typedef {import("../../flame/tree.js").Flame} Flame */
/** @typedef {import("../../blame/blame.js").Blame} Blame */
/** @typedef {import("../../blame/requests.js").Question} Question */

const ROW = 24;
const KERNELS = { said: ["What each line launched, in the steps that were traced"], aside: "At the right, Kernels by line has the same as a table." };

export class FlameStage {
  /** @param {{chosen: () => void, profile: (action: "on" | "retry") => void}} actions `chosen`: the user changed how it is shown */
  constructor(actions) {
    this.actions = actions;
    this.choice = readChoice();
    this.filter = filterOf(this.choice);
    this.run = "";
    /** @type {Flame | null} */
    this.flame = null;
    /** @type {Tree | null} of the whole, also while only callers are drawn */
    this.tree = null;
    /** @type {Blame | null} */
    this.blame = null;
    this.own = { said: /** @type {(Node | string)[]} */ ([]), aside: "" }; // the page's words while the server has none
    this.tools = new FlameTools((change) => this.choose(change));
    this.graph = new FlameGraph({ row: ROW, chosen: (node) => this.choose({ frame: this.graph.tree?.name(node) ?? null }) });
    this.trouble = new TroubleBox(actions.profile);
    this.caption = el("p", { class: "graph-foot dim" });
    this.side = new FlameSide((name) => this.choose({ frame: name }));
    this.place = el("div", { class: "graph-place" }, this.trouble.element, this.graph.element, this.caption);
  }

  /** @param {Flame | null} flame @param {Question} question @param {{growing: boolean, trouble: import("../../blame/requests.js").Trouble | null}} about */
  show(flame, { run, asked, now, baseline }, { growing, trouble }) {
    this.flame = flame;
    this.run = run;
    this.#build();
    const own = ownWords(flame, this.tree, { asked, now, growing, comparable: this.comparable, baseline });
    this.own = this.kernels ? KERNELS : flame && !flame.samples && trouble ? { ...own, aside: "" } : own;
    this.trouble.show(flame?.samples ? null : trouble);
    this.draw();
  }

  /** Whether the graph is of traced steps, and not of the window's stacks. */
  get kernels() {
    return this.choice.view === "kernels" && !this.choice.thread;
  }

  /** @param {Blame | null} blame */
  showBlame(blame) {
    this.blame = blame;
    if (this.choice.frame === null) this.draw();
  }

  /** The selected function: the user's, else the blamed one, else the one that took most. @returns {string | null} */
  get frame() {
    const { choice, blame, tree } = this;
    if (choice.frame !== null) return choice.frame;
    if (blame?.function && blame.file) return nameOf({ name: blame.function, file: blame.file });
    const top = tree?.hottest();
    return top ? nameOf(top.frame) : null;
  }

  /** The tree, if it contains everything behind the server's verdict, from callers to callees. @returns {Tree | null} */
  get comparable() {
    const { view, rank: _, ...others } = this.filter;
    return view === "joined" && Object.values(others).every((value) => value === null) ? this.tree : null;
  }

  /** @param {Partial<Choice>} change */
  choose(change) {
    const before = this.choice;
    this.choice = { ...before, ...change };
    const filter = filterOf(this.choice);
    if (JSON.stringify(filter) !== JSON.stringify(this.filter)) this.filter = filter;
    const { callers, order, frame } = this.choice;
    if (callers !== before.callers || order !== before.order || (callers && frame !== before.frame)) this.#build();
    this.draw();
    this.actions.chosen();
  }

  /** The graph of the whole window, or of the selected function's callers. */
  #build() {
    const { flame, graph, choice } = this;
    const whole = flame?.samples ? new Tree(flame, choice.order) : null;
    this.tree = whole;
    const of = choice.callers ? this.#frameIndex() : -1;
    graph.show(whole && of >= 0 ? new Tree(callersOf(/** @type {Flame} */ (flame), whole, of), choice.order) : whole);
    if (of >= 0 || choice.invert) graph.hot = -1;
  }

  #frameIndex() {
    const { frame, tree } = this;
    return frame === null || !tree ? -1 : tree.frames.findIndex((named) => nameOf(named) === frame);
  }

  draw() {
    const { graph, tree, choice, frame } = this;
    if (graph.difference !== choice.difference) graph.invalidate();
    graph.difference = choice.difference;
    graph.mark(frame);
    this.tools.showFound(graph.search(choice.q));
    this.tools.draw(choice, this.flame, tree?.compared ?? false);
    this.side.draw(tree, this.#frameIndex(), this.run);
    setText(this.caption, tree ? this.#caption(tree) : "");
  }

  /** @param {Tree} tree */
  #caption(tree) {
    const { callers, invert, difference } = this.choice;
    const what = callers
      ? `Below ${(this.frame ?? "").split(" ")[0]} stand its callers. `
      : invert
        ? "Leaves stand on top, their callers below them. "
        : "";
    const colour = tree.compared && difference ? `Colour is the change in seconds per ${tree.per}${isPart(tree) ? `; of less than 8 ${tree.per}s a window also has what it holds of them by chance` : ""}. ` : "";
    if (this.kernels) return `${what}Width is time of kernels or operators in the newest traced steps. ${count(tree.count)} frames.`;
    return `${what}Width is time in this window. ${colour}Hatched: the thread waits. ${count(tree.count)} frames.`;
  }

  /** Frames elsewhere on the page have the colour of their function in the graph. @returns {import("../../flame/chart.js").Tinting} */
  tinting() {
    const { tree } = this;
    if (!tree?.compared || !this.choice.difference) return (_, kind) => tokenTint(kindToken(kind), false);
    const full = tree.fullExcess();
    const excess = (/** @type {import("../../flame/tree.js").Spent} */ row) =>
      row.total_s / tree.units - row.base_total_s / tree.baseUnits;
    const shares = new Map(spent(tree).map((row) => [nameOf(tree.frames[row.frame]), excess(row) / full]));
    return (frame) => differenceTint(shares.get(nameOf(frame)) ?? 0, false);
  }

  /** @returns {import("../../lib/keys.js").Key[]} */
  keys() {
    const turn = (/** @type {"invert" | "callers"} */ name) =>
      this.choose({ invert: false, callers: false, [name]: !this.choice[name] });
    const order = () => this.choose({ order: this.choice.order === "name" ? "time" : "name" });
    return [
      {
        keys: ["f"],
        shown: "f",
        says: "to the flame graph: arrows walk, Enter zooms, Backspace returns",
        run: () => this.graph.canvas.focus(),
      },
      { keys: ["/"], shown: "/", says: "search functions and files", run: () => this.tools.input.focus() },
      { keys: ["i"], shown: "i", says: "invert: leaves on top, their callers below", run: () => turn("invert") },
      { keys: ["c"], shown: "c", says: "callers of the selected function", run: () => turn("callers") },
      { keys: ["o"], shown: "o", says: "order by time, or by name", run: order },
    ];
  }
}

// The chips above the flame graph: threads, ranks, phases, the drawing, and the search.

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

class FlameTools {
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

// The options of the Flame page: threads, phase and rank, roll-up, inversion, drawing. The address keeps them.

/**
 * @typedef {Object} Choice of the user
 * @property {"joined" | "main" | "threads" | "kernels"} view `kernels`: those of the steps that were traced on demand
 * @property {string | null} thread one thread alone, by its id
 * @property {string | null} phase
 * @property {string | null} rank
 * @property {"function" | "module" | "file"} roll
 * @property {string | null} focus only stacks with a frame like this, from there down
 * @property {string | null} hide frames like this are left out, and what they call moves up
 * @property {boolean} waits false: without the time in which a thread only waits
 * @property {boolean} invert the leaves at the root
 * @property {import("../../flame/tree.js").Order} order of siblings
 * @property {boolean} difference colours show the difference from normal, else the kind of code
 * @property {string} q searched for
 * @property {string | null} frame the selected function, as `nameOf` gives it
 * @property {boolean} callers the selected function's callers are drawn instead of the whole
 */

/** @type {Choice} */
const USUAL = {
  view: "joined",
  thread: null,
  phase: null,
  rank: null,
  roll: "function",
  focus: null,
  hide: null,
  waits: true,
  invert: false,
  order: "time",
  difference: true,
  q: "",
  frame: null,
  callers: false,
};
const SWITCHES = new Set(["waits", "invert", "difference", "callers"]);

/** @returns {Choice} */
function readChoice() {
  const query = new URLSearchParams(location.search);
  const given = Object.keys(USUAL).flatMap((name) => {
    const value = query.get(name);
    return value === null ? [] : [[name, SWITCHES.has(name) ? value === "1" : value]];
  });
  return { ...USUAL, ...Object.fromEntries(given) };
}

/** The options that differ from the defaults, for the address. @param {Choice} choice @returns {Record<string, string | number | null>} */
export function addressOf(choice) {
  const values = Object.entries(choice).map(([name, value]) => [
    name,
    value === USUAL[/** @type {keyof Choice} */ (name)] ? null : typeof value === "boolean" ? Number(value) : value,
  ]);
  return Object.fromEntries(values);
}

/** The parameters for the server. @param {Choice} choice */
function filterOf({ view, thread, phase, rank, roll, focus, hide, waits, invert }) {
  return {
    view: thread ? "threads" : view,
    thread,
    phase,
    rank,
    roll: roll === "function" ? null : roll,
    focus,
    hide,
    waits: waits ? null : 0,
    invert: invert ? 1 : null,
  };
}
