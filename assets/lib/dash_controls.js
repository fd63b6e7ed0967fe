/** Controls of a page that are Dash components, above what our modules draw: keys change them, and what they describe is read (docs/decisions/0195). */

/**
 * @typedef {Object} About
 * @property {string} description the property of the place of our drawing, which a callback fills with what the controls say
 * @property {string} area selects the controls
 * @property {string} search id of the box that is searched with
 * @property {(view: any) => Record<string, unknown>} valuesOf the value of each control that a key changes, by its id
 */

export class DashControls {
  /** @param {About} about @param {{mounted: (host: HTMLElement) => void, described: (view: any) => void}} page */
  constructor(about, page) {
    this.about = about;
    this.page = page;
    /** @type {HTMLElement | null} */
    this.host = null;
    for (const kind of ["pointerdown", "keydown", "input"]) addEventListener(kind, (event) => this.#touched(event.target), true);
    new MutationObserver(() => this.#look()).observe(document.body, { childList: true, subtree: true, attributeFilter: [about.description] });
  }

  #look() {
    const { description, valuesOf } = this.about;
    if (!this.host?.isConnected) {
      const host = /** @type {HTMLElement | null} */ (document.querySelector(`[${description}]`));
      if (!host) return;
      this.host = host;
      this.page.mounted(host);
    }
    const text = this.host.getAttribute(description) ?? "";
    if (!text || text === this.#read) return;
    this.#read = text;
    const { answer: _, ...view } = JSON.parse(text);
    if (this.#awaited && JSON.stringify(valuesOf(view)) !== this.#awaited) return; // of before the key
    this.#awaited = "";
    this.page.described(view);
  }

  /** From now on what the controls say counts, whatever a key has set. @param {EventTarget | null} target */
  #touched(target) {
    const { area } = this.about;
    if (target instanceof Element && target.closest(`${area}, .dash-dropdown-content`)) this.#awaited = ""; // a list that is open stands elsewhere in the document
  }

  #read = "";
  #awaited = ""; // what a key has set, until a description has it or a user uses a control

  /** Show in the controls what a key has changed. @param {any} view */
  set(view) {
    const { dash_clientside } = /** @type {any} */ (window);
    if (!this.host || !dash_clientside?.set_props) return;
    const values = this.about.valuesOf(view);
    this.#awaited = JSON.stringify(values);
    for (const [id, value] of Object.entries(values)) dash_clientside.set_props(id, { value });
  }

  focusSearch() {
    document.getElementById(this.about.search)?.focus();
  }
}
