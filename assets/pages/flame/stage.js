/** The main part of the Flame page: the graph of a window with its tools and its side, as the user chose to see it. */

import { isPart, ownWords } from "../../blame/blame.js";
import { TroubleBox } from "../../blame/requests.js";
import { holders } from "../../data/phases.js";
import { FlameGraph } from "../../flame/flame.js";
import { differenceTint, kindToken, legendOfDifference, legendOfKinds, tokenTint } from "../../flame/paint.js";
import { Tree, callersOf, nameOf, spent } from "../../flame/tree.js";
import { el, setText } from "../../lib/dom.js";
import { percent } from "../../lib/figures.js";
import { count, duration } from "../../lib/format.js";
import { Menu } from "../../lib/menu.js";
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
    this.folder = ""; // the run's
    /** @type {Flame | null} */
    this.flame = null;
    /** @type {Tree | null} of the whole, also while only callers are drawn */
    this.tree = null;
    /** @type {Blame | null} */
    this.blame = null;
    this.isWithout = false; // there are no stacks, and none are on their way
    this.own = { said: /** @type {(Node | string)[]} */ ([]), aside: "" }; // the page's words while the server has none
    this.tools = new FlameTools((change) => this.choose(change));
    this.graph = new FlameGraph({ row: ROW, chosen: (node) => this.choose({ frame: this.graph.tree?.name(node) ?? null }) });
    this.trouble = new TroubleBox(actions.profile);
    this.caption = el("p", { class: "graph-foot dim" });
    this.side = new FlameSide((name) => this.choose({ frame: name }), actions.chosen);
    this.place = el("div", { class: "graph-place" }, this.trouble.element, this.graph.element, this.caption);
    this.graph.addTools(() => `Flame graph of ${this.run}`);
  }

  /** @param {Flame | null} flame @param {Question} question @param {{growing: boolean, trouble: import("../../blame/requests.js").Trouble | null}} about */
  show(flame, { run, asked, now, baseline }, { growing, trouble }) {
    this.flame = flame;
    this.run = run;
    this.#build();
    const own = ownWords(flame, this.tree, { asked, now, growing, comparable: this.comparable, baseline });
    const none = { said: [now ? "No stacks to show" : "No stacks in this window"], aside: "" };
    this.own = this.kernels ? KERNELS : flame && !flame.samples && trouble ? none : own;
    const areComing = flame === null || (growing && flame.profile_until !== null && flame.profile_until < asked.to);
    this.isWithout = !this.tree && (trouble !== null || !areComing);
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
    this.side.draw(tree, this.#frameIndex(), this.run, this.folder);
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

// The row of tools above the flame graph: menus of threads, phases and roll-up, the search, and the drawing.

/** @typedef {import("../../lib/menu.js").Section} Section */

const VIEWS = /** @type {const} */ ([
  ["joined", "Joined at waits", "What the main thread waited for hangs below its wait"],
  ["main", "Main thread", "Waits stay waits"],
  ["threads", "Every thread", "Each with its own time"],
  ["kernels", "Kernels", "Of traced steps, below the lines that launched them"],
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
    this.choice = USUAL;
    /** @type {Flame | null} */
    this.flame = null;
    this.isCompared = false;
    this.threads = new Menu("Threads", () => this.#threads());
    this.phases = new Menu("Phases", () => [this.#phases()]);
    this.rolls = new Menu("Roll up", () => [this.#rolls()]);
    this.more = new Menu("More", () => this.#more(), { word: "···", kind: "dots" });
    this.input = el("input", {
      type: "search",
      placeholder: "Search functions",
      "aria-label": "Search functions and files",
      oninput: () => choose({ q: this.input.value }),
      onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.#leave(),
    });
    this.found = el("span", { class: "dim", role: "status" });
    this.cuts = el("span", { class: "chips", role: "group", "aria-label": "Stacks and frames" });
    this.legend = el("span", { class: "kinds", "aria-hidden": "true" });
    this.invert = el("button", { class: "btn", type: "button", onclick: () => choose({ invert: !this.choice.invert, callers: false }) }, "Invert");
    this.element = el(
      "section",
      { class: "tools", "aria-label": "What the flame graph shows" },
      this.threads.element,
      this.phases.element,
      this.rolls.element,
      el("span", { class: "search" }, this.input, this.found, el("kbd", { "aria-hidden": "true" }, "/")),
      this.cuts,
      el("span", { class: "right" }, this.legend, this.invert, this.more.element),
    );
  }

  #leave() {
    this.input.value = "";
    this.choose({ q: "" });
    this.input.blur();
  }

  /** @param {Choice} choice @param {Flame | null} flame @param {boolean} compared */
  draw(choice, flame, compared) {
    Object.assign(this, { choice, flame, isCompared: compared });
    const drawn = JSON.stringify([choice, compared, flame?.threads]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const { thread, rank, view, phase, roll, q, invert } = choice;
    const alone = flame?.threads.find(({ tid }) => String(tid) === thread);
    const threads = thread ? (alone?.name ?? "One thread") : (VIEWS.find(([name]) => name === view)?.[1] ?? "");
    this.threads.say(rank === null ? threads : `${threads}, rank ${rank}`);
    this.phases.say(phase ?? "All phases");
    this.rolls.say(ROLLS.find(([name]) => name === roll)?.[1] ?? "");
    this.legend.replaceChildren(...(compared && choice.difference ? legendOfDifference() : legendOfKinds()));
    this.invert.setAttribute("aria-pressed", String(invert));
    this.more.button.setAttribute("aria-pressed", String(MORE.some((name) => choice[name] !== USUAL[name])));
    this.#drawCuts(choice);
    if (this.input.value !== q) this.input.value = q;
  }

  #drawn = "";

  /** How the threads are drawn, or which one, and of which rank. @returns {Section[]} */
  #threads() {
    const { thread, rank, view } = this.choice;
    const { threads = [], ranks = [] } = this.flame ?? {};
    /** @type {Map<string, Section["items"]>} */
    const groups = new Map();
    for (const { tid, name, seconds, role, pid, rank: own } of threads.length > 1 ? threads : []) {
      const title = `Rank ${own}${role === "main" ? "" : `, worker ${pid}`}`;
      const item = { label: name, note: duration(seconds), on: String(tid) === thread, run: () => this.choose({ thread: String(tid) }) };
      groups.set(title, [...(groups.get(title) ?? []), item]);
    }
    const ofRank = (/** @type {string | null} */ value) => ({ label: value === null ? "All ranks" : `Rank ${value}`, on: rank === value, run: () => this.choose({ rank: value }) });
    return [
      { title: "", items: VIEWS.map(([name, label, about]) => ({ label, about, on: !thread && view === name, run: () => this.choose({ view: name, thread: null }) })) },
      { title: "Ranks", items: ranks.length > 1 || rank !== null ? [null, ...ranks.map(String)].map(ofRank) : [] },
      ...[...groups].map(([title, items]) => ({ title: groups.size > 1 ? `One thread of ${title.toLowerCase()}` : "One thread", items })),
    ];
  }

  /** @returns {Section} */
  #phases() {
    const { flame, choice } = this;
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
    const none = choice.view === "kernels" ? "Traced steps are not divided into phases" : "The script logs no phases";
    const all = { label: "All phases", about: phases.length ? "" : none, on: choice.phase === null, run: () => this.choose({ phase: null }) };
    const items = phases.map(({ name, seconds, normal_s }) => ({
      label: name,
      note: percent(seconds / whole_s),
      tone: tone(seconds, normal_s),
      on: choice.phase === name,
      run: () => this.choose({ phase: name }),
    }));
    return { title: "", items: [all, ...items] };
  }

  /** @returns {Section} */
  #rolls() {
    return { title: "", items: ROLLS.map(([roll, label]) => ({ label, on: this.choice.roll === roll, run: () => this.choose({ roll }) })) };
  }

  /** What has no button of its own here: a phone has room for few. @returns {Section[]} */
  #more() {
    const { waits, invert, callers, order, difference } = this.choice;
    const isHidden = (/** @type {HTMLElement} */ button) => !button.checkVisibility();
    const choices = (/** @type {string} */ title, /** @type {Section} */ { items }) => ({ title, items });
    const inverted = { label: "Invert", key: "i", on: invert, run: () => this.choose({ invert: !invert, callers: false }) };
    return [
      ...(isHidden(this.phases.button) ? [choices("Phases", this.#phases())] : []),
      ...(isHidden(this.rolls.button) ? [choices("Roll up", this.#rolls())] : []),
      {
        title: "Show",
        switches: true,
        items: [
          ...(isHidden(this.invert) ? [inverted] : []),
          { label: "Callers of the selected function", key: "c", on: callers, run: () => this.choose({ callers: !callers, invert: false }) },
          { label: "Waits", on: waits, run: () => this.choose({ waits: !waits }) },
        ],
      },
      {
        title: "Order",
        items: [
          { label: "By time", on: order === "time", run: () => this.choose({ order: "time" }) },
          { label: "By name", on: order === "name", run: () => this.choose({ order: "name" }) },
        ],
      },
      {
        title: "Colour",
        items: this.isCompared
          ? [
              { label: "Difference", on: difference, run: () => this.choose({ difference: true }) },
              { label: "Share", on: !difference, run: () => this.choose({ difference: false }) },
            ]
          : [],
      },
    ];
  }

  /** A search can also become a filter: only its frames, or all others. @param {Choice} choice */
  #drawCuts({ q, focus, hide }) {
    const chip = (/** @type {boolean} */ on, /** @type {Partial<Choice>} */ change, /** @type {string} */ word) =>
      el("button", { class: "chip", type: "button", "aria-pressed": String(on), onclick: () => this.choose(change) }, word);
    this.cuts.replaceChildren(
      ...(q ? [chip(false, { focus: q, q: "" }, "Only these"), chip(false, { hide: q, q: "" }, "Without these")] : []),
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
const MORE = /** @type {(keyof Choice)[]} */ (["waits", "callers", "order", "difference"]); // that have no button of their own

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
