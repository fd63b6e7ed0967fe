/** The ledger's places on the Live page. Its modules are loaded once the page is complete, or as soon as its lane or its table is wanted. */

import { el } from "../lib/dom.js";

/** @typedef {import("./ledger_view.js").LedgerView} LedgerView */
/** @typedef {import("./schedule.js").Sight} Sight */
/** @typedef {import("./schedule.js").Question} Question */
/** @typedef {import("../data/lanes.js").Lane} Lane */

const COMPLETE = "#content"; // Dash's layout, which the page has moved into then
const LATER_MS = 50;
const SHOWN = "lane of the ledger"; // key of the browser's storage

export class LedgerLoader {
  /** @param {{updateLanes: () => void, drawn: () => void}} page `updateLanes`: there are other lanes; `drawn`: there is something new to draw */
  constructor(page) {
    this.page = page;
    const asked = new URLSearchParams(location.search).get("ledger");
    this.over = (asked ?? localStorage.getItem(SHOWN)) === "1"; // the lane is shown
    this.bar = el("section", { class: "ledger-bar", "aria-label": "Where time went" }, el("span", { class: "k" }, "Where time went"));
    this.table = el("section", { class: "ledger", "aria-label": "Where the time of the window went" });
    /** @type {LedgerView | null} */
    this.view = null;
    this.selected = false;
    /** @type {Question | null} of the selected window, once it is blamed */
    this.question = null;
  }

  /** Resolves once the lane can be drawn, if it is wanted. */
  async wanted() {
    if (this.over) await this.loadView();
  }

  /** Without a connection there is no ledger, until it is wanted again. */
  async loadView() {
    this.#loading ??= import("./ledger_view.js").then(({ LedgerView }) => this.#begin(new LedgerView(this)));
    await this.#loading.catch(() => (this.#loading = null));
  }

  /** @type {Promise<void> | null} */
  #loading = null;

  /** @param {LedgerView} view */
  #begin(view) {
    this.view = view;
    view.select(this.selected);
    if (this.question) view.judged(this.question);
    this.page.drawn();
  }

  /** The user wants the lane, or does not any more. */
  turn() {
    this.over = !this.over;
    localStorage.setItem(SHOWN, this.over ? "1" : "0");
    this.page.updateLanes();
  }

  /** Call at each drawing of the page. @param {Sight | null} sight null where no ledger can be */
  look(sight) {
    if (this.view) this.view.look(sight);
    else if (sight && !this.#later && this.bar.closest(COMPLETE)) {
      this.#later = setTimeout(() => {
        this.#later = 0;
        this.loadView();
      }, LATER_MS);
    }
  }

  #later = 0;

  /** @param {boolean} selected a window is selected or drawn: it is blamed first */
  select(selected) {
    this.selected = selected;
    this.question = null;
    this.view?.select(selected);
  }

  /** The window is blamed, or cannot be. @param {Question} question */
  judged(question) {
    this.question = question;
    if (this.view) this.view.judged(question);
    else this.loadView();
  }

  /** With the ledger's lane, if the user wants it. @param {Lane[]} lanes @returns {Lane[]} */
  among(lanes) {
    return this.over && this.view && lanes.length ? this.view.among(lanes) : lanes;
  }

  get shares() {
    return this.view?.shares ?? null;
  }

  /** Its part of the address. */
  address() {
    return { ledger: this.over ? "1" : null };
  }
}
