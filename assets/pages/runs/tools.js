/** The line above the grid: filter, chips by state, grouping, what is hidden, columns and CSV. */

import { change, get, sentenceOf } from "../../lib/api.js";
import { dialogOf, el, hang, setClass, setText } from "../../lib/dom.js";
import { life } from "../../lib/life.js";
import { count, counted } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";
import { firstRun } from "../first_run.js";

/** @typedef {import("./page.js").Question} Question */

const CHIPS = [
  ["", "All"],
  ["running", "Running"],
  ["finished", "Finished", "Finished, or ended without saying how"],
  ["stalled", "Stalled"],
  ["crashed", "Crashed", "Failed or killed"],
];
const GROUPS = [
  ["", "No groups"],
  ["state", "by state"],
  ["tags", "by tags"],
  ["commit", "by commit"],
  ["host", "by host"],
  ["gpu", "by GPU"],
  ["torch", "by PyTorch"],
];
const MAX_GROUPS = 200; // keys that are offered
const MISTAKE_MS = 400; // what is typed is half a filter at first: no mistake until the keys rest

export class Tools {
  /** @param {{change: (change: Partial<Question>) => void, columns: () => void}} does */
  constructor({ change, columns }) {
    this.filter = el("input", {
      type: "text",
      id: "filter",
      "aria-label": "Filter",
      placeholder: "model:vit lr<=1e-3 state:crashed",
      maxlength: 4096,
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => change({ q: this.filter.value }),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape" && this.filter.value) change({ q: "" });
        if (event.key === "Escape" || event.key === "Enter") this.filter.blur();
        event.stopPropagation();
      },
    });
    this.found = el("span", { class: "dim found", role: "status" });
    this.chips = CHIPS.map(([state, word, title = null]) => {
      const number = el("small");
      const chip = el("button", { class: "state-chip", type: "button", title, "aria-pressed": "false", onclick: () => change({ chip: state }) }, word, number);
      return { state, chip, number };
    });
    this.group = el("select", { class: "chip", "aria-label": "Group", onchange: () => change({ group: this.group.value, opened: [] }) });
    this.hidden = el("div", { popover: "auto", class: "hidden-runs" });
    this.archived = checkbox("Show archived", (on) => change({ archived: on }));
    this.deleted = checkbox("Show deleted", (on) => change({ deleted: on }));
    this.hidden.append(this.archived.label, this.deleted.label);
    const hiddenButton = el("button", { class: "btn", type: "button", onclick: () => hang(this.hidden, hiddenButton) }, "Hidden");
    this.csv = el("a", { class: "btn", download: "runs.csv", "data-exports": "" }, "CSV");
    this.said = el("p", { class: "runs-said", id: "filter-said", role: "status", hidden: true }); // below the field, over the table: nothing moves
    this.filter.setAttribute("aria-describedby", this.said.id);
    life().signal.addEventListener("abort", () => setClass(document.body, "mistaken", false));
    this.done = el("p", { class: "runs-done", role: "status", hidden: true });
    /** @type {Question | null} */
    this.asked = null;
    /** @type {string[]} */
    this.columns = [];
    /** @type {string[][]} by keys of configurations */
    this.further = [];
    this.known = -1; // runs, when those were read
    this.none = el("div", { class: "empty", hidden: true });
    this.log_dir = "logs"; // until the server says it
    this.element = el(
      "div",
      { class: "runs-tools" },
      el("div", { class: "find-place" }, el("label", { class: "find" }, el("kbd", {}, "/"), this.filter, this.found), this.said),
      el("div", { class: "state-chips", role: "group", "aria-label": "State" }, ...this.chips.map(({ chip }) => chip)),
      el(
        "div",
        { class: "right" },
        this.group,
        hiddenButton,
        el("button", { class: "btn", type: "button", onclick: columns }, "Columns"),
        this.csv,
      ),
      this.hidden,
    );
  }

  /** @type {number | undefined} */
  #timer;

  focus() {
    this.filter.focus();
    this.filter.select();
  }

  /** @param {Question} question */
  draw(question) {
    if (document.activeElement !== this.filter) this.filter.value = question.q;
    else if (!question.q) this.filter.value = "";
    for (const { state, chip } of this.chips) chip.setAttribute("aria-pressed", String(state === question.chip));
    this.#drawGroups(question.group);
    this.archived.box.checked = question.archived;
    this.deleted.box.checked = question.deleted;
    this.asked = question;
    this.#drawCsv();
  }

  #drawCsv() {
    if (this.asked) this.csv.href = csvOf(this.asked, this.columns);
  }

  /** @param {string} group */
  #drawGroups(group) {
    const further = [...this.further];
    if (![...GROUPS, ...further].some(([key]) => key === group)) further.push([group, `by ${group.replace(/^config\./, "")}`]);
    const options = (/** @type {string[][]} */ keys) => keys.map(([key, word]) => el("option", { value: key, selected: key === group }, word));
    this.group.replaceChildren(...options(GROUPS), further.length ? el("optgroup", { label: "Configuration" }, ...options(further)) : "");
  }

  /** Runs may be grouped by keys of their configurations, too: the menu has them before it is opened. @param {number} known runs */
  async #learnGroups(known) {
    if (this.known === known) return;
    this.known = known;
    try {
      const { configured } = await get("columns");
      this.further = configured.slice(0, MAX_GROUPS).map((key) => [`config.${key}`, `by ${key}`]);
      if (document.activeElement !== this.group) this.#drawGroups(this.group.value);
      else this.group.addEventListener("blur", () => this.#drawGroups(this.group.value), { once: true }); // it may be open
    } catch (error) {
      this.mistake(sentenceOf(error));
    }
  }

  /** @param {import("../../types/api").Answer<"table">} answer @param {boolean} taken of the filter that is in the field */
  showCounts({ found, known, counts, notes, columns }, taken) {
    this.#drawNone(found, known);
    setText(this.found, found === known ? counted(known, "run") : `${count(found)} of ${counted(known, "run")}`);
    for (const { state, chip, number } of this.chips) {
      setText(number, count(counts[state || "all"]));
      setClass(chip, "none", !counts[state || "all"]);
    }
    this.#learnGroups(known);
    this.columns = columns.map(({ key }) => key);
    this.#drawCsv();
    if (taken) this.#say(notes.join("; "), "");
  }

  /** @param {number} found @param {number} known */
  #drawNone(found, known) {
    this.none.hidden = found > 0;
    if (known) this.none.replaceChildren(el("p", {}, "No run matches. Esc clears the filter; archived and deleted runs are behind Hidden."));
    else {
      const { sentence, more } = firstRun(this.log_dir);
      this.none.replaceChildren(el("p", {}, sentence), ...more);
    }
  }

  /** What was done, with the way back, until it is put away. @param {string} sentence @param {() => void} undo */
  offer(sentence, undo) {
    const away = () => (this.done.hidden = true);
    const back = el("button", { class: "btn", type: "button", onclick: () => (away(), undo()) }, "Undo");
    this.done.replaceChildren(`${sentence} `, back, el("button", { class: "plain dim", type: "button", "aria-label": "Put away", onclick: away }, "×"));
    this.done.hidden = false;
  }

  /** @param {string} sentence */
  mistake(sentence) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#say(sentence, "warn"), document.activeElement === this.filter ? MISTAKE_MS : 0);
  }

  /** @param {string} sentence @param {string} tone */
  #say(sentence, tone) {
    clearTimeout(this.#timer);
    setText(this.said, sentence);
    this.said.hidden = !sentence;
    const mistaken = tone === "warn";
    setClass(this.said, "warn", mistaken);
    this.filter.ariaInvalid = String(mistaken);
    setClass(document.body, "mistaken", mistaken); // the rows are of an earlier filter
  }
}

/** @param {Question} question @param {string[]} columns */
function csvOf({ q, chip, sort, desc, archived, deleted }, columns) {
  const flags = { desc: String(desc), archived: String(archived), deleted: String(deleted) };
  const chosen = columns.length ? `${columns.join("\n")}\n` : ""; // none: the usual ones
  return pathTo(`/api/v1/table?${new URLSearchParams({ format: "csv", q, state: chip, sort, ...flags, columns: chosen })}`);
}

/** @param {string} word @param {(on: boolean) => void} done */
function checkbox(word, done) {
  const box = el("input", { type: "checkbox", onchange: () => done(box.checked) });
  return { box, label: el("label", {}, box, word) };
}

// Which columns are shown: a dialog with all that there may be, sets of them, and the choice, which this browser remembers.

/** @typedef {"down" | "up" | null} Direction */
/** @typedef {{key: string, title: string, help: string, series?: string}} Choice `series`: whose direction can be changed */

const CHOSEN = "runs.columns"; // keys of localStorage
const SETS = "runs.column_sets";
const MOST = 100; // columns of a question
const MAX_LISTED = 300;
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
      const { columns, usual, configured, series } = await get("columns");
      this.usual = usual;
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
      ...found.slice(0, MAX_LISTED).map(({ key, title, help, series }) => {
        const box = el("input", { type: "checkbox", checked: place.has(key), disabled: key === "name", onchange: () => this.#toggle(key, box.checked) });
        const label = el("label", { title: help }, box, el("span", {}, title));
        return series === undefined ? label : el("div", { class: "with-direction" }, label, this.#direction(series));
      }),
    );
    setText(this.said, found.length > MAX_LISTED ? `The first ${MAX_LISTED} of ${counted(found.length, "column")}; search for others.` : counted(found.length, "column"));
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
function withColumn(keys, key) {
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
