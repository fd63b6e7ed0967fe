/** What one run, or two, logged to be looked at: a card a name, all at one step. Any page can show it: `new Viewer(...).element`. */

import { runColours } from "../data/colours.js";
import { get, sentenceOf } from "../lib/api.js";
import { dialogOf, el, nearView, setText, visibleName } from "../lib/dom.js";
import { count, counted, duration } from "../lib/format.js";
import { Card } from "./card.js";
import { SampleLoader, allSteps, indexOf } from "./loader.js";

/** @typedef {import("../types/api").Row<"SampleName">} Name */

const CARDS = 60; // made at a time
const AHEAD_PX = 300;
const SMALL_PX = 256; // an image is enlarged in whole pixels
const LARGE = 0.75; // of the window, for an enlarged one
const [LOOKED_AT, LISTED] = [24, 6]; // runs, where this one has none
const EXAMPLE = 'log.sample("val/image", "images/7.png", step)\nlog.sample("val/answer", text, step)';

export class Viewer {
  /**
   * @param {{step: number | null, find: string, pixels: boolean}} from the address @param {() => void} moved the step, the words of the search or how images are shown
   * @param {Name["kinds"][number] | null} [only] of this kind, as a part of a page that has its own runs, search and colours
   */
  constructor({ step, find, pixels }, moved, only = null) {
    this.moved = moved;
    this.only = only;
    /** @type {number | null} the newest where it is null */
    this.step = step;
    /** @type {string[]} */
    this.runs = [];
    /** @type {Map<string, Name>[]} one a run */
    this.names = [];
    this.leftOut = 0;
    this.moreNames = 0;
    this.most = CARDS;
    /** @type {number[]} */
    this.steps = [];
    /** @type {Map<string, Card>} */
    this.cards = new Map();
    this.loader = new SampleLoader();
    this.input = el("input", { type: "search", placeholder: "Find a name", "aria-label": "Find a name", value: find, oninput: () => this.#found() });
    this.slider = el("input", { type: "range", min: "0", max: "0", "aria-label": "Step", oninput: () => this.#slid() });
    this.label = el("output", { class: "step-label" });
    this.newest = el("button", { class: "btn", type: "button", onclick: () => this.go(null) }, "Newest");
    this.matches = el("span", { class: "dim" });
    const back = el("button", { class: "btn", type: "button", "aria-label": "Previous step", onclick: () => this.move(-1) }, "‹");
    const on = el("button", { class: "btn", type: "button", "aria-label": "Next step", onclick: () => this.move(1) }, "›");
    this.stepper = el("div", { class: "stepper" }, back, this.slider, on, this.label, this.newest);
    this.notice = el("div", { class: "sample-notice", role: "status" });
    this.elsewhere = el("p", { class: "sample-elsewhere" });
    this.grid = el("div", { class: "sample-grid" });
    this.more = el("button", { class: "btn more", type: "button", hidden: true, onclick: () => this.#showMore() });
    this.pixels = pixels;
    this.fits = ["Fit", "Pixels"].map((word, i) => el("button", { type: "button", "aria-pressed": String(Boolean(i) === pixels), title: i ? "One pixel of an image is one pixel of the screen" : "Images fill their place", onclick: () => this.#fit(Boolean(i)) }, word));
    this.fitting = el("div", { class: "segments", role: "group", "aria-label": "Size of images" }, ...this.fits);
    this.bar = el("div", { class: "sample-bar" }, el("label", { class: "find" }, this.input), this.matches, this.stepper, this.fitting);
    this.element = el("div", { class: "samples" }, this.bar, this.notice, this.grid, this.more);
    this.large = el("img", { alt: "" });
    this.caption = el("p", { class: "mid" });
    this.dialog = dialogOf("sample-large", "Image", el("figure", {}, this.large, this.caption));
    this.dialog.addEventListener("close", () => URL.revokeObjectURL(this.large.src));
    this.seen = nearView((entries) => this.#see(entries), AHEAD_PX);
    this.#draw();
  }

  /** Show these runs, and read what there is of them. @param {string[]} runs one or two */
  async show(runs) {
    if (runs.join("\n") !== this.runs.join("\n")) {
      this.runs = runs;
      if (!this.only) runColours.choose(runs);
      this.names = [];
      this.cards.forEach(({ element }) => this.seen.unobserve(element));
      this.cards.clear();
      this.most = CARDS;
      this.isRead = false;
    }
    const shown = this.runs;
    try {
      const answers = await Promise.all(shown.map((run) => get("samples", { run })));
      if (shown !== this.runs) return;
      this.isRead = true;
      this.trouble = "";
      this.names = answers.map(({ names }) => new Map(names.map((name) => [name.name, name])));
      this.moreNames = Math.max(0, ...answers.map(({ more_names }) => more_names));
      this.leftOut = answers.reduce((all, { left_out }) => all + left_out, 0);
    } catch (error) {
      this.trouble = sentenceOf(error);
    }
    if (this.isRead && !this.only && !this.names.some(({ size }) => size)) this.#findElsewhere();
    this.#draw();
  }

  /** Runs with samples, where the shown one has none. */
  async #findElsewhere() {
    if (this.#looked) return;
    this.#looked = true;
    for (const run of this.others().slice(0, LOOKED_AT)) {
      const found = await get("samples", { run }).catch(() => ({ names: [] })); // it may just be deleted
      if (!found.names.length) continue;
      const links = this.elsewhere.querySelectorAll("a").length;
      this.elsewhere.append(links ? ", " : "Runs with samples: ", el("a", { href: `?${new URLSearchParams({ run })}` }, visibleName(run)));
      if (links + 1 >= LISTED) return;
    }
  }

  #looked = false;
  /** Names of other runs, the newest first. @type {() => string[]} */
  others = () => [];

  isRead = false;
  trouble = "";

  /** @param {number | null} step */
  go(step) {
    this.step = step;
    for (const card of this.cards.values()) card.at(step);
    this.#drawStep();
    this.moved();
  }

  /** To another of the steps that there are. @param {number} by */
  move(by) {
    if (!this.steps.length) return;
    const at = indexOf(this.steps, this.step);
    this.go(this.steps[Math.max(0, Math.min(this.steps.length - 1, at + by))]);
  }

  /** @param {boolean} pixels */
  #fit(pixels) {
    this.pixels = pixels;
    this.fits.forEach((button, i) => button.setAttribute("aria-pressed", String(Boolean(i) === pixels)));
    for (const card of this.cards.values()) card.at(this.step);
    this.moved();
  }

  get find() {
    return this.input.value.trim();
  }

  /** @param {string} words */
  search(words) {
    if (words === this.input.value) return;
    this.input.value = words;
    this.#found();
  }

  #slid() {
    this.go(this.steps[Number(this.slider.value)] ?? null);
  }

  #found() {
    this.most = CARDS;
    this.#draw();
    this.moved();
  }

  #showMore() {
    this.most += CARDS;
    this.#draw();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #see(entries) {
    for (const { target, isIntersecting } of entries) this.cards.get(/** @type {HTMLElement} */ (target).dataset.name ?? "")?.see(isIntersecting);
  }

  #draw() {
    const { only } = this;
    const all = entriesOf(this.names).filter(({ members: [first] }) => !only || this.names.some((names) => names.get(first)?.kinds.includes(only)));
    const words = this.find.toLowerCase().split(/\s+/);
    const found = all.filter(({ name }) => words.every((/** @type {string} */ word) => name.toLowerCase().includes(word)));
    const shown = found.slice(0, this.most);
    this.#drawNotice(all.length, found.length);
    setText(this.matches, all.length ? (found.length < all.length ? `${count(found.length)} of ${counted(all.length, "name")}` : counted(all.length, "name")) : "");
    this.#drawCards(shown);
    this.more.hidden = shown.length >= found.length;
    setText(this.more, `Show ${count(Math.min(CARDS, found.length - shown.length))} of ${count(found.length - shown.length)} further names`);
    this.bar.hidden = Boolean(only) || (this.isRead && !all.length);
    this.element.hidden = Boolean(only) && !shown.length;
    this.fitting.style.visibility = !this.names.some((names) => [...names.values()].some(({ kinds }) => kinds.includes("image"))) ? "hidden" : "";
    this.#drawStep();
  }

  /** @param {import("./card.js").Entry[]} shown */
  #drawCards(shown) {
    const wanted = new Map(shown.map((entry) => [entry.name, JSON.stringify(entry)]));
    for (const [name, { element, entry }] of this.cards) {
      if (wanted.get(name) === JSON.stringify(entry)) continue;
      this.seen.unobserve(element);
      this.cards.delete(name);
    }
    const around = { loader: this.loader, enlarge: this.#enlarge, learned: () => this.#learned(), pixels: () => this.pixels };
    for (const entry of shown) {
      const { name } = entry;
      let card = this.cards.get(name);
      if (!card) {
        card = new Card(entry, around);
        card.step = this.step;
        this.cards.set(name, card);
        this.seen.observe(card.element);
      }
      card.draw(this.runs.map((run, i) => ({ run, names: this.names[i] ?? new Map() })));
    }
    const elements = shown.map(({ name }) => /** @type {Card} */ (this.cards.get(name)).element);
    if (elements.some((element, i) => this.grid.children[i] !== element) || this.grid.children.length !== elements.length) this.grid.replaceChildren(...elements);
    this.grid.classList.toggle("two", this.runs.length > 1);
  }

  /** @param {number} all @param {number} found */
  #drawNotice(all, found) {
    const more = this.moreNames ? `${counted(this.moreNames, "further name")} are not listed. ` : "";
    const kept = this.leftOut ? `${counted(this.leftOut, "further sample")} were not kept: a run has at most 50,000 of a kind, and 50 MB of texts.` : "";
    const none = this.isRead && !all ? "No samples yet. These lines log one; images, audio, text and histograms of TensorBoard’s files are shown as well." : "";
    setText(this.notice, this.trouble || none || (all && !found ? "No name has these words in it." : more + kept));
    if (none && !this.trouble) this.notice.append(this.elsewhere, el("pre", {}, EXAMPLE));
    this.notice.hidden = Boolean(this.only) || !this.notice.textContent;
  }

  #learned() {
    this.steps = allSteps([...this.cards.values()].flatMap(({ lists }) => lists));
    this.#drawStep();
  }

  #drawStep() {
    const { steps, step } = this;
    const at = indexOf(steps, step);
    this.slider.max = String(Math.max(0, steps.length - 1));
    this.slider.value = String(at);
    this.slider.setAttribute("aria-valuetext", steps.length ? `step ${count(step ?? steps[at])}` : "no steps");
    const newest = this.runs.length > 1 ? "last common" : `step ${count(steps[at])}`;
    setText(this.label, step !== null ? `step ${count(step)}` : steps.length ? newest : "");
    this.stepper.style.visibility = steps.length < 2 && step === null ? "hidden" : ""; // its room stays
    this.newest.setAttribute("aria-pressed", String(step === null));
  }

  #enlarge = (/** @type {string} */ title, /** @type {Blob} */ blob) => {
    this.large.src = URL.createObjectURL(blob);
    this.large.alt = title;
    this.large.onload = () => {
      const { naturalWidth: width, naturalHeight: height } = this.large;
      const times = Math.max(1, Math.floor(Math.min((innerWidth * LARGE) / width, (innerHeight * LARGE) / height)));
      this.large.classList.toggle("pixels", Math.max(width, height) <= SMALL_PX);
      this.large.style.width = Math.max(width, height) <= SMALL_PX ? `${width * times}px` : "";
    };
    setText(this.caption, title);
    this.dialog.showModal();
  };
}

// A list that was logged under one name is one entry: `examples`, `examples/1`, `examples/2`, and what stands below each in `examples/captions` (pure).

const CAPTIONS = "/captions";
const LISTS = new Set(["image", "audio"]);

/** @param {Map<string, Name>[]} names of each run @returns {import("./card.js").Entry[]} by name */
export function entriesOf(names) {
  /** @type {Map<string, Name>} */
  const all = new Map(names.flatMap((some) => [...some]));
  /** @type {Map<string, [number, string][]>} */
  const lists = new Map();
  const isMedia = (/** @type {string} */ name) => all.get(name)?.kinds.every((kind) => LISTS.has(kind)) ?? false;
  for (const name of all.keys()) {
    const [, base = "", number = ""] = /^(.+)\/(\d{1,4})$/.exec(name) ?? [];
    if (base && isMedia(name)) lists.set(base, [...(lists.get(base) ?? []), [Number(number), name]]);
  }
  const taken = new Set();
  const entries = [...lists].flatMap(([base, numbered]) => {
    const first = isMedia(base) ? [base] : [];
    const members = [...first, ...numbered.sort(([a], [b]) => a - b).map(([, name]) => name)];
    if (members.length < 2 || (all.has(base) && !first.length)) return [];
    for (const name of members) taken.add(name);
    return [{ name: base, members, captions: null }];
  });
  const rest = [...all.keys()].filter((name) => !taken.has(name)).map((name) => ({ name, members: [name], captions: null }));
  const found = [...entries, ...rest];
  const media = new Set(found.filter(({ members }) => isMedia(members[0])).map(({ name }) => name));
  const captioned = (/** @type {string} */ name) => (media.has(name) && all.get(name + CAPTIONS)?.kinds[0] === "table" ? name + CAPTIONS : null);
  return found
    .filter(({ name }) => !(name.endsWith(CAPTIONS) && captioned(name.slice(0, -CAPTIONS.length))))
    .map((entry) => ({ ...entry, captions: captioned(entry.name) }))
    .sort((a, b) => Number(b.members.length > 1) - Number(a.members.length > 1) || (a.name < b.name ? -1 : 1)); // galleries are the largest
}

// A run's checkpoints: step, age and size of each, the newest first.

/** @typedef {import("../types/api").Row<"Checkpoint">} Checkpoint */

const MOST = 200; // rows

export class Checkpoints {
  constructor() {
    this.total = el("span", { class: "dim" });
    this.rows = el("tbody");
    const heads = [["Step", "num"], ["Age", "num"], ["Size", "num"], ["Saved in", "num"], ["File", ""]];
    this.table = el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...heads.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))),
      this.rows,
    );
    this.element = el("section", { class: "checkpoints", hidden: true, "aria-label": "Checkpoints" }, el("h2", {}, "Checkpoints ", this.total), this.table);
  }

  /** @param {string} run @param {number} now_s */
  async read(run, now_s) {
    try {
      const { checkpoints } = await get("checkpoints", { run });
      this.#draw(checkpoints, now_s);
    } catch (error) {
      this.#draw([], now_s);
      setText(this.total, sentenceOf(error));
    }
  }

  /** @param {Checkpoint[]} all @param {number} now_s */
  #draw(all, now_s) {
    this.element.hidden = !all.length;
    const there = all.filter(({ bytes }) => bytes !== null);
    const shown = all.slice(-MOST).reverse();
    const sum = there.reduce((bytes, one) => bytes + (one.bytes ?? 0), 0);
    const rest = all.length > shown.length ? `, the newest ${count(shown.length)} are listed` : "";
    setText(this.total, there.length ? `${counted(there.length, "file")}, ${sizeOf(sum)}${rest}` : `${counted(all.length, "event")}${rest}`);
    this.rows.replaceChildren(...shown.map((checkpoint) => row(checkpoint, now_s)));
  }
}

/** @param {Checkpoint} checkpoint @param {number} now_s */
function row({ name, step, time_s, bytes, seconds, note }, now_s) {
  return el(
    "tr",
    {},
    el("td", { class: "num" }, count(step)),
    el("td", { class: "num" }, `${duration(Math.max(0, now_s - time_s))}`),
    el("td", { class: "num" }, bytes === null ? "–" : sizeOf(bytes)),
    el("td", { class: "num" }, seconds === null ? "–" : duration(seconds)),
    el("td", {}, el("code", {}, name || "–"), note && el("span", { class: "dim" }, ` ${note}`)),
  );
}

/** `300 -> "300 B"`, `5_250_000_000 -> "5.25 GB"` @param {number} bytes */
function sizeOf(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const at = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${Number((bytes / 1000 ** at).toPrecision(3))} ${units[at]}`;
}
