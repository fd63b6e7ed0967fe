/** The queue as a table: what runs, then what waits, with its reason; a row's buttons ask the daemon. */

import { el, setClass, setText } from "../../lib/dom.js";
import { pathTo } from "../../lib/url.js";
import { about, exactly, lasting, memory, moment, noLink, waited, whereabouts } from "./words.js";

/** @typedef {import("../../types/api").Row<"JobAnswer">} Job */
/** @typedef {"hold" | "release" | "cancel"} Order */

const MOST = 200; // rows: what waits behind them is counted
const HEADS = ["Job", "State", "What runs", "Slots", "Class", "Submitted", "Waited", ""];
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
    setText(this.state, job.state);
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
