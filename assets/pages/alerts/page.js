/** The Alerts page: Python fills it (`dashboard/pages/alerts`), this asks for it anew and sends what a user changes. */

import { get, sentenceOf } from "../../lib/api.js";
import { change } from "../../lib/change.js";
import { el, setText } from "../../lib/dom.js";
import { clock, day, sameDay } from "../../lib/format.js";
import { Session } from "../session.js";
import { DesktopChoice } from "./desktop.js";
import { AlertsEditor } from "./editor.js";

const AGAIN_MS = 5000; // ages grow, and messages are delivered
const ASKED = "alerts-asked";

export default class AlertsPage extends Session {
  /** @param {HTMLElement} _bar @param {HTMLElement} foot */
  constructor(_bar, foot) {
    super(foot, new URLSearchParams(location.search).get("run"), [["?", "all keys"]]);
    this.element = el("div", { hidden: true }); // all that is shown is Dash's
    this.editor = new AlertsEditor({ save: (text) => this.#save(text) });
    this.desktop = new DesktopChoice();
    Object.assign((/** @type {any} */ (window).dashAgGridFunctions ??= {}), { alertTime: (/** @type {number} */ time_s) => when(time_s, this.runs.now_s) });
    document.addEventListener("click", (event) => this.#pressed(/** @type {HTMLElement} */ (event.target).closest?.("[data-act]") ?? null));
    new MutationObserver(() => this.#mount()).observe(document.body, { childList: true, subtree: true });
    setInterval(() => document.hidden || this.ask(), AGAIN_MS);
    this.#readText();
    this.settle();
    this.start();
  }

  /** Our parts stand where Dash has laid out a place for them. */
  #mount() {
    for (const [id, part] of /** @type {[string, HTMLElement][]} */ ([["alerts-editor", this.editor.element], ["alerts-desktop", this.desktop.element]])) {
      const place = document.getElementById(id);
      if (place && part.parentElement !== place) place.append(part);
    }
  }

  /** The page is read anew. */
  ask() {
    if (document.getElementById("alerts-firing")) /** @type {any} */ (window).dash_clientside?.set_props?.(ASKED, { data: ++this.#asked });
    if (!this.editor.changed) this.#readText();
  }

  #asked = 0;

  async #readText() {
    try {
      this.#take(await get("alerts"));
    } catch (error) {
      this.say(sentenceOf(error));
    }
  }

  /** @param {import("../../types/api").Answer<"alerts">} answer */
  #take({ text, troubles, receivers }) {
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
    this.ask();
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
    this.ask();
  }

  /** @param {string} text @returns {Promise<string>} "" or what is wrong with it */
  async #save(text) {
    try {
      const answer = await change("alerts/text", { text });
      this.editor.saved(text);
      this.#take(answer);
      this.ask();
      return "";
    } catch (error) {
      return sentenceOf(error);
    }
  }

  /** @param {import("../../types/api").State} message */
  received(message) {
    if (this.#firing >= 0 && message.firing !== this.#firing) this.ask();
    this.#firing = message.firing;
    this.#showTested();
  }

  #firing = -1; // not known: the page is as new as the first message

  keys() {
    return [...super.keys(), { keys: ["/"], shown: "/", says: "the text of rules and receivers", run: () => this.editor.input.focus() }];
  }
}

/** `14:25:03`, of another day with its date @param {number} time_s @param {number} now_s */
const when = (time_s, now_s) => (sameDay(time_s, now_s) ? clock(time_s) : `${day(time_s)} ${clock(time_s)}`);
