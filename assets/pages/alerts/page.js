/** The Alerts page: the Active tab, and what a user changes in the others, which Python fills (`dashboard/pages/alerts.py`). */

import { Refused, change, get, sentenceOf } from "../../lib/api.js";
import { el, setText } from "../../lib/dom.js";
import { clock, day, minute, sameDay } from "../../lib/format.js";
import { every, guard, listen } from "../../lib/life.js";
import { pathTo } from "../../lib/url.js";
import { PageView } from "../session.js";
import { ActiveAlerts } from "./active.js";
import { AlertsEditor, DesktopChoice } from "./editor.js";

const AGAIN_MS = 5000; // ages grow, and messages are delivered
const [ASKED, EDITING] = ["alerts-asked", "alerts-editing"];
const TABS = /** @type {const} */ ([["active", "Active"], ["history", "History"], ["rules", "Rules"]]);

export default class AlertsPage extends PageView {
  get about() {
    return "All runs and hosts";
  }

  /** @param {import("../session.js").Session} session */
  constructor(session) {
    const query = new URLSearchParams(location.search);
    const tab = TABS.find(([name]) => name === query.get("tab"))?.[0] ?? "active";
    super(session, query.get("run"), tab === "active" ? [["j k", "move"], ["a", "acknowledge"], ["m", "mute"], ["?", "all keys"]] : tab === "rules" ? [["n", "new rule"], ["?", "all keys"]] : [["?", "all keys"]]);
    this.tab = tab;
    this.active = tab === "active" ? new ActiveAlerts({ tabs: tabsOf(tab), now_s: () => this.runs.now_s, reload: () => this.reload() }) : null;
    this.editor = new AlertsEditor({ save: (text) => this.#saveText(text) });
    this.desktop = new DesktopChoice();
    this.sender = el("span", { hidden: true });
    this.ahead = this.active?.element ?? null;
    this.parts = { AlertsEditor: this.editor.element, DesktopChoice: this.desktop.element, AlertChange: this.sender, ...(this.active ? { AlertsActive: this.active.element } : {}) };
    Object.assign((/** @type {any} */ (window).dashAgGridFunctions ??= {}), { alertTime: (/** @type {number} */ time_s) => moment(time_s, this.runs.now_s) });
    listen(document, "click", (event) => this.#pressed(/** @type {HTMLElement} */ (event.target).closest?.("[data-act]") ?? null));
    every(AGAIN_MS, () => document.hidden || this.reload());
    guard(() => (this.editor.changed ? "changes of alerts.yaml" : ""));
    this.#read().finally(() => this.markReady());
  }

  /** The page is read anew. */
  reload() {
    if (document.getElementById("alerts-rules") || document.getElementById("alerts-past")) setProps(ASKED, { data: ++this.#asked });
    this.#read();
  }

  #asked = 0;

  async #read() {
    try {
      this.#show(await get("alerts"));
    } catch (error) {
      this.say(sentenceOf(error));
    }
  }

  /** @param {import("../../types/api").Answer<"alerts">} answer */
  #show(answer) {
    if (this.isAway) return;
    this.active?.show(answer);
    this.editor.show(answer.text, answer.troubles);
    this.desktop.draw(answer.receivers.some(({ kind }) => kind === "desktop"));
  }

  /** @param {string} sentence "" for none */
  say(sentence) {
    this.active?.say(sentence);
    const place = document.getElementById("alerts-said");
    if (place) setText(place, sentence);
  }

  /** @param {HTMLElement | null} button */
  async #pressed(button) {
    if (!button) return;
    const { act, edit = "", rule = "", on = "", receiver = "", name = "", findings = "", runs = "*", show = "" } = button.dataset;
    if (act === "edit") this.#edit(edit);
    else if (act === "show") this.#showRules(show);
    else if (act === "test") await this.#test(receiver);
    else if (act === "switch") await this.#change("alerts/switch", { rule, on: on === "true" });
    else if (act === "unpolicy") await this.#change("alerts/policy", { findings: findings.split(" "), runs, policy: null });
    else if (act === "delete-rule" && confirm(`Delete the rule ${name}?`)) (await this.#change("alerts/rule", { name, rule: null })) && this.#edit("");
    else if (act === "delete-channel" && confirm(`Delete the channel ${name}?`)) (await this.#change("alerts/channel", { name, channel: null })) && this.#edit("");
    else if (act === "save-and-test") {
      this.#testsNext = true;
      document.getElementById("channel-save")?.click();
    }
  }

  #testsNext = false;

  /** What the form is about: "", "new", a rule, "channel:phone", "quiet" or "yaml". @param {string} what */
  #edit(what) {
    setProps(EDITING, { data: what });
    const url = new URL(location.href);
    if (what) url.searchParams.set("edit", what);
    else url.searchParams.delete("edit");
    history.replaceState(null, "", url);
    document.querySelector(".form-or-text")?.querySelectorAll("[data-edit]").forEach((button) => button.setAttribute("aria-pressed", String((/** @type {HTMLElement} */ (button).dataset.edit === "yaml") === (what === "yaml"))));
    if (what && innerWidth < 1100) document.querySelector(".alerts-aside")?.scrollIntoView();
  }

  /** @param {string} which "on", "own" or "all" */
  #showRules(which) {
    const list = document.getElementById("alerts-rules");
    if (list) list.className = `alerts-left show-${which}`;
    for (const chip of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-show]"))) chip.ariaPressed = String(chip.dataset.show === which);
  }

  /** @param {string} path @param {Object} body @returns {Promise<boolean>} whether it is done */
  async #change(path, body) {
    try {
      this.#show(await change(path, body));
      this.say("");
      this.reload();
      return true;
    } catch (error) {
      this.say(sentenceOf(error));
      this.reload();
      return false;
    }
  }

  // A form is saved: a callback has made the change of its fields, and what is secret is read here.

  #press = "";

  /** @param {string} part @param {Record<string, any>} props */
  onProps(part, { path, body, press }) {
    if (part !== "AlertChange" || !press || press === this.#press) return;
    this.#press = press;
    this.#send(path, body);
  }

  /** @param {string} path @param {any} body */
  async #send(path, body) {
    const say = (/** @type {string} */ sentence, /** @type {boolean} */ wrong) => {
      const place = document.getElementById("alerts-form-said");
      if (!place) return;
      setText(place, sentence);
      place.className = wrong ? "bad" : "mid";
    };
    for (const wrong of document.querySelectorAll(".alerts-form .wrong")) setText(wrong, "");
    const secret = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("[data-secret]"));
    if (body.channel) for (const field of secret) {
      const [kind, key] = (field.dataset.secret ?? "").split(" ");
      if (kind === body.channel.kind && key && field.value) body.channel[key] = field.value;
    }
    const testsNow = this.#testsNext;
    this.#testsNext = false;
    try {
      this.#show(await change(path, body));
      for (const field of secret) field.value = "";
      say("Saved.", false);
      const now = body.channel ? `channel:${body.channel.name}` : body.rule ? `rule:${body.rule.name}` : null;
      if (now && now !== new URLSearchParams(location.search).get("edit")) this.#edit(now);
      this.reload();
      if (testsNow && body.channel) await this.#test(body.channel.name, say);
    } catch (error) {
      const sentence = sentenceOf(error);
      const below = error instanceof Refused && error.field ? placeOfWrong(body, error.field) : null;
      if (below) setText(below, `${sentence[0].toUpperCase()}${sentence.slice(1)}.`);
      say(below ? "" : sentence, true);
      /** @type {HTMLElement | null} */ (below?.parentElement?.querySelector("input, [tabindex]"))?.focus();
    }
  }

  /** What became of the last test, by channel: Dash makes the rows anew, and the sentences stay. @type {Map<string, string>} */
  #tested = new Map();

  #showTested() {
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-act=test]"))) {
      const said = button.parentElement?.querySelector(".tested");
      if (said) setText(said, this.#tested.get(button.dataset.receiver ?? "") ?? "");
    }
  }

  /** @param {string} receiver @param {(sentence: string, wrong: boolean) => void} [say] */
  async #test(receiver, say) {
    const show = (/** @type {string} */ sentence, wrong = false) => {
      this.#tested.set(receiver, sentence);
      this.#showTested();
      say?.(sentence, wrong);
    };
    show("Sending …");
    try {
      const { sentence, ok } = await change("alerts/test", { receiver });
      show(sentence, !ok);
    } catch (error) {
      show(sentenceOf(error), true);
    }
    this.reload();
  }

  /** @param {string} text @returns {Promise<string>} "" or what is wrong with it */
  async #saveText(text) {
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
    const rules = this.tab !== "rules" ? [] : [
      { keys: ["n"], shown: "n", says: "new rule", run: () => this.#edit("new") },
      { keys: ["c"], shown: "c", says: "new channel", run: () => this.#edit("channel:") },
      { keys: ["y"], shown: "y", says: "alerts.yaml as text", run: () => this.#edit("yaml") },
    ];
    return [...super.keys(), ...(this.active?.keys() ?? []), ...rules];
  }
}

/** @param {string} shown */
const tabsOf = (shown) => el("nav", { class: "alerts-tabs", "aria-label": "Alerts" }, ...TABS.map(([tab, name]) => el("a", { href: `${pathTo("/alerts")}?tab=${tab}`, "aria-current": tab === shown ? "page" : null }, name)));

/** Below the field of a form that has this key. @param {{channel?: {kind: string}, quiet?: object}} body @param {string} field */
function placeOfWrong({ channel, quiet }, field) {
  const ids = channel ? [`channel-${channel.kind}-${field}`, `channel-${field}`] : quiet ? [`quiet-${field}`] : [];
  return ids.map((id) => document.getElementById(`${id}-wrong`)).find(Boolean) ?? null;
}

/** @param {string} id @param {Object} props */
const setProps = (id, props) => /** @type {any} */ (window).dash_clientside?.set_props(id, props);

/** `14:25:03`, of another day with its date @param {number} time_s @param {number} now_s */
const moment = (time_s, now_s) => (sameDay(time_s, now_s) ? clock(time_s) : `${day(time_s)} ${minute(time_s)}`);
