/** The line above the grid: filter, chips by state, grouping, what is hidden, the ticked runs, columns and CSV. */

import { get, sentenceOf } from "../../lib/api.js";
import { copyButton } from "../../lib/copy.js";
import { el, hang, setClass, setText } from "../../lib/dom.js";
import { snippet } from "../live/snippet.js";
import { count, counted } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";

/** @typedef {import("./question.js").Question} Question */

const CHIPS = [
  ["", "All"],
  ["running", "Running"],
  ["finished", "Finished"],
  ["stalled", "Stalled"],
  ["crashed", "Crashed"],
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
const MOST_GROUPS = 200; // keys that are offered
const MISTAKE_MS = 400; // what is typed is half a filter at first: no mistake until the keys rest
const MOST_DRAWN = 8; // runs that can be compared in colours of their own

export class Tools {
  /** @param {{change: (change: Partial<Question>) => void, columns: () => void, untick: () => void}} does */
  constructor({ change, columns, untick }) {
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
    this.chips = CHIPS.map(([state, word]) => {
      const number = el("small");
      const chip = el("button", { class: "state-chip", type: "button", "aria-pressed": "false", onclick: () => change({ chip: state }) }, word, number);
      return { state, chip, number };
    });
    this.group = el("select", { class: "chip", "aria-label": "Group", onchange: () => change({ group: this.group.value, opened: [] }) });
    this.hidden = el("div", { popover: "auto", class: "hidden-runs" });
    this.archived = checkbox("Show archived", (on) => change({ archived: on }));
    this.forgotten = checkbox("Show forgotten", (on) => change({ forgotten: on }));
    this.hidden.append(this.archived.label, this.forgotten.label);
    const hiddenButton = el("button", { class: "btn", type: "button", onclick: () => hang(this.hidden, hiddenButton) }, "Hidden");
    this.number = el("b");
    this.compare = el("a", { class: "btn pri", hidden: true }, "Compare");
    this.untick = el("button", { class: "btn", type: "button", hidden: true, title: "Untick all", onclick: untick }, this.number, "ticked ×");
    this.csv = el("a", { class: "btn", download: "runs.csv", "data-exports": "" }, "CSV");
    this.said = el("p", { class: "runs-said", role: "status", hidden: true });
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
      el("label", { class: "find" }, el("kbd", {}, "/"), this.filter, this.found),
      el("div", { class: "state-chips", role: "group", "aria-label": "State" }, ...this.chips.map(({ chip }) => chip)),
      el(
        "div",
        { class: "right" },
        this.untick,
        this.compare,
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

  /** @param {Question} question @param {string[]} ticked */
  draw(question, ticked) {
    if (document.activeElement !== this.filter) this.filter.value = question.q;
    else if (!question.q) this.filter.value = "";
    for (const { state, chip } of this.chips) chip.setAttribute("aria-pressed", String(state === question.chip));
    this.#drawGroups(question.group);
    this.archived.box.checked = question.archived;
    this.forgotten.box.checked = question.forgotten;
    this.untick.hidden = this.compare.hidden = !ticked.length;
    setText(this.number, count(ticked.length));
    this.compare.search = "";
    this.compare.href = pathTo(`/training?${new URLSearchParams(ticked.map((run) => ["runs", run]))}`);
    this.compare.title = ticked.length > MOST_DRAWN ? `The first ${MOST_DRAWN} have colours of their own` : "";
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
      this.further = configured.slice(0, MOST_GROUPS).map((key) => [`config.${key}`, `by ${key}`]);
      if (document.activeElement !== this.group) this.#drawGroups(this.group.value);
      else this.group.addEventListener("blur", () => this.#drawGroups(this.group.value), { once: true }); // it may be open
    } catch (error) {
      this.mistake(sentenceOf(error));
    }
  }

  /** @param {import("../../types/api").Answer<"table">} answer */
  answered({ found, known, counts, notes, columns }) {
    this.#drawNone(found, known);
    setText(this.found, found === known ? counted(known, "run") : `${count(found)} of ${counted(known, "run")}`);
    for (const { state, chip, number } of this.chips) {
      setText(number, count(counts[state || "all"]));
      setClass(chip, "none", !counts[state || "all"]);
    }
    this.#learnGroups(known);
    this.columns = columns.map(({ key }) => key);
    this.#drawCsv();
    this.#say(notes.join("; "), "");
  }

  /** @param {number} found @param {number} known */
  #drawNone(found, known) {
    this.none.hidden = found > 0;
    if (known) this.none.replaceChildren(el("p", {}, "No run matches. Esc clears the filter; archived and forgotten runs are behind Hidden."));
    else this.none.replaceChildren(el("p", {}, "No runs yet. Any JSONL file in the log folder becomes one."), el("pre", {}, snippet(this.log_dir)), copyButton("Copy", () => snippet(this.log_dir)));
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
    setClass(this.said, "warn", tone === "warn");
  }
}

/** @param {Question} question @param {string[]} columns */
function csvOf({ q, chip, sort, desc, archived, forgotten }, columns) {
  const flags = { desc: String(desc), archived: String(archived), forgotten: String(forgotten) };
  const chosen = columns.length ? `${columns.join("\n")}\n` : ""; // none: the usual ones
  return pathTo(`/api/v1/table?${new URLSearchParams({ format: "csv", q, state: chip, sort, ...flags, columns: chosen })}`);
}

/** @param {string} word @param {(on: boolean) => void} done */
function checkbox(word, done) {
  const box = el("input", { type: "checkbox", onchange: () => done(box.checked) });
  return { box, label: el("label", {}, box, word) };
}
