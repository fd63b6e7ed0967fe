/** What the Logs page shows, as one record: from the address, to the address, and as a question to the server (pure). */

/**
 * @typedef {Object} View
 * @property {string} text searched for
 * @property {boolean} regex it is a regular expression
 * @property {boolean} case case matters
 * @property {boolean} only lines without a hit are left out
 * @property {boolean} all of all runs, not of the selected one
 * @property {boolean} wrap long lines are shown whole
 * @property {number} level at least
 * @property {string[]} files without any: all
 * @property {string[]} ranks
 */

/** @typedef {{shown: number[], hidden: number[]}} Chosen templates: only these, and not these */

/** @typedef {Record<string, string | number | string[] | null>} Question parameters of `/logs/lines` and its neighbours */

/** @type {View} */
export const PLAIN = { text: "", regex: false, case: false, only: false, all: false, wrap: false, level: 0, files: [], ranks: [] };

const LEVEL_NAMES = /** @type {Record<string, string>} */ ({ debug: "10", info: "20", warn: "30", warning: "30", error: "40", critical: "40", fatal: "40" });
const LEVELS = ["10", "20", "30", "40"];
const MOST = { text: 1024, chosen: 100, templates: 100 };

/** @param {string} search of an address @returns {View} */
export function viewOf(search) {
  const query = new URLSearchParams(search);
  const several = (/** @type {string} */ name) => [...new Set(query.getAll(name).filter(Boolean))].slice(0, MOST.chosen);
  const flag = (/** @type {string} */ name) => query.get(name) === "1";
  const asked = (query.get("level") ?? "").toLowerCase();
  const level = LEVEL_NAMES[asked] ?? asked;
  return {
    text: (query.get("log") ?? "").slice(0, MOST.text),
    regex: flag("regex"),
    case: flag("case"),
    only: flag("only"),
    all: flag("all"),
    wrap: flag("wrap"),
    level: LEVELS.includes(level) ? Number(level) : 0,
    files: several("file"),
    ranks: several("rank").filter((rank) => /^\d{1,9}$/.test(rank)),
  };
}

/** @param {View} view */
export function addressOf({ text, regex, case: cased, only, all, wrap, level, files, ranks }) {
  const flag = (/** @type {boolean} */ on) => (on ? 1 : null);
  return { log: text || null, regex: flag(regex), case: flag(cased), only: flag(only), all: flag(all), wrap: flag(wrap), level: level || null, file: files, rank: ranks };
}

/** @param {string} search of an address @returns {Chosen} */
export function chosenOf(search) {
  const query = new URLSearchParams(search);
  const ids = (/** @type {string} */ name) => query.getAll(name).map(Number).filter((id) => Number.isInteger(id) && id >= 0 && id < 65536).slice(0, MOST.templates);
  return { shown: ids("template"), hidden: ids("hide") };
}

/** Their part of the address. @param {Chosen} chosen */
export const chosenAddress = ({ shown, hidden }) => ({ template: shown.map(String), hide: hidden.map(String) });

/**
 * @param {View} view @param {string | null} run the selected one @param {{from: number, to: number} | null} window @param {Chosen} chosen
 * @returns {Question}
 */
export function questionOf(view, run, window, { shown, hidden }) {
  const single = !view.all && run !== null; // templates are of one run
  return {
    run: single ? run : null,
    from: window?.from ?? null,
    to: window?.to ?? null,
    level: view.level || null,
    file: view.files,
    rank: view.ranks,
    template: single ? shown.map(String) : [],
    hide: single ? hidden.map(String) : [],
    q: view.text || null,
    regex: view.text && view.regex ? "true" : null,
    case: view.text && view.case ? "true" : null,
    only_hits: view.text && view.only ? "true" : null,
  };
}

/** Whether something but the window narrows the lines. @param {View} view @param {Chosen} chosen */
export const narrows = (view, { shown, hidden }) => Boolean(view.level || view.files.length || view.ranks.length || shown.length || hidden.length || (view.text && view.only));
