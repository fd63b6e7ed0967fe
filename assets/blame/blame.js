/** The sentence on a window: the server's verdict with its place highlighted, or what the graph alone says until the server answers. */

import { nameOf } from "../flame/tree.js";
import { el, visible } from "../lib/dom.js";
import { percent, signed } from "../lib/figures.js";
import { clock, count, counted, duration, figure, minute, place } from "../lib/format.js";

// The server's verdict on a window: the sentence with its place highlighted, and its basis.

/** @typedef {import("../types/api").Answer<"blame">} Blame the verdict on a window */
/** @typedef {import("../flame/tree.js").Flame} Flame */
/** @typedef {import("../flame/tree.js").Tree} Tree */

const MOSTLY = 0.8; // of the asked seconds
// The page judges before the server answers, so no answer can carry these two: they are those of analysis/blame/verdict.py and judgement.py.
const [ALL, MORE_THAN_ALL] = [1.02, 1.25]; // of the slowdown: then other work takes less meanwhile
const FEW_SAMPLES = 50;
const MIN_SAME = 0.97; // the sentence and the frame below it say about the same share
const BY_GRAPH = new Set(["line", "collective_wait", "unknown", "no_difference"]); // the others have evidence that no graph shows
const LEAST = 0.05; // in the unit that is shown: less is shown as zero

/** The blamed place in the code font, its share of the slowdown in the colour of "more". @param {Blame} blame @returns {(Node | string)[]} */
export function sentence({ sentence, lead, place }) {
  const [before, ...rest] = place ? sentence.split(place) : [sentence];
  const after = rest.join(place);
  const parts = rest.length ? [before, el("code", {}, place)] : [];
  const said = rest.length ? after : before;
  const at = lead ? said.indexOf(`${lead} of `) : -1;
  return at < 0 ? [...parts, said] : [...parts, said.slice(0, at), el("b", { class: "more" }, lead), said.slice(at + lead.length)];
}

/** The basis of a verdict, in words. @type {Record<string, string>} */
const BASES = { stacks: "from stacks and GPU counters, without steps", steps: "from stacks and the steps of the log" };

/** The contradiction of sentence and graph, the confidence, and the basis of comparison. @param {Blame} blame @param {boolean} chosen a user chose what to compare with @param {Tree | null} tree that is drawn */
export function basis(blame, chosen, tree) {
  const { confidence, samples, normal_samples, normal, unresolved_share, basis: rests, judged, per } = blame;
  const parts = [
    confidence && `confidence ${confidence}`,
    counted(samples, "sample"),
    judged ? `judged by the whole ${per}s ${ranges([judged])}` : "",
    normal.length
      ? `${chosen ? "compared with" : "normal is"} ${counted(normal_samples, "sample")} ${ranges(normal)}`
      : "no normal to compare with",
    (unresolved_share ?? 0) > 0.005 ? `for ${percent(Number(unresolved_share))} of the time the innermost function is uncertain` : "",
    BASES[rests] ?? "",
  ];
  const text = parts.filter(Boolean).join("; ");
  return [blame.contradiction || otherwise(blame, tree), `${text[0].toUpperCase()}${text.slice(1)}.`].filter(Boolean).join(" ");
}

/** The function that the graph alone would name, if another. @param {Blame} blame @param {Tree | null} tree */
export function otherwise({ verdict, function: name, file }, tree) {
  const found = tree && mostLost(tree);
  if (!found || !BY_GRAPH.has(verdict)) return "";
  if (name && (!file || related(tree, found.node, nameOf({ name, file })))) return "";
  const { frame, excess } = found;
  return `By the flame graph alone it would be ${frame.name} (${place(frame.file, frame.line)}), ${signed(excess)} per ${tree.per}.`;
}

/** `from 14:02 to 14:24`; of several stretches the first start and the last end. @param {[number, number][]} normal Unix seconds */
function ranges(normal) {
  const [from, to] = [Math.min(...normal.map(([lo]) => lo)), Math.max(...normal.map(([, hi]) => hi))];
  const time = to - from < 120 ? clock : minute;
  return `from ${time(from)} to ${time(to)}${normal.length > 1 ? `, ${normal.length} stretches` : ""}`;
}

/** The display of an evidence unit: its word, factor and digits after the point. @type {Record<string, [string, number, number]>} */
const UNITS = { s: ["ms", 1000, 1], us: ["µs", 1, 1], share: ["%", 100, 1], "%": ["%", 1, 1], MHz: ["MHz", 1, 0], cores: ["cores", 1, 1] };

/** The server's evidence, as rows beside the page's own. @param {Blame} blame @returns {import("../pages/live/panel.js").Fact[]} */
export function facts({ evidence }) {
  return evidence.flatMap(({ name, unit, window, normal }) => {
    if (window === null || normal === null) return [];
    const [word, scale, digits] = UNITS[unit.startsWith("s/") ? "s" : unit] ?? [unit, 1, undefined];
    if (Math.max(Math.abs(window), Math.abs(normal)) * scale < LEAST) return [];
    const title = word === "" || name.toLowerCase().includes(word) ? name : `${name}, ${word}`;
    return [{ name: title, window: window * scale, rest: normal * scale, digits }];
  });
}

/**
 * The page's own sentence until the server answers: where the window lost its time, else where most of it went; and its basis.
 * @param {Flame | null} flame @param {Tree | null} tree of it
 * @param {{asked: {from: number, to: number}, now: boolean, growing: boolean, comparable?: Tree | null, baseline?: import("../timeline/baseline_picker.js").Baseline | null}} about `growing`: more of the profile may come; `comparable`: null where the tree shows no loss
 * @returns {{said: (Node | string)[], aside: string}}
 */
export function ownWords(flame, tree, { asked, now, growing, comparable = tree, baseline = null }) {
  const lost = comparable && comparable.samples >= FEW_SAMPLES ? mostLost(comparable) : null;
  const said = lost && comparable ? ofLoss(lost, comparable) : ofShare(tree, now ? lastOf(flame, asked) : "this window");
  const other = baseline && baseline.run !== null && tree?.compared ? `Compared with ${visible(baseline.run)}` : "";
  return { said, aside: worth(flame, asked, growing, other || (lost ? "Beside normal" : "Share of the main thread’s time")) };
}

/** What the share of the last seconds is a share of: less than all where the run began or ended in them. @param {Flame | null} flame @param {{from: number, to: number}} asked */
function lastOf(flame, { from, to }) {
  const sampled_s = flame?.hz ? flame.samples / flame.hz : Infinity;
  return sampled_s < MOSTLY * (to - from) ? `the ${duration(sampled_s)} that were sampled` : `the last ${duration(to - from)}`;
}

/** Where most of the window went. @param {Tree | null} tree @param {string} whole @returns {(Node | string)[]} */
function ofShare(tree, whole) {
  const top = tree?.hottest();
  if (!top) return [];
  const { file, line, name } = top.frame;
  const more = top.share < MIN_SAME * top.whole ? `; ${percent(top.whole - top.share)} more in functions of yours that it calls` : "";
  return [el("b", {}, percent(top.share)), ` of ${whole}: `, el("code", {}, name), ", most at ", el("code", {}, place(file, line)), more];
}

/** As the server words it (`_line` of verdict.py). @param {Suspect} lost @param {Tree} tree @returns {(Node | string)[]} */
function ofLoss({ frame, excess, whole }, tree) {
  const what = el("code", {}, `${frame.name} (${place(frame.file, frame.line)})`);
  if (tree.per === "second") return [what, ` takes ${signed(excess)} per second more than in the baseline`];
  const share = excess > MORE_THAN_ALL * whole ? "more than all" : excess > ALL * whole ? "all" : `${Math.round((100 * excess) / whole)}%`; // as the server writes it
  const faster = excess > MORE_THAN_ALL * whole ? `: other work got faster, so the ${tree.per} takes ${signed(whole)}` : "";
  return [what, ` takes ${signed(excess)} per ${tree.per}, `, el("b", { class: "more" }, share), ` of the slowdown${faster}`];
}

/** The basis of the samples. @param {Flame | null} flame @param {{from: number, to: number}} asked @param {boolean} growing @param {string} what they show */
function worth(flame, asked, growing, what) {
  if (!flame) return "";
  if (growing && flame.profile_until !== null && flame.profile_until < asked.to)
    return `Stacks up to ${clock(flame.profile_until)}; those up to ${clock(asked.to)} are on their way.`;
  if (!flame.samples) return flame.note ? "" : "No stack was sampled in this time.";
  if (flame.samples < FEW_SAMPLES) return `Only ${counted(flame.samples, "sample")} in this window: too few to blame a line.`;
  return `${what}, ${flame.sampler} at ${figure(flame.hz, 0)} Hz.`;
}

// The function that a compared tree lost its time to, by the server's rule (`docs/blame.md`), until the server answers (pure).

/** @typedef {import("../flame/tree.js").Frame} Frame */
/** @typedef {{frame: Frame, node: number, excess: number, whole: number}} Suspect seconds per unit: of the function, and of all */
/** @typedef {{frame: number, nodes: number[], excess: number}} Step */

// Copies of analysis/blame/suspect.py, for the same reason; ALWAYS is its ALL.
const CARRIES = 0.8; // of its caller's excess
const MIN_SHARE_OF_LOSS = 0.5; // of the whole loss
const SECOND = 0.25; // of the whole loss: enough where no function has half of it
const ALWAYS = 0.9; // of the time in normal: a function that is always there
const MIN_OF_NORMAL = 0.25; // of a normal unit's time: less may be chance, which only the server can test
const USUAL = 0.02; // of a normal unit's time: enough to know how fast a function usually is
const NEW = 0.1; // of a call's time: what normal has of it at most,
const ELSEWHERE = 0.5; // ... while at least so much of what it calls is called elsewhere there
const FEW_UNITS = 8; // a window of fewer holds some parts of a unit more often than others: the server judges it by whole units
const PART = /(\.?(<locals>\.)?<(listcomp|setcomp|dictcomp|genexpr)>)+$/;

/** The deepest own function that carries most of the loss; null if nothing is lost, or no function carries most of it. @param {Tree} tree @returns {Suspect | null} */
export function mostLost(tree) {
  if (!tree.compared) return null;
  const ranks = ranksOf(tree);
  return wayDown(tree, ranks.get(awaited(tree)) ?? [...ranks.values()][0], ends(tree));
}

/** Whether the window is shorter than so many normal units: its share of one is then not that of another. @param {Tree} tree */
export function isPart(tree) {
  const normal = [...tree.children(-1)].reduce((all, node) => all + tree.normal(node), 0);
  return tree.per !== "second" && tree.total_s / tree.ranks < FEW_UNITS * normal;
}

/** Each rank's node, the root itself where there is one rank. @param {Tree} tree @returns {Map<string, number>} by its name */
function ranksOf(tree) {
  const roots = [...tree.children(-1)];
  const nodes = tree.ranks > 1 ? roots.flatMap((root) => [...tree.children(root)]) : roots;
  return new Map(nodes.sort((a, b) => a - b).map((node) => [tree.frame(node).name, node]));
}

/** The rank for which the others waited longer than they do in normal: its name, "" for none. @param {Tree} tree */
function awaited(tree) {
  /** @type {Map<string, number>} */
  const waits = new Map();
  for (let i = 0; i < tree.count; i++) {
    const { name, file } = tree.frame(i);
    if (!file && name.startsWith("in rank ")) waits.set(name.slice(3), (waits.get(name.slice(3)) ?? 0) + tree.excess(i));
  }
  const [late] = [...waits].sort(([, a], [, b]) => b - a);
  return late && late[1] > 0 ? late[0] : "";
}

/** @param {Tree} tree @param {number} root @param {Int32Array} end @returns {Suspect | null} */
function wayDown(tree, root, end) {
  const [normal, lost] = [tree.normal(root), tree.per === "second" ? shifted(tree, root, end) : tree.excess(root)];
  if (isPart(tree) || lost <= MIN_OF_NORMAL * normal) return null;
  const always = (/** @type {Step} */ step) => step.nodes.some((node) => tree.normal(node) >= ALWAYS * normal);
  let { here, own } = descend(tree, { frame: -1, nodes: [root], excess: lost }, lost, end, always);
  if (!own || always(own)) {
    const parts = below(tree, [root], end).filter((step) => tree.nodes.kind[step.nodes[0]] === "own" && !always(step));
    const largest = parts.reduce((/** @type {Step | null} */ best, step) => (best && best.excess >= step.excess ? best : step), null);
    if (largest && largest.excess >= SECOND * lost) ({ here, own } = descend(tree, largest, lost, end, always));
  }
  if (here.frame < 0) return null;
  if (own && !always(own)) own = newCall(tree, root, own, end, normal, always) ?? own;
  const node = own ? hottest(tree, own) : ownAbove(tree, hottest(tree, here));
  if (node < 0) return null;
  const [excess, whole] = [(own ?? here).excess * tree.ranks, lost * tree.ranks];
  return { frame: withOwner(tree, node), node, excess, whole };
}

/** The own function that normal hardly has, below which a usual one takes longer: a validation, not the model that it calls. @param {Tree} tree @param {number} root @param {Step} step @param {Int32Array} end @param {number} normal @param {(step: Step) => boolean} always @returns {Step | null} */
function newCall(tree, root, step, end, normal, always) {
  const sum = (/** @type {number[]} */ nodes, /** @type {(node: number) => number} */ of) => nodes.reduce((all, node) => all + of(node), 0);
  const usual = (/** @type {number[]} */ nodes) => sum(nodes, (node) => tree.normal(node));
  const all = below(tree, [root], end);
  const everywhere = all.find(({ frame }) => frame === step.frame)?.nodes ?? [];
  if (usual(everywhere) < USUAL * normal) return null;
  const more = (/** @type {number[]} */ nodes) => sum(nodes, (node) => tree.excess(node));
  const carried = Math.max(step.excess, more(everywhere));
  const most = CARRIES * carried - noise(tree, carried);
  for (const node of tree.path(hottest(tree, step)).slice(0, -1).reverse()) {
    const call = all.find(({ frame }) => frame === tree.nodes.frame[node]);
    if (!call || tree.nodes.kind[node] !== "own" || always(call)) continue;
    const inside = everywhere.filter((i) => call.nodes.some((start) => start < i && i < end[start]));
    const isNew = usual(call.nodes) <= NEW * sum(call.nodes, (i) => tree.perUnit(i)) && usual(inside) <= (1 - ELSEWHERE) * usual(everywhere);
    if (isNew && most > 0 && more(inside) >= most) return call;
  }
  return null;
}

/** The last function on the way down from a step, and the last own one. Below a function that is always there half of the loss is enough. @param {Tree} tree @param {Step} start @param {number} lost @param {Int32Array} end @param {(step: Step) => boolean} always @returns {{here: Step, own: Step | null}} */
function descend(tree, start, lost, end, always) {
  let here = start;
  let own = start.frame >= 0 && tree.nodes.kind[start.nodes[0]] === "own" ? start : null;
  for (;;) {
    const most = here.frame < 0 || always(here) ? 0 : CARRIES * here.excess - noise(tree, here.excess);
    const least = Math.max(most, MIN_SHARE_OF_LOSS * Math.min(lost, here.excess));
    const heavy = below(tree, here.nodes, end).filter(({ frame, excess }) => excess >= least && frame !== here.frame);
    if (!heavy.length) return { here, own };
    here = heavy.reduce((best, step) => (before(tree, step, best) ? step : best));
    if (tree.nodes.kind[here.nodes[0]] === "own") own = here;
  }
}

/** Whether one of two functions calls the other wherever this one took most. @param {Tree} tree @param {number} node @param {string} name of the other, as `tree.name` gives it */
const related = (tree, node, name) => {
  const other = tree.widest(name);
  return tree.path(node).some((above) => tree.name(above) === name) || (other >= 0 && tree.path(other).some((above) => tree.name(above) === tree.name(node)));
};

/** Every function below the nodes, with its loss there; if it calls itself, the outermost counts. @param {Tree} tree @param {number[]} nodes @param {Int32Array} end @returns {Step[]} */
function below(tree, nodes, end) {
  /** @type {Map<number, Step>} */
  const found = new Map();
  for (const node of nodes) {
    /** @type {Map<number, number>} */
    const until = new Map();
    for (let i = node + 1; i < end[node]; i++) {
      const frame = tree.nodes.frame[i];
      if (i < (until.get(frame) ?? 0)) continue;
      until.set(frame, end[i]);
      const step = found.get(frame) ?? { frame, nodes: [], excess: 0 };
      step.nodes.push(i);
      step.excess += tree.excess(i);
      found.set(frame, step);
    }
  }
  return [...found.values()];
}

/** Where each node's descendants end: the columns are in preorder. @param {Tree} tree */
function ends(tree) {
  const end = Int32Array.from({ length: tree.count }, (_, i) => i + 1);
  for (let i = tree.count - 1; i >= 0; i--) {
    const parent = tree.nodes.parent[i];
    if (parent >= 0) end[parent] = Math.max(end[parent], end[i]);
  }
  return end;
}

/** The additional time anywhere below, even if less is spent elsewhere. @param {Tree} tree @param {number} root @param {Int32Array} end */
function shifted(tree, root, end) {
  const own = Float64Array.from({ length: end[root] - root }, (_, i) => tree.excess(root + i));
  for (let i = root + 1; i < end[root]; i++) own[tree.nodes.parent[i] - root] -= tree.excess(i);
  return own.reduce((all, excess) => all + Math.max(0, excess), 0);
}

/** One standard deviation of the counting error of such an excess. @param {Tree} tree @param {number} excess */
function noise(tree, excess) {
  const unit = tree.total_s / tree.units;
  const share = Math.min(0.5, Math.max(0, excess / unit));
  return Math.sqrt((share * (1 - share)) / Math.max(1, tree.samples)) * unit;
}

/** @param {Tree} tree @param {Step} step */
const hottest = (tree, { nodes }) => nodes.reduce((best, node) => (tree.excess(node) > tree.excess(best) ? node : best));

/** Whether a step is nearer to the root, or as near and heavier. @param {Tree} tree @param {Step} step @param {Step} other */
function before(tree, step, other) {
  const [near, far] = [depthOf(tree, step), depthOf(tree, other)];
  return near < far || (near === far && step.excess > other.excess);
}

/** @param {Tree} tree @param {Step} step */
const depthOf = (tree, { nodes }) => Math.min(...nodes.map((node) => tree.depth[node]));

/** @param {Tree} tree @param {number} node */
function ownAbove(tree, node) {
  const own = tree.path(node).filter((above) => tree.nodes.kind[above] === "own" && tree.frame(above).file);
  return own.length ? own[own.length - 1] : tree.frame(node).file ? node : -1;
}

/** A comprehension below its function counts as that function. @param {Tree} tree @param {number} node @returns {Frame} */
function withOwner(tree, node) {
  const part = tree.frame(node);
  if (!PART.test(part.name)) return part;
  const name = part.name.replace(PART, "") || "<module>";
  const owner = tree.path(node).findLast((above) => tree.frame(above).file === part.file && tree.frame(above).name === name);
  return owner === undefined ? part : { ...tree.frame(owner), line: part.line };
}
