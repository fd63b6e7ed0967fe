/** Normal copied from another window's tree (pure): it hardly changes between two windows, and costs the server more than the window. */

import { nameOf } from "../flame/tree.js";

/** @typedef {import("../flame/tree.js").Flame} Flame */

/**
 * The same flame with the baseline of `other`. Nodes missing in the other tree were also pruned in that baseline.
 * @param {Flame} flame without a baseline @param {Flame} other with one @returns {Flame}
 */
export function withNormalOf(flame, other) {
  const theirs = placesOf(other);
  const { frame, parent } = flame.nodes;
  const names = flame.frames.map(nameOf);
  const twin = new Int32Array(frame.length); // the node at the same place in the other tree, or -1
  for (let i = 0; i < frame.length; i++) {
    const above = parent[i] < 0 ? -1 : twin[parent[i]];
    twin[i] = parent[i] >= 0 && above < 0 ? -1 : (theirs.get(`${above} ${names[frame[i]]}`) ?? -1);
  }
  const taken = (/** @type {number[] | null} */ column) => Array.from(twin, (node) => (node < 0 ? 0 : (column?.[node] ?? 0)));
  const { base_self_s, base_total_s } = other.nodes;
  const { baseline_samples, baseline_seconds, baseline_units, normal } = other;
  const nodes = { ...flame.nodes, base_self_s: taken(base_self_s), base_total_s: taken(base_total_s) };
  return { ...flame, baseline_samples, baseline_seconds, baseline_units, normal, nodes };
}

/** By parent and function, the node. @param {Flame} flame */
function placesOf({ frames, nodes: { frame, parent } }) {
  const names = frames.map(nameOf);
  return new Map(frame.map((index, i) => [`${parent[i]} ${names[index]}`, i]));
}
