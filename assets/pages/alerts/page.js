/** The Alerts page: Python fills it (`dashboard/pages/alerts`), this asks for it anew and sends what a user changes. */

import { change, get, sentenceOf } from "../../lib/api.js";
import { el, setClass, setText } from "../../lib/dom.js";
import { clock, day, sameDay } from "../../lib/format.js";
import { every, listen } from "../../lib/life.js";
import { PageView } from "../session.js";

const AGAIN_MS = 5000; // ages grow, and messages are delivered
const ASKED = "alerts-asked";

export default class AlertsPage extends PageView {
  get about() {
    return "All runs and hosts";
  }

  /** @param {import("../session.js").Session} session */
  constructor(session) {
    super(session, new URLSearchParams(location.search).get("run"), [["?", "all keys"]]);
    this.editor = new AlertsEditor({ save: (text) => this.#save(text) });
    this.desktop = new DesktopChoice();
    Object.assign((/** @type {any} */ (window).dashAgGridFunctions ??= {}), { alertTime: (/** @type {number} */ time_s) => when(time_s, this.runs.now_s) });
    this.parts = { AlertsEditor: this.editor.element, DesktopChoice: this.desktop.element };
    listen(document, "click", (event) => this.#pressed(/** @type {HTMLElement} */ (event.target).closest?.("[data-act]") ?? null));
    every(AGAIN_MS, () => document.hidden || this.reload());
    this.#readText();
    this.markReady();
  }

  /** The page is read anew. */
  reload() {
    if (document.getElementById("alerts-firing")) /** @type {any} */ (window).dash_clientside.set_props(ASKED, { data: ++this.#asked });
    if (!this.editor.changed) this.#readText();
  }

  #asked = 0;

  async #readText() {
    try {
      this.#show(await get("alerts"));
    } catch (error) {
      this.say(sentenceOf(error));
    }
  }

  /** @param {import("../../types/api").Answer<"alerts">} answer */
  #show({ text, troubles, receivers }) {
    this.editor.show(text, troubles);
    this.desktop.draw(receivers.some(({ kind }) => kind === "desktop"));
  }

  /** @param {string} sentence "" for none */
  say(sentence) {
    const place = document.getElementById("alerts-said");
    if (place) setText(place, sentence);
  }

  /** @param {HTMLElement | null} button */
  async #pressed(button) {
    if (!button) return;
    const { act, rule = null, run = null, hours = "", line = "", receiver = "", findings = "[]" } = button.dataset;
    if (act === "line") this.editor.goTo(Number(line));
    else if (act === "example") this.editor.begin();
    else if (act === "test") await this.#test(receiver);
    else if (act === "acknowledge" || act === "unacknowledge") await this.#change("alerts/acknowledge", { findings: JSON.parse(findings), on: act === "acknowledge" });
    else if (act === "mute" || act === "unmute") await this.#change("alerts/mute", { rule, run, hours: hours ? Number(hours) : null, on: act === "mute" });
  }

  /** @param {string} path @param {Object} body */
  async #change(path, body) {
    try {
      await change(path, body);
      this.say("");
    } catch (error) {
      this.say(sentenceOf(error));
    }
    this.reload();
  }

  /** What became of the last test, by receiver: Dash makes the rows anew, and the sentences stay. @type {Map<string, string>} */
  #tested = new Map();

  #showTested() {
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-act=test]"))) {
      const said = button.parentElement?.querySelector(".tested");
      if (said) setText(said, this.#tested.get(button.dataset.receiver ?? "") ?? "");
    }
  }

  /** @param {string} receiver */
  async #test(receiver) {
    const show = (/** @type {string} */ sentence) => {
      this.#tested.set(receiver, sentence);
      this.#showTested();
    };
    show("Sending …");
    try {
      show((await change("alerts/test", { receiver })).sentence);
    } catch (error) {
      show(sentenceOf(error));
    }
    this.reload();
  }

  /** @param {string} text @returns {Promise<string>} "" or what is wrong with it */
  async #save(text) {
    try {
      const answer = await change("alerts/text", { text });
      this.editor.saved(text);
      this.#show(answer);
      this.reload();
      return "";
    } catch (error) {
      return sentenceOf(error);
    }
  }

  /** @param {import("../../types/api").State} state */
  onState({ firing }) {
    if (this.#firing >= 0 && firing !== this.#firing) this.reload();
    this.#firing = firing;
    this.#showTested();
  }

  #firing = -1; // not known: the page is as new as the first message

  keys() {
    return [...super.keys(), { keys: ["/"], shown: "/", says: "the text of rules and receivers", run: () => this.editor.input.focus() }];
  }
}

/** `14:25:03`, of another day with its date @param {number} time_s @param {number} now_s */
const when = (time_s, now_s) => (sameDay(time_s, now_s) ? clock(time_s) : `${day(time_s)} ${clock(time_s)}`);

// alerts.yaml as text, with the numbers of its lines and what is wrong with which of them.

/** @typedef {import("../../types/api").Row<"AlertTroubleRow">} Trouble */

const MIN_LINES = 8;
const EXAMPLE = `receivers:
  - name: this browser
    kind: desktop
  - name: ops
    kind: webhook
    url: https://example.org/hook    # a secret: env:NAME or file:/path

rules:
  - finding: loss_spike              # a note that is to alert
    to: this browser
  - name: loss is high
    when: train/loss > 8
    for: 2 min

# quiet: {from: "22:00", to: "07:00", zone: Europe/Berlin}
`;

class AlertsEditor {
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
      el("div", { class: "actions" }, this.save, this.back, this.said, el("span", { class: "dim" }, "alerts.yaml in the data folder; it may be edited by hand, too.")),
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

  /** A text to begin with, which is not saved yet. */
  begin() {
    if (!this.input.value.trim()) this.input.value = EXAMPLE;
    this.#edited();
    this.input.focus();
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

class DesktopChoice {
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
    const missing = named ? "" : " Add a receiver of kind desktop to the text below.";
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
