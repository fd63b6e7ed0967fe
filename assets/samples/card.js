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
 */

const MAX_ROWS = 5000;
const MAX_RANKS = 4;

export class Card {
  /** @param {string} name @param {Around} around */
  constructor(name, around) {
    this.name = name;
    this.around = around;
    /** @type {Pane[]} */
    this.panes = [];
    /** @type {number | null} */
    this.step = null;
    this.inView = false;
    this.about = el("span", { class: "dim" });
    this.body = el("div", { class: "panes" });
    this.element = el("article", { class: "sample-card", "data-name": name }, el("header", {}, el("h3", { title: name }, visibleName(name)), this.about), this.body);
  }

  /** @param {{run: string, name: Name | null}[]} parts one a run */
  draw(parts) {
    const same = parts.length === this.panes.length && parts.every(({ run }, i) => this.panes[i].run === run);
    if (!same) {
      this.panes = parts.map(({ run }) => new Pane(this.name, run, parts.length > 1, this.around));
      this.body.replaceChildren(...this.panes.map(({ element }) => element));
    }
    parts.forEach(({ name }, i) => (this.panes[i].about = name));
    const counts = parts.flatMap(({ name }) => (name ? [name.count] : []));
    const kinds = parts.flatMap(({ name }) => name?.kinds ?? []);
    this.element.dataset.kind = kinds[0] ?? "";
    setText(this.about, counts.length === 1 ? counted(counts[0], "sample") : `${counts.map(count).join(" and ")} samples`);
    this.#show();
  }

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
  /** @param {string} name @param {string} run @param {boolean} named whether the run's name is shown @param {Around} around */
  constructor(name, run, named, around) {
    this.name = name;
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
    this.element = el("section", { class: "pane" }, el("div", { class: "caption" }, named && key, named && el("b", { class: "run-name" }, run), this.caption), this.hosts);
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
    setText(this.caption, `${step === null ? "without a step" : `step ${count(step)}`}${isNear ? `, nearest to ${count(this.wanted)}` : ""}${more}`);
    setClass(this.caption, "warn", isNear);
    const shown = found.slice(0, MAX_RANKS);
    const key = JSON.stringify(shown.map(({ id }) => id)) + (shown[0].kind === "histogram" ? this.rows.length : "");
    if (key === this.#shown) return;
    this.#shown = key;
    this.#fill(shown, found.length - shown.length, key);
  }

  #shown = "";

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
      const place = { run: this.run, loader: this.around.loader, rows: this.rows, wanted, enlarge: this.around.enlarge };
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
