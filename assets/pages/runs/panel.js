/** The side panel: Python fills it (`panel_of` in `dashboard/pages/runs.py`), and its buttons send what a user changes. */

import { get, sentenceOf } from "../../lib/api.js";
import { aboutOf, change } from "../../lib/change.js";
import { el, setClass } from "../../lib/dom.js";
import { visible } from "../../lib/visible.js";
import { partsOf } from "../ran.js";
import { setProps } from "./dash.js";

const ID = "about";

export class Panel {
  /**
   * @param {() => void} changed called once the server has taken a change
   * @param {(sentence: string, undo: () => void) => void} offer what was done, and how it is undone
   */
  constructor(changed, offer) {
    this.changed = changed;
    this.offer = offer;
    /** @type {string | null} */
    this.run = null;
    this.times = 0;
    /** @type {string | null} a run whose files are being read again */
    this.awaited = null;
    new MutationObserver(() => this.#fill()).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-run"] });
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

  /** There are other runs than before: one that is read again may be among them. */
  others() {
    if (this.awaited !== null && this.awaited === this.run) this.#ask();
    this.awaited = null;
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

  /** What ran stands in the panel as in the dialog of Live, once Python has made a place for it. */
  async #fill() {
    const place = document.getElementById("about-ran");
    const { run } = place?.dataset ?? {};
    if (!place || run === undefined || place.dataset.filled === run) return;
    place.dataset.filled = run;
    place.replaceChildren(el("p", { class: "dim" }, "Reading …"));
    const parts = await get("run", { run }).then(({ info }) => partsOf(run, info), (error) => [el("p", { class: "dim" }, sentenceOf(error))]);
    if (place.dataset.run === run) place.replaceChildren(...parts);
  }

  /** @param {HTMLElement} button */
  #act(button) {
    const { act } = button.dataset;
    if (act === "close") this.close();
    if (act === "save") this.#save();
    if (act === "archive") this.#turn("archived", button.textContent === "Archive");
    if (act === "forget") this.#turn("forgotten", button.textContent === "Forget");
    if (act === "copy") navigator.clipboard?.writeText(document.querySelector(`#${ID} .command`)?.textContent ?? "");
  }

  #save() {
    const value = (/** @type {string} */ name) => /** @type {HTMLInputElement | null} */ (document.getElementById(`about-${name}`))?.value ?? "";
    const tags = value("tags").split(",").map((tag) => tag.trim()).filter(Boolean);
    this.#send({ name: value("name"), tags, note: value("note") });
  }

  /** The way back is offered in place. @param {"archived" | "forgotten"} what @param {boolean} on */
  async #turn(what, on) {
    const { run } = this;
    if (run === null || !(await this.#send({ [what]: on }, run))) return;
    const sentence = `${visible(run)} is ${on ? what : { archived: "back", forgotten: "being read again" }[what]}.`;
    this.offer(sentence, () => this.#turnOf(run, what, !on));
  }

  /** @param {string} run @param {"archived" | "forgotten"} what @param {boolean} on */
  async #turnOf(run, what, on) {
    if (this.run !== run) this.show(run);
    await this.#send({ [what]: on }, run);
  }

  /** Whether the server has taken it. @param {Record<string, unknown>} fields */
  async #send(fields, run = this.run) {
    if (run === null) return false;
    try {
      await change(aboutOf(run), fields);
      if (fields.forgotten === false) this.awaited = run;
      if (this.run === run) this.#ask();
      this.changed();
      return true;
    } catch (error) {
      const said = document.getElementById("about-said");
      if (said) said.textContent = sentenceOf(error);
      return false;
    }
  }
}
