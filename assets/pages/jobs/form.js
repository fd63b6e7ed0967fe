/** The form that submits a job. */

import { sentenceOf } from "../../lib/api.js";
import { change } from "../../lib/change.js";
import { el, setText } from "../../lib/dom.js";

/** @typedef {{cwd: string, log_dir: string}} Usual what stands in the form before a user has written anything */

export class SubmitForm {
  /** @param {{submitted: (job: number) => void, closed: () => void}} does */
  constructor(does) {
    this.does = does;
    const text = (/** @type {Record<string, string>} */ attributes) => el("input", { class: "input", autocomplete: "off", spellcheck: "false", ...attributes });
    this.command = text({ id: "jobs-command", class: "input mono", placeholder: "python train.py --lr 3e-4", required: "" });
    this.cwd = text({ placeholder: "~/project", required: "" });
    this.logDir = text({ placeholder: "logs" });
    this.slots = text({ type: "number", min: "1", value: "1" });
    this.memory = text({ placeholder: "20GiB; empty: as measured" });
    this.priority = el("select", { class: "input" }, el("option", { value: "normal" }, "normal"), el("option", { value: "high" }, "high"));
    this.resume = text({ class: "input mono", placeholder: "python train.py --resume" });
    this.name = text({ placeholder: "the script’s, with the job’s number", maxlength: "100" });
    this.env = text({ class: "input mono", placeholder: "HF_HOME WANDB_MODE=offline" });
    this.share = el("input", { type: "checkbox" });
    this.said = el("p", { class: "jobs-said", role: "alert" });
    this.send = el("button", { class: "btn pri", type: "submit" }, "Submit");
    const field = (/** @type {string} */ label, /** @type {HTMLElement} */ control, wide = false) => el("label", { class: wide ? "field wide" : "field" }, el("span", {}, label), control);
    this.element = el(
      "form",
      { class: "jobs-form", hidden: true, "aria-label": "Submit a job", novalidate: "", onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
      field("Command, run without a shell", this.command, true),
      field("Folder in which it runs", this.cwd, true),
      field("Log folder, in which its run is made", this.logDir, true),
      field("GPUs or core slots", this.slots),
      field("Memory a GPU", this.memory),
      field("Class", this.priority),
      field("Name of the run", this.name),
      field("Command that goes on from its checkpoint: only then others may have it stopped", this.resume, true),
      field("Variables it is to have, besides the usual ones", this.env, true),
      el("label", { class: "jobs-check" }, this.share, " May share its GPUs with another job that may, too"),
      el("div", { class: "actions" }, this.send, el("button", { class: "btn", type: "button", onclick: () => this.close() }, "Close")),
      this.said,
    );
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.close());
  }

  get open() {
    return !this.element.hidden;
  }

  /** @param {Usual} usual */
  show(usual) {
    this.element.hidden = false;
    this.cwd.value ||= usual.cwd;
    this.logDir.value ||= usual.log_dir;
    this.command.focus();
  }

  close() {
    this.element.hidden = true;
    setText(this.said, "");
    this.does.closed();
  }

  /** @param {Event} event */
  async #submit(event) {
    event.preventDefault();
    this.send.disabled = true;
    setText(this.said, "");
    try {
      const { job } = await change("jobs/submit", this.#wanted());
      this.command.value = "";
      this.close();
      this.does.submitted(job);
    } catch (error) {
      setText(this.said, sentenceOf(error));
    }
    this.send.disabled = false;
  }

  #wanted() {
    const value = (/** @type {HTMLInputElement} */ field) => field.value.trim();
    return {
      command: value(this.command),
      cwd: value(this.cwd),
      log_dir: value(this.logDir) || "logs",
      slots: Number(value(this.slots)) || 0,
      memory: value(this.memory) || null,
      priority: this.priority.value,
      share: this.share.checked,
      resume_with: value(this.resume) || null,
      name: value(this.name),
      env: value(this.env).split(/\s+/).filter(Boolean),
    };
  }
}
