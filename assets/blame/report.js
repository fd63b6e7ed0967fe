/** A button that writes the report of a run, or of a window of it, and hands it to the browser's downloads. */

import { raw, sentenceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";

/** @typedef {{run: string, window: {from: number, to: number} | null}} Reported `window` is null for the whole run */

export class ReportButton {
  /** @param {() => Reported | null} asked what the report is about at the moment; null for nothing @param {string} look a CSS class */
  constructor(asked, look = "btn") {
    this.asked = asked;
    this.button = el("button", { class: look, type: "button", title: "Everything about it in one HTML file, to keep or to attach", onclick: () => this.write() }, "Report");
    this.said = el("span", { class: "dim", role: "status" });
    this.element = el("span", { class: "report" }, this.button, this.said);
  }

  async write() {
    const asked = this.asked();
    if (!asked || this.button.disabled) return;
    this.button.disabled = true;
    setText(this.said, "Writing …");
    try {
      const response = await raw(`report?${questionOf(asked)}`);
      save(nameOf(response.headers.get("Content-Disposition")), await response.blob());
      setText(this.said, "");
    } catch (error) {
      setText(this.said, sentenceOf(error));
    } finally {
      this.button.disabled = false;
    }
  }
}

/** @param {Reported} asked */
export function questionOf({ run, window }) {
  const query = new URLSearchParams({ run });
  if (window) {
    query.set("from", String(window.from));
    query.set("to", String(window.to));
  }
  return query;
}

/** As the server names the file. @param {string | null} disposition */
export const nameOf = (disposition) => /filename="([^"/\\]+)"/.exec(disposition ?? "")?.[1] ?? "report.html";

/** @param {string} name @param {Blob} content */
function save(name, content) {
  const url = URL.createObjectURL(content);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
