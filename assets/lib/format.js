/** Numbers, sizes and times, as text. */

import { local } from "../data/zone.js";

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const NONE = "–";

const COARSE = 4; // with fewer digits, a value too small to show is zero
const MAX_PLAIN = 1e8; // a greater value is written with a power of ten: nine digits do not fit into a column
const MAX_COUNT = 1e15; // doubles hold greater whole numbers no more

/** `1.234e12 -> "1.23e12"`, `-1e-300 -> "−1.00e−300"` @param {number} value */
export const scientific = (value) => value.toExponential(2).replace("e+", "e").replaceAll("-", "−");

/** Not `Intl`, whose first use takes 50 ms of a page's start. @param {number} n */
const whole = (n) => `${n < 0 ? "-" : ""}${Math.round(Math.abs(n))}`.replace(/\B(?=(\d{3})+$)/g, ",");

/** `41280 -> "41,280"`, `1e300 -> "1.00e300"` @param {number | null | undefined} n */
export function count(n) {
  if (n === null || n === undefined) return NONE;
  if (!Number.isFinite(n)) return nonFinite(n);
  return Math.abs(n) >= MAX_COUNT ? scientific(n) : whole(n);
}

/** `counted(1, "sample") -> "1 sample"`, `counted(2000, "sample") -> "2,000 samples"` @param {number} n @param {string} noun @param {string} [many] */
export const counted = (n, noun, many = `${noun}s`) => `${count(n)} ${n === 1 ? noun : many}`;

/**
 * About four significant digits, or exactly `digits` after the point: `521.3`, `2.242`, `2.61e-4`, `32,768`, `1.23e12`.
 * @param {number | null | undefined} value @param {number} [digits]
 */
export function figure(value, digits) {
  if (value === null || value === undefined) return NONE;
  if (!Number.isFinite(value)) return nonFinite(value);
  const size = Math.abs(value);
  if (size >= MAX_PLAIN) return scientific(value);
  if (size >= 1000) return whole(value).replace("-", "−");
  if (size > 0 && size < 1e-3 && (digits ?? COARSE) >= COARSE) return scientific(value);
  if (digits === undefined && size < 1) return String(Number(value.toPrecision(3))).replace("-", "−");
  return value.toFixed(digits ?? (size >= 100 ? 1 : size >= 10 ? 2 : 3)).replace("-", "−");
}

/** @param {number} value */
export const nonFinite = (value) => (Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞");

export const AXIS_PX = 54; // room for any tick at 11 px, with a gap; --lane-axis-w in tokens.css is the same

/** Mostly up to six characters, for an axis: `64k`, `2.5`, `0.9995`, `1e-4`; eight at most: `-1.2e-10`. @param {number} value */
export function tick(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  const digits = size < 1e-99 || size >= 1e100 ? 1 : 2;
  if (size < 1e-2 || size >= 1e9) return Number(value.toPrecision(digits)).toExponential().replace("e+", "e");
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(4)));
}

/** The words of an axis' ticks; a word that would round its tick, or repeat another, is left out. @param {number[]} values */
export function tickWords(values) {
  const words = values.map(tick);
  const exact = values.map((value, i) => Math.abs(Number(words[i].replace("k", "e3").replace("M", "e6")) - value) <= 1e-6 * Math.abs(value));
  const some = exact.some(Boolean);
  return words.map((word, i) => (some ? (exact[i] ? word : "") : word === words[i - 1] ? "" : word));
}

/** `12_300 -> "12 kB"`, `31e6 -> "31 MB"` @param {number} bytes */
export const size = (bytes) => (bytes < 1e6 ? `${count(bytes / 1e3)} kB` : megabytes(bytes));

/** `31 -> "31 MB"` @param {number} bytes */
export function megabytes(bytes) {
  return `${count(bytes / 1e6)} MB`;
}

/** @param {number} time_s Unix seconds */
const parts = (time_s) => {
  const date = local(time_s);
  return [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map((n) => String(n).padStart(2, "0"));
};

/** `14:25:03` in the zone of `zone.js`, as all times. @param {number} time_s Unix seconds */
export const clock = (time_s) => parts(time_s).join(":");

/** `14:25` @param {number} time_s Unix seconds */
export const minute = (time_s) => parts(time_s).slice(0, 2).join(":");

/** `24 Nov` @param {number} time_s Unix seconds */
export const day = (time_s) => `${local(time_s).getUTCDate()} ${MONTHS[local(time_s).getUTCMonth()] ?? ""}`;

/** `Tue` @param {number} time_s Unix seconds */
export const weekday = (time_s) => DAYS[local(time_s).getUTCDay()];

/** @param {number} time_s Unix seconds */
export const year = (time_s) => local(time_s).getUTCFullYear();

/** @param {number} a Unix seconds @param {number} b Unix seconds */
export const sameDay = (a, b) => dayNumber(a) === dayNumber(b);

/** @param {number} time_s Unix seconds */
const dayNumber = (time_s) => Math.floor(local(time_s).getTime() / 86400e3);

/** `0.42 -> "420 ms"`, `48 -> "48 s"`, `9240 -> "2 h 34 min"` @param {number} seconds */
export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  if (seconds < 3570) {
    const whole = Math.round(seconds);
    return whole < 600 && whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.round(whole / 60)} min`;
  }
  if (seconds < 172800) {
    const minutes = Math.round(seconds / 60);
    return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  }
  return `${count(Math.round(seconds / 86400))} days`;
}

/** `images.py:88`; of a notebook's cell, whose file has a number for a name, `cell:5`. @param {string} file @param {number} line */
export function place(file, line) {
  const name = /\/ipykernel_\d+\/[^/]*$/.test(file) ? "cell" : file.replace(/^<ipython-input-(\d+)-.*>$/, "cell $1").split("/").pop();
  return line > 0 ? `${name}:${line}` : String(name);
}

/** @param {string} text */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** `steps 1,203–1,410`, `step 7`, or "" @param {{from: number | null, to: number | null}} steps */
export function stepRange({ from, to }) {
  if (from === null || to === null) return "";
  return from === to ? `step ${count(to)}` : `steps ${count(from)}–${count(to)}`;
}
