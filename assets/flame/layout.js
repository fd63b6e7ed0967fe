/** The layout of a tree's frames in a view (pure): rows of boxes in CSS pixels. */

/** @typedef {import("./tree.js").Tree} Tree */

/**
 * @typedef {Object} Box
 * @property {number} node -1 stands for all frames above the trunk; of narrow ones the frame that they stand below
 * @property {number} x
 * @property {number} width
 * @property {number} narrow how many frames are drawn as one because each is narrower than a pixel; 0 for a frame of its own
 */

/**
 * @typedef {Object} View
 * @property {number} focus the node that the user zoomed to; -1 for everything
 * @property {number} from where the left edge is, as a share of the focus; below 0 is left of it
 * @property {number} to the same of the right edge
 * @property {number} trunk all above this node is one row; -1 shows everything
 */

const MIN_PX = 1; // narrower frames are drawn together
const MIN_REST_PX = 0.5; // of what is drawn together

/** @param {Tree} tree @param {View} view @param {number} width @returns {Box[][]} */
export function layout(tree, view, width) {
  const { total_s } = tree.nodes;
  const { left_s, scale } = scaleOf(tree, view, width);
  const above = view.trunk >= 0 && tree.depth[view.trunk] > 0 ? 1 : 0;
  const top = view.trunk >= 0 ? tree.depth[view.trunk] : 0;
  /** @type {Box[][]} */
  const rows = above ? [[{ node: -1, x: 0, width, narrow: 0 }]] : [];
  const put = (/** @type {Box} */ box, /** @type {number} */ depth) => (rows[depth - top + above] ??= []).push(box);
  const open = view.trunk >= 0 ? [view.trunk] : [...tree.children(-1)];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    put({ node, ...clipped((tree.left[node] - left_s) * scale, total_s[node] * scale, width), narrow: 0 }, tree.depth[node]);
    let rest = { node, x: 0, width: 0, narrow: 0 };
    const flush = () => {
      if (rest.width >= MIN_REST_PX) put(rest, tree.depth[node] + 1);
      rest = { node, x: 0, width: 0, narrow: 0 };
    };
    for (const child of tree.children(node)) {
      const [x, wide] = [(tree.left[child] - left_s) * scale, total_s[child] * scale];
      if (x >= width) break;
      if (wide === 0 || x + wide <= 0) continue;
      if (wide >= MIN_PX) {
        flush();
        open.push(child);
      } else if (rest.narrow++) rest.width += wide;
      else Object.assign(rest, { x, width: wide });
    }
    flush();
  }
  return rows;
}

/** Seconds at the left edge, and pixels per second. @param {Tree} tree @param {View} view @param {number} width */
function scaleOf(tree, { focus, from, to }, width) {
  const [start_s, over_s] = focus < 0 ? [0, tree.total_s] : [tree.left[focus], tree.nodes.total_s[focus]];
  return { left_s: start_s + from * over_s, scale: width / ((to - from) * over_s || 1) };
}

/** @param {number} x @param {number} wide @param {number} width */
function clipped(x, wide, width) {
  const left = Math.max(0, x);
  return { x: left, width: Math.min(width, x + wide) - left };
}

/** The view zoomed by a factor, keeping the place under `at` (0 left, 1 right); never beyond the whole. @param {Tree} tree @param {View} view @param {number} factor @param {number} at @returns {View} */
export function zoomed(tree, view, factor, at) {
  const span = view.to - view.from;
  return bounded(tree, view, view.from + span * at * (1 - factor), span * factor);
}

/** @param {Tree} tree @param {View} view @param {number} by a share of the width @returns {View} */
export function panned(tree, view, by) {
  const span = view.to - view.from;
  return bounded(tree, view, view.from + span * by, span);
}

/** @param {Tree} tree @param {View} view @param {number} from @param {number} span @returns {View} */
function bounded(tree, view, from, span) {
  const [start_s, over_s] = view.focus < 0 ? [0, tree.total_s] : [tree.left[view.focus], tree.nodes.total_s[view.focus]];
  const [least, most] = [-start_s / over_s, (tree.total_s - start_s) / over_s];
  const kept = Math.min(span, most - least);
  const left = Math.max(least, Math.min(most - kept, from));
  return { ...view, from: left, to: left + kept };
}
