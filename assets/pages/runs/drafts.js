/** What a user has typed into the fields of the side panel and not saved: it outlives that Python fills the panel anew. */

import { setProps } from "./dash.js";

/** @typedef {{name: string, value: string, most: number}} Draft `most`: characters that can be saved */

export class Drafts {
  constructor() {
    /** @type {Map<string, Draft>} */
    this.typedIn = new Map();
    this.shownAt = ""; // which filling of the panel has them
    this.focused = "";
  }

  /** @param {HTMLInputElement} control @returns {Draft | null} */
  typed(control) {
    const about = draftField(control);
    if (!about) return null;
    const draft = { name: about.dataset.field ?? "", value: control.value, most: Number(about.dataset.most) };
    this.typedIn.set(draft.name, draft);
    this.focused = control.id;
    return draft;
  }

  /** Those that differ from what was read. @returns {Draft[]} */
  changed() {
    return [...this.typedIn.values()].filter(({ name, value }) => fieldOf(name)?.dataset.read !== value);
  }

  /** The server has these; what was typed since stays. @param {Draft[]} drafts */
  saved(drafts) {
    for (const draft of drafts) if (this.typedIn.get(draft.name)?.value === draft.value) this.typedIn.delete(draft.name);
  }

  clear() {
    this.typedIn.clear();
  }

  /** Into the fields that Python has just filled. */
  show() {
    const at = /** @type {HTMLElement | null} */ (document.querySelector("#about [data-read-at]"))?.dataset.readAt ?? "";
    if (at === this.shownAt) return;
    this.shownAt = at;
    for (const { name, value } of this.typedIn.values()) setProps(`about-${name}`, { value });
    if (this.typedIn.size && document.activeElement === document.body) document.getElementById(this.focused)?.focus();
  }
}

/** @param {HTMLElement} control @returns {HTMLElement | null} */
const draftField = (control) => control.closest("[data-field]");

/** @param {string} name @returns {HTMLElement | null} */
const fieldOf = (name) => document.querySelector(`#about [data-field="${name}"]`);
