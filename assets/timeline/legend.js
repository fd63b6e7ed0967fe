/** The right column of a lane: its values now, or under the cursor (pure). */

import { figure } from "../lib/format.js";

/** @typedef {import("../data/lanes.js").Lane} Lane */
/** @typedef {{label: string, value: string, colour?: string, mark?: "box" | "line", tone?: "bad" | "main"}} Row */

const LAYERS = 5; // of a stack that are listed, where they fit; of more, the largest and the sum of the others
const LONGEST = 9; // characters beside a label
const FEW = 3; // with more lines than this, only the highest and the range of the others are listed

/**
 * @param {Lane} lane
 * @param {(number | null)[]} values one per trace, in the lane's unit; null where there is none
 * @param {{place: string, text: string} | null} bad the last non-finite point in view
 * @param {number} [room] rows that fit
 * @returns {Row[]}
 */
export function legend(lane, values, bad, room = Infinity) {
  const rows = lane.kind === "heat" ? /** @type {Row[]} */ (each(lane, values, "box").map(({ label, value }) => ({ label, value }))) : lane.kind === "stack" ? stack(lane, values, Math.max(1, Math.min(LAYERS, room - 1))) : lines(lane, values);
  if (bad) rows.push({ label: `${bad.text} at ${bad.place.replace("step ", "")}`, value: "", tone: "bad" }); // the axis says of what
  return rows;
}

/** A value below one keeps a digit where whole numbers are shown. @param {Lane} lane @param {number | null} value */
function valueText({ digits, unit }, value) {
  if (value === null) return figure(null);
  const number = figure(value, digits === 0 && value !== 0 && Math.abs(value) < 1 ? 1 : digits);
  return unit ? `${number} ${unit}` : number;
}

/** @param {Lane} lane @param {(number | null)[]} values @param {"box" | "line"} mark @returns {Row[]} */
const each = (lane, values, mark) =>
  lane.traces.map(({ label, colour, lost_s }, i) => {
    const gone = lost_s !== undefined && values[i] === null;
    return { label, value: gone ? "lost" : valueText(lane, values[i]), colour, mark };
  });

/** @param {Lane} lane @param {(number | null)[]} values @returns {Row[]} */
function lines(lane, values) {
  if (lane.traces.length === 1) return [{ label: lane.traces[0].label, value: valueText(lane, values[0]), tone: "main" }];
  if (lane.traces.length <= FEW) return each(lane, values, "line").map((row, i) => (i ? row : { ...row, tone: "main" }));
  const known = values.flatMap((value, i) => (value === null ? [] : [{ value, i }])).sort((a, b) => b.value - a.value);
  /** @type {Row[]} */
  const rows = [];
  if (lane.sum && known.length)
    rows.push({ label: "sum", value: `${figure(known.reduce((sum, { value }) => sum + value, 0))} ${lane.sum}`, tone: "main" });
  if (!known.length) return [{ label: "now", value: valueText(lane, null), tone: "main" }];
  const [top, ...others] = known;
  rows.push({
    label: lane.traces[top.i].label,
    value: valueText(lane, top.value),
    colour: lane.traces[top.i].colour,
    mark: "box",
    tone: lane.sum ? undefined : "main",
  });
  if (!others.length) return rows;
  const [high, low] = [others[0], others[others.length - 1]].map(({ value }) => brief(value, lane.digits));
  const range = high === low ? high : `${low}–${high}`;
  rows.push(range.length > LONGEST ? { label: "lowest", value: low } : { label: "others", value: range });
  return rows;
}

/** Two of them stand in one row. @param {number} value @param {number | undefined} digits */
const brief = (value, digits) => (value >= 10 ? figure(value, 0) : figure(digits === undefined ? Number(value.toPrecision(2)) : value, digits));

/** @param {Lane} lane @param {(number | null)[]} values @param {number} most rows below the sum @returns {Row[]} */
function stack(lane, values, most) {
  const known = values.filter((value) => value !== null);
  const total = known.length ? known.reduce((sum, value) => Number(sum) + Number(value), 0) : null;
  const parts = each(lane, values, "box");
  const step = /** @type {Row} */ ({ label: lane.whole ?? "step", value: valueText(lane, total), tone: "main" });
  if (parts.length <= most) return [step, ...parts];
  const size = (/** @type {number} */ i) => values[i] ?? -Infinity;
  const large = new Set(parts.map((_, i) => i).sort((a, b) => size(b) - size(a)).slice(0, most - 1));
  const small = values.filter((value, i) => value !== null && !large.has(i));
  const others = small.length ? small.reduce((sum, value) => Number(sum) + Number(value), 0) : null;
  return [step, ...parts.filter((_, i) => large.has(i)), { label: "others", value: valueText(lane, others) }];
}
