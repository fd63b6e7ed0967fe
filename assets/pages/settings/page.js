/** The Settings page: Python fills it (`dashboard/pages/settings.py`), and this sends what a user changes. */

import { setZone } from "../../data/zone.js";
import { sentenceOf } from "../../lib/api.js";
import { change } from "../../lib/change.js";
import { el, setText } from "../../lib/dom.js";
import { Session } from "../session.js";

export default class SettingsPage extends Session {
  /** @param {HTMLElement} _bar @param {HTMLElement} foot */
  constructor(_bar, foot) {
    super(foot, new URLSearchParams(location.search).get("run"));
    this.status.setKeys([
      ["Enter", "save"],
      ["?", "all keys"],
    ]);
    this.element = el("div", { hidden: true });
    document.addEventListener("click", (event) => {
      if (/** @type {HTMLElement} */ (event.target).id === "save") this.save();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && /** @type {HTMLElement} */ (event.target).closest?.("[data-setting]")) this.save();
    });
    this.settle();
    this.start();
  }

  /** Only what differs from what was read is sent. */
  async save() {
    const fields = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-setting]")]);
    const changed = fields.filter((field) => valueOf(field) !== field.dataset.saved);
    for (const field of fields) say(`wrong-${field.dataset.setting}`, "");
    say("said", changed.length ? "" : "Nothing to save.");
    if (!changed.length) return;
    try {
      const { settings } = await change("settings", Object.fromEntries(changed.map((field) => [field.dataset.setting, sent(field)])));
      /** @type {Map<string, string>} */
      const held = new Map(settings.map((/** @type {{key: string, value: unknown}} */ { key, value }) => [key, String(value)]));
      for (const field of fields) field.dataset.saved = held.get(field.dataset.setting ?? ""); // what is typed meanwhile stays
      setZone(held.get("time_zone") ?? "");
      say("said", "Saved.");
    } catch (error) {
      this.#mistaken(sentenceOf(error), changed);
    }
  }

  /** Beside the field that it is about. @param {string} sentence @param {HTMLElement[]} changed */
  #mistaken(sentence, changed) {
    const key = changed.map((field) => field.dataset.setting).find((name) => sentence.startsWith(`${name}:`));
    if (key) say(`wrong-${key}`, sentence.slice(key.length + 1).trim());
    else say("said", sentence);
    document.getElementById(`setting-${key}`)?.focus();
  }
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
