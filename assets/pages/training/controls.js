/** The controls of the Training page, which are Dash components (`dashboard/pages/training.py`): keys change them, and what they describe is read. */

/** @typedef {import("../../curves/view.js").View} View */

const DESCRIPTION = "data-chart-grid";
const SEARCH = "training-q";
const AWAITED_MS = 3000; // then what the controls say counts, whatever it is

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
    const view = JSON.parse(text);
    if (this.#awaited && performance.now() < this.#until_ms && JSON.stringify(valuesOf(view)) !== this.#awaited) return; // of before the key
    this.#awaited = "";
    this.page.described(view);
  }

  #read = "";
  #awaited = ""; // what a key has set, until a description has it
  #until_ms = 0;

  /** Show in the controls what a key has changed. @param {View} view */
  set(view) {
    const { dash_clientside } = /** @type {any} */ (window);
    if (!this.host || !dash_clientside?.set_props) return;
    this.#awaited = JSON.stringify(valuesOf(view));
    this.#until_ms = performance.now() + AWAITED_MS;
    for (const [id, value] of Object.entries(valuesOf(view))) dash_clientside.set_props(id, { value });
  }

  focusSearch() {
    document.getElementById(SEARCH)?.focus();
  }
}
