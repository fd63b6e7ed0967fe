/** The flame graph on a canvas: draw, zoom, point, walk by keys; a hidden table says the same to screen readers. */

import { el } from "./dom.js";
import { duration, place } from "./format.js";
import { onTheme, token } from "./theme.js";
import { Tree } from "./tree.js";

const ROW = 18;
const LEAST_PX = 0.6; // narrower frames are not drawn
const LABEL_PX = 24; // narrower ones carry no name
const TABLE_ROWS = 20;
const HATCH_PX = 6;

/** @typedef {{node: number, x: number, width: number}} Box node -1 stands for all frames above the focus */

export class FlameGraph {
  constructor() {
    /** @type {Tree | null} */
    this.tree = null;
    this.focus = -1;
    this.whole = false; // shows the frames above the trunk, too
    /** @type {number | null} */
    this.selected = null;
    this.hot = -1;
    /** @type {Box[][]} */
    this.rows = [];
    this.canvas = el("canvas", { tabindex: 0, role: "application", "aria-label": "Flame graph", "aria-keyshortcuts": "f" });
    this.tip = el("div", { class: "tip", role: "status", hidden: true });
    this.table = el("table", { class: "unseen" });
    this.element = el("div", { class: "flame" }, this.canvas, this.tip, this.table);
    this.canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#click(event));
    this.canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(this.element);
    onTheme(() => this.draw());
  }

  /** A refetched tree keeps the place that a person zoomed to. @param {import("./tree.js").Flame | null} flame */
  show(flame) {
    const names =
      this.tree && this.focus >= 0 ? this.tree.path(this.focus).map((node) => /** @type {Tree} */ (this.tree).name(node)) : [];
    const zoomed = this.tree !== null && this.focus !== this.tree.trunk() && names.length > 0;
    this.tree = flame && flame.nodes.frame.length ? new Tree(flame) : null;
    this.selected = null;
    this.hot = this.tree?.hottest()?.node ?? -1;
    this.focus = !this.tree ? -1 : zoomed ? this.tree.find(names) : this.whole ? -1 : this.tree.trunk();
    this.draw();
    this.#tell();
  }

  get names() {
    return this.tree ? [...new Set(this.tree.nodes.frame.map((frame) => /** @type {Tree} */ (this.tree).frames[frame].name))] : [];
  }

  draw() {
    const { clientWidth: width } = this.element;
    if (!width) return;
    this.rows = this.tree ? layout(this.tree, this.focus, width) : [];
    const height = Math.max(1, this.rows.length) * ROW;
    const ratio = devicePixelRatio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    const ctx = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    ctx.scale(ratio, ratio);
    ctx.textBaseline = "middle";
    this.rows.forEach((row, depth) => row.forEach((box) => this.#box(ctx, box, depth * ROW)));
  }

  /** @param {CanvasRenderingContext2D} ctx @param {Box} box @param {number} y */
  #box(ctx, { node, x, width }, y) {
    const tree = /** @type {Tree} */ (this.tree);
    const [left, wide] = [Math.round(x), Math.max(1, Math.round(x + width) - Math.round(x) - 1)];
    const kind = node < 0 ? "above" : tree.nodes.kind[node];
    ctx.fillStyle = node >= 0 && node === this.hot ? token("flame-hot") : token(kind === "own" ? "flame-own" : "flame-library");
    if (kind !== "above") ctx.fillRect(left, y, wide, ROW - 1);
    if (kind === "wait" || kind === "joined") hatch(ctx, left, y, wide);
    if (wide > LABEL_PX) this.#label(ctx, node, left, wide, y + ROW / 2);
    if (node >= 0 && node === this.selected) {
      ctx.strokeStyle = token("ink");
      ctx.lineWidth = 2;
      ctx.strokeRect(left + 1, y + 1, wide - 2, ROW - 3);
    }
  }

  /** @param {CanvasRenderingContext2D} ctx @param {number} node @param {number} left @param {number} wide @param {number} y */
  #label(ctx, node, left, wide, y) {
    const tree = /** @type {Tree} */ (this.tree);
    const font = token("font-ui");
    ctx.font = `11px ${font}`;
    if (node < 0) {
      ctx.fillStyle = token("ink-3");
      const path = this.focus < 0 ? [] : tree.path(this.focus).slice(0, -1);
      return ctx.fillText(fitted(ctx, `‹ ${path.map((at) => tree.frame(at).name).join(" › ")}`, wide - 8), left + 4, y);
    }
    const { name, file, line } = tree.frame(node);
    ctx.font = `${node === this.hot ? "600 " : ""}11px ${font}`;
    ctx.fillStyle = node === this.hot ? token("on-flame-hot") : token("ink");
    ctx.fillText(fitted(ctx, name, wide - 8), left + 4, y);
    let used = 8 + ctx.measureText(name).width;
    ctx.font = `10px ${font}`;
    if (node !== this.hot) ctx.fillStyle = token("ink-2");
    const [where, share] = [place(file, line), percent(tree.nodes.total_s[node] / tree.total_s)];
    const [whereWidth, shareWidth] = [ctx.measureText(where).width, ctx.measureText(share).width];
    if (used + whereWidth + 4 < wide) {
      ctx.fillText(where, left + used + 3, y);
      used += whereWidth + 8;
    }
    if (used + shareWidth + 8 < wide) ctx.fillText(share, left + wide - shareWidth - 4, y);
    return undefined;
  }

  /** @param {MouseEvent} event @returns {Box | undefined} */
  #hit(event) {
    const row = this.rows[Math.floor(event.offsetY / ROW)] ?? [];
    return row.find(({ x, width }) => event.offsetX >= x && event.offsetX < x + width);
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const box = this.#hit(event);
    this.tip.hidden = !box || box.node < 0;
    this.canvas.style.cursor = box ? "pointer" : "";
    if (!box || box.node < 0) return;
    this.#describe(box.node);
    const { clientWidth } = this.element;
    this.tip.style.left = `${Math.max(0, Math.min(clientWidth - this.tip.offsetWidth, event.offsetX + 12))}px`;
    this.tip.style.top = `${event.offsetY + 20}px`;
  }

  /** @param {number} node */
  #describe(node) {
    const tree = /** @type {Tree} */ (this.tree);
    const { name, file, line } = tree.frame(node);
    const [total, self] = [tree.nodes.total_s[node], tree.nodes.self_s[node]];
    const says = { wait: "waits here", joined: "runs in another thread or process", own: "your code", library: "library" };
    this.tip.replaceChildren(
      el("b", {}, name),
      el("span", {}, line > 0 ? `${file}:${line}` : file),
      el(
        "span",
        {},
        `${percent(total / tree.total_s)} in total, ${duration(total)}; ${percent(self / tree.total_s)} itself, ${duration(self)}`,
      ),
      el("span", { class: "dim" }, says[/** @type {keyof typeof says} */ (tree.nodes.kind[node])] ?? ""),
    );
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const box = this.#hit(event);
    if (!box || !this.tree) return;
    if (box.node < 0 || box.node === this.focus) this.#out();
    else this.#zoom(box.node);
  }

  /** @param {number} node */
  #zoom(node) {
    this.focus = node;
    this.selected = node;
    this.tip.hidden = true;
    this.draw();
  }

  /** One zoom back, from the trunk to all frames and back. */
  #out() {
    const tree = /** @type {Tree} */ (this.tree);
    const trunk = tree.trunk();
    this.whole = this.focus === trunk;
    this.#zoom(this.whole ? -1 : trunk);
    this.selected = null;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const moves = { ArrowUp: "parent", ArrowDown: "child", ArrowLeft: "before", ArrowRight: "after" };
    const tree = this.tree;
    if (!tree) return;
    if (event.key in moves) this.#walk(moves[/** @type {keyof typeof moves} */ (event.key)]);
    else if (event.key === "Enter" && this.selected !== null) this.#zoom(this.selected);
    else if (event.key === "Backspace" || (event.key === "Escape" && this.focus !== tree.trunk())) this.#out();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {string} way */
  #walk(way) {
    const tree = /** @type {Tree} */ (this.tree);
    const at = this.selected ?? this.focus;
    const siblings = at < 0 ? [] : tree.children(tree.nodes.parent[at]);
    const place = siblings.indexOf(at);
    const widest = tree.children(at).sort((a, b) => tree.nodes.total_s[b] - tree.nodes.total_s[a])[0];
    const to = {
      parent: at < 0 ? undefined : tree.nodes.parent[at],
      child: widest,
      before: siblings[place - 1],
      after: siblings[place + 1],
    }[way];
    if (to === undefined || to < 0) return;
    this.selected = to;
    this.draw();
    this.#describe(to);
    this.#reveal(to);
  }

  /** Put the description beside a frame chosen by keys. @param {number} node */
  #reveal(node) {
    const depth = this.rows.findIndex((row) => row.some((box) => box.node === node));
    this.tip.hidden = depth < 0;
    this.tip.style.left = "0px";
    this.tip.style.top = `${(depth + 1) * ROW + 4}px`;
  }

  #tell() {
    const hottest = this.tree?.hottest();
    this.canvas.setAttribute(
      "aria-label",
      hottest ? `Flame graph. ${percent(hottest.share)}: ${hottest.frame.name}` : "Flame graph, empty",
    );
    const head = el("tr", {}, ...["function", "place", "own share", "own time"].map((name) => el("th", {}, name)));
    const rows = (this.tree?.functions(TABLE_ROWS) ?? []).map(({ name, file, line, self_s, share }) =>
      el("tr", {}, ...[name, place(file, line), percent(share), duration(self_s)].map((text) => el("td", {}, text))),
    );
    this.table.replaceChildren(el("caption", {}, "Functions by their own time"), head, ...rows);
  }
}

/** @param {number} share */
export const percent = (share) => `${share > 0 && share < 0.095 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;

/**
 * Boxes by row, in CSS pixels: one row for all frames above the focus, then what is below it at full width.
 * @param {Tree} tree @param {number} focus -1 for everything @param {number} width @returns {Box[][]}
 */
export function layout(tree, focus, width) {
  const { total_s, parent } = tree.nodes;
  const above = focus >= 0 && parent[focus] >= 0 ? 1 : 0;
  const [from_s, over_s, top] = focus < 0 ? [0, tree.total_s, 0] : [tree.left[focus], total_s[focus], tree.depth[focus]];
  /** @type {Box[][]} */
  const rows = above ? [[{ node: -1, x: 0, width }]] : [];
  for (let i = Math.max(0, focus); i < tree.count && (i === focus || focus < 0 || tree.depth[i] > top); i++) {
    const box = { node: i, x: ((tree.left[i] - from_s) / over_s) * width, width: (total_s[i] / over_s) * width };
    if (box.width >= LEAST_PX) (rows[tree.depth[i] - top + above] ??= []).push(box);
  }
  return rows;
}

/** @param {CanvasRenderingContext2D} ctx @param {string} text @param {number} width */
function fitted(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ctx.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? `${text.slice(0, low)}…` : "";
}

/** @param {CanvasRenderingContext2D} ctx @param {number} left @param {number} y @param {number} wide */
function hatch(ctx, left, y, wide) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, y, wide, ROW - 1);
  ctx.clip();
  ctx.strokeStyle = token("line-strong");
  ctx.beginPath();
  for (let x = left - ROW; x < left + wide; x += HATCH_PX) {
    ctx.moveTo(x, y + ROW);
    ctx.lineTo(x + ROW, y);
  }
  ctx.stroke();
  ctx.restore();
}
