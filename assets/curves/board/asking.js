/** The questions of a board of curves: which tags there are, and the curves of some. */

import { get, send } from "../../lib/api.js";
import { machineTagOf, tagOf } from "./catalogue.js";

/** @typedef {import("./board.js").Board} Board */
/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("./reading.js").Answer} Answer */

/** @param {string[]} runs @returns {Promise<Tag[]>} */
export const ownTags = async (runs) => (await get("tags", { run: runs })).tags.map(tagOf);

/** @param {import("./machine.js").Machine} machine @param {string[]} runs @returns {Promise<Tag[]>} */
export const machineTags = async (machine, runs) => (await machine.learn(runs)).map(machineTagOf);

/** @param {Board} board @param {Tag[]} tags all of one kind @param {AbortSignal} signal @returns {Promise<Answer>} */
export async function askAll({ question, machine, view, span, buckets }, tags, signal) {
  if (tags[0].machine) return machine.read(tags, span, view.x === "relative", buckets, signal);
  const query = new URLSearchParams();
  const all = { ...question, series: tags.map(({ name }) => name) };
  for (const [name, value] of Object.entries(all)) if (value !== null) for (const item of Array.isArray(value) ? value : [value]) query.append(name, String(item));
  const answer = await send(`curves?${query}`, { signal });
  return { ...answer, curves: answer.curves.map((/** @type {import("./reading.js").Answer["curves"][number]} */ row) => ({ ...row, key: view.group })) };
}
