/** The side panel: Python fills it (`panel_of` in `dashboard/pages/runs.py`), and its buttons send what a user changes. */

import { sentenceOf } from "../../lib/api.js";
import { aboutOf, change } from "../../lib/change.js";
import { setClass, setText } from "../../lib/dom.js";
import { count } from "../../lib/format.js";
import { setProps } from "./dash.js";
import { Drafts } from "./drafts.js";

const ID = "about";

export class Panel {
  /** @param {() => void} changed called once the server has taken a change */
  constructor(changed) {
    this.changed = changed;
    /** @type {string | null} */
    this.run = null;
    this.times = 0;
    this.drafts = new Drafts();
    document.addEventListener("click", (event) => {
      const button = /** @type {HTMLElement} */ (event.target).closest?.(`#${ID} [data-act]`);
      if (button) this.#act(/** @type {HTMLElement} */ (button));
    });
    document.addEventListener("input", ({ target }) => {
      if (/** @type {HTMLElement} */ (target).closest?.(`#${ID}`)) this.#typed(/** @type {HTMLInputElement} */ (target));
    });
    document.addEventListener("keydown", (event) => {
      const field = /** @type {HTMLElement} */ (event.target).closest?.(`#${ID} :is(input, textarea)`);
      if (!field) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#save();
      if (event.key === "Escape") this.close();
    });
    addEventListener("beforeunload", (event) => this.drafts.changed().length && event.preventDefault());
    new MutationObserver(() => this.drafts.show()).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-read-at"], childList: true });
  }

  /** @param {string} run */
  show(run) {
    if (run !== this.run && !this.#mayLeave()) return;
    this.run = run;
    this.#ask();
    setClass(document.body, "with-about", true);
  }

  /** Whether it was open. It stays open where a user does not want to lose what is typed. */
  close() {
    const open = this.run !== null;
    if (!this.#mayLeave()) return open;
    this.run = null;
    this.#ask();
    setClass(document.body, "with-about", false);
    return open;
  }

  /** Nothing that is typed is lost, or a user does not mind. */
  #mayLeave() {
    const fields = this.drafts.changed().map(({ name }) => name);
    if (fields.length && !confirm(`Discard the unsaved ${fields.join(" and ")}?`)) return false;
    this.drafts.clear();
    return true;
  }

  /** Python reads the run anew. */
  #ask() {
    setProps("focused", { data: this.run === null ? null : { run: this.run, times: ++this.times } });
  }

  /** @param {HTMLInputElement} control */
  #typed(control) {
    const field = this.drafts.typed(control);
    if (!field) return;
    const length = [...field.value].length;
    say(length > field.most ? `The ${field.name} has ${count(length)} characters; at most ${count(field.most)} can be saved.` : "");
  }

  /** @param {HTMLElement} button */
  #act(button) {
    const { act } = button.dataset;
    if (act === "close") this.close();
    if (act === "save") this.#save();
    if (act === "archive") this.#send({ archived: button.textContent === "Archive" });
    if (act === "forget") this.#send({ forgotten: button.textContent === "Forget" });
    if (act === "copy") navigator.clipboard?.writeText(document.querySelector(`#${ID} .command`)?.textContent ?? "");
  }

  /** Only what was changed here: the rest may have been changed elsewhere. */
  async #save() {
    const fields = this.drafts.changed();
    if (!fields.length) return say("Nothing to save.");
    const tagsIn = (/** @type {string} */ text) => text.split(",").map((tag) => tag.trim()).filter(Boolean);
    const sent = Object.fromEntries(fields.map(({ name, value }) => [name, name === "tags" ? tagsIn(value) : value]));
    await this.#send(sent, () => this.drafts.saved(fields));
  }

  /** @param {Object} fields @param {() => void} [taken] */
  async #send(fields, taken) {
    const { run } = this;
    if (run === null) return;
    try {
      await change(aboutOf(run), fields);
      if (run === this.run) {
        taken?.();
        this.#ask();
      }
      this.changed();
    } catch (error) {
      if (run === this.run) say(sentenceOf(error));
    }
  }
}

/** @param {string} sentence */
function say(sentence) {
  const said = document.getElementById("about-said");
  if (said) setText(said, sentence);
}
