/** A note: paragraphs, which are text and nothing else. */

import { el } from "../../lib/dom.js";

export class NoteChart {
  legend = false;

  /** @param {import("./kinds.js").PlacedChart} chart */
  constructor({ fields }) {
    const paragraphs = (fields.text ?? "").trim().split(/\n{2,}/);
    this.element = el("div", { class: "board-note", tabindex: "0", role: "region", "aria-label": fields.title ?? "Note" }, ...paragraphs.map((text) => el("p", {}, text)));
  }

  /** @param {number} _width @param {number} height */
  fit(_width, height) {
    this.element.style.height = `${height}px`;
  }

  show() {}

  redraw() {}

  /** @param {number | null} _x */
  crosshair(_x) {}

  destroy() {}
}
