/** Which columns are shown: a dialog with all that there may be, sets of them, and the choice, which this browser remembers. */

import { get, sentenceOf } from "../../lib/api.js";
import { change } from "../../lib/change.js";
import { dialogOf, el, setText } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";

/** @typedef {"down" | "up" | null} Direction */
/** @typedef {{key: string, title: string, help: string, series?: string}} Choice `series`: whose direction can be changed */

const CHOSEN = "runs.columns"; // keys of localStorage
const SETS = "runs.column_sets";
const MOST = 100; // columns of a question
const MOST_LISTED = 300;
const USUAL = "Usual";
const BY_CHOICE = /^(config|last|best|least|most)\./;
/** @type {Record<string, string[]>} */
const BUILT_IN = {
  [USUAL]: [],
  Speed: ["name", "state", "curve", "steps", "duration", "steps_per_s", "items_per_s", "tokens_per_s", "mfu", "memory", "gpu", "ranks", "torch", "started"],
  Cost: ["name", "state", "best", "duration", "gpu_hours", "energy", "cost", "restarts", "host", "user", "started", "ended"],
  Outcome: ["name", "state", "curve", "loss", "best", "best_step", "judged", "steps", "tags", "note", "started", "commit"],
};

export class ColumnChoice {
  /** @param {(keys: string[]) => void} done @param {(key: string) => void} added a column that a user wants to see */
  constructor(done, added) {
    this.done = done;
    this.added = added;
    /** @type {string[]} none: the usual ones */
    this.keys = stored(CHOSEN, isNames) ?? [];
    /** @type {Record<string, string[]>} */
    this.sets = stored(SETS, isSets) ?? {};
    /** @type {Choice[]} */
    this.all = [];
    /** @type {string[]} */
    this.usual = [];
    /** @type {Map<string, Direction>} */
    this.directions = new Map();
    this.search = el("input", { type: "text", class: "input", placeholder: "Search columns, config keys, series", "aria-label": "Search", oninput: () => this.#draw() });
    this.list = el("div", { class: "rows choices" });
    this.said = el("p", { class: "dim", role: "status" });
    this.setList = el("div", { class: "actions" });
    this.name = el("input", { type: "text", class: "input", maxlength: 60, placeholder: "Name of a set", "aria-label": "Name of a set" });
    const save = el("button", { class: "btn", type: "button", onclick: () => this.#save() }, "Save as set");
    this.dialog = dialogOf("column-choice", "Columns", el("div", {}, el("h2", {}, "Columns"), this.setList, this.search, this.list, this.said, el("div", { class: "actions" }, this.name, save)));
  }

  /** As the parameter `columns`: a key may hold commas. */
  get asked() {
    return this.keys.length ? `${this.keys.join("\n")}\n` : "";
  }

  async open() {
    this.dialog.showModal();
    try {
      const { columns, configured, series } = await get("columns");
      this.usual = columns.filter(({ shown }) => shown).map(({ key }) => key);
      this.directions = new Map(series.map(({ name, direction }) => [name, direction]));
      const chosen = (/** @type {string} */ kind, /** @type {string} */ name) => ({ key: `${kind}.${name}`, title: `${kind}: ${name}`, help: "" });
      const best = series.map(({ name }) => ({ ...chosen("best", name), series: name }));
      const others = ["last", "least", "most"].flatMap((kind) => series.map(({ name }) => chosen(kind, name)));
      this.all = [...configured.map((name) => chosen("config", name)), ...best, ...columns, ...others];
      this.#draw();
    } catch (error) {
      setText(this.said, sentenceOf(error));
    }
  }

  #draw() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.keys.length ? this.keys : this.usual;
    const place = new Map(shown.map((key, at) => [key, at]));
    const found = this.all.filter(({ key, title }) => words.every((/** @type {string} */ word) => `${key} ${title}`.toLowerCase().includes(word)));
    found.sort((a, b) => (place.get(a.key) ?? Infinity) - (place.get(b.key) ?? Infinity) || 0);
    this.list.replaceChildren(
      ...found.slice(0, MOST_LISTED).map(({ key, title, help, series }) => {
        const box = el("input", { type: "checkbox", checked: place.has(key), disabled: key === "name", onchange: () => this.#toggle(key, box.checked) });
        const label = el("label", { title: help }, box, el("span", {}, title));
        return series === undefined ? label : el("div", { class: "with-direction" }, label, this.#direction(series));
      }),
    );
    setText(this.said, found.length > MOST_LISTED ? `The first ${MOST_LISTED} of ${counted(found.length, "column")}; search for others.` : counted(found.length, "column"));
    this.setList.replaceChildren(
      ...Object.entries({ ...BUILT_IN, ...this.sets }).map(([name, keys]) => el("button", { class: "btn", type: "button", onclick: () => this.#choose(keys) }, name)),
      ...Object.keys(this.sets).map((name) => el("button", { class: "plain dim", type: "button", onclick: () => this.#remove(name) }, `Delete ${name}`)),
    );
  }

  /** A button that says which values of a series are better, and turns it round. @param {string} series */
  #direction(series) {
    const known = this.directions.get(series) ?? null;
    const word = { down: "↓ less is better", up: "↑ more is better" }[known ?? "down"];
    const next = known === "down" ? "up" : "down";
    return el("button", { class: "plain dim", type: "button", "data-owners": "", onclick: () => this.#turn(series, next) }, known === null ? "which is better?" : word);
  }

  /** @param {string} series @param {"down" | "up"} direction */
  async #turn(series, direction) {
    try {
      await change("directions", { series, direction });
      this.directions.set(series, direction);
      this.#draw();
      this.done(this.keys);
    } catch (error) {
      setText(this.said, sentenceOf(error));
    }
  }

  /** The grid's columns were moved. @param {string[]} keys */
  moved(keys) {
    this.keys = keys;
    keep(CHOSEN, keys);
  }

  /** @param {string} key @param {boolean} on */
  #toggle(key, on) {
    const shown = this.keys.length ? this.keys : this.usual;
    this.#choose(on ? withColumn(shown, key).slice(0, MOST) : shown.filter((other) => other !== key));
    if (on) this.added(key);
  }

  /** @param {string[]} keys */
  #choose(keys) {
    this.keys = keys;
    keep(CHOSEN, keys);
    this.#draw();
    this.done(keys);
  }

  #save() {
    const name = this.name.value.trim();
    if (!name || Object.hasOwn(BUILT_IN, name)) return;
    this.sets = { ...this.sets, [name]: this.keys.length ? this.keys : this.usual };
    keep(SETS, this.sets);
    this.name.value = "";
    this.#draw();
  }

  /** @param {string} name */
  #remove(name) {
    const { [name]: _, ...others } = this.sets;
    this.sets = others;
    keep(SETS, others);
    this.#draw();
  }
}

/** Beside the last column by choice, else after those that say how the run went: in sight. @param {string[]} keys @param {string} key */
export function withColumn(keys, key) {
  const beside = keys.findLastIndex((other) => BY_CHOICE.test(other));
  const at = 1 + (beside >= 0 ? beside : Math.max(...["name", "state", "best"].map((other) => keys.indexOf(other))));
  return [...keys.slice(0, at), key, ...keys.slice(at)];
}

/** @template T @param {string} key @param {(value: any) => value is T} is @returns {T | null} */
function stored(key, is) {
  try {
    const value = JSON.parse(localStorage.getItem(key) ?? "null");
    return is(value) ? value : null;
  } catch {
    return null;
  }
}

/** @param {string} key @param {unknown} value */
function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // a browser that keeps nothing: the choice holds until the page is left
  }
}

/** @param {any} value @returns {value is string[]} */
const isNames = (value) => Array.isArray(value) && value.length <= MOST && value.every((key) => typeof key === "string");

/** @param {any} value @returns {value is Record<string, string[]>} */
const isSets = (value) => typeof value === "object" && value !== null && Object.values(value).every(isNames);
