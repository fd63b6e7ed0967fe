/** The side of the Flame page: the selected function's totals, source, callers and callees, and what changed most. */

import { TraceBox } from "../../blame/trace.js";
import { Source } from "../../flame/source.js";
import { nameOf, neighbours, spent } from "../../flame/tree.js";
import { copyButton } from "../../lib/clipboard.js";
import { el, setClass, setText } from "../../lib/dom.js";
import { NOTHING_S, brief, percent, signed, toneOf } from "../../lib/figures.js";
import { place } from "../../lib/format.js";

/** @typedef {import("../../flame/tree.js").Tree} Tree */
/** @typedef {{frame: number, line?: number, seconds: number, normal_s: number}} Row seconds of the window and of the baseline, `line` if another than the frame's */

const NEIGHBOURS = 8;
const FUNCTIONS = 40;

export class FlameSide {
  /** @param {(name: string) => void} choose a function, as `nameOf` gives it @param {() => void} changed something that is in the address */
  constructor(choose, changed) {
    this.choose = choose;
    /** @type {"self" | "total"} */
    this.by = "self";
    this.title = el("h2", { class: "title" });
    this.where = el("div", { class: "sub" });
    this.path = "";
    this.copy = copyButton("Copy path", () => this.path);
    this.totals = el("div", { class: "totals" });
    this.source = new Source();
    this.callers = el("table", {});
    this.callees = el("table", {});
    this.functions = el("table", {});
    this.sorting = el("button", { class: "plain", type: "button", onclick: () => this.#sort() }, "self time ▾");
    this.trace = new TraceBox(changed);
    this.element = el(
      "aside",
      { class: "side flame-side bare", "aria-label": "The selected function" },
      el("section", { class: "head" }, el("div", {}, this.title, this.where), this.copy),
      this.totals,
      this.source.element,
      el("section", {}, this.callers),
      el("section", {}, this.callees),
      this.trace.element,
      el("section", { class: "ranking" }, this.functions),
    );
  }

  #sort() {
    this.by = this.by === "self" ? "total" : "self";
    setText(this.sorting, `${this.by} time ▾`);
    if (this.tree) this.#drawFunctions(this.tree, spent(this.tree));
  }

  /** @type {Tree | null} */
  tree = null;
  folder = "";

  /** @param {Tree | null} tree @param {number} frame the selected function's, or -1 @param {string} run @param {string} folder the run's; "" if unknown */
  draw(tree, frame, run, folder) {
    this.tree = tree;
    this.folder = folder;
    const named = tree || frame >= 0 ? null : this.#named(run);
    setClass(this.element, "bare", tree === null && named === null);
    setClass(this.element, "only-source", named !== null);
    if (!tree) return this.source.show(named);
    const all = spent(tree);
    this.#drawChosen(tree, all[frame], run);
    const { callers, callees } = frame < 0 ? { callers: [], callees: [] } : neighbours(tree, frame);
    this.#fill(this.callers, tree, ["Called by"], callers.slice(0, NEIGHBOURS));
    this.#fill(this.callees, tree, ["Calls"], callees.slice(0, NEIGHBOURS));
    this.#drawFunctions(tree, all);
  }

  /** @param {Tree} tree @param {import("../../flame/tree.js").Spent | undefined} chosen @param {string} run */
  #drawChosen(tree, chosen, run) {
    const { name, file, line } = chosen ? tree.frames[chosen.frame] : { name: "", file: "", line: 0 };
    this.path = line > 0 ? `${file}:${line}` : file;
    this.copy.hidden = !file;
    setText(this.title, name);
    setText(this.where, file ? place(file, line) : "");
    this.where.title = file;
    this.totals.hidden = !chosen;
    if (!chosen) return this.source.show(this.#named(run));
    const { self_s, total_s, base_self_s, base_total_s } = chosen;
    this.totals.replaceChildren(
      this.#figure(tree, "Total", total_s, base_total_s),
      this.#figure(tree, "Self", self_s, base_self_s),
      this.#share(tree, total_s, base_total_s),
    );
    const own = tree.nodes.kind[tree.nodes.frame.indexOf(chosen.frame)] === "own" && this.folder !== ""; // the server shows no other code, and none of a run whose folder is unknown
    const tone = tree.compared ? toneOf(excessOf(tree, total_s, base_total_s)) : "";
    return this.source.show(own ? { run, file, line, share: `${percent(total_s / tree.total_s)} in ${name}`, tone } : null);
  }

  /** The line that the address names, as a link from a traceback does, while nothing is selected. @param {string} run @returns {import("../../flame/source.js").Place | null} */
  #named(run) {
    const found = /^(.+):(\d+)$/.exec(new URLSearchParams(location.search).get("code") ?? "");
    if (!found) return null;
    setText(this.title, "The line that failed");
    setText(this.where, place(found[1], Number(found[2])));
    return { run, file: found[1], line: Number(found[2]), share: "raised here", tone: "more" };
  }

  /** Seconds per unit. @param {Tree} tree @param {string} name @param {number} seconds @param {number} normal_s */
  #figure(tree, name, seconds, normal_s) {
    const [now, was] = [seconds / tree.units, normal_s / tree.baseUnits];
    return el(
      "div",
      { class: "figure" },
      el("div", { class: "k" }, `${name} per ${tree.per}`),
      el("div", { class: "v" }, brief(now), " ", el("small", {}, tree.compared ? `was ${brief(was)}` : "")),
    );
  }

  /** @param {Tree} tree @param {number} seconds @param {number} normal_s */
  #share(tree, seconds, normal_s) {
    const excess = excessOf(tree, seconds, normal_s);
    return el(
      "div",
      { class: "figure" },
      el("div", { class: "k" }, tree.compared ? "Change" : "Share"),
      tree.compared
        ? el("div", { class: `v ${toneOf(excess)}` }, signed(excess))
        : el("div", { class: "v" }, percent(seconds / tree.total_s)),
    );
  }

  /** @param {Tree} tree @param {import("../../flame/tree.js").Spent[]} all */
  #drawFunctions(tree, all) {
    const rows = all.map((row) =>
      this.by === "self"
        ? { frame: row.frame, line: row.self_line, seconds: row.self_s, normal_s: row.base_self_s }
        : { frame: row.frame, seconds: row.total_s, normal_s: row.base_total_s },
    );
    const weight = (/** @type {Row} */ { seconds, normal_s }) =>
      Math.abs(seconds / tree.units - (tree.compared ? normal_s / tree.baseUnits : 0));
    const shown = rows.filter(({ seconds, normal_s }) => Math.max(seconds / tree.units, normal_s / tree.baseUnits) > NOTHING_S);
    const by = tree.compared ? "Functions, by change in" : "Functions, by";
    this.#fill(this.functions, tree, [`${by} `, this.sorting], shown.sort((a, b) => weight(b) - weight(a)).slice(0, FUNCTIONS));
  }

  /** @param {HTMLElement} table @param {Tree} tree @param {(Node | string)[]} title @param {Row[]} rows */
  #fill(table, tree, title, rows) {
    const heads = tree.compared ? [`per ${tree.per}`, "change"] : [`per ${tree.per}`, "share"];
    table.replaceChildren(
      el("thead", {}, el("tr", {}, el("th", {}, ...title), ...heads.map((head) => el("th", { class: "num" }, head)))),
      el("tbody", {}, ...rows.map((row) => this.#row(tree, row))),
    );
    /** @type {HTMLElement} */ (table.parentElement).hidden = !rows.length;
  }

  /** @param {Tree} tree @param {Row} row */
  #row(tree, { frame, line, seconds, normal_s }) {
    const shown = tree.frames[frame];
    const [now, was] = [seconds / tree.units, normal_s / tree.baseUnits];
    const cells = tree.compared
      ? [el("td", { class: `num ${toneOf(now - was)}` }, signed(now - was))]
      : [el("td", { class: "num mid" }, percent(seconds / tree.total_s))];
    const name = el(
      "button",
      { class: "plain fn", type: "button", title: nameOf(shown), onclick: () => this.choose(nameOf(shown)) },
      shown.name,
      el("span", { class: "dim" }, shown.file ? place(shown.file, line ?? shown.line) : ""),
    );
    return el("tr", {}, el("td", {}, name), el("td", { class: "num strong" }, brief(now)), ...cells);
  }
}

/** Seconds per unit. @param {Tree} tree @param {number} seconds @param {number} normal_s */
const excessOf = (tree, seconds, normal_s) => seconds / tree.units - normal_s / tree.baseUnits;
