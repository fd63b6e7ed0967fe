/** The dialogs of the Jobs page: the form that submits a job, and one job with its attempts. */

import { change, get, sentenceOf } from "../../lib/api.js";
import { copyButton } from "../../lib/clipboard.js";
import { dialogOf, el, fill, setText } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";
import { ORDERS, ORDER_WORDS, about, endOf, exactly, lasting, listed, memory, noLink, slotsInWords, waited, whereabouts } from "./queue.js";

// The form that submits a job.

/** @typedef {{cwd: string, log_dir: string, cards: boolean}} Usual what stands in the form before a user has written anything; `cards`: the host's slots are GPUs */

export class SubmitForm {
  /** @param {{begun: () => void, submitted: (job: number) => void, closed: () => void, blocked: () => string}} does `blocked`: why nothing can be submitted, "" where it can */
  constructor(does) {
    this.does = does;
    const text = (/** @type {Record<string, string>} */ attributes) => el("input", { class: "input", autocomplete: "off", spellcheck: "false", ...attributes });
    this.command = text({ id: "jobs-command", class: "input mono", placeholder: "python train.py --lr 3e-4", required: "" });
    this.cwd = text({ placeholder: "~/project", required: "" });
    this.logDir = text({ placeholder: "logs" });
    this.slots = text({ type: "number", min: "1", value: "1" });
    this.memory = text({ placeholder: "20GiB" });
    this.priority = el("select", { class: "input" }, el("option", { value: "normal" }, "normal"), el("option", { value: "high" }, "high"));
    this.resume = text({ class: "input mono", placeholder: "python train.py --resume" });
    this.name = text({ placeholder: "train-7", maxlength: "100" });
    this.env = text({ class: "input mono", placeholder: "HF_HOME DEBUG=1" });
    this.share = el("input", { type: "checkbox" });
    this.force = el("input", { type: "checkbox" });
    this.said = el("p", { class: "jobs-said", role: "alert" });
    this.send = el("button", { class: "btn pri", type: "submit" }, "Submit");
    this.forced = el("label", { class: "jobs-check", hidden: true }, this.force, " Submit it as it is written");
    this.shared = el("span");
    /** Flags of `deepseek-jobs submit`, and what they are called here. @type {Record<string, string>} */
    this.words = { "--log-dir": "Log folder", "--priority": "Priority", "--name": "Name of the run", "--resume-with": "Command to resume", "--env": "Variables", "--share": "May share", "--force": "Submit it as it is written" };
    const field = (/** @type {string} */ label, /** @type {HTMLElement} */ control, /** @type {string} */ hint = "", wide = false) =>
      el("label", { class: wide ? "field wide" : "field" }, el("span", {}, label, hint ? el("small", { class: "dim" }, ` ${hint}`) : null), control);
    this.slotsField = field("Slots", this.slots);
    this.memoryField = field("Memory", this.memory);
    this.element = el(
      "form",
      { class: "jobs-form", hidden: true, "aria-label": "Submit a job", novalidate: "", onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
      field("Command, run without a shell", this.command, "", true),
      field("Folder in which it runs", this.cwd, "", true),
      field("Log folder, in which its run is made", this.logDir, "", true),
      this.slotsField,
      this.memoryField,
      field("Priority", this.priority),
      field("Name of the run", this.name),
      field("Command to resume from its checkpoint", this.resume, "Optional. Only jobs that have one are ever stopped to make room.", true),
      field("Variables", this.env, "Optional. Names of the dashboard’s variables, or NAME=VALUE.", true),
      el("label", { class: "jobs-check" }, this.share, this.shared),
      this.forced,
      this.said,
      el("div", { class: "actions" }, this.send, el("button", { class: "btn", type: "button", onclick: () => this.close() }, "Close")),
    );
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.close());
  }

  get open() {
    return !this.element.hidden;
  }

  /** @param {Usual} usual */
  show({ cwd, log_dir, cards }) {
    const slot = cards ? "GPU" : "core slot";
    this.words["--gpus"] = cards ? "GPUs" : "Core slots";
    this.words["--memory"] = `Memory per ${slot}`;
    setText(this.slotsField.firstChild, this.words["--gpus"]);
    setText(this.memoryField.firstChild, this.words["--memory"]);
    setText(this.shared, ` May share its ${slot}s with one other job that allows it. Both must log steps, so that their speed can be checked`);
    this.element.hidden = false;
    this.cwd.value ||= cwd;
    this.logDir.value ||= log_dir;
    this.command.focus();
  }

  close() {
    this.element.hidden = true;
    this.#say("");
    this.does.closed();
  }

  /** In the words of the form. @param {string} sentence */
  #say(sentence) {
    this.forced.hidden = !sentence.includes("--force");
    if (this.forced.hidden) this.force.checked = false;
    const said = sentence.replace("submit with --force", "tick --force").replace(/--[a-z][a-z-]*/g, (flag) => (this.words[flag] ? `“${this.words[flag]}”` : flag));
    setText(this.said, said.charAt(0).toUpperCase() + said.slice(1));
    if (said) this.send.scrollIntoView({ block: "nearest" });
  }

  /** What is wrong with a field, before anything is asked; "" where nothing is. */
  #wrong() {
    if (this.does.blocked()) return this.does.blocked();
    if (!this.command.value.trim()) return "Write the command that is to run.";
    if (!this.cwd.value.trim()) return "Write the folder in which the command is to run.";
    return /^[1-9]\d{0,3}$/.test(this.slots.value.trim()) ? "" : "--gpus: write a whole number above 0.";
  }

  /** @param {Event} event */
  async #submit(event) {
    event.preventDefault();
    this.does.begun();
    const wrong = this.#wrong();
    if (wrong) return this.#say(wrong);
    const wanted = this.#wanted();
    this.send.disabled = true;
    this.#say("");
    try {
      const { job } = await change("jobs/submit", wanted);
      this.command.value = "";
      this.close();
      this.does.submitted(job);
    } catch (error) {
      this.#say(sentenceOf(error));
    }
    this.send.disabled = false;
  }

  #wanted() {
    const value = (/** @type {HTMLInputElement} */ field) => field.value.trim();
    return {
      command: value(this.command),
      cwd: value(this.cwd),
      log_dir: value(this.logDir) || "logs",
      slots: Number(value(this.slots)),
      memory: value(this.memory) || null,
      priority: this.priority.value,
      share: this.share.checked,
      resume_with: value(this.resume) || null,
      name: value(this.name),
      env: value(this.env).split(/\s+/).filter(Boolean),
      force: this.force.checked,
    };
  }
}

// One job with its attempts, in a dialog; and the question before a running job is cancelled.

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
    await this.reload();
    if (this.job === job && !this.dialog.open) this.dialog.showModal();
  }

  /** Read it anew, while it is open. */
  async reload() {
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
