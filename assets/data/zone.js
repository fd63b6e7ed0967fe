/** The time zone of shown times: that of the settings, which the page's HTML names, else the browser's. */

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
export const local = (time_s) => new Date((time_s + offset(time_s)) * 1000);

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
