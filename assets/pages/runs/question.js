/** What is asked of the table, and how it stands in the address. */

/**
 * @typedef {Object} Question
 * @property {string | null} run the selected run, as on all pages
 * @property {string} q the filter
 * @property {string} chip "" for all states
 * @property {string} sort key of a column, "" for the usual order
 * @property {boolean} desc
 * @property {boolean} archived with archived runs
 * @property {boolean} forgotten with forgotten runs
 * @property {string} group key of a column
 * @property {string[]} opened groups
 */

const MOST_TICKED = 50; // that the address holds
const CHIPS = ["running", "finished", "stalled", "crashed"];

/** @returns {Question & {ticked: string[]}} */
export function readQuestion() {
  const query = new URLSearchParams(location.search);
  const text = (/** @type {string} */ name) => query.get(name) ?? "";
  const chip = text("state");
  return {
    run: query.get("run"),
    q: text("q"),
    chip: CHIPS.includes(chip) ? chip : "",
    sort: text("sort"),
    desc: text("desc") === "true",
    archived: text("archived") === "true",
    forgotten: text("forgotten") === "true",
    group: text("group"),
    opened: query.getAll("open"),
    ticked: [...new Set(query.getAll("runs"))],
  };
}

/** Replaces this page's parameters; others stay. @param {Question} question @param {string[]} ticked */
export function writeQuestion({ q, chip, sort, desc, archived, forgotten, group, opened }, ticked) {
  const query = new URLSearchParams(location.search);
  const words = { q, state: chip, sort, desc: desc && "true", archived: archived && "true", forgotten: forgotten && "true", group };
  for (const [name, value] of Object.entries(words)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  for (const [name, values] of Object.entries({ open: group ? opened : [], runs: ticked.slice(0, MOST_TICKED) })) {
    query.delete(name);
    for (const value of values) query.append(name, value);
  }
  const search = query.toString();
  history.replaceState(history.state, "", search ? `?${search}` : location.pathname);
}
