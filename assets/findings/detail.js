/** One finding in a page's side: its sentence, numbers, line of code, and what was kept for it: stacks and last lines. */

import { get, sentenceOf } from "../lib/api.js";
import { change } from "../lib/change.js";
import { el, icon, setText } from "../lib/dom.js";
import { capital, clock, day, duration, figure, count, place, sameDay } from "../lib/format.js";
import { pathTo } from "../lib/url.js";
import { Source } from "../flame/source.js";
import { isOwner } from "../role.js";
import { looksOf } from "./looks.js";

/** @typedef {import("./looks.js").Found} Found */
/** @typedef {import("../types/api").Row<"FindingDetail">} Detail */
/** @typedef {import("../types/api").Row<"FindingStack">} Stack */

const MUTES = /** @type {[string, number | null][]} in hours */ ([["1 h", 1], ["1 day", 24], ["for good", null]]);
const WITH_MORE = new Set(["hung", "silent", "crash"]); // rules that keep stacks or lines

export class FindingDetail {
  /** @param {HTMLElement} element that it fills @param {() => void} close */
  constructor(element, close) {
    this.element = element;
    this.close = close;
    this.source = new Source();
    this.about = el("div", { class: "found-about" });
    this.kept = el("div", { class: "found-kept" });
    this.mute = el("div", { class: "found-mute" });
    element.append(this.about, this.source.element, this.kept, this.mute);
    this.shown = "";
  }

  /** @param {Found | null} found @param {number} now_s */
  show(found, now_s) {
    const shown = JSON.stringify(found);
    if (shown === this.shown) return;
    const same = found !== null && found.id === this.id;
    this.shown = shown;
    this.id = found?.id ?? null;
    this.element.hidden = found === null;
    if (!found) return;
    const { run, place: line } = found;
    if (!same) {
      this.kept.replaceChildren();
      if (isOwner) this.mute.replaceChildren(...(found.weight === "alert" ? mutesOf(found) : sendsOf(found)), ...uselessOf(found));
    }
    this.about.replaceChildren(...heading(found, now_s, this.close), numbersOf(found), ...(line ? [lineOf(found, run)] : []), ...furtherOf(found));
    this.source.show(run !== null && line?.line ? { run, file: line.file, line: line.line, share: "", tone: "" } : null);
    if (WITH_MORE.has(found.rule) && !same) this.#readMore(found.id);
  }

  /** @type {string | null} */
  id = null;

  /** @param {string} id */
  async #readMore(id) {
    try {
      const detail = await get("finding", { id });
      if (id === this.id) this.kept.replaceChildren(...keptOf(detail));
    } catch (error) {
      if (id === this.id) this.kept.replaceChildren(el("p", { class: "dim" }, sentenceOf(error)));
    }
  }
}

/** @param {Found} found @param {number} now_s @param {() => void} close */
function heading(found, now_s, close) {
  const { shape, tone, word } = looksOf(found);
  const at = (/** @type {number} */ time_s) => (sameDay(time_s, now_s) ? clock(time_s) : `${day(time_s)} ${clock(time_s)}`);
  const lasted = found.end - found.start;
  const when = !found.over ? `since ${at(found.start)}, holds` : lasted ? `${at(found.start)} – ${at(found.end)}, ${duration(lasted)}` : at(found.start);
  const where = [when, found.step === null ? "" : `step ${count(found.step)}`, found.rank === null ? "" : `rank ${found.rank}`, found.run === null ? "on the machine" : ""];
  return [
    el("div", { class: "head" }, el("h2", {}, icon(shape, tone), `${word}: ${found.title}`), el("button", { class: "found-close", type: "button", "aria-label": "Close the finding", onclick: close }, "×")),
    el("p", { class: "found-said" }, found.sentence),
    el("p", { class: "sub" }, where.filter(Boolean).join(", ")),
  ];
}

/** Where to look next. @param {Found} found */
const furtherOf = ({ rule }) => (rule === "cpu_taken" && isOwner ? [el("p", { class: "found-line" }, el("a", { href: pathTo("/gpus#host-processes") }, "Host processes"))] : []);

const MEASURED = ["share", "bytes_per_s"]; // numbers that may have bounds, in the same unit
/** @type {Record<string, string>} */
const BOUNDS = { least: "At least", most: "At most", saves_at_most: "Potential saving up to" };

/** @param {Found} found */
function numbersOf({ numbers }) {
  const main = MEASURED.find((name) => name in numbers) ?? "";
  const certain = numbers.least === numbers[main] && numbers.most === numbers[main];
  const shown = Object.entries(numbers).filter(([name]) => !(main && certain && (name === "least" || name === "most")));
  const rows = shown.map(([name, value]) => el("div", {}, el("dt", {}, main && BOUNDS[name] ? BOUNDS[name] : nameOf(name)), el("dd", {}, valueOf(main && BOUNDS[name] ? main : name, value))));
  return rows.length ? el("dl", { class: "found-numbers" }, ...rows) : "";
}

/** `slow_s -> "Slow"` @param {string} name */
const nameOf = (name) => capital(name.replace(/_per_s$/, " per second").replace(/_(s|gib|bytes)$/, "").replaceAll("_", " "));

/** By the unit at the end of its name. @param {string} name @param {number} value */
export function valueOf(name, value) {
  if (!Number.isFinite(value)) return figure(value);
  if (/bytes|^free$/.test(name)) return Math.abs(value) < 1e6 ? `${figure(value / 1e3)} kB` : `${figure(value / 1e6)} MB`;
  if (/_s$|^seconds$/.test(name)) return duration(Math.abs(value));
  if (/_gib$/.test(name)) return `${figure(value)} GiB`;
  if (/^(share|cost|of_blocks|tensor|sm)$/.test(name)) return `${figure(value, 1)} %`;
  return Number.isInteger(value) ? count(value) : figure(value);
}

/** @param {Found} found @param {string | null} run */
function lineOf({ place: line, start, end }, run) {
  const { file, line: number, function: name } = /** @type {NonNullable<Found["place"]>} */ (line);
  const shown = place(file, number ?? 0);
  if (run === null) return el("p", { class: "found-line" }, shown, ` ${name}`);
  const where = new URLSearchParams({ run, from: String(start), to: String(Math.max(end, start + 1)), code: `${file}:${number ?? 0}` });
  return el("p", { class: "found-line" }, el("a", { href: pathTo(`/flame?${where}`), title: file }, shown), ` ${name}`);
}

/** Further alerts of the rule in the run are not sent for a time. @param {Found} found @returns {(Node | string)[]} */
function mutesOf({ rule, run, title }) {
  const said = el("span", { class: "dim", role: "status" });
  const mute = async (/** @type {string} */ word, /** @type {number | null} */ hours) => {
    try {
      await change("alerts/mute", { rule, run, hours, on: true });
      said.replaceChildren(`Muted ${hours === null ? word : `for ${word}`}. `, el("a", { href: pathTo("/alerts") }, "Alerts"), " takes it back.");
    } catch (error) {
      setText(said, sentenceOf(error));
    }
  };
  const buttons = MUTES.map(([word, hours]) => el("button", { class: "btn", type: "button", "aria-label": `Mute ${title} ${hours === null ? "" : "for "}${word}`, onclick: () => mute(word, hours) }, word));
  return [el("span", { class: "dim" }, "Mute"), ...buttons, said];
}

/** A note leaves the machine where a user says so. @param {Found} found @returns {(Node | string)[]} */
function sendsOf({ rule, run, title }) {
  const said = el("span", { class: "dim", role: "status" });
  const send = async (/** @type {string | null} */ where) => {
    try {
      setText(said, (await change("findings/send", { rule, run: where })).sentence);
    } catch (error) {
      setText(said, sentenceOf(error));
    }
  };
  const button = (/** @type {string} */ word, /** @type {string | null} */ where) =>
    el("button", { class: "btn", type: "button", "aria-label": `Send ${title} as an alert ${word}`, onclick: () => send(where) }, word);
  return [el("span", { class: "dim" }, "Send as an alert"), ...(run === null ? [] : [button("in this run", run)]), button("always", null), said];
}

/** @param {Found} found @returns {Node[]} */
function uselessOf({ id }) {
  const said = el("span", { class: "dim", role: "status" });
  const keep = async () => {
    try {
      setText(said, `Kept with its data as ${(await change("findings/useless", { id })).file} in the data folder: send it with a report.`);
    } catch (error) {
      setText(said, sentenceOf(error));
    }
  };
  return [el("button", { class: "btn", type: "button", onclick: keep }, "Of no use"), said];
}

/** @param {Detail} detail @returns {Node[]} */
function keptOf({ stacks, lines, snapshot, run, start }) {
  const ranks = [...new Set(stacks.map(({ rank }) => rank))].sort((a, b) => a - b);
  const several = ranks.length > 1;
  const shown = ranks.flatMap((rank) => [
    el("h3", {}, several ? `Stacks of rank ${rank}` : "Stacks of all threads"),
    ...stacks.filter((stack) => stack.rank === rank).map((stack, i) => stackOf(stack, !several && i === 0)),
  ]);
  return [...(snapshot ? memoryOf(snapshot, run, start) : []), ...shown, ...(lines.length ? [el("h3", {}, "The last lines"), el("pre", { tabindex: "0" }, lines.join("\n"))] : [])];
}

/** What held a card's memory, by the line that allocated it. @param {NonNullable<Detail["snapshot"]>} snapshot @param {string | null} run @param {number} at @returns {Node[]} */
function memoryOf({ name, reserved_bytes, allocated_bytes, rows, rest_bytes, trouble }, run, at) {
  const mib = (/** @type {number} */ bytes) => count(Math.round(bytes / 2 ** 20));
  const line = (/** @type {typeof rows[number]} */ row) => {
    const shown = row.file ? place(row.file, row.line) : "unknown line";
    if (run === null || !row.file) return shown;
    const where = new URLSearchParams({ run, from: String(at - 30), to: String(at + 1), code: `${row.file}:${row.line}` });
    return el("a", { href: pathTo(`/flame?${where}`), title: row.file }, shown);
  };
  const cells = rows.map((row) => el("tr", {}, el("td", {}, line(row), ` ${row.function}`), el("td", {}, mib(row.bytes)), el("td", {}, count(row.blocks))));
  const rest = rest_bytes ? [el("tr", { class: "dim" }, el("td", {}, "other lines"), el("td", {}, mib(rest_bytes)), el("td"))] : [];
  const head = el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Allocated at"), el("th", { scope: "col" }, "MiB"), el("th", { scope: "col" }, "Blocks")));
  return [
    el("h3", {}, "What held the memory"),
    el("p", { class: "dim" }, trouble ? `${name}: ${trouble}` : `By ${name}, ${mib(allocated_bytes)} of ${mib(reserved_bytes)} MiB that PyTorch had were in use.`),
    ...(rows.length ? [el("table", { class: "found-memory" }, head, el("tbody", {}, ...cells, ...rest))] : []),
  ];
}

/** The innermost call first, as a debugger shows it. @param {Stack} stack @param {boolean} open */
function stackOf({ thread, pid, role, frames }, open) {
  const [name, file, line] = frames.at(-1) ?? ["", "", 0];
  const text = frames.map(([called, from, number]) => (from ? `${called}  ${place(from, number)}` : called)).reverse();
  const who = `${thread || "a thread"}${role === "main" ? "" : `, ${role} ${pid}`}`;
  return el("details", { open }, el("summary", {}, who, el("span", { class: "dim" }, ` ${name}${file ? ` ${place(file, line)}` : ""}`)), el("pre", { tabindex: "0" }, text.join("\n")));
}
