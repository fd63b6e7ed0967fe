/** Goodput of the run in the side panel: which of its seconds were training that counted, and what the others went to. */

import { get, sentenceOf } from "../../lib/api.js";
import { el } from "../../lib/dom.js";
import { count, duration, figure } from "../../lib/format.js";

const COUNTS = new Set(["training", "running"]);

/** Fills its place in the panel, once Python has made one. */
export async function fillGoodput() {
  const place = document.getElementById("about-goodput");
  const { run } = place?.dataset ?? {};
  if (!place || run === undefined || place.dataset.filled === run) return;
  place.dataset.filled = run;
  place.replaceChildren(el("p", { class: "dim" }, "Reading …"));
  const parts = await get("goodput", { run }).then(goodputParts, (error) => [el("p", { class: "dim" }, sentenceOf(error))]);
  if (place.dataset.run === run) place.replaceChildren(...parts);
}

/** @param {import("../../types/api").Answer<"goodput">} answer @returns {Node[]} */
function goodputParts(answer) {
  if (!answer.rows.length) return [el("p", { class: "dim" }, answer.sentence)];
  const rows = answer.rows.map((row) =>
    el(
      "tr",
      { title: `From: ${row.basis}` },
      el("th", {}, row.label),
      el("td", { class: "num" }, `${row.share.toFixed(1)} %`),
      el("td", { class: "num" }, duration(row.seconds)),
      el("td", { class: "goodput-bar" }, el("span", { class: COUNTS.has(row.kind) ? "good" : "lost", style: `width: ${row.share}%` })),
    ),
  );
  return [
    el("p", {}, answer.sentence),
    el("table", {}, el("tbody", {}, ...rows)),
    ...paidOf(answer).map((line) => el("p", {}, line)),
    ...answer.missing.map((sentence) => el("p", { class: "dim" }, sentence)),
  ];
}

/** What of the energy and of the cost was lost. @param {import("../../types/api").Answer<"goodput">} answer */
function paidOf({ paid, lost, currency, steps, redone_steps }) {
  const known = (/** @type {number | null} */ value) => value !== null && value > 0;
  return [
    steps ? `${count(steps)} steps count${redone_steps ? `, ${count(redone_steps)} were done again` : ""}.` : "",
    known(paid.energy_j) ? `Energy: ${figure((lost.energy_j ?? 0) / 3.6e6)} of ${figure((paid.energy_j ?? 0) / 3.6e6)} kWh lost.` : "",
    known(paid.cost) ? `Cost: ${figure(lost.cost, 2)} of ${figure(paid.cost, 2)} ${currency} lost.` : "",
  ].filter(Boolean);
}
