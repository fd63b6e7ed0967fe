/** The Settings page: Python fills it (`dashboard/pages/settings.py`), and this sends what a user changes. */

import { change, get, sentenceOf } from "../../lib/api.js";
import { copyText } from "../../lib/clipboard.js";
import { el, setText } from "../../lib/dom.js";
import { setZone } from "../../lib/format.js";
import { listen } from "../../lib/life.js";
import { followSystem, setTheme, themeChoice } from "../../lib/theme.js";
import { PageView } from "../session.js";

export default class SettingsPage extends PageView {
  get about() {
    return "Settings";
  }

  /** @param {import("../session.js").Session} session */
  constructor(session) {
    super(session, new URLSearchParams(location.search).get("run"), [
      ["Enter", "save a field"],
      ["?", "all keys"],
    ]);
    listen(document, "click", (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      const revoke = target.closest?.("[data-revoke]");
      if (revoke) this.revoke(/** @type {HTMLButtonElement} */ (revoke));
      const choice = /** @type {HTMLElement | null} */ (target.closest?.("[data-theme-choice]"))?.dataset.themeChoice;
      if (choice) this.chooseTheme(choice);
      const section = /** @type {HTMLElement | null} */ (target.closest?.("[data-section]"));
      if (section) this.openSection(section, event);
      if (target.id === "copy-diagnosis") this.copyDiagnosis();
    });
    listen(document, "keydown", (event) => {
      if (event.key === "Enter" && /** @type {HTMLElement} */ (event.target).closest?.("[data-setting]")) this.save();
    });
    listen(document, "focusout", (event) => /** @type {HTMLElement} */ (event.target).closest?.("[data-setting]") && this.save());
    const drawn = new MutationObserver(() => this.drawTheme()); // once Dash has laid the page out
    drawn.observe(document.body, { childList: true, subtree: true });
    this.life.signal.addEventListener("abort", () => drawn.disconnect());
    this.markReady();
  }

  /** @param {string} choice */
  chooseTheme(choice) {
    if (choice === "dark" || choice === "light") setTheme(choice);
    else followSystem();
    this.drawTheme();
  }

  drawTheme() {
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-theme-choice]"))) {
      const pressed = String(button.dataset.themeChoice === themeChoice());
      if (button.ariaPressed !== pressed) button.ariaPressed = pressed;
    }
  }

  /** @param {HTMLElement} link @param {MouseEvent} event */
  openSection(link, event) {
    event.preventDefault();
    document.getElementById(link.dataset.section ?? "")?.scrollIntoView({ block: "start" });
    for (const other of document.querySelectorAll("[data-section]")) other.ariaCurrent = other === link ? "true" : null;
  }

  /** Only what differs from what was read is sent. */
  async save() {
    const fields = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-setting]")]);
    const changed = fields.filter((field) => valueOf(field) !== field.dataset.saved);
    for (const field of fields) if (!changed.includes(field)) say(`wrong-${field.dataset.setting}`, "");
    const key = JSON.stringify(changed.map((field) => [field.dataset.setting, valueOf(field)]));
    if (!changed.length || key === this.#sent) return;
    this.#sent = key;
    try {
      const { settings } = await change("settings", Object.fromEntries(changed.map((field) => [field.dataset.setting, sent(field)])));
      /** @type {Map<string, string>} */
      const held = new Map(settings.map((/** @type {{key: string, value: unknown}} */ { key, value }) => [key, String(value)]));
      for (const field of fields) field.dataset.saved = held.get(field.dataset.setting ?? ""); // what is typed meanwhile stays
      setZone(held.get("time_zone") ?? "");
      for (const field of changed) say(`wrong-${field.dataset.setting}`, "");
      say("said", "All changes saved");
    } catch (error) {
      this.#mistaken(sentenceOf(error), changed);
    }
  }

  #sent = ""; // what was refused is not sent again

  /** What is wrong on the host is said beside the button, all of it copied. */
  async copyDiagnosis() {
    say("diagnosed", "Looking at this host ...");
    try {
      const found = await get("diagnosis");
      const lines = found.checks.filter(({ verdict }) => verdict !== "ok").map(({ name, sentence, remedy }) => `${name}: ${sentence} ${remedy}`.trim());
      const copied = await copyText(JSON.stringify(found, null, 1));
      say("diagnosed", copied ? `Copied. ${lines.join(" ") || "All is well."}` : "The browser does not let the page copy; type: deepseek-dashboard doctor --json");
    } catch (error) {
      say("diagnosed", sentenceOf(error));
    }
  }

  /** A token, a link or a browser ends, and what is open with it. @param {HTMLButtonElement} button */
  async revoke(button) {
    button.disabled = true;
    const name = button.dataset.revoke ?? "";
    try {
      await change("tokens/revoke", { name });
      button.parentElement?.remove();
      say("token-said", `${name} is revoked.`);
    } catch (error) {
      button.disabled = false;
      say("token-said", sentenceOf(error));
    }
  }

  /** Each beside the field that it is about: `currency: three capital letters; retention: ...`. @param {string} sentence @param {HTMLElement[]} changed */
  #mistaken(sentence, changed) {
    const keys = changed.map((field) => field.dataset.setting ?? "");
    const found = mistakesOf(sentence, keys);
    for (const [key, mistake] of found) say(`wrong-${key}`, mistake);
    if (!found.size) say("said", sentence);
    else say("said", found.size > 1 ? `Nothing is saved: ${found.size} fields are wrong.` : "Not saved");
  }
}

/** What is wrong with each of these keys. @param {string} sentence @param {string[]} keys @returns {Map<string, string>} */
function mistakesOf(sentence, keys) {
  const said = `; ${sentence}`;
  const places = keys.map((key) => ({ key, at: said.indexOf(`; ${key}: `) })).filter(({ at }) => at >= 0).sort((a, b) => a.at - b.at);
  return new Map(places.map(({ key, at }, i) => [key, said.slice(at + key.length + 4, places[i + 1]?.at)]));
}

/** @param {HTMLElement} field */
const valueOf = (field) => field.querySelector("input")?.value.trim() ?? "";

/** A number as a number; what is none is sent as it is, and the server says so. @param {HTMLElement} field */
function sent(field) {
  const value = valueOf(field);
  return field.dataset.number === "true" && value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}

/** @param {string} id @param {string} sentence */
function say(id, sentence) {
  const place = document.getElementById(id);
  if (place) setText(place, sentence);
}
