/** Numbers, sizes and times, as text, in the time zone of shown times. */

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const NONE = "–";

const COARSE = 4; // with fewer digits, a value too small to show is zero
const MAX_PLAIN = 1e8; // a greater value is written with a power of ten: nine digits do not fit into a column
const MAX_COUNT = 1e15; // doubles hold greater whole numbers no more

/** `1.234e12 -> "1.23e12"`, `-1e-300 -> "−1.00e−300"` @param {number} value */
const scientific = (value) => value.toExponential(2).replace("e+", "e").replaceAll("-", "−");

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

/** `14:25:03` in the zone of shown times. @param {number} time_s Unix seconds */
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

// The time zone of shown times: that of the settings, which the page's HTML names, else the browser's.

const SLOT_S = 900; // no zone changes its offset but at a quarter of an hour
const MAX_OFFSETS = 4096; // offsets that are remembered
const MAX_OFFSET_S = 86400; // a greater offset is that of a year before Christ, which has no sign here

/** @type {Map<string, Intl.DateTimeFormat | null>} null for a zone that the browser does not know */
const formats = new Map();
/** @type {Map<number, number>} seconds, by slot */
const offsets = new Map();
let held = ""; // the zone that the offsets are of

/** Another zone from now on; "" for the browser's. @param {string} name of the IANA database */
export const setZone = (name) => (document.documentElement.dataset.timeZone = name);

/** A date whose UTC fields are the local ones of that moment. @param {number} time_s Unix seconds */
const local = (time_s) => new Date((time_s + offset(time_s)) * 1000);

/** How many seconds local times are ahead of UTC at that moment; 0 where no date can be so far away. @param {number} time_s Unix seconds */
export function offset(time_s) {
  const zone = document.documentElement.dataset.timeZone ?? "";
  if (zone !== held || offsets.size > MAX_OFFSETS) offsets.clear();
  held = zone;
  const slot = Math.floor(time_s / SLOT_S);
  let found = offsets.get(slot);
  if (found === undefined) {
    found = offsetIn(zone, new Date(slot * SLOT_S * 1000));
    offsets.set(slot, found);
  }
  return found;
}

/** @param {string} zone @param {Date} date */
function offsetIn(zone, date) {
  if (Number.isNaN(date.getTime())) return 0;
  const format = zone ? formatOf(zone) : null;
  if (format === null) return -60 * date.getTimezoneOffset();
  const fields = new Map(format.formatToParts(date).map(({ type, value }) => [type, Number(value)]));
  /** @type {Intl.DateTimeFormatPartTypes[]} */
  const names = ["year", "month", "day", "hour", "minute", "second"];
  const [year, month, day, hour, minute, second] = names.map((name) => fields.get(name) ?? 0);
  const there_ms = new Date(0).setUTCFullYear(year, month - 1, day) + ((hour * 60 + minute) * 60 + second) * 1000;
  const found = Math.round((there_ms - date.getTime()) / 1000);
  return Math.abs(found) < MAX_OFFSET_S ? found : 0;
}

/** @param {string} zone */
function formatOf(zone) {
  let format = formats.get(zone);
  if (format === undefined) {
    const numeric = /** @type {const} */ ("numeric");
    const fields = { year: numeric, month: numeric, day: numeric, hour: numeric, minute: numeric, second: numeric };
    try {
      format = new Intl.DateTimeFormat("en-US", { ...fields, timeZone: zone, hourCycle: "h23", calendar: "gregory", numberingSystem: "latn" });
    } catch {
      format = null;
    }
    formats.set(zone, format);
  }
  return format;
}
