/** The stacks of a window as a file: speedscope's format, or folded lines. */

import { el } from "../../lib/dom.js";
import { clock } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";
import { parameters } from "../../blame/profile.js";

const ENDINGS = { speedscope: "speedscope.json", folded: "folded.txt" };

/** @param {import("../../blame/profile.js").Question} question @param {keyof typeof ENDINGS} format */
export function download(question, format) {
  const { baseline, baseline_from, baseline_to, ...wanted } = parameters(question);
  const query = new URLSearchParams({ format });
  for (const [name, value] of Object.entries(wanted)) if (value !== null) query.set(name, String(value));
  const name = `${question.run} ${clock(question.asked.from)} ${clock(question.asked.to)}`.replace(/[^\w.-]+/g, "-");
  el("a", { href: pathTo(`/api/v1/flame?${query}`), download: `${name}.${ENDINGS[format]}` }).click();
}
