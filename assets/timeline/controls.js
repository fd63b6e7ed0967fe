/** The Live page's part of the bar: live or held, and the shown span. */

import { el, setClass, setText } from "../lib/dom.js";

/**
 * @typedef {Object} Setting
 * @property {"live" | "held" | "lost"} mode
 * @property {boolean} over nothing more comes from the run
 * @property {string} host
 * @property {number} span_s
 * @property {import("../lib/axis.js").Axis} axis
 */

export class Controls {
  /** @param {HTMLElement} bar @param {{resume: () => void, span: (span_s: number) => void}} actions */
  constructor(bar, actions) {
    this.host = el("span", { class: "dim host" });
    this.back = el("button", { class: "back", type: "button", disabled: true, onclick: actions.resume }, "…");
    this.spans = el("select", { class: "spans", "aria-label": "Range", onchange: () => actions.span(Number(this.spans.value)) });
    bar.append(this.host, this.back, el("label", { class: "range" }, el("kbd", {}, "r"), this.spans));
  }

  /** @param {Setting} setting */
  draw({ mode, over, host, span_s, axis }) {
    const [live, held] = over ? ["Ended", "Back to the end"] : ["Live", "Back to live"];
    setText(this.back, { live, held, lost: "Not connected" }[mode]);
    setClass(this.back, "held", mode !== "live");
    setClass(this.back, "over", mode === "live" && over);
    this.back.disabled = mode === "live";
    setText(this.host, host && `host ${host}`);
    const looks = `${axis.name} ${span_s}`;
    if (this.spans.dataset.looks === looks) return;
    this.spans.dataset.looks = looks;
    const spans = axis.spans.includes(span_s) ? axis.spans : [...axis.spans, span_s];
    this.spans.replaceChildren(...spans.map((span) => el("option", { value: span, selected: span === span_s }, axis.length(span))));
  }
}
