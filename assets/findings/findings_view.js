/** What is shown of the findings of a page: their marks, the chosen one's detail, and the way from one to the next. Loaded once there is one. */

import { saysWaits } from "../data/gpu_states.js";
import { Source } from "../flame/source.js";
import { change, get, isOwner, sentenceOf } from "../lib/api.js";
import { el, hang, icon, setText } from "../lib/dom.js";
import { percent } from "../lib/figures.js";
import { capital, clock, count, counted, day, duration, figure, place, sameDay } from "../lib/format.js";
import { pathTo } from "../lib/url.js";
import { FindingMarks, byTime, byWeight, looksOf, placeOf, windowOf } from "./marks.js";

/** @typedef {import("./marks.js").Found} Found */
/** @typedef {import("../pages/run_strip.js").Finding} Finding */

const ENDED = new Set(["crash", "hung", "not_back"]); // what says why a run is not there any more
const LAST = { share: 0.05, least_s: 5 }; // of a run: what held until then held until its end, behind which a program may save or test

export class FindingsView {
  /** @param {import("./loader.js").FindingsLoader} place */
  constructor(place) {
    this.place = place;
    /** @type {string | null} the id of the finding whose window is selected */
    this.chosen = null;
    /** @type {Found[]} in order */
    this.all = [];
    this.list = new FindingList((found) => this.choose(found, { focus: true }));
    this.marks = new FindingMarks(place.row, place.scale, { choose: (found) => this.choose(found), list: (several, mark) => this.#list(several, mark) });
    this.detail = new FindingDetail(place.detail, () => this.unchoose());
    this.said = el("span", { class: "unseen", role: "status" });
    this.count = el("button", { class: "found-count", type: "button", "aria-haspopup": "dialog", onclick: () => this.#list(this.all, this.count) });
    const way = (/** @type {-1 | 1} */ by, /** @type {string} */ name, /** @type {string} */ key) =>
      el("button", { class: `found-way ${by < 0 ? "before" : "after"}`, type: "button", "aria-label": name, title: `${name} (${key})`, onclick: () => this.step(by, false) }, el("kbd", { "aria-hidden": "true" }, key));
    place.nav.append(this.count, way(-1, "Previous finding", "["), way(1, "Next finding", "]"), this.list.element, this.said);
  }

  get #now_s() {
    return this.place.page.runs().now_s;
  }

  /** A row for each, as in the list, for a page that has room for them. @returns {HTMLElement[]} */
  rows() {
    return [...this.place.found.values()].sort(byWeight).slice(0, MOST).map((found) => rowOf(found, this.#now_s, () => this.choose(found)));
  }

  /** @param {Found[]} several @param {HTMLElement} below */
  #list(several, below) {
    this.list.open(several, below, this.#now_s);
  }

  #version = -1;
  #focusing = false; // the chosen one's mark gets the focus once it stands

  /** Call after the lanes are drawn. */
  draw() {
    const { place } = this;
    const { picture, width = 0 } = place.timeline;
    if (!picture) return;
    if (place.version !== this.#version) {
      this.#version = place.version;
      this.all = [...place.found.values()].sort(byTime);
      this.#takeAsked();
    }
    const { axis, view, window } = picture;
    const runs = place.page.runs();
    const now_s = runs.over ? 0 : Math.max(runs.now_s, place.page.range.following ? view.hi : 0);
    const placed = this.all.flatMap((found) => {
      const at = placeOf(found, axis, now_s);
      return at ? [{ found, ...at }] : [];
    });
    this.#keepChosen(window);
    this.marks.draw(placed.sort((a, b) => a.from - b.from), view, width, this.chosen, axis);
    this.detail.show(this.#current, runs.now_s);
    this.#drawNav();
    if (!this.#focusing) return;
    this.#focusing = false;
    this.marks.focus(this.chosen);
  }

  /** The finding that the address names; its window is selected where the address names none. */
  #takeAsked() {
    const found = this.place.found.get(this.place.asked ?? "");
    if (!found) return;
    this.place.asked = null;
    if (this.place.page.range.window) this.chosen = found.id;
    else setTimeout(() => this.choose(found)); // after the drawing that is under way
  }

  get #current() {
    return (this.chosen !== null && this.place.found.get(this.chosen)) || null;
  }

  /** It is shown for as long as a part of it is selected. @param {{from: number, to: number} | null} window */
  #keepChosen(window) {
    const found = this.#current;
    const own = found && windowOf(found, this.place.page.range.axis);
    if (this.chosen === null || (own && window && window.from <= own.to && window.to >= own.from)) return;
    this.chosen = null;
    this.place.page.keep();
  }

  #drawNav() {
    const { all } = this;
    const at = all.findIndex(({ id }) => id === this.chosen);
    this.place.nav.hidden = !all.length;
    setText(this.count, at < 0 ? counted(all.length, "finding") : `${count(at + 1)} of ${count(all.length)}`);
  }

  /** Its window is selected, so that the profile answers for it. @param {Found} found @param {{focus?: boolean}} [how] */
  choose(found, { focus = false } = {}) {
    const window = windowOf(found, this.place.page.range.axis);
    if (!window) return setText(this.said, `${found.title} has no step: press a for the axis of time.`);
    this.chosen = found.id;
    this.#focusing = focus;
    this.place.page.show(window);
    const { word } = looksOf(found);
    const at = this.all.findIndex(({ id }) => id === found.id);
    setText(this.said, `${word} ${count(at + 1)} of ${count(this.all.length)}: ${found.title}. ${found.sentence}`);
    return this.place.page.drawn();
  }

  /** The window stays. */
  unchoose() {
    if (this.chosen === null) return;
    this.chosen = null;
    this.place.page.keep();
    this.place.page.drawn();
  }

  /** From the chosen one; from none to the newest. @param {-1 | 1} way @param {boolean} focus its mark is to have the focus */
  step(way, focus) {
    const { axis } = this.place.page.range;
    const all = this.all.filter((found) => windowOf(found, axis) !== null);
    const at = all.findIndex(({ id }) => id === this.chosen);
    const next = at < 0 ? all.at(-1) : all[at + way];
    if (next) this.choose(next, { focus });
    else setText(this.said, all.length ? `That is the ${way > 0 ? "newest" : "oldest"} finding.` : "There are no findings.");
  }

  /** @param {Finding | null} otherwise what the page would say @returns {Finding | null} */
  foremost(otherwise) {
    const runs = this.place.page.runs();
    const holding = this.all.filter((found) => !found.over || this.#lasted(found)).sort(byWeight);
    const waits = holding.find(saysWaits);
    const first = holding[0]?.weight === "note" ? (waits ?? holding[0]) : holding[0];
    const broken = runs.lost_s !== null || Boolean(runs.message?.problems.length || runs.message?.read_only);
    if (!first || broken || (first.weight === "note" && first !== waits && otherwise && otherwise.tone !== "dim")) return this.#explained(otherwise);
    const { tone, shape } = looksOf(first);
    const why = { label: shape === "disc" ? "Show" : "Why", run: () => this.choose(first, { focus: true }) };
    const more = { label: `and ${count(holding.length - 1)} more`, run: (/** @type {HTMLElement} */ button) => this.#list(holding, button) };
    return { tone, shape, title: first.title, sentence: first.sentence, id: first.id, actions: holding.length > 1 ? [why, more] : [why] };
  }

  /** Whether what is more than a note held until the end of a run that is over. @param {Found} found */
  #lasted({ run, weight, end }) {
    const { over, last_s, current } = this.place.page.runs();
    if (!over || run === null || weight === "note" || last_s === null) return false;
    const begin_s = current?.started_s ?? this.place.timeline.picture?.view.lo ?? last_s;
    return last_s - end <= Math.max(LAST.least_s, LAST.share * (last_s - begin_s));
  }

  /** What is said of a run that broke off leads to what was found of it. @param {Finding | null} said @returns {Finding | null} */
  #explained(said) {
    const found = said?.tone === "bad" ? this.all.findLast(({ rule, run }) => run !== null && ENDED.has(rule)) : undefined;
    return said && found ? { ...said, id: found.id, actions: [{ label: "Why", run: () => this.choose(found, { focus: true }) }] } : said;
  }
}

// A list of findings below a button: those that hold, those of a mark, or all.

const MOST = 200; // rows

class FindingList {
  /** @param {(found: Found) => void} choose */
  constructor(choose) {
    this.choose = choose;
    this.title = el("h2");
    this.rows = el("div", { class: "rows found-rows" });
    this.more = el("div", { class: "dim" });
    this.element = el("div", { class: "found-list", popover: "auto", role: "dialog", "aria-label": "Findings", onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event) }, this.title, this.rows, this.more);
  }

  /** Alerts stand first, then the newest. @param {Found[]} several @param {HTMLElement} button below which it opens @param {number} now_s */
  open(several, button, now_s) {
    const shown = [...several].sort(byWeight).slice(0, MOST);
    const rest = several.length - shown.length;
    setText(this.title, counted(several.length, "finding"));
    this.rows.replaceChildren(...shown.map((found) => rowOf(found, now_s, () => (this.element.hidePopover(), this.choose(found)))));
    setText(this.more, rest ? `${count(rest)} more: zoom in on the axis to see them.` : "");
    hang(this.element, button);
    this.rows.firstElementChild?.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const way = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const rows = [...this.rows.children];
    rows[rows.indexOf(document.activeElement) + way]?.focus();
  }
}

/** @param {Found} found @param {number} now_s @param {() => void} choose @returns {HTMLElement} */
function rowOf(found, now_s, choose) {
  const { shape, tone, word } = looksOf(found);
  const when = sameDay(found.start, now_s) ? clock(found.start) : `${day(found.start)} ${clock(found.start)}`;
  return el(
    "button",
    { type: "button", "data-finding": found.id, onclick: choose },
    icon(shape, tone),
    el("span", { class: "unseen" }, `${word}: `),
    el("span", { class: "text" }, el("b", {}, `${found.title}. `), found.sentence),
    el("span", { class: "dim" }, found.over ? when : `${when}, holds`),
  );
}

// One finding in a page's side: its sentence, numbers, line of code, and what was kept for it: stacks and last lines.

/** @typedef {import("../types/api").Row<"FindingDetail">} Detail */
/** @typedef {import("../types/api").Row<"FindingStack">} Stack */

const MUTES = /** @type {[string, number | null][]} in hours */ ([["1 h", 1], ["1 day", 24], ["for good", null]]);
const WITH_MORE = new Set(["hung", "silent", "crash"]); // rules that keep stacks or lines

class FindingDetail {
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
    if (WITH_MORE.has(found.rule) && !same) this.#loadDetail(found.id);
  }

  /** @type {string | null} */
  id = null;

  /** @param {string} id */
  async #loadDetail(id) {
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
const furtherOf = ({ rule }) => (rule === "cpu_taken" && isOwner ? [el("p", { class: "found-line" }, el("a", { href: pathTo("/hosts#host-processes") }, "Host processes"))] : []);

const MEASURED = ["share", "bytes_per_s"]; // numbers that may have bounds, in the same unit
/** @type {Record<string, string>} */
const BOUNDS = { least: "At least", most: "At most", saves: "A fix saves", saves_least: "A fix saves at least", saves_most: "A fix saves at most" };

/** @param {Found} found */
function numbersOf({ numbers }) {
  const main = MEASURED.find((name) => name in numbers) ?? "";
  const certain = numbers.least === numbers[main] && numbers.most === numbers[main];
  const shown = Object.entries(numbers).filter(([name]) => !(main && certain && (name === "least" || name === "most")));
  const rows = shown.map(([name, value]) => el("div", {}, el("dt", {}, main && BOUNDS[name] ? BOUNDS[name] : nameOf(name)), el("dd", {}, valueOf(main && BOUNDS[name] ? main : name, value))));
  return rows.length ? el("dl", { class: "found-numbers" }, ...rows) : "";
}

/** `slow_s -> "Slow"` @param {string} name */
const nameOf = (name) => capital(name.replace(/_per_s$/, " per second").replace(/_(s|w|gib|bytes)$/, "").replaceAll("_", " ").replace(/^gpus$/, "GPUs"));

/** By the unit at the end of its name. @param {string} name @param {number} value */
function valueOf(name, value) {
  if (!Number.isFinite(value)) return figure(value);
  if (/bytes|^free$/.test(name)) return Math.abs(value) < 1e6 ? `${figure(value / 1e3)} kB` : `${figure(value / 1e6)} MB`;
  if (/_s$|^seconds$/.test(name)) return duration(Math.abs(value));
  if (/_gib$/.test(name)) return `${figure(value)} GiB`;
  if (/_w$/.test(name)) return `${figure(value, 0)} W`;
  if (/^(share|cost|of_blocks|tensor|sm)$/.test(name)) return percent(value / 100);
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
