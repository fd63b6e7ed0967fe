/** A note on a moment or a window of a run: a small dialog that sends it. It then comes back as an event of the run. Loaded when it is first asked for. */

import { change, sentenceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { clock, duration } from "../lib/format.js";

/** @typedef {{run: string, from: number | null, to: number}} Place `from` is null for a moment */

const MOST = 4000; // characters

export class Notes {
  /** @param {() => Place | null} place where a note would stand now; null where none can */
  constructor(place) {
    this.place = place;
    /** @type {Place | null} */
    this.at = null;
    this.heading = el("h2");
    this.input = el("input", { type: "text", maxlength: MOST, "aria-label": "Note", autocomplete: "off" });
    this.said = el("p", { class: "dim", role: "status" });
    this.form = el(
      "form",
      { onsubmit: (/** @type {Event} */ event) => this.#save(event) },
      this.heading,
      el("span", { class: "find" }, this.input),
      this.said,
      el("button", { class: "btn", type: "submit" }, "Save"),
      el("button", { class: "btn", type: "button", onclick: () => this.dialog.close() }, "Cancel"),
    );
    this.dialog = el("dialog", { class: "help note", "aria-label": "A note" }, this.form);
    document.body.append(this.dialog);
  }

  open() {
    this.at = this.place();
    if (!this.at || this.dialog.open) return;
    const { from, to } = this.at;
    setText(this.heading, from === null ? `Note at ${clock(to)}` : `Note on ${clock(from)} to ${clock(to)}, ${duration(to - from)}`);
    this.input.value = "";
    setText(this.said, "");
    this.dialog.showModal();
    this.input.focus();
  }

  /** @param {Event} event */
  async #save(event) {
    event.preventDefault();
    if (!this.at || !this.input.value.trim()) return;
    try {
      await change("events", bodyOf(this.at, this.input.value));
      this.dialog.close();
    } catch (error) {
      setText(this.said, sentenceOf(error));
    }
  }
}

/** An event ends at its time. @param {Place} place @param {string} text */
const bodyOf = ({ run, from, to }, text) => ({ run, text: text.trim(), time_s: to, ...(from === null ? {} : { seconds: to - from }) });
