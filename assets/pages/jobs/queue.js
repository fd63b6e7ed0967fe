/** The queue as a table: what runs, then what waits, with its reason; a row's buttons ask the daemon. */

import { el, setClass, setText } from "../../lib/dom.js";
import { pathTo } from "../../lib/url.js";
import { about, exactly, lasting, memory, moment, waited, whereabouts } from "./words.js";

/** @typedef {import("../../types/api").Row<"JobAnswer">} Job */
/** @typedef {"hold" | "release" | "cancel"} Order */

const MOST = 200; // rows: what waits behind them is counted
const RUNNING = ["running", "starting", "stopping"];
const HEADS = ["Job", "State", "What runs", "Slots", "Class", "Submitted", "Waited", ""];
const ORDERS = /** @type {Record<string, Order[]>} */ ({ queued: ["hold", "cancel"], held: ["release", "cancel"], running: ["cancel"], starting: ["cancel"] });
export const ORDER_WORDS = { hold: "Hold", release: "Release", cancel: "Cancel" };

export class QueueTable {
  /** @param {{open: (job: number) => void, order: (order: Order, job: Job) => void}} does */
  constructor(does) {
    this.does = does;
    this.body = el("tbody");
    this.table = el("table", { class: "jobs-table" }, el("thead", {}, el("tr", {}, ...HEADS.map((head) => el("th", { scope: "col" }, head || el("span", { class: "unseen" }, "What can be done"))))), this.body);
    this.more = el("p", { class: "dim", hidden: true });
    this.element = el("div", { class: "jobs-queue" }, this.table, this.more);
  }

  /** @param {Job[]} jobs @param {number} now_s @param {number} passed_s since they were read */
  draw(jobs, now_s, passed_s) {
    const sorted = [...jobs.filter(({ state }) => RUNNING.includes(state)), ...jobs.filter(({ state }) => state === "queued"), ...jobs.filter(({ state }) => state === "held")];
    const shown = sorted.slice(0, MOST);
    const rows = shown.map((job) => {
      const row = this.#rows.get(job.job) ?? new JobLine(this.does);
      row.draw(job, now_s, passed_s);
      return /** @type {[number, JobLine]} */ ([job.job, row]);
    });
    this.#rows = new Map(rows);
    place(this.body, rows.map(([, { element }]) => element));
    this.more.hidden = sorted.length <= MOST;
    setText(this.more, `and ${sorted.length - MOST} more that wait: deepseek-jobs queue lists all`);
  }

  /** @type {Map<number, JobLine>} */
  #rows = new Map();
}

/** Children in this order; those that stand right are not moved, so that the focus stays. @param {HTMLElement} parent @param {HTMLElement[]} children */
export function place(parent, children) {
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(/** @type {HTMLElement} */ (child))) child.remove();
  children.forEach((child, i) => parent.children[i] !== child && parent.insertBefore(child, parent.children[i] ?? null));
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
    this.acts = el("td", { class: "jobs-acts" });
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
    this.does = does;
  }

  /** @param {Job} job @param {number} now_s @param {number} passed_s */
  draw(job, now_s, passed_s) {
    this.job = job;
    setText(this.number, String(job.job));
    this.number.setAttribute("aria-label", `Job ${job.job}: all about it`);
    setText(this.state, job.state);
    for (const state of ["running", "queued", "held"]) setClass(this.element, `is-${state}`, job.state === state);
    setText(this.reason, about(job, now_s));
    setText(this.where, whereabouts(job, now_s));
    this.run.hidden = job.run === null;
    this.name.hidden = job.run !== null || !job.name;
    if (job.run !== null) this.run.href = pathTo(`/?run=${encodeURIComponent(job.run)}`);
    setText(job.run === null ? this.name : this.run, job.name);
    setText(this.command, job.command);
    this.command.title = job.command;
    const words = [
      [String(job.slots), memory(job.memory_mib)].filter(Boolean).join(", "),
      [job.priority, job.share ? "may share" : "", job.resumes ? "resumes" : "", job.place === "local" ? "" : job.place].filter(Boolean).join(", "),
      moment(job.submitted, now_s),
      lasting(waited(job, passed_s)),
    ];
    this.cells.forEach((cell, i) => setText(cell, words[i]));
    this.cells[2].title = exactly(job.submitted);
    this.#drawActs(ORDERS[job.state] ?? []);
  }

  /** @param {Order[]} orders */
  #drawActs(orders) {
    const drawn = orders.join();
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const button = (/** @type {Order} */ order) =>
      el("button", { class: "btn", type: "button", "aria-label": `${ORDER_WORDS[order]} job ${this.job.job}`, onclick: () => this.does.order(order, this.job) }, ORDER_WORDS[order]);
    this.acts.replaceChildren(...orders.map(button));
  }

  #drawn = "-";
}
