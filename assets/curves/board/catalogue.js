/** The tags of the shown runs and of the machine, in groups by prefix (pure). */

import { capital, counted } from "../../lib/format.js";
import { visibleName } from "../../lib/visible.js";
import { ordered } from "../../timeline/lane_order.js";

/**
 * @typedef {Object} Tag
 * @property {string} key unlike any other
 * @property {string} name of the series
 * @property {string} title what stands above its chart
 * @property {string} unit
 * @property {number} points of all runs
 * @property {"up" | "down" | null} direction which values are better, where that is known
 * @property {boolean} machine a series of the host or of its GPUs
 * @property {boolean} progress how far a run is whose text was read: the axis says it
 */
/** @typedef {import("./layout.js").Group} Group */
/** @typedef {import("./kept.js").Kept} Kept */

const MANY = 40; // charts of a group: more stand in parts
const FIRST = ["pinned", "train", "", "val", "valid", "validation", "eval", "test"];
const LAST = ["phase", "gpu_phase", "gpu", "host"];
const TITLES = { pinned: "Pinned", "": "Without a prefix", phase: "Step phases", gpu_phase: "Step phases on the GPU", gpu: "GPUs of this machine", host: "This machine" };

/** @param {{name: string, unit: string, points: number, direction: string | null, progress: boolean}} row of `GET /tags` @returns {Tag} */
export const tagOf = ({ name, unit, points, direction, progress }) => ({ key: name, name, title: visibleName(name), unit, points, direction: direction === "up" || direction === "down" ? direction : null, machine: false, progress });

/** @param {{name: string, unit: string, points: number}} row of `GET /series` @returns {Tag} */
export const machineTagOf = ({ name, unit, points }) => ({ key: `\n${name}`, name, title: name, unit, points, direction: null, machine: true, progress: false });

/** `"train/loss" -> "train"`, `"loss" -> ""` @param {string} name */
export const prefixOf = (name) => (name.indexOf("/") > 0 ? name.slice(0, name.indexOf("/")) : "");

/**
 * @param {Tag[]} tags @param {(name: string) => boolean} has whether the search finds it @param {Pick<Kept, "pinned" | "hidden" | "order">} kept
 * @param {string} elsewhere why the machine's series are not drawn, or ""
 * @returns {{groups: Group[], found: number, hidden: Tag[]}}
 */
export function groupsOf(tags, has, kept, elsewhere) {
  const wanted = tags.filter(({ name, progress }) => has(name) && !progress);
  const hidden = new Set(kept.hidden);
  const shown = wanted.filter(({ key }) => !hidden.has(key));
  const pinned = kept.pinned.flatMap((key) => shown.find((tag) => tag.key === key) ?? []);
  /** @type {Map<string, Tag[]>} */
  const by = new Map(pinned.length ? [["pinned", pinned]] : []);
  const apart = new Set(pinned.map(({ key }) => key));
  for (const tag of shown) {
    if (apart.has(tag.key)) continue;
    const name = (tag.machine ? "machine " : "own ") + prefixOf(tag.name);
    const group = by.get(name);
    if (group) group.push(tag);
    else by.set(name, [tag]);
  }
  const groups = [...by].map(([name, members]) => group(name, members, kept.order, elsewhere));
  return { groups: groups.sort((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1)).flatMap(parted), found: wanted.length, hidden: wanted.filter(({ key }) => hidden.has(key)) };
}

/** @param {string} name @param {Tag[]} members @param {string[]} order @param {string} elsewhere @returns {Group} */
function group(name, members, order, elsewhere) {
  const prefix = plain(name);
  const title = Object.hasOwn(TITLES, prefix) ? /** @type {Record<string, string>} */ (TITLES)[prefix] : visibleName(capital(prefix));
  if (name === "pinned") return { name, title: TITLES.pinned, tags: members, note: "" };
  if (name.startsWith("machine ") && elsewhere) return { name, title, tags: [], note: `${counted(members.length, "series", "series")}. ${elsewhere}` };
  const byName = [...members].sort((a, b) => (a.name < b.name ? -1 : 1)).map((tag) => ({ ...tag, id: tag.key }));
  const short = prefix && members.every(({ name: full }) => full.length > prefix.length + 1);
  return { name, title, tags: ordered(byName, order).map((tag) => ({ ...tag, title: visibleName(short ? tag.name.slice(prefix.length + 1) : tag.name) })), note: "" };
}

/** A group of many charts in parts, by the second prefix; what is alone there stays with the group. @param {Group} whole @returns {Group[]} */
function parted(whole) {
  if (whole.tags.length <= MANY || whole.name === "pinned") return [whole];
  const start = prefixOf(whole.tags[0].name).length + 1;
  const second = (/** @type {Tag} */ { name }) => prefixOf(name.slice(start));
  /** @type {Map<string, Tag[]>} */
  const by = new Map();
  for (const tag of start > 1 ? whole.tags : []) by.set(second(tag), [...(by.get(second(tag)) ?? []), tag]);
  const parts = [...by].filter(([part, members]) => part && members.length > 1);
  if (parts.length < 2) return [whole];
  const apart = new Set(parts.flatMap(([, members]) => members));
  const made = parts.sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true })).map(([part, members]) => {
    const short = members.map((tag) => ({ ...tag, title: visibleName(tag.name.slice(start + part.length + 1)) || tag.title }));
    return { name: `${whole.name}/${part}`, title: `${whole.title} / ${part}`, tags: short, note: "", inside: whole.name };
  });
  return [{ ...whole, tags: whole.tags.filter((tag) => !apart.has(tag)), total: whole.tags.length }, ...made];
}

/** @param {string} name of a group */
const plain = (name) => name.replace(/^(own|machine) /, "");

/** @param {string} name of a group */
function rank(name) {
  const prefix = plain(name);
  if (name.startsWith("machine ")) return 900 + LAST.indexOf(prefix);
  if (FIRST.includes(prefix)) return FIRST.indexOf(prefix);
  return LAST.includes(prefix) ? 800 + LAST.indexOf(prefix) : 100;
}
