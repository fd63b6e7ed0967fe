/** The lines that a question leaves, by their place among them: only those are read that are looked at, and few of them are kept. */

import { get, newest } from "../lib/api.js";
import { BEGINS, PAGE, TRACE, joinsOf } from "./line.js";

/** @typedef {import("./line.js").Line} Line */
/** @typedef {import("./logs_view.js").Question} Question */
/** @typedef {import("../types/api").Answer<"logs/lines">} Answer */
/** @typedef {import("../types/api").Row<"SearchProgress">} Progress */
/** @typedef {{lines: (Line | undefined)[], read: number, edition: number, joins: Uint8Array | null}} Page `edition`: of the hits that its lines show */
/** @typedef {{offset?: number, around?: number, at?: number, limit: number}} Place `around`: the number of a line, `at`: a time */

const MAX_PAGES = 48; // that are kept
const MAX_AT_ONCE = 3; // pages of a request
const MAX_LONG = 1000; // characters of a line in the list; an opened line is read whole
export const LAST = 9e15; // no line has this number: what is asked for around it are the last lines

export class LineCache {
  /**
   * @param {{changed: () => void, moved: (answer: Answer) => void, failed: (error: unknown) => void, progress: (progress: Progress | null) => void}} page
   * `moved`: lines stand elsewhere than before, and an answer says where
   */
  constructor(page) {
    this.page = page;
    /** @type {Question | null} */
    this.question = null;
    this.total = 0;
    this.leftOut = 0; // older lines, which the server does not hold
    this.isRead = false; // there was an answer to this question
    this.folds = true; // equal messages in a row are one entry: not where lines between them are left out
    /** @type {Map<number, Page>} the one that was used last comes last */
    this.pages = new Map();
    /** @type {Progress | null} */
    this.search = null;
    this.edition = 0;
    /** Those of the lines that were read. */
    this.sources = { files: /** @type {Set<string>} */ (new Set()), ranks: /** @type {Set<number | null>} */ (new Set()) };
    this.read = newest(
      (/** @type {{place: Place, question: Question}} */ { place, question }) => this.#get(place, question),
      (answer, { place, question }) => question === this.question && this.add(answer, place),
      (error, { question }) => question === this.question && page.failed(error),
    );
  }

  /** Another question from now on; what is known stays until there is an answer. @param {Question} question */
  ask(question) {
    this.question = question;
    this.isRead = false;
    this.search = null;
    this.folds = question.only_hits === null && String(question.template ?? "") === "";
  }

  /** Another run: nothing that is known stays. */
  clear() {
    this.pages.clear();
    this.total = 0;
    this.isRead = false;
    this.sources = { files: new Set(), ranks: new Set() };
  }

  /** @param {Place} place */
  need(place) {
    if (this.question) this.read({ place, question: this.question });
  }

  /** @param {Place} place @param {Question} question @returns {Promise<Answer>} */
  #get({ offset, around, at, limit }, question) {
    return get("logs/lines", { ...question, offset: offset ?? null, around: around ?? null, at: at ?? null, limit, characters: MAX_LONG });
  }

  /** The next slice of the search, with the lines that are in view. @param {number} offset @param {number} limit @returns {Promise<void>} */
  async goOn(offset, limit) {
    const { question } = this;
    if (!question) return;
    const answer = await this.#get({ offset, limit }, question);
    if (question === this.question) this.add(answer, { offset, limit });
  }

  /** @param {Answer} answer @param {Place} place that was asked for */
  add(answer, place) {
    const wasRead = this.isRead;
    const turned = wasRead && this.#turned(answer);
    if (!wasRead || turned) this.pages.clear();
    this.isRead = true;
    this.total = answer.total;
    this.leftOut = answer.left_out;
    this.#progress(answer.search);
    answer.lines.forEach((line, i) => this.#put(answer.offset + i, line));
    this.#forget();
    if (!wasRead || turned || place.offset === undefined) this.page.moved(answer);
    else this.page.changed();
  }

  /** Whether other lines stand where these are known to stand. @param {Answer} answer */
  #turned({ lines, offset, total }) {
    if (total < this.total) return true;
    return lines.some((line, i) => {
      const known = this.line(offset + i);
      return known !== undefined && (known.number !== line.number || known.run !== line.run);
    });
  }

  /** @param {Progress | null} search */
  #progress(search) {
    const before = this.search;
    this.search = search;
    if (search && (search.hits !== before?.hits || search.done !== before.done)) this.edition++; // pages show older hits
    this.page.progress(search);
  }

  /** @param {number} offset @param {Line} line */
  #put(offset, line) {
    const number = Math.floor(offset / PAGE);
    let page = this.pages.get(number);
    if (!page) this.pages.set(number, (page = { lines: [], read: 0, edition: this.edition, joins: null }));
    if (page.lines[offset % PAGE] === undefined) page.read++;
    page.lines[offset % PAGE] = line;
    this.sources.files.add(line.file);
    this.sources.ranks.add(line.rank);
    page.edition = this.edition;
    page.joins = null;
    const next = this.pages.get(number + 1);
    if (next) next.joins = null;
  }

  #forget() {
    for (const number of this.pages.keys()) {
      if (this.pages.size <= MAX_PAGES) return;
      this.pages.delete(number);
    }
  }

  /** @param {number} number */
  #size(number) {
    return Math.min(PAGE, this.total - number * PAGE);
  }

  /** @param {number} number of a page @param {boolean} fresh its hits count, too */
  #lacks(number, fresh) {
    const size = this.#size(number);
    const page = this.pages.get(number);
    return size > 0 && (!page || page.read < size || (fresh && page.edition !== this.edition));
  }

  /** Read what is missing of these places, and a page on either side. @param {number} lo @param {number} hi */
  want(lo, hi) {
    if (!this.isRead || !this.total) return;
    const [first, last] = [Math.max(0, Math.floor(lo / PAGE) - 1), Math.min(Math.floor((this.total - 1) / PAGE), Math.floor(hi / PAGE) + 1)];
    for (let number = first; number <= last; number++) this.#touch(number);
    const [inner, outer] = [Math.floor(Math.max(0, lo) / PAGE), Math.floor(hi / PAGE)];
    const fresh = this.search?.done ?? false; // while a search goes on, what is in view is read with it
    let at = [inner, outer].find((number) => this.#lacks(number, fresh));
    for (let number = first; at === undefined && number <= last; number++) if (this.#lacks(number, fresh)) at = number;
    if (at === undefined) return;
    if (at > first && this.#lacks(at - 1, fresh)) at--;
    let end = at + 1;
    while (end <= last && end - at < MAX_AT_ONCE && this.#lacks(end, fresh)) end++;
    const page = this.pages.get(at);
    const known = page && page.edition === this.edition ? firstMissing(page, this.#size(at)) : 0; // an answer of long lines may be shorter
    this.need({ offset: at * PAGE + known, limit: (end - at) * PAGE - known });
  }

  /** @param {number} number */
  #touch(number) {
    const page = this.pages.get(number);
    if (!page) return;
    this.pages.delete(number);
    this.pages.set(number, page);
  }

  /** Lines may have come behind those that are known. */
  grow() {
    if (!this.question || !this.isRead) return;
    this.need({ offset: Math.max(0, this.total - 1), limit: MAX_AT_ONCE * PAGE });
  }

  /** @param {number} offset @returns {Line | undefined} */
  line(offset) {
    return this.pages.get(Math.floor(offset / PAGE))?.lines[offset % PAGE];
  }

  /** @param {number} offset */
  join(offset) {
    const number = Math.floor(offset / PAGE);
    const page = this.pages.get(number);
    if (!page || page.lines[offset % PAGE] === undefined) return BEGINS;
    page.joins ??= this.#joins(number, page);
    return page.joins[offset % PAGE] ?? BEGINS;
  }

  /** Of the lines from the page's beginning to the first that is missing. @param {number} number @param {Page} page */
  #joins(number, page) {
    const before = this.pages.get(number - 1);
    const context = before && before.read === PAGE ? /** @type {Line[]} */ (before.lines) : [];
    const own = page.lines.slice(0, firstMissing(page, PAGE));
    return joinsOf([...context, .../** @type {Line[]} */ (own)], context.length, this.folds);
  }

  /** Where the entry begins that a line belongs to. @param {number} offset */
  startOf(offset) {
    let at = Math.max(0, offset);
    while (at > 0 && this.join(at) !== BEGINS) at--;
    return at;
  }

  /** The first place behind the entry. @param {number} start */
  endOf(start) {
    let at = start + 1;
    while (at < this.total && this.join(at) !== BEGINS) at++;
    return at;
  }

  /** @param {number} start @returns {Line[]} */
  entry(start) {
    return this.lines(start, this.endOf(start));
  }

  /** Those that are known. @param {number} from @param {number} to not included @returns {Line[]} */
  lines(from, to) {
    /** @type {Line[]} */
    const out = [];
    for (let at = from; at < to; at++) {
      const line = this.line(at);
      if (line) out.push(line);
    }
    return out;
  }

  /** Whether a line stands there. @param {number} from @param {number} to not included @param {{run: string, number: number}} key */
  holds(from, to, { run, number }) {
    return this.lines(from, to).some((line) => line.number === number && line.run === run);
  }

  /** @param {number} start of an entry of several lines */
  isTrace(start) {
    return this.join(start + 1) === TRACE;
  }

  /** Where a line stands that was read. @param {number} number @param {string} run @returns {number | null} */
  find(number, run) {
    for (const [page, { lines }] of this.pages) {
      const at = lines.findIndex((line) => line?.number === number && line.run === run);
      if (at >= 0) return page * PAGE + at;
    }
    return null;
  }
}

/** @param {Page} page @param {number} size */
function firstMissing(page, size) {
  for (let at = 0; at < size; at++) if (page.lines[at] === undefined) return at;
  return size;
}
