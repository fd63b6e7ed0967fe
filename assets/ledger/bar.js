/** Where the time of the view went: one thin bar below the run's strip, a segment per kind, and the sentence beside it. */

import { el, setClass, setText } from "../lib/dom.js";
import { capital } from "../lib/format.js";
import { TIME } from "../lib/axis.js";
import { basisOf, partsOf, shareOf, tipOf } from "./kinds.js";

/** @typedef {import("./kinds.js").Ledger} Ledger */
/** @typedef {import("./kinds.js").Part} Part */

const SHOWN = "lane of the ledger"; // key of the browser's storage

export class LedgerBar {
  /** @param {() => void} changed the user wants the lane, or does not any more */
  constructor(changed) {
    const asked = new URLSearchParams(location.search).get("ledger");
    this.over = (asked ?? localStorage.getItem(SHOWN)) === "1"; // the lane is shown
    /** @type {Ledger | null} */
    this.ledger = null;
    this.name = el("span", { class: "k" }, "Where time went");
    this.parts = el("ul", { "aria-label": "Shares of the time on view" });
    this.said = el("p");
    this.button = el("button", { class: "btn", type: "button", title: "A lane that shows it over time", onclick: () => this.#toggle(changed) }, "Over time");
    this.element = el("section", { class: "ledger-bar", "aria-label": "Where time went" }, this.name, this.parts, this.said, this.button);
    this.#press();
  }

  /** Its part of the address. */
  address() {
    return { ledger: this.over ? "1" : null };
  }

  /** @param {Ledger} ledger */
  show(ledger) {
    this.ledger = ledger;
    this.parts.replaceChildren(...partsOf(ledger.rows).map(segment));
    const { sentence, rows, window } = ledger;
    setText(this.said, capital(sentence));
    setClass(this.said, "dim", !rows.length);
    this.said.title = rows.length ? `${capital(sentence)} ${capital(basisOf(ledger))}.` : sentence;
    this.name.title = `${TIME.range(...window)}, ${TIME.length(window[1] - window[0])}`;
  }

  /** Another run is shown: nothing is known of it. */
  clear() {
    this.ledger = null;
    this.parts.replaceChildren();
    setText(this.said, "");
    this.said.title = this.name.title = "";
  }

  /** @param {() => void} changed */
  #toggle(changed) {
    this.over = !this.over;
    localStorage.setItem(SHOWN, this.over ? "1" : "0");
    this.#press();
    changed();
  }

  #press() {
    this.button.setAttribute("aria-pressed", String(this.over));
  }
}

/** @param {Part} part */
function segment(part) {
  const style = `flex-grow:${Math.max(0, part.share).toFixed(2)};background:var(--${part.colour})`;
  return el("li", { style, title: tipOf(part) }, el("span", { class: "unseen" }, `${part.label} ${shareOf(part)}`));
}
