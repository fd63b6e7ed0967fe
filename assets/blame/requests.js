/** Requests the flame graph, the blame and the log lines of a window, or the stacks of the last seconds, and says why there is no profile. */

import { Retry, retryText } from "../data/refresh.js";
import { nameOf } from "../flame/tree.js";
import { change, get, lasting, newest, sentenceOf } from "../lib/api.js";
import { copyButton } from "../lib/clipboard.js";
import { el } from "../lib/dom.js";
import { baselineText } from "../timeline/baseline_picker.js";

const NOW_S = 10; // length of the newest profile shown while nothing is selected
const LINES = 200;

/** @typedef {import("../data/view_range.js").Window} Window */
/** @typedef {import("../timeline/baseline_picker.js").Baseline} Baseline */
/** @typedef {{run: string, asked: Window, now: boolean, baseline: Baseline | null, quick: boolean, done: boolean, filter: Record<string, any>}} Question `now`: the last seconds, not a selected window; `quick`: its normal is that of the last one; `done`: it is not being drawn any more */
/** @typedef {import("../flame/tree.js").Flame} Flame */
/** @typedef {import("./blame.js").Blame} Blame */
/** @typedef {{sentence: string, remedy: string, action: "on" | "retry" | null}} Trouble */

/**
 * @typedef {Object} Sink what shows the answers
 * @property {(stale: boolean) => void} dim older content stays, dimmed, until the answer is there
 * @property {(flame: Flame | null, question: Question, about: {growing: boolean, trouble: Trouble | null}) => void} showFlame `growing`: more of the profile may come
 * @property {(blame: Blame | null, question: Question) => void} showBlame null until the server has answered
 * @property {(lines: import("../logs/line.js").LogLine[], total: number, trouble: string) => void} showLines `trouble`: why there are none
 */

/**
 * @typedef {Object} RequestingPage
 * @property {Sink} sink
 * @property {(question: Question) => void} judged the server has answered, or cannot: what takes long may be requested now
 * @property {(question: Question, trouble: Trouble | null) => Trouble | null} troubleOf why there are no stacks, given what the profiler says
 */

export class WindowRequests {
  /** @param {RequestingPage} page */
  constructor(page) {
    this.page = page;
    /** @type {Partial<import("../types/api").Row<"ProfileState">>} the server's state of the profiler */
    this.profiler = {};
    this.over = false; // nothing more comes
    /** @type {Record<string, any>} view, thread, phase, ...: parameters of `GET /flame` */
    this.filter = { view: "joined" };
    /** @type {Baseline | null} compared with; null is the run's normal */
    this.baseline = null;
    /** @type {Question | null} what is to be shown */
    this.wanted = null;
    /** @type {{question: Question, answer: Flame | null, refused: string} | null} what is shown */
    this.shown = null;
    /** @type {{question: Question, answer: Flame} | null} the last answer with a baseline */
    this.compared = null;
    this.readFlame = newest(
      (/** @type {Question} */ question) => get("flame", parameters(question)),
      (answer, question) => this.#show(answer, question, ""),
      (error, question) => this.#show(null, question, this.#failed(error)),
    );
    this.readBlame = newest(
      (/** @type {Question} */ { run, asked, baseline, filter: { rank = null } }) =>
        get("blame", { run, ...asked, rank, baseline: textOf(baseline) }),
      (answer, question) => {
        const { wanted } = this;
        if (!wanted || about(question) !== about(wanted)) return;
        this.page.sink.showBlame(answer, wanted);
        this.#judged(wanted);
      },
      (error, question) => {
        this.#failed(error);
        if (this.wanted && about(question) === about(this.wanted)) this.#judged(this.wanted);
      },
    );
    this.readLines = newest(
      (/** @type {Question} */ { run, asked: { from, to } }) => get("logs", { run, from, to, limit: LINES }),
      ({ lines, total }) => this.page.sink.showLines(lines, total, ""),
      (error) => this.page.sink.showLines([], 0, this.#failed(error)),
    );
    this.retry = new Retry(() => this.#retry());
  }

  /** Retry after a failure. @param {unknown} error @returns {string} its sentence */
  #failed(error) {
    const sentence = sentenceOf(error);
    return lasting(error) ? sentence : retryText(sentence, this.retry.failed());
  }

  /** Request the stacks of a window; once it stands, also its blame and its lines, then its normal: on a server of few cores each waits for the others. @param {string} run @param {Window} window @param {boolean} done */
  ask(run, window, done) {
    const { baseline, filter, shown, wanted: before } = this;
    const quick = this.#lends(run) || (!done && baseline === null);
    const drawn = shown?.question.filter === filter && same(shown.question.asked, window);
    const wanted = { run, asked: window, now: false, baseline, quick, done, filter };
    this.page.sink.dim(done && !drawn);
    if (before && quick && !drawn && before.filter === filter && alike(before, wanted)) {
      before.done = done; // it is under way already
      if (done) this.#judge();
      return;
    }
    this.wanted = wanted;
    this.#blame = "";
    this.#waits = false;
    if (!before || about(before) !== about(wanted)) this.page.sink.showBlame(null, this.wanted);
    if (done && (drawn || !quick)) this.#complete(drawn);
    else {
      this.readFlame(wanted);
      if (done) this.#judge();
    }
  }

  /** The blame of what is wanted, once: beside its stacks, since over a slow line each round trip is felt. */
  #judge() {
    if (!this.wanted || this.#blame) return;
    this.#blame = "asked";
    this.#askBlame(this.wanted);
  }

  /** A run is blamed beside itself only. @param {Question} question */
  #askBlame(question) {
    if (question.baseline && question.baseline.run !== null) this.#judged(question);
    else this.readBlame(question);
  }

  /** @type {"" | "asked" | "judged"} */
  #blame = "";

  /** @param {Question} wanted */
  #judged(wanted) {
    this.#blame = "judged";
    if (this.#waits) this.readFlame(wanted);
    this.#waits = false;
    this.page.judged(wanted);
  }

  #waits = false; // the normal, for the blame

  /** Whether the last compared answer has a normal that another window of the run may use. @param {string} run */
  #lends(run) {
    const asked = this.compared?.question;
    return asked?.run === run && asked.filter === this.filter && asked.baseline === this.baseline;
  }

  /** Request the parts that take longer than the stacks alone. @param {boolean} drawn the stacks are */
  #complete(drawn) {
    if (!this.wanted) return;
    this.wanted = { ...this.wanted, quick: false };
    this.#judge();
    this.#waits = drawn && this.#blame === "asked";
    if (!this.#waits) this.readFlame(this.wanted);
    this.readLines(this.wanted);
  }

  /** Request the stacks of the last seconds, if there are newer ones. @param {string} run @param {number} end_s where the run is now @param {number} [began_s] where it began */
  askNow(run, end_s, began_s = -Infinity) {
    const to = this.profiler.until?.[run] ?? end_s;
    const from = began_s < to ? Math.max(to - NOW_S, began_s) : to - NOW_S;
    const { shown, filter } = this;
    const baseline = this.baseline && this.baseline.run !== null ? this.baseline : null; // the last seconds have no normal
    const question = shown?.question;
    const known = question?.now && question.run === run && question.asked.to === to && question.filter === filter && question.baseline === baseline;
    const before = this.wanted;
    this.wanted = { run, asked: { from, to }, now: true, baseline, quick: false, done: true, filter };
    if (!before?.now) this.page.sink.showBlame(null, this.wanted);
    if (!known || !shown?.answer?.samples) this.readFlame(this.wanted);
  }

  /** The same question again, with another filter or baseline. */
  repeat() {
    const { wanted } = this;
    if (wanted?.now) this.askNow(wanted.run, wanted.asked.to, wanted.asked.from);
    else if (wanted) this.ask(wanted.run, wanted.asked, true);
  }

  /** All parts of it: the failed one is not known. */
  #retry() {
    const { wanted } = this;
    if (!wanted) return;
    this.readFlame(wanted);
    if (wanted.now) return;
    this.#askBlame(wanted);
    this.readLines(wanted);
  }

  /** @param {Partial<import("../types/api").Row<"ProfileState">>} profiler its state, from the server @param {boolean} over */
  onProfilerState(profiler, over) {
    const { wanted, shown } = this;
    const saidOf = (/** @type {typeof profiler} */ { state, runs }) => JSON.stringify([state, shown && runs?.[shown.question.run]]);
    const news = saidOf(profiler) !== saidOf(this.profiler);
    this.profiler = profiler;
    this.over = over;
    if (news && shown && !shown.answer?.samples) this.#show(shown.answer, shown.question, shown.refused);
    const until = wanted && profiler.until?.[wanted.run];
    const reached = shown?.answer?.profile_until ?? null;
    if (!wanted || wanted.now || shown?.question !== wanted || !until || reached === null) return;
    if (reached < wanted.asked.to && until > reached) {
      this.readFlame(wanted);
      this.#askBlame(wanted);
    }
  }

  /** @param {"on" | "retry"} action */
  async steer(action) {
    await change("profile", { action });
    if (this.wanted) this.readFlame(this.wanted);
  }

  /** @param {Flame | null} answer @param {Question} question @param {string} refused */
  #show(answer, question, refused) {
    const { wanted } = this;
    if (question.now !== wanted?.now || question.run !== wanted.run || question.filter !== wanted.filter) return;
    this.shown = { question, answer, refused };
    if (answer) this.retry.done();
    if (question === wanted) this.page.sink.dim(false);
    if (answer?.baseline_seconds) this.compared = { question, answer };
    const lender = question.quick && answer?.samples && this.#lends(question.run) ? this.compared : null;
    this.page.sink.showFlame(answer && lender ? withNormalOf(answer, lender.answer) : answer, question, {
      growing: !this.over,
      trouble: this.page.troubleOf(question, this.#trouble(answer, refused)),
    });
    if (question === wanted && question.quick && question.done) this.#complete(true);
  }

  /** Why there is no profile, and the remedy. @param {Flame | null} answer @param {string} refused @returns {Trouble | null} */
  #trouble(answer, refused) {
    const { state, sentence = "", remedy = "", runs = {} } = this.profiler;
    if (refused) return { sentence: refused, remedy: "", action: null };
    if (state === "off") return { sentence, remedy, action: "on" };
    if (state === undefined) return answer?.note ? { ...answer.note, action: "retry" } : null;
    const own = this.wanted && runs[this.wanted.run];
    return own ? { sentence: own.sentence, remedy: own.remedy, action: own.state === "refused" ? "retry" : null } : null;
  }
}

/** The parameters of `GET /flame`. @param {Question} question @returns {Record<string, any>} */
export function parameters({ run, asked, now, baseline, quick, filter }) {
  return { run, ...asked, ...filter, ...((now && !baseline) || quick ? {} : { baseline: textOf(baseline) }) };
}

/** @param {Baseline | null} baseline */
const textOf = (baseline) => (baseline ? baselineText(baseline) : "normal");

/** @param {Window} a @param {Window} b */
const same = (a, b) => a.from === b.from && a.to === b.to;

/** Whether two questions have the same stacks and filter. @param {Question} a @param {Question} b */
const alike = (a, b) => about(a) === about(b) && a.quick === b.quick;

/** The key of a blame. @param {Question} question */
const about = ({ run, asked, now, baseline, filter }) => JSON.stringify([run, asked, now, baseline, filter.rank]);

// Normal copied from another window's tree (pure): it hardly changes between two windows, and costs the server more than the window.

/**
 * The same flame with the baseline of `other`. Nodes missing in the other tree were also pruned in that baseline.
 * @param {Flame} flame without a baseline @param {Flame} other with one @returns {Flame}
 */
export function withNormalOf(flame, other) {
  const theirs = placesOf(other);
  const { frame, parent } = flame.nodes;
  const names = flame.frames.map(nameOf);
  const twin = new Int32Array(frame.length); // the node at the same place in the other tree, or -1
  for (let i = 0; i < frame.length; i++) {
    const above = parent[i] < 0 ? -1 : twin[parent[i]];
    twin[i] = parent[i] >= 0 && above < 0 ? -1 : (theirs.get(`${above} ${names[frame[i]]}`) ?? -1);
  }
  const taken = (/** @type {number[] | null} */ column) => Array.from(twin, (node) => (node < 0 ? 0 : (column?.[node] ?? 0)));
  const { base_self_s, base_total_s } = other.nodes;
  const { baseline_samples, baseline_seconds, baseline_units, normal } = other;
  const nodes = { ...flame.nodes, base_self_s: taken(base_self_s), base_total_s: taken(base_total_s) };
  return { ...flame, baseline_samples, baseline_seconds, baseline_units, normal, nodes };
}

/** By parent and function, the node. @param {Flame} flame */
function placesOf({ frames, nodes: { frame, parent } }) {
  const names = frames.map(nameOf);
  return new Map(frame.map((index, i) => [`${parent[i]} ${names[index]}`, i]));
}

// Why there is no profile, and the remedy: one sentence, one command, one button.

const BUTTON = { on: "Turn on", retry: "Try again" };

export class TroubleBox {
  /** @param {(action: "on" | "retry") => void} act */
  constructor(act) {
    this.act = act;
    this.element = el("div", { class: "trouble", hidden: true });
  }

  /** @param {Trouble | null} trouble */
  show(trouble) {
    this.element.hidden = trouble === null;
    const drawn = JSON.stringify(trouble);
    if (trouble === null || drawn === this.element.dataset.drawn) return;
    this.element.dataset.drawn = drawn;
    const { sentence, remedy, action } = trouble;
    const button = action && el("button", { class: "btn pri", type: "button", "data-owners": "", onclick: () => this.act(action) }, BUTTON[action]);
    this.element.replaceChildren(
      el("p", {}, sentence),
      remedy ? el("div", { class: "remedy" }, el("b", {}, "Remedy: "), el("code", {}, remedy)) : "",
      el("div", { class: "actions" }, button, remedy ? copyButton("Copy", () => remedy) : null),
    );
  }
}
