/** A flame graph without a screen: depths, places, totals, and the hottest own line of a tree in preorder columns (pure). */

/**
 * @typedef {Object} Flame what `GET /flame` answers
 * @property {number} samples
 * @property {number} seconds
 * @property {number} hz
 * @property {string} sampler
 * @property {{name: string, file: string, line: number}[]} frames
 * @property {{frame: number[], parent: number[], self_s: number[], total_s: number[], kind: string[]}} nodes
 * @property {number | null} profile_until Unix seconds
 * @property {{sentence: string, remedy: string} | null} note
 * @property {{pid: number, tid: number, name: string, rank: number, role: string, seconds: number}[]} threads
 */

/** A child that carries at least this share of the whole is trunk: it splits nothing. */
const TRUNK = 0.985;

export class Tree {
  /** @param {Flame} flame */
  constructor(flame) {
    const { nodes } = flame;
    this.frames = flame.frames;
    this.nodes = nodes;
    this.count = nodes.frame.length;
    this.depth = new Int32Array(this.count);
    this.left = new Float64Array(this.count); // seconds from the left edge
    const next = new Float64Array(this.count);
    this.total_s = 0;
    for (let i = 0; i < this.count; i++) {
      const parent = nodes.parent[i];
      this.depth[i] = parent < 0 ? 0 : this.depth[parent] + 1;
      this.left[i] = parent < 0 ? this.total_s : next[parent];
      if (parent < 0) this.total_s += nodes.total_s[i];
      else next[parent] += nodes.total_s[i];
      next[i] = this.left[i];
    }
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

  /** @param {number} node -1 for the roots @returns {number[]} */
  children(node) {
    const out = [];
    for (let i = node + 1; i < this.count && (node < 0 || this.depth[i] > this.depth[node]); i++)
      if (this.nodes.parent[i] === node) out.push(i);
    return out;
  }

  /** The last frame that nearly all samples share: what lies above it says nothing. -1 when the tree splits at once. */
  trunk() {
    let node = -1;
    for (
      let [next] = this.children(-1).filter((child) => this.#carries(child));
      next !== undefined;
      [next] = this.children(node).filter((child) => this.#carries(child))
    )
      node = next;
    return node;
  }

  /** @param {number} node */
  #carries(node) {
    return this.nodes.total_s[node] >= TRUNK * this.total_s;
  }

  /** The node at the same place in this tree as `names` say, or the deepest one above it. @param {string[]} names @returns {number} */
  find(names) {
    let node = -1;
    for (const name of names) {
      const next = this.children(node).find((child) => this.name(child) === name);
      if (next === undefined) break;
      node = next;
    }
    return node;
  }

  /** @param {number} node */
  name(node) {
    const { name, file } = this.frame(node);
    return `${name} ${file}`;
  }

  /**
   * The line under which most time passed: a node's own time counts for the deepest frame of the user's own code on its stack,
   * or for the node itself where no own code was seen at all.
   * @returns {{frame: {name: string, file: string, line: number}, share: number, node: number} | null} null for an empty tree
   */
  hottest() {
    const own = this.nodes.kind.some((kind, i) => kind === "own" && this.frame(i).file !== "");
    const { frame, parent, self_s, total_s, kind } = this.nodes;
    const owner = new Int32Array(this.count);
    /** @type {Map<number, {seconds: number, node: number}>} */
    const sums = new Map();
    for (let i = 0; i < this.count; i++) {
      const counts = this.frame(i).file !== "" && (!own || kind[i] === "own"); // the root has no file
      owner[i] = counts ? i : parent[i] < 0 ? -1 : owner[parent[i]];
      if (owner[i] < 0) continue;
      const sum = sums.get(frame[owner[i]]) ?? { seconds: 0, node: owner[i] };
      sum.seconds += self_s[i];
      if (total_s[owner[i]] > total_s[sum.node]) sum.node = owner[i];
      sums.set(frame[owner[i]], sum);
    }
    const [top] = [...sums].sort(([, a], [, b]) => b.seconds - a.seconds);
    return top && this.total_s ? { frame: this.frames[top[0]], share: top[1].seconds / this.total_s, node: top[1].node } : null;
  }

  /** Functions by own time, for the table that screen readers get. @param {number} most */
  functions(most) {
    /** @type {Map<number, number>} */
    const sums = new Map();
    this.nodes.frame.forEach((frame, i) => sums.set(frame, (sums.get(frame) ?? 0) + this.nodes.self_s[i]));
    const sorted = [...sums].sort((a, b) => b[1] - a[1]).slice(0, most);
    return sorted.map(([frame, self_s]) => ({ ...this.frames[frame], self_s, share: this.total_s ? self_s / this.total_s : 0 }));
  }
}
