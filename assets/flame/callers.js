/** A tree seen by function: what each took, who calls it, whom it calls (pure). */

/** @typedef {import("./tree.js").Tree} Tree */
/** @typedef {import("./tree.js").Flame} Flame */
/** @typedef {{frame: number, seconds: number, normal_s: number}} Share seconds of the window and of the baseline */
/** @typedef {{frame: number, self_s: number, total_s: number, base_self_s: number, base_total_s: number, self_line: number}} Spent `self_line`: where most of the self time passed */

/** What each function took, by frame; a function that calls itself counts once. @param {Tree} tree @returns {Spent[]} */
export function spent(tree) {
  const { frame, self_s, total_s, base_self_s, base_total_s, self_line } = tree.nodes;
  const out = tree.frames.map(({ line }, i) => ({ frame: i, self_s: 0, total_s: 0, base_self_s: 0, base_total_s: 0, self_line: line }));
  const most_s = new Float64Array(tree.frames.length); // self time of one node of a frame
  const open = new Int32Array(tree.frames.length); // how many of a frame's nodes are on the current path
  /** @type {number[]} */
  const path = [];
  for (let i = 0; i < tree.count; i++) {
    while (path.length > tree.depth[i]) open[/** @type {number} */ (path.pop())]--;
    const row = out[frame[i]];
    row.self_s += self_s[i];
    if (self_line && self_s[i] > most_s[frame[i]]) [most_s[frame[i]], row.self_line] = [self_s[i], self_line[i]];
    row.base_self_s += base_self_s?.[i] ?? 0;
    if (!open[frame[i]]) {
      row.total_s += total_s[i];
      row.base_total_s += base_total_s?.[i] ?? 0;
    }
    open[frame[i]]++;
    path.push(frame[i]);
  }
  return out;
}

/** Who calls a function, and whom it calls, each with the time that passed in the call. @param {Tree} tree @param {number} of a frame */
export function neighbours(tree, of) {
  const { frame, parent, total_s, base_total_s } = tree.nodes;
  /** @type {Map<number, Share>[]} */
  const [callers, callees] = [new Map(), new Map()];
  const add = (/** @type {Map<number, Share>} */ to, /** @type {number} */ who, /** @type {number} */ node) => {
    const row = to.get(who) ?? { frame: who, seconds: 0, normal_s: 0 };
    row.seconds += total_s[node];
    row.normal_s += base_total_s?.[node] ?? 0;
    to.set(who, row);
  };
  for (let i = 0; i < tree.count; i++) {
    const caller = parent[i] < 0 ? -1 : frame[parent[i]];
    if (caller < 0 || caller === frame[i]) continue; // a function that calls itself is no neighbour of its own
    if (frame[i] === of) add(callers, caller, i);
    if (caller === of) add(callees, frame[i], i);
  }
  const sorted = (/** @type {Map<number, Share>} */ all) => [...all.values()].sort((a, b) => b.seconds - a.seconds);
  return { callers: sorted(callers), callees: sorted(callees) };
}

/**
 * The callers of one function as a tree of its own: the function at the root, who called it below, and so on up to `main`.
 * @param {Flame} flame @param {Tree} tree of it @param {number} of a frame @returns {Flame}
 */
export function callersOf(flame, tree, of) {
  const { frame, kind, parent, total_s, untrusted_s, base_total_s } = tree.nodes;
  /** @typedef {{frame: number, kind: string, self: number, total: number, untrusted: number, baseSelf: number, base: number, below: Map<number, Node>}} Node */
  const make = (/** @type {number} */ node) =>
    /** @type {Node} */ ({
      frame: frame[node],
      kind: kind[node],
      self: 0,
      total: 0,
      untrusted: 0,
      baseSelf: 0,
      base: 0,
      below: new Map(),
    });
  /** @type {Node | null} */
  let root = null;
  for (let i = 0; i < tree.count; i++) {
    if (frame[i] !== of || tree.path(parent[i]).some((node) => frame[node] === of)) continue;
    root ??= make(i);
    let [at, node] = [root, i];
    for (;;) {
      at.total += total_s[i];
      at.untrusted += untrusted_s?.[i] ?? 0;
      at.base += base_total_s?.[i] ?? 0;
      node = parent[node];
      if (node < 0) break;
      const next = at.below.get(frame[node]) ?? make(node);
      at.below.set(frame[node], next);
      at = next;
    }
    at.self += total_s[i];
    at.baseSelf += base_total_s?.[i] ?? 0;
  }
  const columns = { frame: [], parent: [], self_s: [], total_s: [], untrusted_s: [], base_self_s: [], base_total_s: [], kind: [] };
  if (root) append(/** @type {any} */ (columns), root, -1);
  const compared = base_total_s !== null;
  const lines = columns.frame.map((at) => tree.frames[at].line);
  return {
    ...flame,
    nodes: { ...columns, self_line: lines, own_line: lines, base_self_s: compared ? columns.base_self_s : null, base_total_s: compared ? columns.base_total_s : null },
  };
}

/** In preorder. @param {Record<string, any[]>} columns @param {any} node @param {number} parent */
function append(columns, node, parent) {
  const at = columns.frame.push(node.frame) - 1;
  columns.parent.push(parent);
  columns.self_s.push(node.self);
  columns.total_s.push(node.total);
  columns.untrusted_s.push(node.untrusted);
  columns.base_self_s.push(node.baseSelf);
  columns.base_total_s.push(node.base);
  columns.kind.push(node.kind);
  for (const below of node.below.values()) append(columns, below, at);
}
