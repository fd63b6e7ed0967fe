/** The second row of the frame, the same on every page: which run, what it is doing, what the page does with it, and which range of time. */

import { wordsOf } from "../data/runs.js";
import { el, setText } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { Picker } from "../lib/picker.js";

/** @typedef {{actions: ChildNode[], when: ChildNode[]}} Controls of a page, in this row */

export class Scope {
  /** @param {(run: string) => void} pick */
  constructor(pick) {
    const place = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
    this.picker = new Picker(pick);
    this.about = el("span", { class: "scope-about", hidden: true });
    place("picker").append(this.picker.element, this.about);
    this.state = place("state");
    /** The page's own buttons. */
    this.actions = place("actions");
    /** The page's range of time. */
    this.when = place("when");
    const narrow = matchMedia("(max-width: 639px)"); // there is no room beside the state
    const fold = () => (this.actions.popover = narrow.matches ? "auto" : null);
    this.actions.before(el("button", { class: "btn ghost scope-more", type: "button", "aria-label": "More about this run", popovertarget: "actions" }, "⋯"));
    narrow.addEventListener("change", fold);
    fold();
  }

  /** Take the page's own controls away: another one is about to be shown. @returns {Controls} */
  take() {
    const controls = { actions: [...this.actions.childNodes], when: [...this.when.childNodes] };
    this.give({ actions: [], when: [] });
    return controls;
  }

  /** @param {Controls} controls that were taken away */
  give({ actions, when }) {
    this.actions.replaceChildren(...actions);
    this.when.replaceChildren(...when);
  }

  /** @param {import("../data/runs.js").Runs} runs @param {string} about what the page shows in place of one run; "" for the run that can be picked */
  draw(runs, about) {
    this.picker.element.hidden = this.state.hidden = Boolean(about);
    this.about.hidden = !about;
    setText(this.about, about);
    this.picker.draw(runs);
    const { current: run, now_s, over } = runs;
    const [word, tone, meaning] = wordsOf(run);
    const lived = run?.started_s ? duration(Math.max(0, (over ? (runs.last_s ?? run.started_s) : now_s) - run.started_s)) : "";
    const since_s = run?.doing ? (run.doing_since_s ?? null) : null;
    const length = since_s !== null ? `for ${duration(Math.max(0, now_s - since_s))}` : lived && `${over ? "after" : "for"} ${lived}`;
    const host = typeof run?.info.host === "string" ? run.info.host : "";
    const rest = length && host ? `${length} on ${host}` : length;
    const looks = `${word} ${rest} ${run?.state_reason}`;
    if (looks === this.#looks) return;
    this.#looks = looks;
    this.state.title = [meaning, run?.state_reason, run?.ranks_note].filter(Boolean).join(" ");
    this.state.replaceChildren(el("span", { class: `live ${tone}` }, word ? el("i", { class: "dot" }) : "", word), ` ${rest}`);
  }

  #looks = "";
}
