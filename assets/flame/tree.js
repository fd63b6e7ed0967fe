/** A flame graph without display: a tree of preorder columns with places, differences and searches, and the same by function (pure). */

import { el } from "../lib/dom.js";
import { percent } from "../lib/figures.js";
import { duration, place } from "../lib/format.js";

/** @typedef {import("../types/api").Row<"FlameAnswer">} Flame */
/** @typedef {import("../types/api").Row<"Frame">} Frame */
/** @typedef {import("../types/api").Row<"Nodes">} Nodes */
/** @typedef {"time" | "name"} Order of siblings: the longest first, or as the server sends them */
/** @typedef {{functions: number, share: number}} Match */

/** A child with at least this share of the whole is trunk: the tree does not split there. */
const TRUNK = 0.985;
/** Colours are full at the slowdown itself, but never below this share of a normal unit, which is noise. */
const NOISE = 0.1;
/** The user's own code is used if this share of the time passed in it. */
const MIN_OWN = 0.05;

export class Tree {
  /** @param {Flame} flame @param {Order} [order] */
  constructor(flame, order = "time") {
    const { nodes } = flame;
    this.frames = flame.frames;
    this.nodes = nodes;
    this.count = nodes.frame.length;
    this.samples = flame.samples;
    this.per = flame.units ? flame.per : "second";
    const ranks = flame.units ? ranksIn(flame.frames) : 1; // each takes the same steps
    this.ranks = ranks;
    this.units = ranks * (flame.units || flame.seconds || 1);
    this.baseUnits = ranks * ((flame.units ? flame.baseline_units : flame.baseline_seconds) || 1);
    this.compared = nodes.base_total_s !== null && flame.baseline_seconds > 0;
    this.depth = new Int32Array(this.count);
    this.left = new Float64Array(this.count); // seconds from the left edge
    this.total_s = 0;
    const { first, kids } = linked(nodes, this.count, order);
    /** The children of node i, in their order, are `kids[first[i]] ... kids[first[i + 1] - 1]`; those of -1 are at the end. */
    this.first = first;
    this.kids = kids;
    this.#place();
  }

  /** @param {number} slot */
  #slice(slot) {
    return this.kids.subarray(this.first[slot], this.first[slot + 1]);
  }

  /** Parents come before their children in the columns. */
  #place() {
    const { total_s } = this.nodes;
    const put = (/** @type {Int32Array} */ siblings, /** @type {number} */ left, /** @type {number} */ depth) => {
      for (const node of siblings) {
        this.left[node] = left;
        this.depth[node] = depth;
        left += total_s[node];
      }
      return left;
    };
    this.total_s = put(this.children(-1), 0, 0);
    for (let i = 0; i < this.count; i++) put(this.#slice(i), this.left[i], this.depth[i] + 1);
  }

  /** @param {number} node */
  frame(node) {
    return this.frames[this.nodes.frame[node]];
  }

  /** From the root to the node itself. @param {number} node @returns {number[]} */
  path(node) {
    const out = [];
    for (let at = node; at >= 0; at = this.nodes.parent[at]) out.unshift(at);
    return out;
  }

  /** In their order. @param {number} node -1 for the roots @returns {Int32Array} */
  children(node) {
    return this.#slice(node < 0 ? this.count : node);
  }

  /** The last frame that nearly all samples share; frames above it show nothing. -1 if the tree splits at once. */
  trunk() {
    let node = -1;
    for (;;) {
      const next = this.children(node).find((child) => this.nodes.total_s[child] >= TRUNK * this.total_s);
      if (next === undefined) return node;
      node = next;
    }
  }

  /** The node at the path `names` in this tree, or the deepest one above it. @param {string[]} names @returns {number} */
  find(names) {
    let node = -1;
    for (const name of names) {
      const next = this.children(node).find((child) => this.name(child) === name);
      if (next === undefined) break;
      node = next;
    }
    return node;
  }

  /** The node of a function with the most time, or -1. @param {string} name as `name()` gives it */
  widest(name) {
    const frames = this.frames.map((frame) => nameOf(frame) === name);
    let best = -1;
    for (let i = 0; i < this.count; i++)
      if (frames[this.nodes.frame[i]] && (best < 0 || this.nodes.total_s[i] > this.nodes.total_s[best])) best = i;
    return best;
  }

  /** @param {number} node */
  name(node) {
    return nameOf(this.frame(node));
  }

  // Seconds per unit

  /** @param {number} node */
  perUnit(node) {
    return this.nodes.total_s[node] / this.units;
  }

  /** @param {number} node @returns {number} 0 without a baseline */
  normal(node) {
    return (this.nodes.base_total_s?.[node] ?? 0) / this.baseUnits;
  }

  /** Seconds per unit more than normal. @param {number} node */
  excess(node) {
    return this.perUnit(node) - this.normal(node);
  }

  /** The excess at which a colour is full. */
  fullExcess() {
    const roots = [...this.children(-1)];
    const normal = roots.reduce((sum, node) => sum + this.normal(node), 0);
    const slower = roots.reduce((sum, node) => sum + this.excess(node), 0);
    return Math.max(Math.abs(slower), NOISE * normal) || 1;
  }

  /** Whether most of its time is below a call that may mix two moments. @param {number} node */
  untrusted(node) {
    return this.nodes.untrusted_s?.[node] > this.nodes.total_s[node] / 2;
  }

  // Queries of the whole tree

  /**
   * The line under which most time passed: a node's own time counts for the deepest frame of the user's own code on its stack,
   * or for the node itself if the user's own code has little time.
   * @returns {{frame: Frame, share: number, whole: number, node: number} | null} `whole`: with all that it calls, as its frame is wide; null for an empty tree
   */
  hottest() {
    const own = this.#hottest(true);
    return own && own.share >= MIN_OWN ? own : this.#hottest(false);
  }

  /** @param {boolean} own only the user's own code counts */
  #hottest(own) {
    const { frame, parent, self_s, total_s, kind, own_line, self_line } = this.nodes;
    const owner = new Int32Array(this.count);
    const took_s = new Float64Array(this.count);
    /** @type {Map<number, {seconds: number, node: number, widest: number}>} */
    const sums = new Map();
    for (let i = 0; i < this.count; i++) {
      const counts = this.frame(i).file !== "" && (!own || kind[i] === "own"); // the root has no file
      owner[i] = counts ? i : parent[i] < 0 ? -1 : owner[parent[i]];
      if (owner[i] < 0) continue;
      took_s[owner[i]] += self_s[i];
    }
    for (let i = 0; i < this.count; i++) {
      if (owner[i] !== i) continue;
      const sum = sums.get(frame[i]) ?? { seconds: 0, node: i, widest: i };
      sum.seconds += took_s[i];
      if (took_s[i] > took_s[sum.node]) sum.node = i;
      if (total_s[i] > total_s[sum.widest]) sum.widest = i;
      sums.set(frame[i], sum);
    }
    const [top] = [...sums.values()].sort((a, b) => b.seconds - a.seconds);
    if (!top || !this.total_s) return null;
    const shown = this.frames[frame[top.node]];
    const line = (own ? own_line : self_line)?.[top.node] ?? shown.line;
    return { frame: { ...shown, line }, share: top.seconds / this.total_s, whole: total_s[top.widest] / this.total_s, node: top.widest };
  }

  /** The frames that match a search, and the share of time in them or below. @param {string} text @returns {Match & {frames: Set<number>}} */
  search(text) {
    const wanted = text.toLowerCase();
    const frames = new Set(this.frames.flatMap((frame, i) => (nameOf(frame).toLowerCase().includes(wanted) ? [i] : [])));
    let seconds = 0;
    const inside = new Uint8Array(this.count);
    for (let i = 0; i < this.count; i++) {
      const parent = this.nodes.parent[i];
      const below = parent >= 0 && inside[parent];
      const hit = frames.has(this.nodes.frame[i]);
      inside[i] = below || hit ? 1 : 0;
      if (hit && !below) seconds += this.nodes.total_s[i];
    }
    return { frames, functions: frames.size, share: this.total_s ? seconds / this.total_s : 0 };
  }
}

/** The children of each node. @param {Nodes} nodes @param {number} count @param {Order} order */
function linked({ parent, total_s }, count, order) {
  const slot = (/** @type {number} */ node) => (node < 0 ? count : node);
  const first = new Int32Array(count + 2);
  for (const node of parent) first[slot(node) + 1]++;
  for (let i = 0; i <= count; i++) first[i + 1] += first[i];
  const next = first.slice();
  const kids = new Int32Array(count);
  parent.forEach((node, i) => (kids[next[slot(node)]++] = i));
  const longest = (/** @type {number} */ a, /** @type {number} */ b) => total_s[b] - total_s[a];
  for (let i = 0; order === "time" && i <= count; i++)
    if (first[i + 1] - first[i] > 1) kids.subarray(first[i], first[i + 1]).sort(longest);
  return { first, kids };
}

/** The key of a frame's function. @param {{name: string, file: string}} frame */
export const nameOf = ({ name, file }) => `${name} ${file}`;

/** The number of ranks. @param {Frame[]} frames */
const ranksIn = (frames) => frames.filter(({ name, file }) => !file && /^rank \d+$/.test(name)).length || 1;

// A tree seen by function: what each took, who calls it, whom it calls (pure).

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

// The flame graph as a table, for screen readers: where most time passed.

const ROWS = 20;

/** @param {Tree | null} tree @returns {HTMLElement[]} */
export function tableRows(tree) {
  const row = (/** @type {string} */ tag, /** @type {string[]} */ cells) => el("tr", {}, ...cells.map((cell) => el(tag, {}, cell)));
  const byTime = tree ? spent(tree).sort((a, b) => b.self_s - a.self_s) : [];
  const rows = byTime.slice(0, ROWS).map(({ frame, self_s, self_line }) => {
    const { frames, total_s } = /** @type {Tree} */ (tree);
    const { name, file } = frames[frame];
    return row("td", [name, place(file, self_line), percent(self_s / (total_s || 1)), duration(self_s)]);
  });
  return [el("caption", {}, "Functions by their own time"), row("th", ["function", "place", "own share", "own time"]), ...rows];
}

/** A row for each node, the frames above it as a path. @param {Tree} tree @returns {import("../lib/chart_tools.js").Table} */
export function tableOf(tree) {
  const { nodes } = tree;
  const rows = Array.from({ length: tree.count }, (_, i) => {
    const { name, file, line } = tree.frame(i);
    return [tree.path(i).map((at) => tree.frame(at).name).join(";"), name, file, line, nodes.total_s[i], nodes.self_s[i], nodes.base_total_s?.[i] ?? null, nodes.base_self_s?.[i] ?? null];
  });
  return { columns: ["path", "function", "file", "line", "total_s", "self_s", "baseline_total_s", "baseline_self_s"], rows };
}
