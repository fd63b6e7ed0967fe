/** The questions of a board of curves: which tags there are, and the curves of some. */

import { get, send } from "../../lib/api.js";
import { machineTagOf, tagOf } from "./catalogue.js";

/** @typedef {import("./board.js").Board} Board */
/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("./reading.js").Answer} Answer */

/**
 * The runs' own tags first, then those of the machine beside them.
 * @param {Board} board @param {(tags: Tag[]) => void} put
 */
export async function learnTags({ runs, known, machine, tags }, put) {
  const { tags: found } = await get("tags", { run: runs });
  const own = found.map(tagOf);
  put([...own, ...(tags ?? []).filter((tag) => tag.machine)]);
  const beside = known.length ? await machine.learn(known) : [];
  put([...own, ...beside.map(machineTagOf)]);
}

/** @param {Board} board @param {Tag[]} tags all of one kind @param {AbortSignal} signal @returns {Promise<Answer>} */
export async function askAll({ question, machine, view, span, buckets }, tags, signal) {
  if (tags[0].machine) return machine.read(tags, span, view.x === "relative", buckets, signal);
  const query = new URLSearchParams();
  const all = { ...question, series: tags.map(({ name }) => name) };
  for (const [name, value] of Object.entries(all)) if (value !== null) for (const item of Array.isArray(value) ? value : [value]) query.append(name, String(item));
  return send(`curves?${query}`, { signal });
}
