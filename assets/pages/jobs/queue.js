/** The queue as a table: what runs, then what waits, with its reason; a row's buttons ask the daemon. */

import { el, setClass, setText } from "../../lib/dom.js";
import { percent } from "../../lib/figures.js";
import { clock, counted, day, duration, minute, sameDay } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";

/** @typedef {import("../../types/api").Row<"JobAnswer">} Job */
/** @typedef {"hold" | "release" | "cancel"} Order */

const MOST = 200; // rows: what waits behind them is counted
const HEADS = ["Job", "State", "What runs", "Slots", "Priority", "Submitted", "Waited", ""];
export const ORDERS = /** @type {Record<string, Order[]>} */ ({ queued: ["hold", "cancel"], held: ["release", "cancel"], running: ["cancel"], starting: ["cancel"] });
export const ORDER_WORDS = { hold: "Hold", release: "Release", cancel: "Cancel" };
const ALL = /** @type {Order[]} */ (Object.keys(ORDER_WORDS));

/** @typedef {Object} Drawing
 * @property {number} now_s
 * @property {number} passed_s since the jobs were read
 * @property {string} followed the dashboard's log folder
 * @property {string} blocked why the daemon cannot be asked; "" where it can
 */

export class QueueTable {
  /** @param {{open: (job: number) => void, order: (order: Order, job: Job) => void, left: () => void}} does `left`: the row that had the focus has gone, and there is no other */
  constructor(does) {
    this.does = does;
    this.body = el("tbody");
    this.table = el("table", { class: "jobs-table" }, el("thead", {}, el("tr", {}, ...HEADS.map((head) => el("th", { scope: "col" }, head || el("span", { class: "unseen" }, "What can be done"))))), this.body);
    this.more = el("p", { class: "dim", hidden: true });
    this.element = el("div", { class: "jobs-queue" }, this.table, this.more);
  }

  /** @param {Job[]} jobs those that run first, then those that wait in their order @param {Drawing} how */
  draw(jobs, how) {
    const shown = jobs.slice(0, MOST);
    const focused = [...this.body.children].findIndex((row) => row.contains(document.activeElement));
    const rows = shown.map((job) => {
      const row = this.#rows.get(job.job) ?? new JobLine(this.does);
      row.draw(job, how);
      return /** @type {[number, JobLine]} */ ([job.job, row]);
    });
    this.#rows = new Map(rows);
    place(this.body, rows.map(([, { element }]) => element));
    this.more.hidden = jobs.length <= MOST;
    setText(this.more, `and ${jobs.length - MOST} more that wait: deepseek-jobs queue lists all`);
    if (focused < 0 || this.body.contains(document.activeElement)) return;
    if (rows.length) rows[Math.min(focused, rows.length - 1)][1].number.focus();
    else this.does.left();
  }

  /** @type {Map<number, JobLine>} */
  #rows = new Map();
}

/** Children in this order; those that stand right are not moved, and one that is moved keeps the focus. @param {HTMLElement} parent @param {HTMLElement[]} children */
export function place(parent, children) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(/** @type {HTMLElement} */ (child))) child.remove();
  children.forEach((child, i) => parent.children[i] !== child && parent.insertBefore(child, parent.children[i] ?? null));
  if (focused !== document.activeElement && parent.contains(focused)) focused?.focus({ preventScroll: true });
}

class JobLine {
  /** @param {QueueTable["does"]} does */
  constructor(does) {
    this.number = el("button", { class: "plain acc", type: "button", onclick: () => does.open(this.job.job) });
    this.state = el("b");
    this.reason = el("span");
    this.where = el("span", { class: "dim" });
    this.run = el("a", { class: "run-name" });
    this.name = el("span", { class: "run-name" });
    this.command = el("code", { class: "dim" });
    this.cells = HEADS.slice(3, 7).map((head) => el("td", { "data-head": head }));
    this.buttons = new Map(ALL.map((order) => [order, el("button", { class: "btn", type: "button", hidden: true, onclick: () => does.order(order, this.job) }, ORDER_WORDS[order])]));
    this.acts = el("td", { class: "jobs-acts" }, ...this.buttons.values());
    this.element = el(
      "tr",
      {},
      el("td", { class: "num" }, this.number),
      el("td", { class: "jobs-state" }, this.state, " ", this.reason, " ", this.where),
      el("td", { class: "jobs-run" }, this.run, this.name, this.command),
      ...this.cells,
      this.acts,
    );
    /** @type {Job} */
    this.job = /** @type {any} */ (null);
  }

  /** @param {Job} job @param {Drawing} how */
  draw(job, { now_s, passed_s, followed, blocked }) {
    this.job = job;
    setText(this.number, String(job.job));
    this.number.setAttribute("aria-label", `Job ${job.job}: all about it`);
    setText(this.state, job.state === "held" ? "on hold" : job.state);
    for (const state of ["running", "queued", "held"]) setClass(this.element, `is-${state}`, job.state === state);
    setText(this.reason, about(job, now_s));
    setText(this.where, whereabouts(job, now_s));
    this.run.hidden = job.run === null;
    this.name.hidden = job.run !== null || !job.name;
    if (job.run !== null) this.run.href = pathTo(`/?run=${encodeURIComponent(job.run)}`);
    setText(job.run === null ? this.name : this.run, job.name);
    this.name.title = noLink(job, followed);
    setText(this.command, job.command);
    this.command.title = job.command;
    const words = [
      [String(job.slots), memory(job.memory_mib)].filter(Boolean).join(", "),
      [job.priority, job.share ? "may share" : "", job.resumes ? "resumes" : "", job.place === "local" ? "" : job.place].filter(Boolean).join(", "),
      moment(job.submitted, now_s),
      lasting(waited(job, passed_s)),
    ];
    this.cells.forEach((cell, i) => setText(cell, words[i]));
    setClass(this.cells[1], "is-usual", words[1] === "normal");
    this.cells[2].title = exactly(job.submitted);
    this.#drawActs(ORDERS[job.state] ?? [], blocked);
  }

  /** @param {Order[]} orders @param {string} blocked */
  #drawActs(orders, blocked) {
    const focused = [...this.buttons.values()].find((button) => button === document.activeElement);
    for (const [order, button] of this.buttons) {
      button.hidden = !orders.includes(order);
      button.title = blocked;
      button.setAttribute("aria-label", `${ORDER_WORDS[order]} job ${this.job.job}`);
      if (blocked) button.setAttribute("aria-disabled", "true");
      else button.removeAttribute("aria-disabled");
    }
    if (focused?.hidden) (this.buttons.get(orders[0]) ?? this.number).focus();
  }
}

// What is said of jobs: states, where they run and with whom (pure).

/** `14:25`, of another day `24 Nov 14:25` @param {number} time_s @param {number} now_s */
export const moment = (time_s, now_s) => (sameDay(time_s, now_s) ? minute(time_s) : `${day(time_s)} ${minute(time_s)}`);

/** With seconds, for a tip. @param {number} time_s */
export const exactly = (time_s) => `${day(time_s)} ${clock(time_s)}`;

/** `2 GPUs`, `1 core slot` @param {number} n @param {boolean} cards */
export const slotsInWords = (n, cards) => counted(n, cards ? "GPU" : "core slot");

/** `20 GiB`, `512 MiB`, "" @param {number | null} mib */
export const memory = (mib) => (mib === null ? "" : mib >= 1024 ? `${Number((mib / 1024).toFixed(1))} GiB` : `${Math.round(mib)} MiB`);

/** Seconds in the queue: it goes on for a job that waits. @param {Job} job @param {number} passed_s since the answer */
export const waited = (job, passed_s) => job.waited + (job.waits ? passed_s : 0);

/** Whole seconds at least: `42 s`, `2 h 34 min` @param {number} seconds */
export const lasting = (seconds) => (seconds < 59.5 ? `${Math.round(seconds)} s` : duration(seconds));

/** `on GPU 0 and GPU 1, beside job 7 since 14:02 with 92% of its speed alone` @param {Job} job @param {number} now_s */
export function whereabouts(job, now_s) {
  if (!job.on.length) return "";
  const beside = job.beside.length ? `, beside ${job.beside.length > 1 ? "jobs" : "job"} ${listed(job.beside.map(String))}` : "";
  const since = beside && job.shared_since !== null ? ` since ${moment(job.shared_since, now_s)}` : "";
  return `on ${listed(job.on)}${beside}${since}${beside && pace(job)}`;
}

/** `, measured at 92% of its speed alone` @param {Job} job */
const pace = (job) => (job.speed === null ? "; its speed beside it is not measured yet" : `; measured at ${percent(job.speed)} of its speed alone`);

/** Why it waits, since when it runs, or how it ended. @param {Job} job @param {number} now_s */
export function about(job, now_s) {
  if (job.reason) return job.reason;
  if (job.state === "running" && job.started !== null) return `for ${lasting(Math.max(0, now_s - job.started))}`;
  if (job.state === "starting") return "is being started";
  if (job.state === "stopping") return job.resumes ? "was asked to save and end" : "was asked to end";
  if (job.state === "held") return "by its owner";
  if (job.state === "queued") return "has just come in";
  return ended(job.exit_code);
}

/** `exit code 1`, `killed by signal 9` @param {number | null} code */
const ended = (code) => (code === null ? "" : code < 0 ? `ended by signal ${-code}` : code ? `exit code ${code}` : "");

/** How an attempt ended; what its sentence says already is not said twice. `preempted for job 5, saved; exit code 75` @param {{why: string, because: number | null, said: string, exit_code: number | null}} attempt */
export function endOf({ why, because, said, exit_code }) {
  const cause = why && because !== null ? `${why} ${why === "preempted" ? "for" : "beside"} job ${because}` : why;
  const sentence = why && said.startsWith(why) ? cause + said.slice(why.length) : [cause, said].filter(Boolean).join("; ");
  const code = ended(exit_code);
  return (code && !sentence.includes(code.replace("ended by ", "")) ? [sentence, code].filter(Boolean).join("; ") : sentence) || "by itself";
}

/** Why its run has no link, "" where it has one, or has none. @param {Job} job @param {string} followed the dashboard's log folder */
export const noLink = (job, followed) =>
  job.run !== null || !job.name ? "" : `Its run is in ${job.log_dir}, which this dashboard does not follow: start it with --log-dir ${job.log_dir}, or submit with --log-dir ${followed}. In a terminal: deepseek-jobs logs ${job.job}`;

/** `["a", "b", "c"] -> "a, b and c"` @param {string[]} words */
export const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : (words[0] ?? ""));

/** How many are running, queued and on hold. @param {Job[]} jobs @param {number} over */
export function summary(jobs, over) {
  const many = (/** @type {string[]} */ states) => jobs.filter(({ state }) => states.includes(state)).length;
  const counts = [
    [many(["starting", "running", "stopping"]), "running"],
    [many(["queued"]), "queued"],
    [many(["held"]), "on hold"],
    [over, "over"],
  ];
  return counts.filter(([n]) => n).map(([n, word]) => `${Number(n).toLocaleString("en")} ${word}`).join(", ");
}
