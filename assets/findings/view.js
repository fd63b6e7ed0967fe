/** What is shown of the findings of a page: their marks, the chosen one's detail, and the way from one to the next. Loaded once there is one. */

import { el, setText } from "../lib/dom.js";
import { count, counted } from "../lib/format.js";
import { FindingDetail } from "./detail.js";
import { FindingList } from "./list.js";
import { byTime, byWeight, looksOf, placeOf, windowOf } from "./looks.js";
import { FindingMarks } from "./marks.js";

/** @typedef {import("./looks.js").Found} Found */
/** @typedef {import("../pages/run_strip.js").Finding} Finding */

const ENDED = new Set(["crash", "hung", "not_back"]); // what says why a run is not there any more
const LAST = { share: 0.05, least_s: 5 }; // of a run: what held until then held until its end, behind which a program may save or test

/** Settles when the style is there. */
export const styled = new Promise((done) => {
  const href = new URL("./findings.css", import.meta.url).href;
  document.head.append(el("link", { rel: "stylesheet", href, onload: done, onerror: done }));
});

export class FindingsView {
  /** @param {import("./place.js").FindingsPlace} place */
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
    const [first] = holding;
    const broken = runs.lost_s !== null || Boolean(runs.message?.problems.length || runs.message?.read_only);
    if (!first || broken || (first.weight === "note" && otherwise && otherwise.tone !== "dim")) return this.#explained(otherwise);
    const { tone } = looksOf(first);
    const why = { label: "Why", run: () => this.choose(first, { focus: true }) };
    const more = { label: `and ${count(holding.length - 1)} more`, run: (/** @type {HTMLElement} */ button) => this.#list(holding, button) };
    return { tone: tone === "bad" ? "bad" : "warn", title: first.title, sentence: first.sentence, id: first.id, actions: holding.length > 1 ? [why, more] : [why] };
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
