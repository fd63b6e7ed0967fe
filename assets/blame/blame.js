/** The server's verdict on a window: the sentence with its place highlighted, and its basis. */

import { el } from "../lib/dom.js";
import { percent, signed } from "../lib/figures.js";
import { clock, count, counted, duration, figure, minute, place } from "../lib/format.js";
import { mostLost, related } from "./suspect.js";
import { nameOf } from "../flame/tree.js";

/**
 * @typedef {Object} Blame what `GET /blame` answers
 * @property {"line" | "gpu_slower" | "cpu_taken" | "neighbour" | "collective_wait" | "unknown" | "no_difference" | "too_few_samples" | "no_profile"} verdict
 * @property {string} sentence
 * @property {string} lead the share in the sentence, or ""
 * @property {string} place the line that it names, or ""
 * @property {string | null} function
 * @property {string | null} file
 * @property {number | null} line
 * @property {number} samples
 * @property {number} normal_samples
 * @property {number | null} unresolved_share
 * @property {"high" | "medium" | "low" | null} confidence
 * @property {string} contradiction what the graph or the table beside it says otherwise, ""
 * @property {string} per
 * @property {[number, number] | null} judged the whole units that a short window lies in
 * @property {"stacks" | "steps"} basis
 * @property {[number, number][]} normal
 * @property {{name: string, unit: string, window: number | null, normal: number | null}[]} evidence
 */
/** @typedef {import("../flame/tree.js").Flame} Flame */
/** @typedef {import("../flame/tree.js").Tree} Tree */

const MOSTLY = 0.8; // of the asked seconds
const [ALL, MORE_THAN_ALL] = [1.02, 1.25]; // of the slowdown: then other work takes less meanwhile; the same in analysis/blame/verdict.py
const FEW_SAMPLES = 50;
const LEAST_SAME = 0.97; // the sentence and the frame below it say about the same share
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
export function ranges(normal) {
  const [from, to] = [Math.min(...normal.map(([lo]) => lo)), Math.max(...normal.map(([, hi]) => hi))];
  const time = to - from < 120 ? clock : minute;
  return `from ${time(from)} to ${time(to)}${normal.length > 1 ? `, ${normal.length} stretches` : ""}`;
}

/** The display of an evidence unit: its word, factor and digits after the point. @type {Record<string, [string, number, number]>} */
const UNITS = { s: ["ms", 1000, 1], us: ["µs", 1, 1], share: ["%", 100, 1], "%": ["%", 1, 1], MHz: ["MHz", 1, 0], cores: ["cores", 1, 1] };

/** The server's evidence, as rows beside the page's own. @param {Blame} blame @returns {import("../pages/live/evidence.js").Fact[]} */
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
 * @param {{asked: {from: number, to: number}, now: boolean, growing: boolean, comparable?: Tree | null}} about `growing`: more of the profile may come; `comparable`: null where the tree shows no loss
 * @returns {{said: (Node | string)[], aside: string}}
 */
export function ownWords(flame, tree, { asked, now, growing, comparable = tree }) {
  const lost = comparable && comparable.samples >= FEW_SAMPLES ? mostLost(comparable) : null;
  const said = lost && comparable ? ofLoss(lost, comparable) : ofShare(tree, now ? lastOf(flame, asked) : "this window");
  return { said, aside: worth(flame, asked, growing, lost ? "Beside normal" : "Share of the main thread’s time") };
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
  const more = top.share < LEAST_SAME * top.whole ? `; ${percent(top.whole)} with the functions of yours that it calls` : "";
  return [el("b", {}, percent(top.share)), ` of ${whole}: `, el("code", {}, name), ", most at ", el("code", {}, place(file, line)), more];
}

/** As the server words it (`_line` of wording.py). @param {import("./suspect.js").Suspect} lost @param {Tree} tree @returns {(Node | string)[]} */
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
