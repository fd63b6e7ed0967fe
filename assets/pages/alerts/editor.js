/** alerts.yaml as text, with the numbers of its lines and what is wrong with which of them; and whether this browser shows alerts. */

import { el, setClass, setText } from "../../lib/dom.js";

/** @typedef {import("../../types/api").Row<"AlertTroubleRow">} Trouble */

const MIN_LINES = 8;
export class AlertsEditor {
  /** @param {{save: (text: string) => Promise<string>}} page `save` returns what is wrong, or "" */
  constructor(page) {
    this.page = page;
    this.read = ""; // what the file says
    this.numbers = el("div");
    this.lines = el("div", { class: "editor-lines", "aria-hidden": "true" }, this.numbers);
    this.input = el("textarea", {
      id: "alerts-yaml",
      "aria-label": "Rules and receivers, as YAML",
      "aria-describedby": "alerts-mistakes",
      spellcheck: "false",
      autocomplete: "off",
      wrap: "off",
      oninput: () => this.#edited(),
      onscroll: () => this.#scroll(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    });
    this.mistakes = el("ul", { class: "mistakes" });
    this.save = el("button", { class: "btn pri", type: "button", disabled: true, onclick: () => this.#save() }, "Save");
    this.back = el("button", { class: "btn", type: "button", hidden: true, onclick: () => this.#undo() }, "Discard changes");
    this.said = el("span", { role: "status" });
    this.element = el(
      "div",
      { class: "editor" },
      el("div", { class: "editor-box" }, this.lines, this.input),
      el("div", { id: "alerts-mistakes", role: "status" }, this.mistakes),
      el("div", { class: "actions" }, this.save, this.back, this.said, el("span", { class: "dim" }, "A file in the data folder; you can edit the file itself, too.")),
    );
    this.#number();
  }

  /** Whether a user has changed it and not saved it. */
  get changed() {
    return this.input.value !== this.read;
  }

  /** What the file says now; what a user is at stays. @param {string} text @param {Trouble[]} troubles */
  show(text, troubles) {
    if (!this.changed) {
      if (text !== this.input.value) this.input.value = text;
      this.read = text;
      this.#number();
      this.#complain(troubles);
    }
    this.#drawActions();
  }

  /** @param {string} text that was saved */
  saved(text) {
    this.read = text;
    setText(this.said, "Saved.");
  }

  /** @param {number} line */
  goTo(line) {
    const rows = /** @type {string[]} */ (this.input.value.split("\n"));
    const start = rows.slice(0, line - 1).reduce((sum, row) => sum + row.length + 1, 0);
    this.input.focus();
    this.input.setSelectionRange(start, start + (rows[line - 1]?.length ?? 0));
    this.input.scrollTop = Math.max(0, (line - MIN_LINES / 2) * this.#row_px);
  }

  get #row_px() {
    return parseFloat(getComputedStyle(this.input).lineHeight) || 18;
  }

  #edited() {
    setText(this.said, "");
    this.#number();
    this.#drawActions();
  }

  #drawActions() {
    this.save.disabled = !this.changed;
    this.back.hidden = !this.changed;
  }

  #number() {
    const count = this.input.value.split("\n").length;
    this.input.rows = Math.min(28, Math.max(MIN_LINES, count + 1));
    while (this.numbers.children.length > count) this.numbers.lastElementChild.remove();
    while (this.numbers.children.length < count) this.numbers.append(el("i", {}, String(this.numbers.children.length + 1)));
    this.#scroll();
  }

  #scroll() {
    this.lines.scrollTop = this.input.scrollTop;
  }

  /** @param {Trouble[]} troubles */
  #complain(troubles) {
    const looks = JSON.stringify(troubles);
    if (looks === this.#complained) return;
    this.#complained = looks;
    const wrong = new Set(troubles.map(({ line }) => line));
    [...this.numbers.children].forEach((row, i) => setClass(row, "wrong", wrong.has(i + 1)));
    this.mistakes.replaceChildren(...troubles.map(({ line, sentence }) => el("li", {}, el("button", { class: "plain", type: "button", onclick: () => this.goTo(line) }, sentence))));
    if (wrong.size) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  #complained = "";

  async #save() {
    this.save.disabled = true;
    const sentence = await this.page.save(this.input.value);
    this.#drawActions();
    if (!sentence) return;
    const line = Number(/^line (\d+)/.exec(sentence)?.[1] ?? 0);
    this.#complain([{ line, sentence }]);
    setText(this.said, "Nothing is saved.");
    if (line) this.goTo(line);
  }

  #undo() {
    this.input.value = this.read;
    this.#complain([]);
    this.#edited();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (this.changed) this.#save();
  }
}

// Whether this browser shows alerts as notifications: a button that asks for its permission, and what stands in the way.

export class DesktopChoice {
  constructor() {
    this.said = el("span", { role: "status" });
    this.button = el("button", { class: "btn", type: "button", hidden: true, onclick: () => this.#allow() }, "Show alerts as notifications of this browser");
    this.element = el("p", { class: "desktop dim" }, this.button, this.said);
    this.named = false; // there is a receiver of this kind
  }

  /** @param {boolean} named */
  draw(named) {
    this.named = named;
    const permission = "Notification" in window ? Notification.permission : null;
    this.button.hidden = permission !== "default" || !isSecureContext;
    const missing = named ? "" : " Add a channel of kind Browser.";
    if (!isSecureContext || permission === null) setText(this.said, "Browsers show notifications of pages on https and localhost only.");
    else if (permission === "denied") setText(this.said, "This browser does not let the dashboard show notifications; its settings for this site change that.");
    else if (permission === "granted") setText(this.said, `This browser shows alerts as notifications while a page of the dashboard is open.${missing}`);
    else setText(this.said, missing);
  }

  async #allow() {
    await Notification.requestPermission();
    this.draw(this.named);
  }
}
