/** Parts of the forms of the Alerts page: a field for a secret, and the preview of a rule. */

import { curveOf, rowOf } from "../../curves/curve.js";
import { el, setText } from "../../lib/dom.js";
import { minute, weekday } from "../../lib/format.js";
import { RuleChart } from "./rule_chart.js";

/**
 * A secret that is typed; what is kept never comes back. `page.js` reads it when the channel is saved.
 * @param {HTMLElement} place @param {{id: string, name: string, label: string, isSet: boolean}} props
 */
export function SecretField(place, { name, label, isSet }) {
  const input = el("input", {
    type: "password",
    class: "input",
    autocomplete: "new-password",
    "aria-label": label,
    "data-secret": name,
    placeholder: isSet ? "set; type to replace it" : "kept in a file of its own; or env:NAME, file:/path",
  });
  place.replaceChildren(input);
}

/** A time as the browser's zone has it. @param {HTMLElement} place @param {{time_s: number}} props */
export function Moment(place, props) {
  const show = (/** @type {{time_s: number}} */ { time_s }) => setText(place, weekdayAt(time_s));
  show(props);
  return { update: show };
}

/** @typedef {{run: string, t: number[], v: (number | null)[]}} PreviewCurve */
/** @typedef {{title: string, curves: PreviewCurve[], firings: {run: string, t: number}[], limit?: number | null}} Previewed */

/** @param {HTMLElement} place @param {Previewed} given */
export function RulePreview(place, given) {
  const chart = new RuleChart();
  const draw = (/** @type {Previewed} */ { title, curves, firings, limit = null }) =>
    chart.show(title, { curves: curves.map(({ run, t, v }) => curveOf(rowOf({ run, x: t, mean: v }))), limit, moments: firings.map(({ t }) => t) });
  draw(given);
  place.replaceChildren(chart.element);
  return { update: draw, close: () => chart.close() };
}

/** `Tue 14:25` @param {number} time_s */
const weekdayAt = (time_s) => `${weekday(time_s)} ${minute(time_s)}`;
