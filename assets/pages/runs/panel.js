/** The side panel: Python fills it (`panel_of` in `dashboard/pages/runs.py`), and its buttons send what a user changes. */

import { sentenceOf } from "../../lib/api.js";
import { aboutOf, change } from "../../lib/change.js";
import { setClass } from "../../lib/dom.js";
import { setProps } from "./dash.js";

const ID = "about";

export class Panel {
  /** @param {() => void} changed called once the server has taken a change */
  constructor(changed) {
    this.changed = changed;
    /** @type {string | null} */
    this.run = null;
    this.times = 0;
    document.addEventListener("click", (event) => {
      const button = /** @type {HTMLElement} */ (event.target).closest?.(`#${ID} [data-act]`);
      if (button) this.#act(/** @type {HTMLElement} */ (button));
    });
    document.addEventListener("keydown", (event) => {
      if (!(/** @type {HTMLElement} */ (event.target).closest?.(`#${ID}`))) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#save();
      if (event.key === "Escape") this.close();
    });
  }

  /** @param {string} run */
  show(run) {
    this.run = run;
    this.#ask();
    setClass(document.body, "with-about", true);
  }

  /** Whether it was open. */
  close() {
    const open = this.run !== null;
    this.run = null;
    this.#ask();
    setClass(document.body, "with-about", false);
    return open;
  }

  /** Python reads the run anew. */
  #ask() {
    setProps("focused", { data: this.run === null ? null : { run: this.run, times: ++this.times } });
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

  #save() {
    const value = (/** @type {string} */ name) => /** @type {HTMLInputElement | null} */ (document.getElementById(`about-${name}`))?.value ?? "";
    const tags = value("tags").split(",").map((tag) => tag.trim()).filter(Boolean);
    this.#send({ name: value("name"), tags, note: value("note") });
  }

  /** @param {Object} fields */
  async #send(fields) {
    if (this.run === null) return;
    try {
      await change(aboutOf(this.run), fields);
      this.#ask();
      this.changed();
    } catch (error) {
      const said = document.getElementById("about-said");
      if (said) said.textContent = sentenceOf(error);
    }
  }
}
