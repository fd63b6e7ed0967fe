/** A flame graph without display: places, differences and searches in a tree of preorder columns (pure). */

/** @typedef {import("../types/api").Row<"FlameAnswer">} Flame */
/** @typedef {import("../types/api").Row<"FrameRow">} Frame */
/** @typedef {import("../types/api").Row<"ThreadRow">} Thread */
/** @typedef {import("../types/api").Row<"Nodes">} Nodes */
/** @typedef {"time" | "name"} Order of siblings: the longest first, or as the server sends them */
/** @typedef {{functions: number, share: number}} Match */

/** A child with at least this share of the whole is trunk: the tree does not split there. */
const TRUNK = 0.985;
/** Colours are full at the slowdown itself, but never below this share of a normal unit, which is noise. */
const NOISE = 0.1;
/** The user's own code is used if this share of the time passed in it. */
const LEAST_OWN = 0.05;

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
    return own && own.share >= LEAST_OWN ? own : this.#hottest(false);
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
