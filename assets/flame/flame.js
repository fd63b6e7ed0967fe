/** The flame graph on a canvas: draw, zoom, pan, point, walk by keys; a hidden table serves screen readers. */

import { chartTools } from "../lib/chart_tools.js";
import { el, emptyContext, onResize } from "../lib/dom.js";
import { brief, percent, signed, toneOf } from "../lib/figures.js";
import { count, duration } from "../lib/format.js";
import { onTheme, token } from "../lib/theme.js";
import { layout, panned, zoomed } from "./layout.js";
import { Painter, tints, words } from "./paint.js";
import { tableOf, tableRows } from "./tree.js";

const TIP_PX = 16; // from the pointer to the tip of a frame
const KEY_ZOOM = 0.5;
const TABLE_MS = 200; // the table for screen readers follows later, not 60 times a second
const MOVES = { ArrowUp: "parent", ArrowDown: "child", ArrowLeft: "before", ArrowRight: "after" };

/** @typedef {import("./layout.js").Box} Box */
/** @typedef {import("./layout.js").View} View */
/** @typedef {import("./tree.js").Tree} Tree */

export class FlameGraph {
  /** @param {{row?: number, chosen?: (node: number) => void}} [options] height of a row in px; called when the user selects a frame */
  constructor({ row = 18, chosen = () => {} } = {}) {
    this.row = row;
    this.chosen = chosen;
    /** @type {Tree | null} */
    this.tree = null;
    /** @type {View} */
    this.view = { focus: -1, from: 0, to: 1, trunk: -1 };
    this.whole = false; // shows the frames above the trunk, too
    this.difference = true;
    this.found = "";
    /** @type {Set<number>} frames that the search found */
    this.hits = new Set();
    /** @type {number | null} */
    this.selected = null;
    /** @type {string | null} the function that is selected where the user selected none */
    this.marked = null;
    this.hot = -1;
    /** @type {Box[][]} */
    this.rows = [];
    this.canvas = el("canvas", { tabindex: 0, role: "application", "aria-label": "Flame graph" });
    this.tip = el("div", { class: "tip", role: "status", hidden: true });
    this.table = el("table");
    this.room = el("div", { class: "flame-room" }, this.canvas);
    this.scroll = el("div", { class: "flame-scroll" }, this.room);
    this.element = el("div", { class: "flame" }, this.scroll, this.tip, el("div", { class: "unseen" }, this.table));
    this.#listen();
    onResize(this.scroll, () => this.draw());
    onTheme(() => this.draw());
  }

  /** @param {() => string} title */
  addTools(title) {
    const { element, canvas } = this;
    element.append(chartTools({ element, focus: canvas, title, table: () => this.tree && tableOf(this.tree), picture: () => this.tree && { canvas, legend: [] } }, { menuOnly: true }));
  }

  /** A refetched tree keeps the place that the user zoomed to and the frame that is selected. @param {Tree | null} tree */
  show(tree) {
    const { tree: old, view, selected } = this;
    const way = (/** @type {number} */ node) => (old && node >= 0 ? old.path(node).map((at) => old.name(at)) : []);
    const [zoom, choice] = [view.focus === view.trunk ? [] : way(view.focus), way(selected ?? -1)];
    this.tree = tree;
    this.hot = tree?.hottest()?.node ?? -1;
    const trunk = this.whole || !tree ? -1 : tree.trunk();
    const focus = zoom.length && tree ? tree.find(zoom) : trunk;
    this.view = { ...(focus === trunk && zoom.length ? { from: 0, to: 1 } : view), focus, trunk };
    const again = choice.length && tree ? tree.find(choice) : -1;
    this.selected = again < 0 ? this.#marked() : again;
    this.hits = this.#match().frames;
    this.draw();
    this.#tableTimer ||= setTimeout(() => this.#fillTable(), TABLE_MS);
  }

  #tableTimer = 0;

  /** Select a function, as `nameOf` gives it, and scroll to where it took most, unless one of its frames is selected. @param {string | null} name */
  mark(name) {
    const { tree, selected } = this;
    this.marked = name;
    if (selected !== null && tree && tree.name(selected) === name) return;
    this.selected = this.#marked();
    this.invalidate();
    if (this.selected !== null) this.#reveal(this.selected);
  }

  #marked() {
    const node = this.marked !== null && this.tree ? this.tree.widest(this.marked) : -1;
    return node < 0 ? null : node;
  }

  /** @param {string} text @returns {import("./tree.js").Match} */
  search(text) {
    const before = this.hits;
    this.found = text.toLowerCase();
    const match = this.#match();
    this.hits = match.frames;
    if (before.size || match.frames.size) this.invalidate();
    return match;
  }

  #match() {
    return (this.found && this.tree?.search(this.found)) || { frames: new Set(), functions: 0, share: 0 };
  }

  get names() {
    return [...new Set(this.tree?.frames.map(({ name }) => name))];
  }

  // Drawing

  /** Draw in the next animation frame, once for all changes. */
  invalidate() {
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  #frame = 0;

  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { clientWidth: width } = this.scroll;
    if (!width) return;
    const { tree, row } = this;
    this.rows = tree ? layout(tree, this.view, width) : [];
    this.room.style.height = `${this.rows.length * row}px`;
    const height = Math.max(1, Math.min(this.rows.length * row, this.scroll.clientHeight));
    // The canvas covers the visible part of the graph; its container is as tall as the whole.
    const ctx = emptyContext(this.canvas, width, height);
    if (!tree) return;
    const top = this.scroll.scrollTop;
    const painter = new Painter(ctx, row, this.found);
    const tint = tints(tree, this.difference, this.hot);
    const focusDepth = this.view.focus < 0 ? -1 : tree.depth[this.view.focus];
    for (let at = Math.floor(top / row); at < Math.min(this.rows.length, Math.ceil((top + height) / row)); at++)
      for (const box of this.rows[at]) this.#box(painter, box, at * row - top, tint, focusDepth);
  }

  /** @param {Painter} painter @param {Box} box @param {number} y @param {ReturnType<typeof tints>} tint @param {number} focusDepth */
  #box(painter, { node, x, width, narrow }, y, tint, focusDepth) {
    const tree = /** @type {Tree} */ (this.tree);
    if (narrow) return painter.box(x, y, width, { tint: tint(node, true), title: "" });
    if (node < 0) return painter.box(x, y, width, { tint: { fill: "transparent", ink: token("ink-3") }, title: this.#above() });
    const kind = tree.nodes.kind[node];
    return painter.box(x, y, width, {
      tint: tint(node, tree.untrusted(node) || tree.depth[node] < focusDepth),
      ...words(tree.frame(node)),
      value: this.#value(node),
      hatched: kind === "wait" || kind === "joined",
      strong: node === this.hot,
      selected: node === this.selected,
      found: this.hits.has(tree.nodes.frame[node]),
    });
  }

  /** @param {number} node */
  #value(node) {
    const tree = /** @type {Tree} */ (this.tree);
    const share = percent(tree.nodes.total_s[node] / tree.total_s);
    return tree.compared && this.difference ? `${share}  ${signed(tree.excess(node))}` : share;
  }

  #above() {
    const tree = /** @type {Tree} */ (this.tree);
    const path = tree.path(this.view.trunk).slice(0, -1);
    return `‹ ${path.map((at) => tree.frame(at).name).join(" › ")}`;
  }

  // What the user does

  #listen() {
    let held = this.view;
    listenTo(this.canvas, this.scroll, {
      point: (x, y) => this.#point(x, y),
      leave: () => (this.tip.hidden = true),
      click: (x, y) => this.#click(x, y),
      grab: () => (held = this.view),
      pan: (share) => this.#pan(held, share),
      shift: (share) => this.#pan(this.view, share),
      zoom: (factor, at) => this.zoom(factor, at),
    });
    this.canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.scroll.addEventListener("scroll", () => this.invalidate());
  }

  /** @param {number} factor of what is seen @param {number} [at] the place that stays, 0 left to 1 right */
  zoom(factor, at = 0.5) {
    if (!this.tree) return;
    this.view = zoomed(this.tree, this.view, factor, at);
    this.invalidate();
  }

  /** @param {View} view @param {number} by a share of the width */
  #pan(view, by) {
    if (!this.tree) return;
    this.tip.hidden = true;
    this.view = panned(this.tree, view, by);
    this.invalidate();
  }

  /** @param {number} x @param {number} y on the canvas @returns {Box | undefined} */
  #hit(x, y) {
    const row = this.rows[Math.floor((y + this.scroll.scrollTop) / this.row)] ?? [];
    return row.find((box) => x >= box.x && x < box.x + box.width);
  }

  /** @param {number} x @param {number} y */
  #point(x, y) {
    const box = this.#hit(x, y);
    this.tip.hidden = !box || box.node < 0;
    this.canvas.style.cursor = box ? "pointer" : "";
    if (!box || box.node < 0) return;
    this.#describe(box);
    const { clientWidth, clientHeight } = this.element;
    const { offsetWidth: wide, offsetHeight: tall } = this.tip;
    const below = y + TIP_PX + tall <= clientHeight || y < tall + TIP_PX;
    this.tip.style.left = `${Math.max(0, Math.min(clientWidth - wide, x + TIP_PX))}px`;
    this.tip.style.top = `${below ? y + TIP_PX : y - tall - TIP_PX / 2}px`;
  }

  /** @param {Box} box */
  #describe(box) {
    this.tip.replaceChildren(...describe(/** @type {Tree} */ (this.tree), box));
  }

  /** @param {number} x @param {number} y */
  #click(x, y) {
    const box = this.#hit(x, y);
    if (!box || !this.tree) return;
    if (box.node < 0 || (box.node === this.view.focus && this.#still)) return this.out();
    this.select(box.node);
    return this.focus(box.node);
  }

  /** Nothing was zoomed or panned since the focus was set. */
  get #still() {
    return this.view.from === 0 && this.view.to === 1;
  }

  /** @param {number} node */
  select(node) {
    this.selected = node;
    this.chosen(node);
    this.invalidate();
  }

  /** Zoom until this frame is as wide as the graph. @param {number} node */
  focus(node) {
    this.view = { ...this.view, focus: node, from: 0, to: 1 };
    this.tip.hidden = true;
    this.draw();
    this.#reveal(node);
  }

  /** One zoom back, from the trunk to all frames and back. */
  out() {
    const { tree, view } = this;
    if (!tree) return;
    const trunk = tree.trunk();
    if (!this.#still) return this.focus(view.focus);
    this.whole = view.focus === view.trunk && view.trunk === trunk && trunk >= 0;
    this.view.trunk = this.whole ? -1 : trunk;
    return this.focus(this.view.trunk);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const zoomed = this.view.focus !== this.view.trunk || !this.#still || this.whole;
    if (!this.tree || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in MOVES) this.#walk(MOVES[/** @type {keyof typeof MOVES} */ (event.key)]);
    else if (event.key === "Enter" && this.selected !== null) this.focus(this.selected);
    else if (event.key === "Backspace" || (event.key === "Escape" && zoomed)) this.out();
    else if (event.key === "+" || event.key === "=") this.zoom(KEY_ZOOM);
    else if (event.key === "-") this.zoom(1 / KEY_ZOOM);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {string} way */
  #walk(way) {
    const tree = /** @type {Tree} */ (this.tree);
    const at = this.selected ?? this.view.focus;
    const siblings = at < 0 ? tree.children(-1) : tree.children(tree.nodes.parent[at]);
    const place = siblings.indexOf(at);
    const below = tree.children(at);
    const widest = below.length ? below.reduce((a, b) => (tree.nodes.total_s[b] > tree.nodes.total_s[a] ? b : a)) : undefined;
    const ways = { parent: tree.nodes.parent[at], child: widest, before: siblings[place - 1], after: siblings[place + 1] };
    const to = ways[/** @type {keyof typeof ways} */ (way)];
    if (to === undefined || to < 0) return;
    this.select(to);
    this.draw();
    this.#reveal(to);
    this.#describe({ node: to, x: 0, width: 0, narrow: 0 });
    this.tip.hidden = false;
    this.tip.style.left = `${Math.max(0, this.element.clientWidth - this.tip.offsetWidth)}px`;
    this.tip.style.top = `${this.#depth(to) * this.row - this.scroll.scrollTop + this.row + 4}px`;
  }

  /** Which row a node stands in. @param {number} node */
  #depth(node) {
    return this.rows.findIndex((row) => row.some((box) => box.node === node && !box.narrow));
  }

  /** Scroll until a frame is seen, with what is below it. @param {number} node */
  #reveal(node) {
    const y = this.#depth(node) * this.row;
    const { scrollTop, clientHeight } = this.scroll;
    if (y >= 0 && (y < scrollTop || y > scrollTop + clientHeight - 3 * this.row)) this.scroll.scrollTop = y - 2 * this.row;
  }

  #fillTable() {
    this.#tableTimer = 0;
    const { tree } = this;
    const hottest = tree?.hottest();
    this.canvas.setAttribute(
      "aria-label",
      hottest ? `Flame graph. ${percent(hottest.share)}: ${hottest.frame.name}` : "Flame graph, empty",
    );
    this.table.replaceChildren(...tableRows(tree));
  }
}

// Gestures on the flame graph: drag pans, the wheel with Ctrl zooms and with Shift pans, a click and a pointer point.

const CLICK_PX = 3; // less is a click, not a drag
const ZOOM_PER_PX = 1.002; // of the wheel

/**
 * @typedef {Object} Gestures
 * @property {(x: number, y: number) => void} point where the pointer is, CSS pixels on the canvas
 * @property {() => void} leave
 * @property {(x: number, y: number) => void} click
 * @property {() => void} grab a drag begins
 * @property {(share: number) => void} pan by a share of the width since the drag began
 * @property {(share: number) => void} shift by a share of the width, now
 * @property {(factor: number, at: number) => void} zoom what is seen by a factor, at 0 left to 1 right
 */

/** @param {HTMLCanvasElement} canvas @param {HTMLElement} scroll what scrolls it @param {Gestures} gestures */
function listenTo(canvas, scroll, gestures) {
  /** @type {{x: number, y: number, top: number, moved: boolean} | null} */
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return; // a finger scrolls the page
    canvas.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, top: scroll.scrollTop, moved: false };
    gestures.grab();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return gestures.point(event.offsetX, event.offsetY);
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!(drag.moved ||= Math.hypot(dx, dy) > CLICK_PX)) return undefined;
    scroll.scrollTop = drag.top - dy;
    return gestures.pan(-dx / scroll.clientWidth);
  });
  canvas.addEventListener("pointercancel", () => (drag = null));
  canvas.addEventListener("click", (event) => {
    if (!drag?.moved) gestures.click(event.offsetX, event.offsetY);
    drag = null;
  });
  canvas.addEventListener("pointerleave", gestures.leave);
  canvas.addEventListener(
    "wheel",
    (event) => {
      const across = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
      if (event.ctrlKey) gestures.zoom(ZOOM_PER_PX ** event.deltaY, event.offsetX / scroll.clientWidth);
      else if (event.shiftKey || Math.abs(across) > Math.abs(event.deltaY)) gestures.shift(across / scroll.clientWidth);
      else return; // up and down scrolls
      event.preventDefault();
    },
    { passive: false },
  );
}

// The tip of one frame: its time in the window, beside normal, as a share and per step.

const SAYS = { wait: "waits here", joined: "runs in another thread or process", own: "your code", library: "library" };

/** @param {Tree} tree @param {import("./layout.js").Box} box @returns {HTMLElement[]} */
function describe(tree, { node, narrow }) {
  const { name, file, line } = tree.frame(node);
  const { total_s, self_s, base_self_s, kind } = tree.nodes;
  if (narrow) return [el("b", {}, `${count(narrow)} narrower frames`), el("span", { class: "dim" }, `below ${name}`)];
  const rows = [
    row(tree, "in total", total_s[node], tree.normal(node)),
    row(tree, "itself", self_s[node], (base_self_s?.[node] ?? 0) / tree.baseUnits),
  ];
  const heads = ["", "", "share", `a ${tree.per}`, ...(tree.compared ? ["baseline", ""] : [])];
  const trust = tree.untrusted(node) ? "; not sure: two moments may be mixed" : "";
  return [
    el("b", {}, name),
    el("span", {}, line > 0 ? `${file}:${line}` : file),
    el("table", {}, el("tr", {}, ...heads.map((head) => el("th", {}, head))), ...rows),
    el("span", { class: "dim" }, `${SAYS[/** @type {keyof typeof SAYS} */ (kind[node])] ?? ""}${trust}`),
  ];
}

/** @param {Tree} tree @param {string} what @param {number} seconds @param {number} normal_s a unit */
function row(tree, what, seconds, normal_s) {
  const perUnit = seconds / tree.units;
  const cells = [what, duration(seconds), percent(seconds / tree.total_s), brief(perUnit)];
  const difference = perUnit - normal_s;
  return el(
    "tr",
    {},
    ...cells.map((cell) => el("td", {}, cell)),
    ...(tree.compared ? [el("td", {}, brief(normal_s)), el("td", { class: toneOf(difference) }, signed(difference))] : []),
  );
}
