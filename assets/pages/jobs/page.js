/** The Jobs page: the queue, its slots over time, and what a user asks of it. Python has the comparison and the history (`dashboard/pages/jobs`). */

import { change, get, lasting, sentenceOf } from "../../lib/api.js";
import { el, setText } from "../../lib/dom.js";
import { every, listen } from "../../lib/life.js";
import { PageView } from "../session.js";
import { JobDetail, SubmitForm, sureToCancel } from "./dialogs.js";
import { Gantt, SPANS, fittingSpan } from "./gantt.js";
import { QueueTable, exactly, moment, summary } from "./queue.js";

/** @typedef {import("../../types/api").Answer<"jobs">} Queue */
/** @typedef {import("../../types/api").Answer<"jobs/attempts">} Attempts */
/** @typedef {import("../../types/api").Row<"JobAnswer">} Job */

const LOOK_MS = 2000;
const ASKED = "jobs-asked";
const USUAL_SPAN_S = 86400;
const FIRST = "deepseek-jobs submit -- python train.py";
const DAEMON = "deepseek-jobs daemon";
const MIN_SAID_MS = 6000;
const READ_MS = 80; // a character

export default class JobsPage extends PageView {
  get about() {
    return "Jobs of this host";
  }

  /** @param {import("../session.js").Session} session */
  constructor(session) {
    const query = new URLSearchParams(location.search);
    super(session, query.get("run"), [
      ["n", "submit a job"],
      ["?", "all keys"],
    ]);
    /** @type {number | null} as long as nothing chose it */
    this.chosen_s = SPANS.find(([, seconds]) => String(seconds) === query.get("span"))?.[1] ?? null;
    this.span_s = this.chosen_s ?? USUAL_SPAN_S;
    /** @type {Queue | null} */
    this.queue = null;
    /** @type {Attempts | null} */
    this.attempts = null;
    this.summary = el("p", { class: "jobs-summary" });
    this.daemon = el("p", { class: "warn", role: "status", hidden: true });
    this.said = el("p", { class: "jobs-said", role: "status" });
    this.submit = el("button", { class: "btn pri", type: "button", "aria-expanded": "false", onclick: () => this.showForm() }, "Submit a job");
    this.form = new SubmitForm({
      begun: () => this.say(""),
      blocked: () => this.blocked,
      submitted: (job) => {
        this.say(`Job ${job} is in the queue.`);
        this.look();
      },
      closed: () => {
        this.submit.setAttribute("aria-expanded", "false");
        this.submit.focus();
      },
    });
    this.empty = el("div", { class: "jobs-empty", hidden: true });
    this.emptied = el("p");
    this.table = new QueueTable({ open: (job) => this.open(job), order: (order, job) => this.order(order, job), left: () => this.submit.focus() });
    this.gantt = new Gantt({ open: (job) => this.open(job), span: (seconds) => this.choose(seconds) });
    this.detail = new JobDetail({ order: (order, job) => this.order(order, job), slots: () => this.queue?.slots ?? [], followed: () => this.queue?.log_dir ?? "", blocked: () => this.blocked, closed: () => this.keepAddress() });
    this.element = el(
      "div",
      { class: "jobs-top" },
      el("div", { class: "jobs-head" }, el("h1", {}, "Jobs"), this.summary, this.submit),
      this.daemon,
      this.said,
      this.form.element,
      this.empty,
      this.table.element,
      this.gantt.element,
    );
    Object.assign((/** @type {any} */ (window).dashAgGridFunctions ??= {}), {
      jobTime: (/** @type {number | null} */ time_s) => (time_s ? moment(time_s, this.now_s) : ""),
      jobExactly: (/** @type {number | null} */ time_s) => (time_s ? exactly(time_s) : ""),
    });
    this.parts = { JobsView: this.element };
    listen(document, "click", (event) => this.#pressed(/** @type {HTMLElement} */ (event.target)));
    listen(document, "keydown", (event) => event.key === "Enter" && this.#pressed(/** @type {HTMLElement} */ (event.target)));
    listen(document, "visibilitychange", () => document.hidden || this.look());
    every(LOOK_MS, () => document.hidden || this.look());
    fitHistory(this);
    const asked = Number(query.get("job"));
    this.loadQueue().then(() => (asked > 0 ? this.open(asked) : undefined));
  }

  get now_s() {
    return Date.now() / 1000 - this.#off_s;
  }

  #off_s = 0; // of this browser's clock
  #read_s = 0;
  #newest = "";

  /** Whether the queue's file has changed; what is shown of time goes on in any case. */
  async look() {
    try {
      const { signature } = await get("jobs/signature");
      if (signature !== this.#newest) return this.loadQueue();
    } catch (error) {
      this.#failed(error);
    }
    this.drawQueue();
  }

  /** Read the queue and its slots. */
  async loadQueue() {
    try {
      const queue = await get("jobs");
      this.#off_s = Date.now() / 1000 - queue.now;
      let attempts = await this.#attemptsOf(queue);
      const fitting = this.chosen_s ?? (this.queue ? this.span_s : fittingSpan(attempts?.attempts ?? [], queue.now));
      if (fitting !== this.span_s) {
        this.span_s = fitting;
        if (fitting > USUAL_SPAN_S) attempts = await this.#attemptsOf(queue);
      }
      [this.queue, this.attempts, this.#newest, this.#read_s] = [queue, attempts, queue.signature, this.now_s];
      this.drawQueue();
      this.tellDash();
      await this.detail.reload();
    } catch (error) {
      this.#failed(error);
    }
    this.markReady();
  }

  /** @param {Queue} queue @returns {Promise<Attempts | null>} */
  async #attemptsOf(queue) {
    return queue.trouble ? null : get("jobs/attempts", { from: queue.now - Math.max(this.span_s, USUAL_SPAN_S) });
  }

  /** Why the daemon cannot be asked; "" where it can. */
  get blocked() {
    return this.queue?.daemon === null ? `The job queue is not running. Start it with: ${DAEMON}` : "";
  }

  /** @param {unknown} error */
  #failed(error) {
    const sentence = sentenceOf(error);
    if (lasting(error)) this.say(sentence);
  }

  placed() {
    super.placed();
    this.drawQueue();
  }

  drawQueue() {
    if (!this.queue) return;
    const { jobs, over, daemon, trouble, folder } = this.queue;
    const now_s = this.now_s;
    setText(this.summary, summary(jobs, over));
    this.#drawTrouble(trouble, daemon, jobs.length > 0, folder);
    this.table.element.hidden = !jobs.length;
    this.#drawEmpty(!trouble && !jobs.length, over > 0, daemon !== null);
    this.table.draw(jobs, { now_s, passed_s: now_s - this.#read_s, followed: this.queue.log_dir, blocked: this.blocked });
    this.gantt.element.hidden = !this.attempts;
    if (this.attempts) this.gantt.draw(this.attempts, this.span_s, now_s);
  }

  /** @param {string} trouble @param {number | null} daemon @param {boolean} waiting @param {string} folder */
  #drawTrouble(trouble, daemon, waiting, folder) {
    const sentence = trouble || (daemon === null ? `The job queue in ${folder} is not running${waiting ? ": no job starts, and none can be submitted or cancelled here" : ""}. Start it with: ${DAEMON}` : "");
    this.daemon.hidden = !sentence;
    setText(this.daemon, sentence);
    this.submit.hidden = Boolean(trouble) || daemon === null;
  }

  /** @param {boolean} shown @param {boolean} before there were jobs @param {boolean} running */
  #drawEmpty(shown, before, running) {
    this.empty.hidden = !shown;
    if (!shown) return;
    setText(this.emptied, `${before ? "No jobs are queued or running." : "No jobs yet."} ${running ? "Submit one here or in a terminal:" : "Submit one in a terminal, which also starts the queue:"}`);
    if (this.empty.childElementCount) return;
    this.empty.append(
      this.emptied,
      el("pre", { tabindex: "0" }, FIRST),
      el("p", { class: "dim" }, "A job starts when a GPU, or a core slot on a host without GPUs, is free for it; until then it waits here, with the reason."),
    );
  }

  /** Python's parts are made anew. */
  tellDash() {
    if (document.getElementById("jobs-history")) /** @type {any} */ (window).dash_clientside.set_props(ASKED, { data: { span: this.span_s, asked: ++this.#asked } });
  }

  #asked = 0;

  /** It lies over the page, and goes by itself. @param {string} sentence */
  say(sentence) {
    setText(this.said, sentence);
    clearTimeout(this.#silence);
    if (sentence) this.#silence = setTimeout(() => setText(this.said, ""), Math.max(MIN_SAID_MS, READ_MS * sentence.length));
  }

  #silence = 0;

  // What a user does

  async showForm() {
    if (this.blocked) return this.say(this.blocked);
    if (this.form.open) return this.form.command.focus();
    this.submit.setAttribute("aria-expanded", "true");
    const newest = this.queue?.jobs.reduce((found, job) => (job.job > found.job ? job : found), this.queue.jobs[0]) ?? (await get("jobs/history", { limit: 1 }).catch(() => null))?.jobs[0];
    this.form.show({ cwd: newest?.cwd ?? "", log_dir: this.queue?.log_dir ?? "", cards: !this.queue?.slots.some(({ id }) => id.startsWith("cores-")) });
  }

  /** @param {number} seconds */
  choose(seconds) {
    this.chosen_s = this.span_s = seconds;
    this.keepAddress();
    this.loadQueue();
  }

  /** @param {number} job */
  async open(job) {
    await this.detail.show(job);
    this.keepAddress();
  }

  /** @param {import("./queue.js").Order} order @param {Job} job */
  async order(order, job) {
    if (this.blocked) return this.say(this.blocked);
    if (order === "cancel" && !(await sureToCancel(job))) return;
    try {
      const { ran } = await change(`jobs/${order}`, { job: job.job });
      this.say(order === "cancel" ? `Job ${job.job} ${ran ? "is asked to end" : "is cancelled"}.` : order === "hold" ? `Job ${job.job} is on hold until it is released.` : `Job ${job.job} waits for its turn again.`);
    } catch (error) {
      this.say(sentenceOf(error));
    }
    await this.loadQueue();
  }

  /** A click in a row of the history, or Enter in one of its cells, opens the job. @param {HTMLElement} target */
  #pressed(target) {
    const cell = target.closest?.("#jobs-history .ag-row");
    if (cell) this.open(Number(/** @type {HTMLElement} */ (cell).getAttribute("row-id")));
  }

  address() {
    return { ...super.address(), span: this.chosen_s, job: this.detail.job };
  }

  keys() {
    return [
      ...super.keys(),
      { keys: ["n"], shown: "n", says: "submit a job", run: () => this.showForm() },
      { keys: ["Escape"], shown: "Esc", says: "close the form", run: () => this.form.open && this.form.close() },
      { keys: ["r"], shown: "r", says: "next time shown", run: () => this.choose(SPANS[(SPANS.findIndex(([, seconds]) => seconds === this.span_s) + 1) % SPANS.length][1]) },
      { keys: ["/"], shown: "/", says: "find in the history", run: () => document.getElementById("jobs-find")?.focus() },
    ];
  }

  gestures() {
    return /** @type {[string, string][]} */ ([
      ["click a bar", "its job"],
      ["← → ↑ ↓ on a bar", "the next one, or that of the next slot"],
    ]);
  }
}

// The table of jobs that are over (`dashboard/pages/jobs.py`), on a phone: what fits beside each other comes first.

const ID = "jobs-history";
const PHONE = matchMedia("(max-width: 639px)");
const WIDTHS = { job: 44, state: 72, name: 114, worked: 74, ended: 54, how: 260 };
const LEFT_OUT = ["command", "slots", "waited"]; // a row opens its job, which has them

/** Follows the width of the screen. @param {JobsPage} page */
async function fitHistory(page) {
  while (!document.getElementById(ID) || !(/** @type {any} */ (window).dash_ag_grid?.getApiAsync)) {
    if (page.isAway) return;
    await new Promise((done) => setTimeout(done, 16));
  }
  const api = await /** @type {any} */ (window).dash_ag_grid.getApiAsync(ID);
  const fit = () => {
    if (!PHONE.matches) return api.resetColumnState();
    const state = [...Object.entries(WIDTHS).map(([colId, width]) => ({ colId, width, flex: null, hide: false })), ...LEFT_OUT.map((colId) => ({ colId, hide: true }))];
    api.applyColumnState({ state, applyOrder: true });
  };
  listen(PHONE, "change", fit);
  if (PHONE.matches) fit();
}
