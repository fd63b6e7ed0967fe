/** Event markers: their choice, shapes and labels (pure), and their elements. */

import { el, icon } from "../lib/dom.js";
import { count, duration } from "../lib/format.js";

/** @typedef {{kind: string, time_s: number, rank?: number, step?: number | null, seconds?: number | null, text?: string}} Event */
/** @typedef {{x: number, event: Event, shape: "diamond" | "triangle" | "cross" | "bar", tone: string, label: string, labelled: boolean}} Mark */

const CHARACTER_PX = 5.8; // of an 11 px label, generously
const ICON_PX = 16;
const MOST = 80; // more markers than this are not shown
const APART_PX = 4; // markers of a kind
const UNDRAWN = "ran"; // what ran is shown beside the run
const MINOR = new Set(["validation", "gc", "collective", "process", "denied", "image"]); // drawn as ticks without a word

/**
 * @param {Event[]} events @param {{lo: number, hi: number}} view @param {number} width px
 * @param {{from: number, to: number}} taken px, where no label may stand
 * @returns {Mark[]}
 */
export function placed(events, view, width, taken) {
  const inside = events.filter(({ kind, time_s }) => kind !== UNDRAWN && time_s >= view.lo && time_s <= view.hi).sort((a, b) => a.time_s - b.time_s);
  const major = inside.filter(({ kind }) => !MINOR.has(kind));
  const shown = apart(inside.length > MOST ? major : inside, ((view.hi - view.lo) * APART_PX) / width).slice(-MOST);
  const marks = shown.map((event) => ({
    ...looks(event),
    event,
    x: ((event.time_s - view.lo) / (view.hi - view.lo)) * width,
    labelled: false,
  }));
  let free = -Infinity;
  marks.forEach((mark, i) => {
    const next = marks.slice(i + 1).find(({ label }) => label);
    const end = mark.x + ICON_PX + mark.label.length * CHARACTER_PX;
    const clear = end < taken.from || mark.x > taken.to;
    mark.labelled = mark.label !== "" && clear && mark.x >= free && end < Math.min(width, next ? next.x - ICON_PX / 2 : width);
    if (mark.labelled) free = end;
  });
  return marks;
}

/** Those that are not there yet. @param {Event[]} events @param {Event[]} more */
export function addNew(events, more) {
  const known = new Set(more.length ? events.map((event) => JSON.stringify(event)) : []);
  events.push(...more.filter((event) => !known.has(JSON.stringify(event))));
}

/** Without markers that would be hidden by one of their kind. @param {Event[]} events in order @param {number} least seconds between two */
function apart(events, least) {
  /** @type {Map<string, number>} */
  const last = new Map();
  return events.filter(({ kind, time_s }) => {
    if (time_s - (last.get(kind) ?? -Infinity) < least) return false;
    last.set(kind, time_s);
    return true;
  });
}

/** @param {Event} event @returns {{shape: Mark["shape"], tone: string, label: string}} */
function looks({ kind, step, seconds, text = "", ...fields }) {
  const status = /** @type {any} */ (fields).status ?? "";
  switch (kind) {
    case "checkpoint":
      return {
        shape: "diamond",
        tone: "dim",
        label: step != null ? `ckpt ${step >= 10000 ? `${Math.round(step / 1000)}k` : step}` : "ckpt",
      };
    case "overflow":
      return { shape: "cross", tone: "bad", label: "overflow" };
    case "end":
      if (/(stopped|ended) by (SIGTERM|SIGUSR1|exit code 75)$/.test(String(/** @type {any} */ (fields).reason ?? "")))
        return { shape: "bar", tone: "dim", label: "pre-empted" };
      return /crash|error|fail|kill/.test(status)
        ? { shape: "cross", tone: "bad", label: /kill/.test(status) ? "killed" : "failed" }
        : { shape: "bar", tone: "dim", label: "end" };
    case "exit": {
      const state = /** @type {any} */ (fields).state ?? "";
      return ["failed", "killed"].includes(state)
        ? { shape: "cross", tone: "bad", label: state }
        : { shape: "bar", tone: "dim", label: { preempted: "pre-empted", requeued: "requeued" }[String(state)] ?? "ended" };
    }
    case "start":
      return { shape: "bar", tone: "dim", label: "start" };
    case "resume":
      return { shape: "bar", tone: "acc", label: step ? `resumed at ${count(step)}` : "resumed" };
    case "note":
      return { shape: "bar", tone: "acc", label: text.slice(0, 24) };
    case "allocator_retry":
      return { shape: "triangle", tone: "warn", label: "allocator retry" };
    case "xid":
      return { shape: "cross", tone: "bad", label: text };
    case "recompile":
      return { shape: "triangle", tone: "warn", label: seconds ? `recompile ${duration(seconds)}` : "recompile" };
    default:
      return { shape: "bar", tone: "dim", label: MINOR.has(kind) ? "" : kind };
  }
}

/** The icon and word of a mark on the axis. @param {Mark} mark */
export function axisMark({ x, event, shape, tone, label, labelled }) {
  const text = [
    event.kind,
    event.step === null || event.step === undefined ? "" : `step ${count(event.step)}`,
    event.seconds ? duration(event.seconds) : "",
    event.text ?? "",
  ];
  return el(
    "div",
    { class: `mark ${tone} ${label ? "" : "minor"}`, title: text.filter(Boolean).join(", "), style: `left:${x}px` },
    icon(shape, tone),
    labelled ? el("span", {}, label) : null,
  );
}

/** The line of a mark across all lanes. Minor ones have none, nor has an overflow, which has NaN tags. @param {Mark} mark */
export const laneMark = ({ x, tone, label, event }) =>
  label && event.kind !== "overflow" ? el("i", { class: `event ${tone}`, style: `left:${x}px` }) : null;
