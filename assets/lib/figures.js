/** Shares and differences, as text. */

import { count, duration } from "./format.js";

/** `0.6204 -> "62%"`, `0.0312 -> "3.1%"`, `0.0004 -> "0.04%"`, `1 -> "100%"`; as `percent` of collectors/message.py. @param {number} share */
export function percent(share) {
  const size = Math.abs(share * 100);
  return size >= 9.95 || size === 0 ? `${count(Math.round(share * 100))}%` : `${Number((share * 100).toFixed(size >= 0.095 ? 1 : 2))}%`;
}

/** As it stands behind a number: `"%"`, `" s"`, `""`. @param {string} unit */
export const behind = (unit) => (unit === "" || unit.startsWith("%") ? unit : ` ${unit}`);

const ENDINGS = /** @type {Record<string, string>} */ ({ "%": "pct", B: "bytes", "B/s": "bytes_per_s", "°C": "c" });

/** The unit behind a name, "" where the name ends with it: `("phase/backward_s", "s") -> ""`. @param {string} name @param {string} unit */
export const unitBeside = (name, unit) => (name.toLowerCase().endsWith(`_${ENDINGS[unit] ?? unit.toLowerCase().replace("/", "_per_")}`) ? "" : unit);

export const NOTHING_S = 5e-5; // a smaller difference is shown as zero

/** `0.369 -> "+369 ms"` @param {number} seconds */
export const signed = (seconds) =>
  Math.abs(seconds) < NOTHING_S ? "0 ms" : `${seconds < 0 ? "−" : "+"}${brief(Math.abs(seconds))}`;

/** As a duration, with a digit more where milliseconds are few: `0.0042 -> "4.2 ms"`. @param {number} seconds */
export const brief = (seconds) =>
  seconds > 0 && seconds < 0.00995 ? `${seconds < NOTHING_S ? "0" : (seconds * 1000).toFixed(1)} ms` : duration(seconds);

/** The colour of a difference: orange is more than normal, blue is less. @param {number} difference seconds */
export const toneOf = (difference) => (difference > NOTHING_S ? "more" : difference < -NOTHING_S ? "less" : "");
