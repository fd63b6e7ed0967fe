/** Reads the curves of the charts in view: one request at a time, those that the user sees first. */

import { sentenceOf } from "../../lib/api.js";
import { curveOf } from "../curve.js";

/** @typedef {import("./catalogue.js").Tag} Tag */
/** @typedef {import("../curve.js").Curve} Curve */
/** @typedef {import("../curve.js").Row} Row */

/** @typedef {{run: string, series: string, reason: string, absent: boolean}} LeftOut `absent`: the run has no such series */
/** @typedef {{curves: (Row & {colour?: string})[], left_out: LeftOut[], cursor: number}} Answer */
/** @typedef {{key: string, curves: Curve[] | null, left: LeftOut[], trouble: string, dirty: boolean, read_ms: number}} Held */
/** @typedef {(tags: Tag[], signal: AbortSignal) => Promise<Answer>} Ask of one kind: all are the machine's, or none is */

const MOST_CURVES = 240; // of a request: 200 runs are one chart at a time
const MOST_HELD = 400;
const LIVE_MS = 500; // between two readings of a chart that grows
const AGAIN_MS = 5000; // after a failure

export class Reading {
  /** @param {{ask: Ask, changed: (tags: Tag[], cursor: number) => void}} page */
  constructor(page) {
    this.page = page;
    /** @type {Map<string, Held>} by the tag's key; the last used at the end */
    this.held = new Map();
    /** @type {Tag[]} in the order in which they are wanted */
    this.wanted = [];
    this.key = "";
    this.most = 1; // tags of a request
    /** @type {AbortController | null} */
    this.under_way = null;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => document.hidden || this.#next());
  }

  /**
   * The charts in view, and the question that all of them answer.
   * @param {Tag[]} wanted @param {string} key changes with the question @param {number} runs how many curves a chart has, about
   * @param {number} most tags of a request: where each takes long, the first charts come early
   */
  want(wanted, key, runs, most) {
    if (key !== this.key) this.under_way?.abort();
    Object.assign(this, { wanted, key, most: Math.max(1, Math.min(most, Math.floor(MOST_CURVES / Math.max(1, runs)))) });
    this.#next();
  }

  /** @param {Tag} tag */
  of({ key }) {
    return this.held.get(key) ?? null;
  }

  /** Those of them have new points. @param {(tag: Tag) => boolean} grown */
  touch(grown) {
    for (const tag of this.wanted) {
      const held = this.held.get(tag.key);
      if (held && grown(tag)) held.dirty = true;
    }
    if (!document.hidden) this.#next(); // it is read when the tab is seen again
  }

  forget() {
    this.under_way?.abort();
    this.held.clear();
  }

  /** How long until it may be read: 0 now; null: it need not. @param {Tag} tag */
  #due(tag) {
    const held = this.held.get(tag.key);
    if (!held || held.key !== this.key) return 0;
    const since_ms = performance.now() - held.read_ms;
    if (held.trouble) return Math.max(0, AGAIN_MS - since_ms);
    return held.dirty ? Math.max(0, LIVE_MS - since_ms) : null;
  }

  #next() {
    if (this.under_way) return;
    clearTimeout(this.timer);
    const due = this.wanted.map((tag) => ({ tag, wait_ms: this.#due(tag) })).filter(({ wait_ms }) => wait_ms !== null);
    if (!due.length) return;
    const now = due.filter(({ wait_ms }) => wait_ms === 0).map(({ tag }) => tag);
    if (!now.length) {
      this.timer = setTimeout(() => this.#next(), Math.max(20, Math.min(...due.map(({ wait_ms }) => Number(wait_ms)))));
      return;
    }
    this.#read(now.filter(({ machine }) => machine === now[0].machine).slice(0, this.most));
  }

  /** @param {Tag[]} tags */
  async #read(tags) {
    const { key } = this;
    const control = new AbortController();
    this.under_way = control;
    for (const tag of tags) {
      const held = this.held.get(tag.key);
      if (held) held.dirty = false; // what comes from now on needs another reading
    }
    try {
      const answer = await this.page.ask(tags, control.signal);
      if (!control.signal.aborted) this.#take(tags, key, answer);
    } catch (error) {
      if (!control.signal.aborted) this.#failed(tags, key, sentenceOf(error));
    } finally {
      this.under_way = null;
    }
    this.#next();
  }

  /** @param {Tag[]} tags @param {string} key @param {Answer} answer */
  #take(tags, key, answer) {
    for (const tag of tags) {
      const rows = answer.curves.filter(({ series }) => series === tag.name);
      const left = answer.left_out.filter(({ series }) => series === tag.name || !series);
      const trouble = "";
      this.#hold(tag, { key, curves: rows.map((row) => ({ ...curveOf(row), colour: row.colour })), left, trouble, dirty: this.held.get(tag.key)?.dirty ?? false, read_ms: performance.now() });
    }
    this.page.changed(tags, answer.cursor);
  }

  /** @param {Tag[]} tags @param {string} key @param {string} trouble */
  #failed(tags, key, trouble) {
    for (const tag of tags) {
      const before = this.held.get(tag.key);
      this.#hold(tag, { key, curves: before?.curves ?? null, left: before?.left ?? [], trouble, dirty: false, read_ms: performance.now() });
    }
    this.page.changed(tags, 0);
  }

  /** @param {Tag} tag @param {Held} held */
  #hold(tag, held) {
    this.held.delete(tag.key);
    this.held.set(tag.key, held);
    for (const key of this.held.keys()) {
      if (this.held.size <= MOST_HELD) break;
      this.held.delete(key);
    }
  }
}
