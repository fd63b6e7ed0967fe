/** Where each thread of a run was last: shown once the run has ended otherwise than it says itself, in a dialog. */

import { get, sentenceOf } from "../lib/api.js";
import { dialogOf, el } from "../lib/dom.js";
import { clock, place } from "../lib/format.js";

/** @typedef {import("../types/api").Row<"LastStackRow">} LastStack */

const CRASHED = new Set(["failed", "killed", "ended"]);

export class LastStacks {
  constructor() {
    /** @type {string | null} */
    this.run = null;
    this.body = el("div", { class: "ran-body" });
    this.dialog = dialogOf("last", "Last stacks", this.body);
    this.element = el("button", { class: "last-button", type: "button", title: "Where each thread was last", hidden: true, onclick: () => this.open() }, "last stacks");
  }

  /** @param {import("../types/api").Run | null} run the shown one */
  draw(run) {
    this.run = run?.run ?? null;
    this.element.hidden = !run?.pid || !CRASHED.has(run.state); // without a process here nothing was sampled
    if (this.element.hidden && this.dialog.open) this.dialog.close();
  }

  async open() {
    const { run } = this;
    if (run === null || this.dialog.open) return;
    const title = el("h2", {}, `Where each thread of ${run} was last`);
    this.body.replaceChildren(title, el("p", { class: "dim" }, "Reading …"));
    this.dialog.showModal();
    try {
      const { stacks } = await get("last_stacks", { run });
      if (run === this.run) this.body.replaceChildren(title, ...(stacks.length ? stacks.map(shown) : [el("p", { class: "dim" }, "No stack of it was sampled.")]));
    } catch (error) {
      this.body.replaceChildren(title, el("p", {}, sentenceOf(error)));
    }
  }
}

/** The innermost call first, as a debugger shows it. @param {LastStack} last @param {number} _ @param {LastStack[]} all */
function shown(last, _, all) {
  const several = new Set(all.map(({ pid }) => pid)).size > 1;
  const who = several ? `, ${last.role === "main" ? "main process" : last.role} ${last.pid}${last.rank ? ` of rank ${last.rank}` : ""}` : "";
  const lines = last.frames.map(({ file, line, name }) => (file ? `${name}  ${place(file, line)}` : name)).reverse();
  return el("section", {}, el("h3", {}, `${last.thread || "a thread"}${who}, until ${clock(last.until_s)}`), el("pre", {}, lines.join("\n")));
}
