/** The source lines around a frame, when the server may read them. */

import { Refused, get, newest } from "../lib/api.js";
import { el, setClass } from "../lib/dom.js";

const CONTEXT = 4; // lines on each side

/** @typedef {{run: string, file: string, line: number, share: string, tone: string}} Place `share`: shown after the line itself, `tone`: its colour */

export class Source {
  constructor() {
    this.element = el("section", { class: "source", "aria-label": "Source" });
    this.asked = "";
    this.read = newest(
      (/** @type {Place} */ { run, file, line }) => get("source", { run, file, line, context: CONTEXT }),
      (answer, place) => this.#fill(answer, place),
      (error) => this.#put(el("p", { class: "dim" }, error instanceof Refused ? error.message : "")),
    );
  }

  /** @param {Place | null} place */
  show(place) {
    const asked = JSON.stringify(place);
    if (asked === this.asked) return;
    this.asked = asked;
    const isThere = Boolean(place?.file && place.line > 0);
    if (place && isThere) this.read(place);
    else this.#put();
    setClass(this.element, "reading", isThere);
  }

  /** @param {...Node} children */
  #put(...children) {
    setClass(this.element, "reading", false);
    this.element.replaceChildren(...children);
  }

  /** @param {{first: number, line: number, lines: string[], kept: boolean, note: string}} answer @param {Place} place */
  #fill({ first, line, lines, kept, note }, place) {
    if (JSON.stringify(place) !== this.asked) return;
    const indent = Math.min(...lines.filter((text) => text.trim()).map((text) => text.search(/\S/)));
    const row = (/** @type {string} */ text, /** @type {number} */ i) =>
      el(
        "div",
        { class: first + i === line ? "line here" : "line" },
        el("i", {}, String(first + i)),
        el("span", {}, text.slice(indent)),
      );
    const share = el("div", { class: "line here" }, el("i"), el("b", { class: place.tone }, place.share)); // below its line, whose code it does not cover
    const rows = lines.flatMap((text, i) => (first + i === line && place.share ? [row(text, i), share] : [row(text, i)]));
    this.#put(el("pre", {}, ...rows), ...(kept ? [] : [el("p", { class: "dim" }, note)]));
  }
}
