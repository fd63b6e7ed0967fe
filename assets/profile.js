/** Asks for the flame graph and the log lines of the selected window, or of the last seconds, and shows them in the panel. */

import { Refused, get, newest, post } from "./api.js";

const NOW_S = 10; // how much of the newest profile is shown while nothing is selected
const BEFORE_S = 2; // log lines from this long before a window
const LINES = 200;

/** @typedef {{from: number, to: number}} Window Unix seconds */
/** @typedef {{run: string, asked: Window, now: boolean}} Question `now`: the last seconds, not a selected window */
/** @typedef {import("./tree.js").Flame} Flame */

export class Profile {
  /** @param {import("./panel.js").Panel} panel @param {(names: string[]) => void} shown called with the functions of a new flame graph */
  constructor(panel, shown) {
    this.panel = panel;
    this.shown = shown;
    /** @type {any} what the server says of the profiler */
    this.told = {};
    this.over = false; // nothing more comes
    /** @type {Question | null} what the panel is for */
    this.wanted = null;
    /** @type {{question: Question, answer: Flame | null} | null} what the panel shows */
    this.had = null;
    this.readFlame = newest(
      (/** @type {Question} */ { run, asked }) => get("flame", { run, ...asked, view: "joined" }),
      (answer, question) => this.#show(answer, question, ""),
      (error, question) => this.#show(null, question, error instanceof Refused ? error.message : ""),
    );
    this.readLines = newest(
      (/** @type {Question} */ { run, asked: { from, to } }) => get("logs", { run, from: from - BEFORE_S, to, limit: LINES }),
      ({ lines, total }) => panel.showLines(lines, total),
      () => panel.showLines([], 0),
    );
  }

  /** The stacks and lines of a window. @param {string} run @param {Window} window */
  ask(run, window) {
    this.wanted = { run, asked: window, now: false };
    this.panel.dim(true);
    this.readFlame(this.wanted);
    this.readLines(this.wanted);
  }

  /** The stacks of the last seconds; asks nothing while no newer ones are there. @param {string} run @param {number} end_s where the run is now */
  askNow(run, end_s) {
    const to = this.told.until?.[run] ?? end_s;
    const same = this.had?.question.now && this.had.question.run === run && this.had.question.asked.to === to;
    this.wanted = { run, asked: { from: to - NOW_S, to }, now: true };
    if (!same || !this.had?.answer?.samples) this.readFlame(this.wanted);
  }

  /** @param {any} told the server's account of the profiler @param {boolean} over */
  hear(told, over) {
    this.told = told;
    this.over = over;
    const { wanted, had } = this;
    const until = wanted && told.until?.[wanted.run];
    const reached = had?.answer?.profile_until ?? null;
    if (!wanted || wanted.now || had?.question !== wanted || !until || reached === null) return;
    if (reached < wanted.asked.to && until > reached) this.readFlame(wanted);
  }

  /** @param {"on" | "retry"} action */
  async steer(action) {
    await post("profile", { action });
    if (this.wanted) this.readFlame(this.wanted);
  }

  /** @param {Flame | null} answer @param {Question} question @param {string} refused */
  #show(answer, question, refused) {
    if (question.now !== this.wanted?.now || question.run !== this.wanted.run) return;
    this.had = { question, answer };
    if (question === this.wanted) this.panel.dim(false);
    this.panel.showFlame(answer, question.asked, {
      now: question.now,
      growing: !this.over,
      trouble: this.#trouble(answer, refused),
    });
    this.shown(this.panel.flame.names);
  }

  /** Why there is no profile, and what to do. @param {Flame | null} answer @param {string} refused @returns {import("./panel.js").Trouble | null} */
  #trouble(answer, refused) {
    const { state, sentence, remedy } = this.told;
    if (refused) return { sentence: refused, remedy: "", action: null };
    if (state === "off") return { sentence, remedy, action: "on" };
    if (state === "refused") return { sentence, remedy, action: "retry" };
    if (answer?.note) return { ...answer.note, action: "retry" };
    return state === "starting" && sentence ? { sentence, remedy: "", action: null } : null;
  }
}
