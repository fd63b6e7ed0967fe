/** The meaning of the colours of flame frames. */

import { el } from "../lib/dom.js";

export const legendOfKinds = () => [
  el("i", { class: "own" }),
  "your code",
  el("i", { class: "library" }),
  "library",
  el("i", { class: "wait" }),
  "waits",
];

export const legendOfDifference = () => ["less", el("i", { class: "ramp-diff" }), "more than normal"];
