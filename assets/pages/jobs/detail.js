/** One job with its attempts, in a dialog; and the question before a running job is cancelled. */

import { get, sentenceOf } from "../../lib/api.js";
import { copyButton } from "../../lib/copy.js";
import { dialogOf, el, fill } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";
import { ORDER_WORDS, ORDERS } from "./queue.js";
import { about, endOf, exactly, lasting, listed, memory, noLink, slotsInWords, waited, whereabouts } from "./words.js";

/** @typedef {import("../../types/api").Row<"JobAnswer">} Job */
/** @typedef {import("../../types/api").Row<"JobAttemptAnswer">} Attempt */
/** @typedef {import("../../types/api").Row<"SlotAnswer">} Slot */
/** @typedef {import("./queue.js").Order} Order */

export class JobDetail {
  /** @param {{order: (order: Order, job: Job) => void, slots: () => Slot[], followed: () => string, blocked: () => string, closed: () => void}} does `blocked`: why the daemon cannot be asked, "" where it can */
  constructor(does) {
    this.does = does;
    this.body = el("div", { class: "jobs-detail" });
    this.dialog = dialogOf("jobs-dialog", "A job", this.body);
    this.dialog.addEventListener("close", () => {
      this.job = null;
      does.closed();
    });
    /** @type {number | null} */
    this.job = null;
  }

  /** @param {number} job */
  async show(job) {
    this.job = job;
    await this.refresh();
    if (this.job === job && !this.dialog.open) this.dialog.showModal();
  }

  /** Read it anew, while it is open. */
  async refresh() {
    if (this.job === null) return;
    try {
      const found = await get("job", { id: this.job });
      if (found.job.job === this.job) this.#draw(found.job, found.attempts);
    } catch (error) {
      this.body.replaceChildren(el("p", { class: "warn" }, sentenceOf(error)));
    }
  }

  /** @param {Job} job @param {Attempt[]} attempts */
  #draw(job, attempts) {
    const blocked = this.does.blocked();
    const drawn = JSON.stringify([job, attempts, blocked]);
    if (drawn === this.#drawn && this.body.childElementCount) return;
    this.#drawn = drawn;
    const now_s = Date.now() / 1000;
    const slots = this.does.slots();
    const cards = !slots.some(({ id }) => id.startsWith("cores-"));
    const facts = /** @type {[string, string][]} */ ([
      ["State", [job.state, about(job, now_s)].filter(Boolean).join(": ")],
      ["Where", whereabouts(job, now_s)],
      ["Asks for", [slotsInWords(job.slots, cards), job.memory_mib === null ? "" : `${memory(job.memory_mib)} each`, `class ${job.priority}`, job.share ? "may share" : "", job.resumes ? "can resume" : ""].filter(Boolean).join(", ")],
      ["Folder", job.cwd],
      ["Log folder", job.log_dir],
      ["Submitted", exactly(job.submitted)],
      ["Waited", lasting(waited(job, 0))],
      ["Worked", job.work !== null ? lasting(job.work) : job.kept ? `${lasting(job.kept)} in its checkpoint` : ""],
      ["Made room", job.stops ? counted(job.stops, "time") : ""],
      ["Out of memory", job.out_of_memory ? counted(job.out_of_memory, "time") : ""],
    ]);
    const elsewhere = noLink(job, this.does.followed());
    const run = job.run === null ? null : encodeURIComponent(job.run);
    fill(
      this.body,
      el("h2", {}, `Job ${job.job}${job.name ? `: ${job.name}` : ""}`),
      el("pre", { class: "jobs-command" }, job.command),
      el("table", { class: "jobs-facts" }, el("tbody", {}, ...facts.filter(([, value]) => value).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value))))),
      el("h3", {}, attempts.length ? "Starts" : "It has not been started yet."),
      attempts.length > 0 && this.#attempts(attempts, slots),
      elsewhere && el("p", { class: "dim" }, elsewhere),
      el(
        "div",
        { class: "actions" },
        run && el("a", { class: "btn", href: pathTo(`/?run=${run}`) }, "Its run on Live"),
        run && el("a", { class: "btn", href: pathTo(`/logs?run=${run}`) }, "Its output"),
        copyButton("Copy command", () => job.command),
        ...(ORDERS[job.state] ?? []).map((order) => el("button", { class: "btn", type: "button", "aria-disabled": blocked ? "true" : null, title: blocked || null, onclick: () => this.does.order(order, job) }, ORDER_WORDS[order])),
      ),
    );
  }

  #drawn = "";

  /** @param {Attempt[]} attempts @param {Slot[]} slots */
  #attempts(attempts, slots) {
    const names = new Map(slots.map(({ id, name }) => [id, name]));
    const heads = ["", "Began", "Ran", "On", "How it ended"];
    const rows = attempts.map((attempt) => {
      const began = attempt.started ?? attempt.start;
      return [String(attempt.number), exactly(began), lasting(Math.max(0, (attempt.end ?? Date.now() / 1000) - began)), listed(attempt.slots.map((id) => names.get(id) ?? id)), attempt.end === null ? "runs" : endOf(attempt)];
    });
    return el("table", { class: "jobs-starts" }, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head || "No.")))), el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))))));
  }
}

/** Whether a user says so. @param {Job} job @returns {Promise<boolean>} */
export function sureToCancel(job) {
  const { promise, resolve } = Promise.withResolvers();
  const keep = el("button", { class: "btn pri", type: "button" }, "Keep it"); // what Enter does is what stands out
  const cancel = el("button", { class: "btn", type: "button" }, `Cancel job ${job.job}`);
  const waits = job.state === "queued" || job.state === "held";
  const loses = waits ? `It leaves the queue${job.kept ? " and does not go on; its checkpoint stays" : " and is not started"}.` : job.resumes ? "It is asked to save and end, and does not go on." : "It is asked to end: what it has not saved is lost.";
  const dialog = el("dialog", { class: "help jobs-sure", "aria-labelledby": "jobs-sure" }, el("h2", { id: "jobs-sure" }, `Cancel job ${job.job}, which ${waits ? "waits" : "runs"}?`), el("p", {}, loses), el("div", { class: "actions" }, keep, cancel));
  keep.addEventListener("click", () => dialog.close());
  cancel.addEventListener("click", () => dialog.close("cancel"));
  dialog.addEventListener("close", () => {
    resolve(dialog.returnValue === "cancel");
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  keep.focus();
  return promise;
}
