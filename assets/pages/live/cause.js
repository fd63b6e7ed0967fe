/** Why a run ended: its last traceback or the fault that its log names, with frames that lead to Flame's code. */

import { el, icon } from "../../lib/dom.js";
import { place } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";

/** @typedef {import("../../types/api").Row<"FaultRow">} FaultRow */
/** @typedef {import("../../types/api").Row<"CrashFrame">} CrashFrameRow */

const FRAMES = 6; // the innermost, until more are asked for

/** @param {string} run @param {FaultRow} cause @param {FaultRow[]} others @param {((line: import("../../types/api").Row<"LogLine">) => void) | null} show a line in the log below @returns {Node[]} */
export function partsOf(run, cause, others, show) {
  const inner = [...cause.frames].reverse();
  const rest = inner.slice(FRAMES);
  const frames = el("ol", {}, ...inner.slice(0, FRAMES).map((frame) => frameRow(run, cause, frame)));
  const more = el("button", { class: "btn", type: "button", onclick: () => (frames.append(...rest.map((frame) => frameRow(run, cause, frame))), more.remove()) }, `${rest.length} more frames`);
  const [first] = cause.lines;
  const link = show && first ? [el("button", { class: "btn", type: "button", onclick: () => show(first) }, "Show its lines")] : [];
  const lines = el("details", {}, el("summary", {}, "Its lines in the log"), el("pre", {}, cause.lines.map(({ text }) => text).join("\n")));
  const also = others.filter(({ kind, message }) => kind !== cause.kind && message !== cause.message).slice(-3); // the same one is said once
  return [
    ...(show ? [el("p", { class: "said" }, icon("cross", "bad"), " ", cause.sentence)] : []),
    ...(inner.length ? [frames] : []),
    ...(rest.length ? [more] : []),
    ...also.map(({ sentence }) => el("p", { class: "dim" }, `Also: ${sentence}`)),
    ...link,
    ...(cause.lines.length && !show ? [lines] : []),
  ];
}

/** @param {string} run @param {FaultRow} cause @param {CrashFrameRow} frame */
function frameRow(run, cause, { file, line, function: name, text }) {
  const where = new URLSearchParams({ run, from: String(cause.time_s - 10), to: String(cause.time_s), code: `${file}:${line}` });
  return el("li", {}, el("a", { href: pathTo(`/flame?${where}`), title: file }, place(file, line)), ` ${name}`, text ? el("code", {}, text) : null);
}
