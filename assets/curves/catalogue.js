/** Which charts there are: the tags in groups by prefix, a search among them, and how the user arranged them. */

import { visibleName } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { ordered } from "../timeline/lane_order.js";

// The tags of the shown runs and of the machine, in groups by prefix (pure).

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
/** @typedef {import("./chart_scroller.js").Group} Group */

const MANY = 40; // charts of a group: more stand in parts
const FIRST = ["pinned", "train", "", "val", "valid", "validation", "eval", "test"];
const LAST = ["phase", "gpu_phase", "gpu", "host"];
const TITLES = { pinned: "Pinned", "": "Metrics", phase: "Step phases", gpu_phase: "Step phases on the GPU", gpu: "GPUs of this machine", host: "This machine" };

/** @param {{name: string, unit: string, points: number, direction: string | null, progress: boolean}} row of `GET /tags` @returns {Tag} */
export const tagOf = ({ name, unit, points, direction, progress }) => ({ key: name, name, title: visibleName(name), unit, points, direction: direction === "up" || direction === "down" ? direction : null, machine: false, progress });

/** @param {{name: string, unit: string, points: number}} row of `GET /series` @returns {Tag} */
export const machineTagOf = ({ name, unit, points }) => ({ key: `\n${name}`, name, title: name, unit, points, direction: null, machine: true, progress: false });

/** `"train/loss" -> "train"`, `"loss" -> ""` @param {string} name */
const prefixOf = (name) => (name.indexOf("/") > 0 ? name.slice(0, name.indexOf("/")) : "");

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

/** The loss is what one looks at first. @param {Tag} tag */
const isLoss = ({ name }) => /(^|[/_.-])loss$/i.test(name);

/** @param {string} name @param {Tag[]} members @param {string[]} order @param {string} elsewhere @returns {Group} */
function group(name, members, order, elsewhere) {
  const prefix = plain(name);
  const title = Object.hasOwn(TITLES, prefix) ? /** @type {Record<string, string>} */ (TITLES)[prefix] : visibleName(prefix);
  if (name === "pinned") return { name, title: TITLES.pinned, tags: members, note: "" };
  if (name.startsWith("machine ") && elsewhere) return { name, title, tags: [], note: `${counted(members.length, "series", "series")}. ${elsewhere}` };
  const byName = [...members].sort((a, b) => Number(isLoss(b)) - Number(isLoss(a)) || (a.name < b.name ? -1 : 1)).map((tag) => ({ ...tag, id: tag.key }));
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

// Searching tags by words, glob or regular expression (pure).

const NESTED = /[+*}]\??[^()]*\)+\s*[+*{]/; // (a+)+, (a*b){9}
const MAX_PATTERN_CHARS = 1000; // characters of a pattern

/**
 * `finder("train loss", "text").has("train/loss") -> true`. Case never matters; a pattern that cannot be read finds nothing and says why.
 * @param {string} text @param {"text" | "glob" | "regex"} match
 * @returns {{has: (name: string) => boolean, trouble: string}}
 */
export function finder(text, match) {
  const wanted = text.trim().slice(0, MAX_PATTERN_CHARS);
  if (!wanted) return { has: () => true, trouble: "" };
  if (match === "text") return words(wanted);
  if (match === "glob") return expression(`^${glob(wanted)}$`);
  return expression(wanted);
}

/** All words, in any order. @param {string} text */
function words(text) {
  const all = text.toLowerCase().split(/\s+/);
  return { has: (/** @type {string} */ name) => all.every((word) => name.toLowerCase().includes(word)), trouble: "" };
}

/** `*` stands for any text, `?` for a character; brackets are just brackets, as on the server. @param {string} pattern */
const glob = (pattern) =>
  pattern
    .replace(/\*+/g, "*")
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");

/** @param {string} pattern */
function expression(pattern) {
  if (NESTED.test(pattern)) return { has: () => false, trouble: "A repetition inside a repetition may take for ever: write the expression with one of them." };
  try {
    const found = new RegExp(pattern, "i");
    return { has: (/** @type {string} */ name) => found.test(name), trouble: "" };
  } catch {
    return { has: () => false, trouble: "This is not a regular expression: a bracket or a backslash is left open, or * and + stand behind nothing." };
  }
}

// What a user arranged on the Training page, for all runs: pinned, hidden and moved charts, folded groups, the size. The browser remembers it.

const NAME = "training charts";
const MAX_NAMES = 2000; // names a list keeps; the oldest go

/** @typedef {{pinned: string[], hidden: string[], order: string[], folded: string[], size: "s" | "m" | "l"}} Kept */

/** @returns {Kept} */
export function kept() {
  const plain = { pinned: [], hidden: [], order: [], folded: [], size: /** @type {"m"} */ ("m") };
  try {
    const found = JSON.parse(localStorage.getItem(NAME) ?? "{}");
    const list = (/** @type {unknown} */ value) => (Array.isArray(value) ? value.filter((item) => typeof item === "string") : []);
    const size = ["s", "m", "l"].includes(found.size) ? found.size : "m";
    return { pinned: list(found.pinned), hidden: list(found.hidden), order: list(found.order), folded: list(found.folded), size };
  } catch {
    return plain; // not what we would write
  }
}

/** @param {Partial<Kept>} change */
export function keep(change) {
  const all = { ...kept(), ...change };
  const cut = Object.fromEntries(Object.entries(all).map(([name, value]) => [name, Array.isArray(value) ? value.slice(-MAX_NAMES) : value]));
  try {
    localStorage.setItem(NAME, JSON.stringify(cut));
  } catch {
    // full, or not allowed: it is forgotten with the page
  }
}

/** @param {"pinned" | "hidden" | "folded"} list @param {string} name */
export function turn(list, name) {
  const names = kept()[list];
  keep({ [list]: names.includes(name) ? names.filter((other) => other !== name) : [...names, name] });
}

/**
 * Move a name before another among those of its group, or to their end.
 * @param {"order" | "pinned"} list @param {string[]} names of the group, as they stand @param {string} name @param {string | null} before
 */
export function move(list, names, name, before) {
  const others = names.filter((other) => other !== name);
  const at = before === null ? others.length : Math.max(0, others.indexOf(before));
  const moved = [...others.slice(0, at), name, ...others.slice(at)];
  keep({ [list]: [...kept()[list].filter((other) => !names.includes(other)), ...moved] });
}
