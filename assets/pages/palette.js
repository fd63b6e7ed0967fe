/** The palette (Ctrl K): type a part of a run, series, page or note, and go there. Loaded when it is first asked for. */

import { Retry, retryText } from "../data/refresh.js";
import { get, lasting, newest, sentenceOf } from "../lib/api.js";
import { el, setText, visibleName } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { pathTo, visit } from "../lib/url.js";

/** @typedef {import("../types/api").Row<"Hit">} Hit */

const KINDS = { page: "Page", run: "Run", series: "Series", note: "Note" };
const KEPT = ["theme"]; // parameters of the address that stay
const CURVES = "/training"; // the page that draws several runs
const MAX_RUNS = 20; // whose series are searched

export class Palette {
  /** @param {() => string | null} run the shown one, whose series are searched first */
  constructor(run) {
    this.run = run;
    /** @type {Hit[]} */
    this.hits = [];
    this.at = 0;
    /** @type {string | null} */
    this.shown = ""; // what the hits are of; null where that failed
    this.goes = false; // Enter came before the hits
    this.input = el("input", {
      type: "text",
      role: "combobox",
      "aria-label": "Search runs, series, pages and notes",
      "aria-expanded": "true",
      "aria-controls": "palette-hits",
      "aria-autocomplete": "list",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "Runs, series, pages, notes",
      oninput: () => this.#ask(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    });
    this.list = el("div", { id: "palette-hits", class: "hits", role: "listbox", "aria-label": "What was found" });
    this.said = el("div", { class: "foot dim", role: "status" });
    this.dialog = el("dialog", { class: "palette", "aria-label": "Search" }, this.input, this.list, this.said);
    this.dialog.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === this.dialog && this.dialog.close());
    document.body.append(this.dialog);
    this.find = newest(
      (/** @type {string} */ q) => get("search", { q, run: [...new Set([this.run() ?? [], chosenRuns().slice(0, MAX_RUNS - 1)].flat())] }),
      (answer, q) => this.#show(answer, q),
      (error, q) => this.#fail(error, q),
    );
    this.retry = new Retry(() => this.dialog.open && this.find(this.input.value));
  }

  /** Open it, or close it where it is open. */
  toggle() {
    if (this.dialog.open) return this.dialog.close();
    this.dialog.showModal();
    this.input.select();
    this.#ask();
  }

  #ask() {
    this.goes = false;
    this.find(this.input.value);
  }

  /** The failure stands in place of hits of an earlier query, and it is asked again where that may help. @param {unknown} error @param {string} q */
  #fail(error, q) {
    const sentence = sentenceOf(error);
    if (q !== this.input.value) return; // the newer query is under way
    Object.assign(this, { hits: [], at: 0, shown: lasting(error) ? q : null });
    this.list.replaceChildren();
    this.input.setAttribute("aria-activedescendant", "");
    setText(this.said, lasting(error) ? sentence : retryText(sentence, this.retry.failed()));
  }

  /** @param {import("../types/api").Answer<"search">} answer @param {string} q */
  #show({ results, left_out, note }, q) {
    this.retry.done();
    Object.assign(this, { hits: results, at: 0, shown: q });
    this.list.replaceChildren(...results.map((hit, i) => this.#row(hit, i)));
    const more = left_out ? `${count(left_out)} more: type more of it.` : results.length ? "" : `Nothing has “${q}” in it.`;
    setText(this.said, [more, note].filter(Boolean).join(" "));
    this.#mark();
    if (this.goes && q === this.input.value) this.#go(0);
  }

  /** @param {Hit} hit @param {number} i */
  #row({ kind, text, detail }, i) {
    return el(
      "div",
      { role: "option", id: `palette-hit-${i}`, class: "hit", onclick: () => this.#go(i), onpointermove: () => this.#move(i) },
      el("span", { class: "kind dim" }, KINDS[kind]),
      el("span", { class: "text" }, visibleName(text)),
      el("span", { class: "detail dim" }, detail),
    );
  }

  /** @param {number} i */
  #move(i) {
    if (i === this.at || !this.hits.length) return;
    this.at = (i + this.hits.length) % this.hits.length;
    this.#mark();
  }

  #mark() {
    [...this.list.children].forEach((row, i) => {
      row.setAttribute("aria-selected", String(i === this.at));
      if (i === this.at) row.scrollIntoView({ block: "nearest" });
    });
    this.input.setAttribute("aria-activedescendant", this.hits.length ? `palette-hit-${this.at}` : "");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (way) this.#move(this.at + way);
    else if (event.key === "Enter") this.shown === this.input.value ? this.#go(this.at) : (this.goes = true);
    else return;
    event.preventDefault();
  }

  /** @param {number} i */
  #go(i) {
    const hit = this.hits[i];
    if (!hit) return;
    const url = new URL(pathTo(hit.address), location.origin);
    const now = new URLSearchParams(location.search);
    for (const name of KEPT) if (now.has(name)) url.searchParams.set(name, now.get(name) ?? "");
    if (hit.kind === "series" && hit.address.startsWith(`${CURVES}?`)) keepRuns(url.searchParams, hit.run, now.get("run"));
    this.dialog.close();
    if (url.origin === location.origin) visit(url);
  }
}

/** The runs that are chosen on this page: ticked, or drawn. */
const chosenRuns = () => [...new Set(new URLSearchParams(location.search).getAll("runs"))];

/** The chart opens with the chosen runs, and with the run that the series was found in. @param {URLSearchParams} query @param {string | null} found @param {string | null} shown */
function keepRuns(query, found, shown) {
  const chosen = chosenRuns();
  if (!chosen.length) return;
  for (const run of found === null || chosen.includes(found) ? chosen : [...chosen, found]) query.append("runs", run);
  query.set("run", shown !== null && chosen.includes(shown) ? shown : chosen[0]);
}
