/** The kinds of a ledger in words and colours: which of them are shown, and the sentence of each (pure). */

import { place } from "../lib/format.js";

/** @typedef {import("../types/api").Answer<"ledger">} Ledger */
/** @typedef {import("../types/api").Row<"LedgerRow">} KindRow */
/** @typedef {{label: string, share: number, colour: string, row: KindRow | null}} Part of the whole; `row` is null for all small ones together */

const SMALL = 2; // points: less is shown as other, as in the sentence
const WIDE = 5; // points between least and most: a share is "about" so much
const LEAST_OTHER = 0.05; // points
const ALL_COVERED = 0.995;

/** Kinds that share a colour: they seldom appear together, or say nearly the same. @type {Record<string, string>} */
const SHARED = { transfer: "copy", idle: "unexplained", cpu_own: "cpu_taken" };

/** A token of `tokens.css`. @param {string} kind */
export const colourOf = (kind) => `time-${SHARED[kind] ?? kind}`;

/** @type {Record<string, string>} */
const SHORT = { collective: "ranks", gil: "GIL", wait: "waits", gc: "GC", compile: "compiling", copy: "copies", transfer: "transfers", cpu_taken: "no core", cpu_own: "no core", idle: "no request" };

/** One word, for the narrow column beside a lane. @param {string} kind */
export const shortOf = (kind) => SHORT[kind] ?? kind;

/** The rows of at least two points, and all others as one. @param {KindRow[]} rows @returns {Part[]} */
export function partsOf(rows) {
  const large = rows.filter(({ kind, share }) => kind === "busy" || share >= SMALL);
  const rest = rows.filter((row) => !large.includes(row)).reduce((sum, { share }) => sum + share, 0);
  const parts = large.map((row) => ({ label: row.label, share: row.share, colour: colourOf(row.kind), row: /** @type {KindRow | null} */ (row) }));
  return rest >= LEAST_OTHER ? [...parts, { label: "other", share: rest, colour: colourOf("other"), row: null }] : parts;
}

/** `27 %`, or `about 27 %` where the range is wide. @param {Part} part */
export const shareOf = ({ share, row }) => `${row && isWide(row) ? "about " : ""}${share.toFixed(share < 9.5 && !Number.isInteger(share) ? 1 : 0)} %`;

/** @param {KindRow} row */
const isWide = ({ least, most }) => most - least > WIDE;

/** `22 to 33 %`, where that is worth saying. @param {KindRow} row */
export const rangeOf = (row) => (isWide(row) ? `${row.least.toFixed(0)} to ${row.most.toFixed(0)} %` : "");

/** `data.py:88 decode` @param {{file: string, line: number | null, function: string}} where */
export const lineOf = (where) => `${place(where.file, where.line ?? 0)} ${where.function.split(".").pop()}`;

/** What a pointer reads at a part: `waiting for data, about 27 % (22 to 33 %): data.py:88 decode`. @param {Part} part */
export function tipOf(part) {
  const { label, row } = part;
  const range = row ? rangeOf(row) : "";
  const [line] = row?.lines ?? [];
  return `${label}, ${shareOf(part)}${range ? ` (${range})` : ""}${line ? `: ${lineOf(line)}` : ""}`;
}

/** How the shares are known: the rank, the device and its counter, and how much of the window was seen. @param {Ledger} ledger */
export function basisOf({ rank, ranks, device, busy_signal, tier, covered_share, rows }) {
  const whose = rows.some(({ kind }) => kind === "idle") ? "the service’s threads, taken as one" : "the main thread’s time";
  const devices = {
    GPU: `busy by ${busy_signal}`,
    CPU: `the device is the CPU: shares of ${whose}`,
    host: `no counter says how busy the GPU was: shares of ${whose}`,
  };
  const parts = [
    ranks > 1 ? `rank ${rank} of ${ranks}` : "",
    devices[device],
    tier === "B" ? "with the steps of the log" : "",
    covered_share < ALL_COVERED ? `${(100 * covered_share).toFixed(0)} % of the window seen` : "",
  ];
  return parts.filter(Boolean).join("; ");
}

/** `probably communication: 10 to 30 %` within the busy time, or "". @param {Ledger["communication"]} communication */
export function communicationOf(communication) {
  const [least, most] = communication ?? [0, 0];
  return most >= SMALL ? `probably communication: ${least.toFixed(0)} to ${most.toFixed(0)} %` : "";
}
