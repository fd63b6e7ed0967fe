/** The list of lines with what is asked about it: which lines, where it stands, its search, and the way to the next hit or error. */

import { Retry, retryText } from "../data/refresh.js";
import { get, lasting, sentenceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { capital, count, counted } from "../lib/format.js";
import { LAST, LineCache } from "./line_cache.js";
import { LineList } from "./list.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./logs_view.js").Question} Question */
/** @typedef {{kind: "end"} | {kind: "start"} | {kind: "time", time_s: number} | {kind: "line", run: string, number: number, show: boolean}} Goal where the list is to stand; `show`: the line is brought into view, else it stays where it is in the view */

const LINES = 768; // of a request for a place
const UNSEARCHED = { q: null, regex: null, case: null, only_hits: null };
const ERROR = 40; // level
const SLOW_MS = 700;
const DENSITY_EVERY = 4; // slices of a search

export class LogReader {
  /**
   * @param {{hover: (time_s: number | null) => void, chosen: (line: Line) => void, detail: (line: Line) => HTMLElement, followed: () => void,
   *   searched: () => void, answered: () => void, said: (sentence: string) => void, widen: () => void, whyEmpty: () => string, drawn: () => void}} page
   * `widen`: search all lines; `answered`: a question has its first answer; `followed`: the list does not stay at the end any more; `searched`: there are further hits
   */
  constructor(page) {
    this.page = page;
    this.cache = new LineCache({
      changed: () => this.#changed(),
      moved: (answer) => this.#moved(answer),
      failed: (error) => this.#failed(error),
      progress: (progress) => this.search.onProgress(progress),
    });
    this.list = new LineList(this.cache, { hover: page.hover, chosen: (line) => page.chosen(line), detail: page.detail, followed: page.followed, gone: (end) => this.#gone(end) });
    this.search = new SearchRun({ slice: (times) => this.#slice(times), failed: (error) => this.#failed(error), inWindow: () => (this.question?.from ?? null) !== null, widen: () => page.widen() });
    this.walk = new Walk({ found: (found) => this.#found(found), said: (sentence) => this.#nothing(sentence), failed: (error) => this.#failed(error) });
    this.notice = el("p", { class: "log-notice", role: "status", hidden: true });
    this.element = el("div", { class: "log-reader" }, this.list.element, this.notice);
    this.retry = new Retry(() => this.#goal && this.#go(this.#goal));
    /** @type {Question | null} that is answered */
    this.question = null;
  }

  /** @type {Goal | null} */
  #goal = null;
  #asked = ""; // the question, also if it is wrong
  #isAnswered = false;
  #seeks = false; // the first hit is to come into view
  #turns = false; // the other way, where there is none

  /** Show the lines of a question, and whether it is another one than before. @param {Question} question @param {Goal} goal @returns {boolean} */
  ask(question, goal) {
    const key = JSON.stringify(question);
    if (key === this.#asked) return false;
    this.#asked = key;
    const sought = (/** @type {Question | null} */ of) => JSON.stringify([of?.q, of?.regex, of?.case]);
    const isNew = sought(question) !== sought(this.question);
    if (isNew) {
      this.#seeks = question.q !== null && question.only_hits === null;
      this.search.begin();
    } else if (this.search.progress && !this.search.progress.done) this.search.begin();
    this.page.said("");
    this.#begin(question, goal);
    return true;
  }

  /** @param {Question} question @param {Goal} goal */
  #begin(question, goal) {
    this.question = question;
    this.walk.stop();
    this.#isAnswered = false;
    this.cache.ask(question);
    this.#go(goal);
    clearTimeout(this.#slow);
    this.#slow = setTimeout(() => this.#isAnswered || this.cache.total || this.say("Reading the lines …"), SLOW_MS);
  }

  #slow = 0;

  /** Another run is to be shown. @param {boolean} follows stay at its newest line */
  leave(follows) {
    this.cache.clear();
    this.question = null;
    this.#asked = "";
    this.list.leave(follows);
    this.say("");
  }

  /** @param {Goal} goal */
  #go(goal) {
    this.#goal = goal;
    if (!this.question) return;
    const place = goal.kind === "start" ? { offset: 0 } : goal.kind === "time" ? { at: goal.time_s } : { around: goal.kind === "line" ? goal.number : LAST };
    this.cache.need({ ...place, limit: LINES });
  }

  /** Whether the counts beside the lines can be asked for: the question is not wrong, as far as is known. */
  get isAnswered() {
    return this.#isAnswered;
  }

  /** Bring lines into view. @param {Goal} goal */
  go(goal) {
    this.list.following = false;
    this.#go(goal);
  }

  /** Choose a line, and bring it into view. @param {{run: string, number: number}} key */
  show(key) {
    this.list.choose(key);
    this.go({ kind: "line", ...key, show: true });
  }

  /** Where the list stands now, among other lines. @returns {Goal} */
  get here() {
    const { current, held, following } = this.list;
    if (following) return { kind: "end" };
    if (current && this.#isShown(current)) return { kind: "line", ...current, show: true };
    return held ? { kind: "line", ...held, show: false } : { kind: "end" };
  }

  /** @param {{run: string, number: number}} key */
  #isShown({ run, number }) {
    const at = this.cache.find(number, run);
    return at !== null && at >= this.list.shown.lo && at < this.list.shown.hi;
  }

  /** Stay at the newest line, or not. @param {boolean} on */
  follow(on) {
    this.list.follow(on);
    if (on) this.cache.grow();
  }

  /** Lines have come. */
  grow() {
    this.cache.grow();
  }

  /** To the next hit or error. @param {"hit" | "error"} what @param {boolean} back */
  next(what, back) {
    if (!this.question || !this.cache.isRead) return;
    this.#turns = false;
    const { current } = this.list;
    const from = current && this.#isShown(current) ? current : null;
    const near = from ? null : this.#inView(what, back);
    if (near !== null) this.#found(near);
    else this.walk.go(this.question, what, back, (from ?? (back ? this.list.last : this.list.first))?.number ?? (back ? LAST : 0));
  }

  /** The last hit or error in view, or the first one. @param {"hit" | "error"} what @param {boolean} last @returns {Found | null} */
  #inView(what, last) {
    const { lo, hi } = this.list.shown;
    const places = Array.from({ length: hi - lo }, (_, i) => (last ? hi - 1 - i : lo + i));
    const offset = places.find((at) => {
      const line = this.cache.line(at);
      return line && (what === "hit" ? line.hit : line.level >= ERROR);
    });
    const line = offset === undefined ? undefined : this.cache.line(offset);
    return line && offset !== undefined ? { run: line.run, number: line.number, offset, time_s: line.time_s } : null;
  }

  /** @param {Found} found */
  #found({ run, number, offset }) {
    this.list.choose({ run, number });
    if (!this.#isShown({ run, number })) this.list.go(offset);
    const line = this.cache.line(offset);
    if (line) this.page.chosen(line);
    else this.#awaited = offset;
  }

  #awaited = -1; // the place of a line that is chosen once it is read

  /** @param {string} sentence */
  #nothing(sentence) {
    if (sentence && this.#turns && this.question) {
      this.#turns = false;
      this.walk.go(this.question, "hit", false, 0);
    } else this.page.said(sentence);
  }

  /** The next slice of the search. @param {number} times */
  async #slice(times) {
    const { lo, hi } = this.list.shown;
    await this.cache.goOn(Math.max(0, Math.min(lo, this.cache.total - 1)), Math.max(1, Math.min(400, hi - lo)));
    if (times % DENSITY_EVERY === DENSITY_EVERY - 1 || this.search.progress?.done) this.page.searched();
  }

  /** @param {import("./line_cache.js").Answer} answer */
  #moved(answer) {
    const goal = this.#goal;
    this.#goal = null;
    const { list, cache } = this;
    if (list.following) list.invalidate();
    else if (!goal) this.#hold();
    else if (goal.kind === "end") list.goToEnd();
    else if (goal.kind === "start") list.go(0, 0);
    else if (goal.kind === "time") list.go(answer.offset);
    else {
      const at = cache.find(goal.number, goal.run) ?? Math.min(cache.total - 1, answer.offset + (answer.lines.length >> 1));
      if (goal.show) list.go(at);
      else list.hold(at);
    }
    this.#changed();
  }

  /** The user is at an end of the list: an answer that is on its way leads nowhere else. @param {"start" | "end"} end */
  #gone(end) {
    if (this.#goal) this.#goal = { kind: end };
  }

  /** Lines stand elsewhere than before: what was in view stays there. */
  #hold() {
    const { held, isDrawn } = this.list;
    if (!isDrawn) return; // it goes elsewhere with the next picture
    const at = held && this.cache.find(held.number, held.run);
    if (at !== null) this.list.hold(at);
    else if (held) this.#go({ kind: "line", ...held, show: false });
  }

  #changed() {
    this.retry.done();
    if (!this.#isAnswered) this.page.answered();
    this.#isAnswered = true;
    const { cache, list } = this;
    const awaited = cache.line(this.#awaited);
    if (awaited) {
      this.#awaited = -1;
      this.page.chosen(awaited);
    }
    this.say(cache.total ? "" : this.page.whyEmpty());
    list.invalidate();
    this.#seek();
    this.page.drawn();
  }

  /** Where a new search has hits and none is in view, the nearest one comes there. */
  #seek() {
    const { progress } = this.search;
    if (!this.#seeks || !progress || !this.question) return;
    if (!progress.hits && !progress.done) return;
    this.#seeks = false;
    const { lo, hi } = this.list.shown;
    for (let at = lo; at < hi; at++) if (this.cache.line(at)?.hit) return;
    if (!progress.hits) return;
    this.#turns = true;
    this.walk.go(this.question, "hit", true, this.list.last?.number ?? LAST);
  }

  /** In place of lines, why there are none. @param {string} sentence */
  say(sentence) {
    this.notice.hidden = !sentence;
    setText(this.notice, sentence);
  }

  /** @param {unknown} error */
  #failed(error) {
    const sentence = capital(sentenceOf(error));
    if (lasting(error)) {
      this.page.said(`${sentence}.`.replace("..", "."));
      this.search.begin();
      if (this.question?.q) this.#begin({ ...this.question, ...UNSEARCHED }, this.#goal ?? this.here); // what is searched for is wrong: the lines are there
    } else this.say(retryText(sentence, this.retry.failed()));
    this.page.drawn();
  }
}

// From one hit or error to the next: the server knows where it is, among millions of lines.

/** @typedef {"hit" | "error"} Kind */
/** @typedef {{run: string, number: number, offset: number, time_s: number}} Found */

const MAX_SLICES = 200; // of a search that goes on: a minute
const NAMES = { hit: "match", error: "error" };

class Walk {
  /** @param {{found: (found: Found) => void, said: (sentence: string) => void, failed: (error: unknown) => void}} page */
  constructor(page) {
    this.page = page;
    this.turn = 0; // the newest walk counts
  }

  /** @param {Question} question @param {Kind} what @param {boolean} back @param {number} number of the line from which it goes on */
  async go(question, what, back, number) {
    const turn = ++this.turn;
    this.page.said("");
    for (let slice = 0; slice < MAX_SLICES; slice++) {
      const answer = await get("logs/next", { ...question, number, what, back: back ? "true" : null }).catch((error) => this.page.failed(error));
      if (turn !== this.turn || !answer) return;
      const { run, number: found, offset, time_s, search } = answer;
      if (run !== null && found !== null && offset !== null && time_s !== null) return void this.page.found({ run, number: found, offset, time_s });
      if (what === "error" || !search || search.done) break;
    }
    this.page.said(`No ${NAMES[what]} ${back ? "before" : "after"} this line.`);
  }

  /** Another question: what was found for the last one does not count. */
  stop() {
    this.turn++;
  }
}

// A search that goes on in slices until all lines are searched: how far it is, in words, and the button that stops it.

/** @typedef {import("./line_cache.js").Progress} Progress */

const PAUSE_MS = 30; // between two slices

class SearchRun {
  /** @param {{slice: (times: number) => Promise<void>, failed: (error: unknown) => void, inWindow: () => boolean, widen: () => void}} page `slice`: ask on; `times`: how often that was done; `widen`: from the window to all lines */
  constructor(page) {
    this.page = page;
    /** @type {Progress | null} */
    this.progress = null;
    this.isStopped = false;
    this.word = el("span", { class: "hits", role: "status" });
    this.button = el("button", { class: "btn", type: "button", hidden: true, onclick: () => this.turn() }, "Stop");
    this.all = el("button", { class: "btn", type: "button", hidden: true, onclick: () => page.widen() }, "Search all lines");
    this.element = el("span", { class: "search-run" }, this.word, this.button, this.all);
  }

  #running = 0;

  /** Another question. */
  begin() {
    this.#running++;
    this.progress = null;
    this.isStopped = false;
    this.draw();
  }

  /** @param {Progress | null} progress of the question that was begun last */
  onProgress(progress) {
    const isFirst = this.progress === null && progress !== null;
    this.progress = progress;
    this.draw();
    if (isFirst && !progress.done) this.#run();
  }

  async #run() {
    const run = ++this.#running;
    for (let times = 0; run === this.#running && !this.isStopped && !this.progress?.done; times++) {
      try {
        await this.page.slice(times);
      } catch (error) {
        if (run === this.#running) this.page.failed(error);
        this.isStopped = true;
        this.draw();
        return;
      }
      await new Promise((next) => setTimeout(next, PAUSE_MS));
    }
  }

  /** Stop, or go on. */
  turn() {
    this.isStopped = !this.isStopped;
    this.draw();
    if (!this.isStopped) this.#run();
  }

  draw() {
    const { progress, isStopped } = this;
    const inWindow = this.page.inWindow();
    setText(this.word, progress ? wordsOf(progress, isStopped, inWindow ? " of the window" : "") : "");
    this.all.hidden = !progress?.done || progress.hits > 0 || !inWindow;
    this.button.hidden = !progress || progress.done;
    setText(this.button, isStopped ? "Continue" : "Stop");
  }
}

/** @param {Progress} progress @param {boolean} isStopped @param {string} where */
function wordsOf({ hits, searched, lines, done }, isStopped, where) {
  if (done) return hits ? counted(hits, "match", "matches") : `No match in ${counted(lines, "line")}${where}`;
  return `${counted(hits, "match", "matches")} in the newest ${count(searched)} of ${counted(lines, "line")}${isStopped ? "" : " …"}`;
}
