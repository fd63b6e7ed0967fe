/** The controls of a page that are Dash components, above what our modules draw: keys change them, and a callback says what they describe. */

import { listen } from "./life.js";

/**
 * @typedef {Object} About
 * @property {string} area selects the controls
 * @property {string} search id of the box that is searched with
 * @property {(view: any) => Record<string, unknown>} valuesOf the value of each control that a key changes, by its id
 */

export class DashControls {
  /** @param {About} about @param {(view: any) => void} show */
  constructor(about, show) {
    this.about = about;
    this.show = show;
    for (const kind of ["pointerdown", "keydown", "input"]) listen(window, kind, (event) => this.#touched(event.target), true);
  }

  /** A description that a callback has made; each has a number of its own. @param {{answer: number}} description */
  described({ answer, ...view }) {
    if (answer === this.#answer) return;
    this.#answer = answer;
    if (this.#awaited && JSON.stringify(this.about.valuesOf(view)) !== this.#awaited) return; // of before the key
    this.#awaited = "";
    this.show(view);
  }

  #answer = -1;

  /** From now on what the controls say counts, whatever a key has set. @param {EventTarget | null} target */
  #touched(target) {
    const { area } = this.about;
    if (target instanceof Element && target.closest(`${area}, .dash-dropdown-content`)) this.#awaited = ""; // a list that is open stands elsewhere in the document
  }

  #awaited = ""; // what a key has set, until a description has it or a user uses a control

  /** Show in the controls what a key has changed. @param {any} view */
  set(view) {
    const { dash_clientside } = /** @type {any} */ (window);
    if (!document.getElementById(this.about.search)) return; // not laid out yet
    const values = this.about.valuesOf(view);
    this.#awaited = JSON.stringify(values);
    for (const [id, value] of Object.entries(values)) dash_clientside.set_props(id, { value });
  }

  focusSearch() {
    document.getElementById(this.about.search)?.focus();
  }
}
