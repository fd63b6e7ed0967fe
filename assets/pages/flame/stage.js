/** The main part of the Flame page: the graph of a window with its chips and its side, as the user chose to see it. */

import { ownWords } from "../../blame/blame.js";
import { callersOf, spent } from "../../flame/callers.js";
import { el, setText } from "../../lib/dom.js";
import { FlameGraph } from "../../flame/flame.js";
import { filterOf, readChoice } from "./options.js";
import { FlameSide } from "./side.js";
import { FlameTools } from "./tools.js";
import { count } from "../../lib/format.js";
import { isPart } from "../../blame/suspect.js";
import { differenceTint, kindToken, tokenTint } from "../../flame/tint.js";
import { nameOf, Tree } from "../../flame/tree.js";
import { TroubleBox } from "../../blame/trouble.js";

/** @typedef {import("./options.js").Choice} Choice */
/** @typedef {import("../../flame/tree.js").Flame} Flame */
/** @typedef {import("../../blame/blame.js").Blame} Blame */
/** @typedef {import("../../blame/profile.js").Question} Question */

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

  /** @param {Flame | null} flame @param {Question} question @param {{growing: boolean, trouble: import("../../blame/profile.js").Trouble | null}} about */
  show(flame, { run, asked, now }, { growing, trouble }) {
    this.flame = flame;
    this.run = run;
    this.#build();
    const own = ownWords(flame, this.tree, { asked, now, growing, comparable: this.comparable });
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
    const excess = (/** @type {import("../../flame/callers.js").Spent} */ row) =>
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
