/** The findings of a page with a time axis: read, continued by the live socket, and shown by modules that are loaded once there is one and the page is complete. */

import { saysWaits, waitsOf } from "../data/gpu_states.js";
import { Continuation } from "../data/refresh.js";
import { get } from "../lib/api.js";
import { el } from "../lib/dom.js";

const COMPLETE = "#content"; // Dash's layout, which the page has moved into then
const LATER_MS = 300;

/** @typedef {import("./marks.js").Found} Found */
/** @typedef {import("../pages/run_strip.js").Finding} Finding */

/**
 * @typedef {Object} FoundOn the page
 * @property {() => string | null | undefined} run whose findings are shown; null for those of the machine, undefined where there is no run
 * @property {() => import("../data/runs.js").Runs} runs
 * @property {import("../data/view_range.js").ViewRange} range
 * @property {(window: import("../data/view_range.js").Window) => void} show select a window, in view
 * @property {() => void} drawn there is something new to draw
 * @property {() => void} waited GPUs began or ceased to wait
 * @property {() => void} keep write the address
 * @property {(cursor: number) => void} follow deltas continue the answer with this cursor
 */

export class FindingsLoader {
  /** @param {import("../timeline/timeline.js").Timeline} timeline @param {FoundOn} page */
  constructor(timeline, page) {
    this.timeline = timeline;
    this.page = page;
    /** @type {Map<string, Found>} by id */
    this.found = new Map();
    this.version = 0; // rises when they change
    /** @type {Map<string, Found>} by id: of GPUs that wait; of the machine's page those of all runs */
    this.waiting = new Map();
    this.waits = waitsOf([]);
    /** @type {string | null} the id that the address names */
    this.asked = new URLSearchParams(location.search).get("finding");
    this.scale = el("div", { class: "found-scale", role: "group", "aria-label": "Findings on the axis" });
    this.row = el("div", { class: "found" }, el("span", { class: "cap" }, "Findings"), this.scale);
    this.nav = el("div", { class: "found-nav", hidden: true }); // in the page's head
    this.detail = el("section", { class: "found-detail", "aria-label": "The finding", hidden: true }); // in the page's side
    timeline.axis.after(this.row);
    /** @type {import("./findings_view.js").FindingsView | null} */
    this.view = null;
  }

  #continuation = new Continuation();

  /** Read them anew. */
  async loadFindings() {
    const run = this.page.run();
    if (run === undefined) return;
    this.#continuation.begin();
    const { findings, cursor } = await get("findings", { run });
    const late = this.#continuation.end(cursor);
    if (run !== this.page.run()) return;
    this.found = new Map(findings.filter((found) => found.run === null || found.run === run).map((found) => [found.id, found]));
    this.waiting.clear();
    this.#wait(findings);
    for (const delta of late) this.#add(delta);
    this.page.follow(cursor);
    this.#changed();
  }

  /** @param {import("../types/api").Delta} delta */
  onDelta(delta) {
    this.#continuation.onDelta(delta);
    if (this.#add(delta)) this.#changed();
  }

  /** What is found on the machine after the run's end is none of it. @param {import("../types/api").Delta} delta */
  #add({ findings }) {
    const run = this.page.run();
    this.#wait(findings);
    const mine = findings.filter((found) => found.run === run || (found.run === null && !(run && this.page.runs().over)));
    for (const found of mine) this.found.set(found.id, found);
    return mine.length > 0;
  }

  /** @param {Found[]} findings */
  #wait(findings) {
    const run = this.page.run();
    for (const found of findings) if (saysWaits(found) && (run === null || found.run === run)) this.waiting.set(found.id, found);
    const waits = waitsOf(this.waiting.values());
    if (same(waits, this.waits)) return;
    this.waits = waits;
    this.page.waited();
  }

  /** Of each GPU that waits now the sentence, by uuid. @returns {Map<string, string>} */
  waitingNow() {
    return new Map([...this.waiting.values()].filter(({ over }) => !over).flatMap(({ gpus, sentence }) => gpus.map((uuid) => /** @type {const} */ ([uuid, sentence]))));
  }

  #changed() {
    this.version++;
    if (this.found.has(this.asked ?? "")) this.loadView();
    this.page.drawn();
  }

  /** Another run is shown. */
  forget() {
    this.asked = null;
    this.found.clear();
    this.waiting.clear();
    this.waits = waitsOf([]);
    this.version++;
    this.view?.unchoose();
  }

  /** Without a connection nothing is shown, until it is wanted again. */
  async loadView() {
    this.#loading ??= import("./findings_view.js").then(({ FindingsView }) => {
      this.view = new FindingsView(this);
      this.page.drawn();
    });
    await this.#loading.catch(() => (this.#loading = null));
  }

  /** @type {Promise<void> | null} */
  #loading = null;

  /** Call after the lanes are drawn. */
  draw() {
    if (this.view) this.view.draw();
    else if (this.found.size && !this.#later && this.row.closest(COMPLETE)) this.#later = setTimeout(() => this.loadView().then(() => (this.#later = 0)), LATER_MS);
  }

  #later = 0;

  /** The strip's sentence: the most important finding that holds, or what the page says otherwise. @param {Finding | null} otherwise @returns {Finding | null} */
  foremost(otherwise) {
    return this.view ? this.view.foremost(otherwise) : otherwise;
  }

  /** @param {-1 | 1} way */
  async step(way) {
    await this.loadView();
    this.view?.step(way, true);
  }

  /** Its part of the address. */
  address() {
    return { finding: this.view ? this.view.chosen : this.asked };
  }

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    return [
      { keys: ["["], shown: "[", says: "the finding before", run: () => this.step(-1) },
      { keys: ["]"], shown: "]", says: "the finding after", run: () => this.step(1) },
    ];
  }
}

/** @param {Map<string, unknown>} one @param {Map<string, unknown>} other */
const same = (one, other) => JSON.stringify([...one]) === JSON.stringify([...other]);
