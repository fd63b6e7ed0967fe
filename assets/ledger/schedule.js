/** When the ledger is requested: of a window once it is blamed, of the view once it rests and something is new in it. It gives way to blame. */

import { Retry, retryText } from "../data/refresh.js";
import { get, lasting, sentenceOf } from "../lib/api.js";

const REST_MS = 500; // since the view was moved last
const AGAIN_S = 30; // of a live run
const SOON_S = 10; // of a run that has just begun: with fewer stacks there is little to say
const SLACK_S = 5; // by which the end of a following view may differ from the clock
const SAME = 0.01; // share of a span

/** @typedef {import("./ledger_view.js").Ledger} Ledger */
/** @typedef {{run: string, from: number, to: number, rank: number | null}} Question */

/**
 * @typedef {Object} Sight the view
 * @property {string} run
 * @property {number} lo Unix seconds
 * @property {number} hi Unix seconds
 * @property {boolean} follows it moves by itself
 * @property {boolean} grows its span grows by itself, as a young run does
 * @property {boolean} selected it stands because a window is selected, and moves again without it
 * @property {number} begins when the run began, Unix seconds
 * @property {number | null} until up to when stacks of the run have arrived, Unix seconds
 */

/**
 * @typedef {Object} Shown what shows the answers
 * @property {(ledger: Ledger, question: Question) => void} view
 * @property {(ledger: Ledger, question: Question) => void} window
 * @property {(sentence: string) => void} failed why there is no ledger of the window
 */

export class LedgerSchedule {
  /**
   * @param {Shown} shown
   * @param {(question: Question, request: RequestInit) => Promise<Ledger>} [ask]
   * @param {() => number} [now_ms] a clock that only rises
   */
  constructor(shown, ask = (question, request) => /** @type {Promise<Ledger>} */ (get("ledger", question, request)), now_ms = () => performance.now()) {
    this.shown = shown;
    this.ask = ask;
    this.now_ms = now_ms;
    /** @type {Sight | null} */
    this.sight = null;
    /** @type {(Sight & {at_ms: number, failed: boolean}) | null} the view that was requested last; `failed`: a later request may succeed */
    this.last = null;
    /** @type {Question | null} the window to ask about, once nothing is under way */
    this.window = null;
    this.paused = false; // a window is drawn, or being blamed
    /** @type {AbortController | null} */
    this.request = null;
    this.retry = new Retry(() => this.#next());
  }

  /** Call at each drawing of the page: a hidden one draws nothing. @param {Sight | null} sight null where no ledger can be */
  look(sight) {
    this.sight = sight;
    const place = sight ? [sight.run, (sight.hi - sight.lo).toFixed(2), sight.follows ? "" : sight.hi].join("\n") : "";
    if (place !== this.#place) {
      this.#place = place;
      this.#rested_ms = this.now_ms() + REST_MS;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#next(), REST_MS);
    }
    this.#next();
  }

  /** Nothing of what was answered is shown any more. */
  forget() {
    this.last = null;
    this.#first_ms = this.now_ms();
  }

  #first_ms = 0;
  #place = "";
  #rested_ms = 0;
  #timer = 0;

  /** A window is drawn, and blame goes first. */
  pause() {
    this.paused = true;
    this.#forget();
  }

  /** There is no window any more. */
  resume() {
    if (!this.paused && !this.window) return;
    this.paused = false;
    this.#forget();
  }

  /** The window is blamed, or cannot be. @param {Question} question */
  judged(question) {
    this.paused = false;
    this.#forget();
    this.window = question;
    this.#next();
  }

  /** End what is under way: the server stops working on it. */
  #forget() {
    this.retry.done();
    this.window = null;
    this.request?.abort();
    this.request = null;
  }

  #next() {
    const { sight, window } = this;
    if (this.paused || this.request) return;
    if (window && !this.retry.timer) this.#askWindow(window);
    else if (!window && sight && !document.hidden && this.now_ms() >= this.#rested_ms && this.#isDue(sight)) this.#askView(sight);
  }

  /** @param {Question} question */
  async #askWindow(question) {
    await this.#send(
      question,
      (ledger) => {
        this.retry.done();
        this.window = null;
        this.shown.window(ledger, question);
      },
      (error) => {
        const sentence = sentenceOf(error);
        if (lasting(error)) this.window = null;
        this.shown.failed(lasting(error) ? sentence : retryText(sentence, this.retry.failed()));
      },
    );
    if (!this.window) this.#next();
  }

  /** What fails leaves the last answer as it is. @param {Sight} sight */
  async #askView(sight) {
    const before = this.last;
    const last = { ...sight, at_ms: this.now_ms(), failed: false };
    this.last = last;
    const question = { run: sight.run, from: sight.lo, to: sight.hi, rank: null };
    const ended = await this.#send(
      question,
      (ledger) => this.shown.view(ledger, question),
      (error) => {
        sentenceOf(error); // the charts say it
        last.failed = !lasting(error);
      },
    );
    if (!ended) this.last = before; // it gave way
  }

  /**
   * @param {Question} question @param {(ledger: Ledger) => void} done @param {(error: unknown) => void} failed
   * @returns {Promise<boolean>} whether it was answered, not ended by us
   */
  async #send(question, done, failed) {
    const request = new AbortController();
    this.request = request;
    try {
      const ledger = await this.ask(question, { signal: request.signal });
      if (request.signal.aborted) return false;
      this.request = null;
      done(ledger);
    } catch (error) {
      if (request.signal.aborted) return false;
      this.request = null;
      failed(error);
    }
    return true;
  }

  /** Whether the view has something that its last answer lacks. @param {Sight} sight */
  #isDue({ run, lo, hi, follows, grows, selected, begins, until }) {
    const { last } = this;
    if (!last || last.run !== run) {
      const known_s = until === null ? (this.now_ms() - this.#first_ms) / 1000 : until - Math.max(lo, begins);
      return !follows || known_s >= SOON_S;
    }
    const waited_s = (this.now_ms() - last.at_ms) / 1000;
    if (last.failed) return waited_s >= AGAIN_S;
    const span = hi - lo;
    if (Math.abs(span - (last.hi - last.lo)) > SAME * span) return !((follows || selected) && grows && last.follows) || waited_s >= AGAIN_S;
    const slack_s = follows ? waited_s + SLACK_S : selected ? AGAIN_S : 0;
    if (Math.abs(hi - last.hi) > slack_s) return true;
    return until !== last.until && (follows || (last.until ?? 0) < hi) && waited_s >= AGAIN_S;
  }
}
