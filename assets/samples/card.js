/** One name: its samples of each shown run, at the nearest to the wanted step, side by side. It loads while it is in view. */

import { runColours, swatchClass } from "../data/colours.js";
import { get, sentenceOf } from "../lib/api.js";
import { el, setClass, setText, visibleName } from "../lib/dom.js";
import { count, counted } from "../lib/format.js";
import { fill } from "./content.js";
import { samplesAt } from "./loader.js";

/** @typedef {import("./loader.js").Sample} Sample */
/** @typedef {import("../types/api").Row<"SampleName">} Name */
/**
 * @typedef {Object} Around what cards share
 * @property {import("./loader.js").SampleLoader} loader
 * @property {(title: string, blob: Blob) => void} enlarge
 * @property {() => void} learned there are new rows
 * @property {() => boolean} pixels images as large as they are
 */
/** @typedef {{name: string, members: string[], captions: string | null}} Entry of the page: a name, or the members of a list, and the name of the table that says what stands below each */

const MAX_ROWS = 5000;
const MAX_RANKS = 4;

export class Card {
  /** @param {Entry} entry @param {Around} around */
  constructor(entry, around) {
    const { name } = entry;
    this.entry = entry;
    this.around = around;
    /** @type {Pane[]} */
    this.panes = [];
    /** @type {number | null} */
    this.step = null;
    this.inView = false;
    this.about = el("span", { class: "dim" });
    this.body = el("div", { class: entry.members.length > 1 ? "panes gallery" : "panes" });
    this.element = el("article", { class: "sample-card", "data-name": name }, el("header", {}, el("h3", { title: name }, visibleName(name)), this.about), this.body);
  }

  /** @param {{run: string, names: Map<string, Name>}[]} runs what is known of each */
  draw(runs) {
    const { members, captions } = this.entry;
    const key = runs.map(({ run }) => run).join("\n");
    if (key !== this.#runs) {
      this.#runs = key;
      this.panes = members.flatMap((name, i) => runs.map(({ run }) => new Pane(name, run, runs.length > 1, this.around, { list: members.length > 1, number: i, of: captions })));
      this.body.replaceChildren(...this.panes.map(({ element }) => element));
    }
    this.panes.forEach((pane, i) => (pane.about = runs[i % runs.length].names.get(pane.name) ?? null));
    const known = this.panes.flatMap(({ about }) => about ?? []);
    this.element.dataset.kind = known[0]?.kinds[0] ?? "";
    const counts = runs.flatMap(({ names }) => names.get(members[0])?.count ?? []);
    const samples = counts.length === 1 ? counted(counts[0], "sample") : `${counts.map(count).join(" and ")} samples`;
    setText(this.about, members.length > 1 ? `${counted(members.length, this.element.dataset.kind === "image" ? "image" : "item")}, ${counted(counts[0] ?? 0, "step")}` : samples);
    this.#show();
  }

  #runs = "";

  /** @param {boolean} inView */
  see(inView) {
    this.inView = inView;
    this.#show();
    if (!inView) for (const pane of this.panes) pane.leave();
  }

  /** @param {number | null} step null for the newest */
  at(step) {
    this.step = step;
    this.#show();
  }

  #show() {
    if (this.inView) for (const pane of this.panes) pane.show(this.step ?? this.#lastOfAll);
  }

  /** The last step that all runs have reached; null for one run alone, which shows its newest. */
  get #lastOfAll() {
    const lasts = this.panes.flatMap(({ about }) => (about?.last_step == null ? [] : [about.last_step]));
    return this.panes.length > 1 && lasts.length ? Math.min(...lasts) : null;
  }

  /** @returns {Sample[][]} */
  get lists() {
    return this.panes.map(({ rows }) => rows);
  }
}

class Pane {
  /** @param {string} name @param {string} run @param {boolean} named whether the run's name is shown @param {Around} around @param {{list: boolean, number: number, of: string | null}} place in a list, and the name of its captions */
  constructor(name, run, named, around, place) {
    this.name = name;
    this.place = place;
    this.run = run;
    this.around = around;
    /** @type {Name | null} what is known of the name in this run */
    this.about = null;
    /** @type {Sample[]} */
    this.rows = [];
    this.read = "";
    this.wanted = /** @type {number | null} */ (null);
    this.caption = el("span");
    this.hosts = el("div", { class: "ranks" });
    const colour = runColours.of(run);
    const key = el("i", { class: swatchClass(colour, "key"), style: `background: var(--${colour})` });
    this.words = el("p", { class: "sample-words", hidden: !place.list });
    this.element = el("section", { class: "pane" }, el("div", { class: "caption" }, named && key, named && el("b", { class: "run-name" }, run), this.caption), this.hosts, this.words);
  }

  /** @param {number | null} step */
  show(step) {
    this.wanted = step;
    this.#loadRows().then(
      () => this.#draw(),
      (error) => this.#say(sentenceOf(error)),
    );
  }

  /** Read the rows where there are others than were read. */
  async #loadRows() {
    const state = JSON.stringify(this.about);
    if (state === this.read || !this.about) return;
    this.read = state;
    const { samples } = await get("samples", { run: this.run, name: this.name, limit: MAX_ROWS }).catch((error) => {
      this.read = "";
      throw error;
    });
    this.rows = samples;
    this.around.learned();
  }

  #draw() {
    const found = samplesAt(this.rows, this.wanted);
    if (!this.about || !found.length) {
      this.#say(this.about ? "" : "This run has none of this name.");
      return;
    }
    const { step } = found[0];
    const isNear = this.wanted !== null && step !== this.wanted;
    const more = this.about.count > this.rows.length ? `; the newest ${count(this.rows.length)} are shown` : "";
    if (this.place.of) this.#readCaption(this.place.of, step);
    setText(this.caption, this.place.list && !isNear && !more ? "" : `${step === null ? "without a step" : `step ${count(step)}`}${isNear ? `, nearest to ${count(this.wanted)}` : ""}${more}`);
    setClass(this.caption, "warn", isNear);
    const shown = found.slice(0, MAX_RANKS);
    const key = JSON.stringify([shown.map(({ id }) => id), this.around.pixels()]) + (shown[0].kind === "histogram" ? this.rows.length : "");
    if (key === this.#shown) return;
    this.#shown = key;
    this.#fill(shown, found.length - shown.length, key);
  }

  #shown = "";

  /** What stands below it: of a table with a row for each member of the list. @param {string} captions @param {number | null} step */
  async #readCaption(captions, step) {
    try {
      const { samples } = await get("samples", { run: this.run, name: captions, limit: MAX_ROWS });
      const [found] = samplesAt(samples.filter((sample) => sample.step === step), step);
      const text = found ? await this.around.loader.load(this.run, found, ({ blob }) => blob.text(), () => true) : "{}";
      setText(this.words, String(JSON.parse(text).rows?.[this.place.number]?.[0] ?? ""));
    } catch (error) {
      sentenceOf(error); // the image stands without
    }
  }

  /** Out of view: thumbnails take memory, and are made again. */
  leave() {
    if (!this.hosts.querySelector(".sample-image")) return;
    this.hosts.style.minHeight = `${this.hosts.offsetHeight}px`;
    this.#shown = "";
    this.hosts.replaceChildren();
  }

  /** @param {Sample[]} shown @param {number} rest @param {string} key */
  #fill(shown, rest, key) {
    const wanted = () => this.#shown === key;
    while (this.hosts.children.length > shown.length) this.hosts.lastChild.remove();
    shown.forEach((sample, i) => {
      if (!this.hosts.children[i]) this.hosts.append(el("div", { class: "rank" }, el("p", { class: "sub" }), el("div", { class: `sample ${sample.kind}` })));
      const [label, host] = this.hosts.children[i].children;
      setText(label, shown.length + rest > 1 ? `rank ${sample.rank}${rest && i === shown.length - 1 ? `; ${rest} further ranks are not shown` : ""}` : "");
      label.hidden = shown.length + rest < 2;
      host.className = `sample ${sample.kind}`;
      const place = { run: this.run, loader: this.around.loader, rows: this.rows, wanted, enlarge: this.around.enlarge, pixels: this.around.pixels() };
      fill(host, sample, place);
    });
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.#shown = "";
    setText(this.caption, sentence);
    setClass(this.caption, "warn", false);
    this.hosts.replaceChildren();
  }
}
