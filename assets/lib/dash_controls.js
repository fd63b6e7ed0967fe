/** The controls of a page that are Dash components, above what our modules draw: keys change them, and a callback says what they describe. */

import { listen } from "./life.js";

/**
 * @typedef {Object} About
 * @property {string} area selects the controls
 * @property {string} search id of the box that is searched with
 * @property {(view: any) => Record<string, unknown>} valuesOf the value of each control that a key changes, by its id
 */

/** Whether Dash can change a component: its element may be in the document a moment earlier. @param {string} id */
const isLaidOut = (id) => (/** @type {any} */ (window).dash_stores ?? []).some((/** @type {any} */ store) => store.getState().paths?.strs?.[id]);

const LIST = ".dash-dropdown-content"; // one that is open stands elsewhere in the document

export class DashControls {
  /** @param {About} about @param {(view: any) => void} show */
  constructor(about, show) {
    this.about = about;
    this.show = show;
    for (const kind of ["pointerdown", "keydown", "input"]) listen(window, kind, (event) => this.#touched(event.target), true);
    for (const kind of ["pointerdown", "keydown"]) listen(window, kind, (event) => this.#leaves(event), true);
  }

  /** A click elsewhere, or Esc, closes the controls that open like a menu; those that stand between the others stay. @param {PointerEvent | KeyboardEvent} event */
  #leaves(event) {
    const menu = /** @type {HTMLDetailsElement | null} */ (document.querySelector(`${this.about.area} details[open]`));
    if (!menu || !(event.target instanceof Element) || event.target.closest(LIST)) return;
    const isKey = "key" in event;
    const isOver = getComputedStyle(/** @type {Element} */ (menu.lastElementChild)).position === "absolute";
    if (isKey ? event.key !== "Escape" : !isOver || menu.contains(event.target)) return;
    menu.open = false;
    if (!isKey) return;
    event.preventDefault();
    event.stopPropagation();
    menu.querySelector("summary")?.focus();
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
    if (target instanceof Element && target.closest(`${area}, ${LIST}`)) this.#awaited = "";
  }

  #awaited = ""; // what a key has set, until a description has it or a user uses a control

  /** Show in the controls what a key has changed. @param {any} view */
  set(view) {
    const { dash_clientside } = /** @type {any} */ (window);
    if (!isLaidOut(this.about.search)) return;
    const values = this.about.valuesOf(view);
    this.#awaited = JSON.stringify(values);
    for (const [id, value] of Object.entries(values)) dash_clientside.set_props(id, { value });
  }

  /** What they show beside their values. @param {Record<string, string>} children by id */
  say(children) {
    const { dash_clientside } = /** @type {any} */ (window);
    for (const [id, text] of Object.entries(children)) {
      const shown = document.getElementById(id)?.textContent ?? text; // those that Dash has laid out anew say nothing yet
      if (shown !== text && isLaidOut(id)) dash_clientside.set_props(id, { children: text });
    }
  }

  focusSearch() {
    document.getElementById(this.about.search)?.focus();
  }
}
