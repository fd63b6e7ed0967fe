/** The form that submits a job. */

import { sentenceOf } from "../../lib/api.js";
import { change } from "../../lib/change.js";
import { el, setText } from "../../lib/dom.js";

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
    this.words = { "--log-dir": "Log folder", "--priority": "Class", "--name": "Name of the run", "--resume-with": "Command to resume", "--env": "Variables", "--share": "May share", "--force": "Submit it as it is written" };
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
      field("Class", this.priority),
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
    setText(this.shared, ` May share its ${slot}s with one other job that may, too: where both log their steps, so that their speeds can be checked`);
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
