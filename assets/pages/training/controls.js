/** The controls of the Training page, which are Dash components (`dashboard/pages/training.py`): keys change them, and what they describe is read. */

/** @typedef {import("../../curves/view.js").View} View */

const DESCRIPTION = "data-chart-grid";
const SEARCH = "training-q";
const CONTROLS = ".training-controls, .dash-dropdown-content"; // a list that is open stands elsewhere in the document

/** The value of each control that a key changes. @param {View} view @returns {Record<string, unknown>} by its id */
const valuesOf = (view) => ({
  "training-x": view.x,
  "training-smooth": view.smooth,
  "training-flags": [...(view.ylog ? ["ylog"] : []), ...(view.xlog ? ["xlog"] : []), ...(view.clip ? ["clip"] : []), ...(view.ranks === "each" ? ["each"] : [])],
});

export class Controls {
  /** @param {{mounted: (host: HTMLElement) => void, described: (view: View) => void}} page */
  constructor(page) {
    this.page = page;
    /** @type {HTMLElement | null} */
    this.host = null;
    for (const kind of ["pointerdown", "keydown", "input"]) addEventListener(kind, (event) => this.#touched(event.target), true);
    new MutationObserver(() => this.#look()).observe(document.body, { childList: true, subtree: true, attributeFilter: [DESCRIPTION] });
  }

  #look() {
    if (!this.host?.isConnected) {
      const host = /** @type {HTMLElement | null} */ (document.querySelector(`[${DESCRIPTION}]`));
      if (!host) return;
      this.host = host;
      this.page.mounted(host);
    }
    const text = this.host.getAttribute(DESCRIPTION) ?? "";
    if (!text || text === this.#read) return;
    this.#read = text;
    const { answer: _, ...view } = JSON.parse(text);
    if (this.#awaited && JSON.stringify(valuesOf(view)) !== this.#awaited) return; // of before the key
    this.#awaited = "";
    this.page.described(view);
  }

  /** From now on what the controls say counts, whatever a key has set. @param {EventTarget | null} target */
  #touched(target) {
    if (target instanceof Element && target.closest(CONTROLS)) this.#awaited = "";
  }

  #read = "";
  #awaited = ""; // what a key has set, until a description has it or a user uses a control

  /** Show in the controls what a key has changed. @param {View} view */
  set(view) {
    const { dash_clientside } = /** @type {any} */ (window);
    if (!this.host || !dash_clientside?.set_props) return;
    this.#awaited = JSON.stringify(valuesOf(view));
    for (const [id, value] of Object.entries(valuesOf(view))) dash_clientside.set_props(id, { value });
  }

  focusSearch() {
    document.getElementById(SEARCH)?.focus();
  }
}
