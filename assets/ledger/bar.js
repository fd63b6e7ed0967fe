/** Where the time of the view went: one thin bar below the run's strip, a segment per kind, and the sentence beside it. */

import { el, setClass, setText } from "../lib/dom.js";
import { capital } from "../lib/format.js";
import { TIME } from "../lib/axis.js";
import { visible } from "../lib/visible.js";
import { basisOf, partsOf, shareOf, tipOf } from "./kinds.js";

/** @typedef {import("./kinds.js").Ledger} Ledger */
/** @typedef {import("./kinds.js").Part} Part */

export class LedgerBar {
  /** @param {import("./place.js").LedgerPlace} place */
  constructor(place) {
    this.element = place.bar;
    this.name = this.element.firstElementChild;
    this.parts = el("ul", { "aria-label": "Shares of the time on view" });
    this.said = el("p");
    this.button = el("button", { class: "btn", type: "button", title: "A lane that shows it over time" }, "Over time");
    this.button.addEventListener("click", () => {
      place.turn();
      this.#press(place.over);
    });
    this.element.append(this.parts, this.said, this.button);
    this.#press(place.over);
  }

  /** @param {Ledger} ledger */
  show(ledger) {
    this.parts.replaceChildren(...partsOf(ledger.rows).map(segment));
    const { sentence, rows, window } = ledger;
    setText(this.said, capital(sentence));
    setClass(this.said, "dim", !rows.length);
    this.said.title = visible(rows.length ? `${capital(sentence)} ${capital(basisOf(ledger))}.` : sentence);
    this.name.title = `${TIME.range(...window)}, ${TIME.length(window[1] - window[0])}`;
  }

  /** Another run is shown: nothing is known of it. */
  clear() {
    this.parts.replaceChildren();
    setText(this.said, "");
    this.said.title = this.name.title = "";
  }

  /** @param {boolean} over the lane is shown */
  #press(over) {
    this.button.setAttribute("aria-pressed", String(over));
  }
}

/** @param {Part} part */
function segment(part) {
  const style = `flex-grow:${Math.max(0, part.share).toFixed(2)};background:var(--${part.colour})`;
  return el("li", { style, title: tipOf(part) }, el("span", { class: "unseen" }, `${part.label} ${shareOf(part)}`));
}
