/** What the strip offers about a run: the skipped parts of its files, what ran, its last stacks, and its report. */

import { change, filesOf, get, newest, raw, sentenceOf } from "../lib/api.js";
import { dialogOf, el, hang, setText } from "../lib/dom.js";
import { clock, counted, place, size } from "../lib/format.js";
import { every } from "../lib/life.js";

// The skipped parts of a run's files, and why: a count beside the run's state, with a list.

/** @typedef {import("../types/api").Row<"FileRow">} File */

const EVERY_MS = 20_000; // a file that is set aside changes no count
const MOST = 50; // rows in the list

export class Files {
  constructor() {
    /** @type {string | null} */
    this.run = null;
    this.body = el("div", { class: "rows" });
    this.list = el("div", { class: "files", popover: "auto" }, this.body);
    this.button = el("button", { class: "files-button", type: "button", hidden: true, onclick: () => this.open() });
    this.element = el("span", { class: "files-place" }, this.button, this.list);
    this.read = newest(
      (/** @type {string} */ run) => get("files", { run }),
      ({ files }, run) => run === this.run && this.show(files),
      () => {}, // it is requested again
    );
    every(EVERY_MS, () => this.run !== null && !document.hidden && this.read(this.run));
  }

  /** @param {import("../types/api").Run | null} run the shown one, as `GET /runs` returns it */
  draw(run) {
    const looks = JSON.stringify([run?.run, run?.lines_skipped, run?.fields_skipped]);
    if (looks === this.#looks) return;
    this.#looks = looks;
    if (run?.run !== this.run) this.show([]);
    this.run = run?.run ?? null;
    if (this.run !== null) this.read(this.run);
  }

  #looks = "";

  /** @param {File[]} files */
  show(files) {
    const bad = files.filter((file) => file.trouble || file.lines_skipped || file.fields_skipped);
    bad.sort((a, b) => Number(Boolean(b.trouble)) - Number(Boolean(a.trouble)) || b.lines_skipped - a.lines_skipped);
    this.button.hidden = !bad.length;
    setText(this.button, summary(bad));
    this.button.title = bad.map(reason).find(Boolean) ?? "";
    this.body.replaceChildren(...bad.slice(0, MOST).map((file) => row(file, this.#reader(file))));
  }

  /** A button for a file that looks like data. @param {File} file */
  #reader({ path, is_data }) {
    const { run } = this;
    if (!is_data || run === null) return null;
    const button = el("button", { type: "button", class: "chip", "data-owners": "", onclick: () => ask() }, "Read it after all");
    const ask = () =>
      change(filesOf(run), { path }).then(
        () => button.replaceWith("It is read now."),
        (error) => button.replaceWith(sentenceOf(error)),
      );
    return button;
  }

  open() {
    hang(this.list, this.button);
  }
}

/** `1 file set aside, 12 lines skipped` @param {File[]} bad */
export function summary(bad) {
  const sum = (/** @type {"lines_skipped" | "fields_skipped"} */ name) => bad.reduce((all, file) => all + (file[name] ?? 0), 0);
  const data = bad.filter(({ is_data }) => is_data).length;
  const [aside, lines, fields] = [bad.filter(({ trouble, is_data }) => trouble && !is_data).length, sum("lines_skipped"), sum("fields_skipped")];
  const parts = [
    aside ? `${counted(aside, "file")} set aside` : "",
    lines ? `${counted(lines, "line")} skipped` : "",
    fields && !lines ? `${counted(fields, "field")} skipped` : "",
    data ? `${counted(data, "data file")} not read` : "",
  ];
  return parts.filter(Boolean).join(", ");
}

/** @param {File} file */
const reason = ({ trouble, first_skip }) => trouble || first_skip;

/** @param {File} file @param {HTMLElement | null} button */
function row(file, button) {
  const { path, offset, lines_read, lines_skipped, fields_skipped } = file;
  const counts = [
    `${counted(lines_read, "line")} read (${size(offset)})`,
    lines_skipped ? `${counted(lines_skipped, "line")} skipped` : "",
    fields_skipped ? `${counted(fields_skipped, "field")} skipped` : "",
  ];
  return el("div", {}, el("code", {}, path), el("p", {}, reason(file)), el("p", { class: "dim" }, counts.filter(Boolean).join(", ")), button);
}

// The button that opens what ran, in a dialog, whose content is loaded when it is first opened.

const LOST = "The dashboard does not answer.";

export class RanButton {
  constructor() {
    /** @type {string | null} */
    this.run = null;
    this.body = el("div", { class: "ran-body" });
    this.dialog = dialogOf("ran", "What ran", this.body);
    this.button = el("button", { class: "btn ghost", type: "button", title: "What ran: command, commit, versions (i)", hidden: true, onclick: () => this.open() }, "Run details");
    this.element = this.button;
  }

  /** @param {import("../types/api").Run | null} run the shown one */
  draw(run) {
    if (run?.run === this.run) return;
    this.run = run?.run ?? null;
    this.button.hidden = this.run === null;
    if (this.dialog.open) this.dialog.close();
  }

  async open() {
    const { run } = this;
    if (run === null || this.dialog.open) return;
    this.body.replaceChildren(el("h2", {}, run), el("p", { class: "dim" }, "Reading …"));
    this.dialog.showModal();
    try {
      const [{ info }, { partsOf }] = await Promise.all([get("run", { run }), import("./provenance.js")]);
      if (run === this.run) this.body.replaceChildren(el("h2", {}, run), ...partsOf(run, info));
    } catch (error) {
      this.body.replaceChildren(el("h2", {}, run), el("p", {}, error instanceof TypeError ? LOST : sentenceOf(error)));
    }
  }

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    return [{ keys: ["i"], shown: "i", says: "what ran: command, commit, versions", run: () => this.open() }];
  }
}

// Where each thread of a run was last: shown once the run has ended otherwise than it says itself, in a dialog.

/** @typedef {import("../types/api").Row<"LastStackRow">} LastStack */

const CRASHED = new Set(["failed", "killed", "ended"]);

export class LastStacks {
  constructor() {
    /** @type {string | null} */
    this.run = null;
    this.body = el("div", { class: "ran-body" });
    this.dialog = dialogOf("last", "Last stacks", this.body);
    this.element = el("button", { class: "last-button", type: "button", title: "Where each thread was last", hidden: true, onclick: () => this.open() }, "last stacks");
  }

  /** @param {import("../types/api").Run | null} run the shown one */
  draw(run) {
    this.run = run?.run ?? null;
    this.element.hidden = !run?.pid || !CRASHED.has(run.state); // without a process here nothing was sampled
    if (this.element.hidden && this.dialog.open) this.dialog.close();
  }

  async open() {
    const { run } = this;
    if (run === null || this.dialog.open) return;
    const title = el("h2", {}, `Where each thread of ${run} was last`);
    this.body.replaceChildren(title, el("p", { class: "dim" }, "Reading …"));
    this.dialog.showModal();
    try {
      const { stacks } = await get("last_stacks", { run });
      if (run === this.run) this.body.replaceChildren(title, ...(stacks.length ? stacks.map(shown) : [el("p", { class: "dim" }, "No stack of it was sampled.")]));
    } catch (error) {
      this.body.replaceChildren(title, el("p", {}, sentenceOf(error)));
    }
  }
}

/** The innermost call first, as a debugger shows it. @param {LastStack} last @param {number} _ @param {LastStack[]} all */
function shown(last, _, all) {
  const several = new Set(all.map(({ pid }) => pid)).size > 1;
  const who = several ? `, ${last.role === "main" ? "main process" : last.role} ${last.pid}${last.rank ? ` of rank ${last.rank}` : ""}` : "";
  const lines = last.frames.map(({ file, line, name }) => (file ? `${name}  ${place(file, line)}` : name)).reverse();
  return el("section", {}, el("h3", {}, `${last.thread || "a thread"}${who}, until ${clock(last.until_s)}`), el("pre", {}, lines.join("\n")));
}

// A button that writes the report of a run, or of a window of it, and hands it to the browser's downloads.

/** @typedef {{run: string, window: {from: number, to: number} | null}} Reported `window` is null for the whole run */

export class ReportButton {
  /** @param {() => Reported | null} asked what the report is about at the moment; null for nothing @param {string} look a CSS class */
  constructor(asked, look = "btn") {
    this.asked = asked;
    this.button = el("button", { class: look, type: "button", title: "Everything about it in one HTML file, to keep or to attach", onclick: () => this.write() }, "Report");
    this.said = el("span", { class: "dim", role: "status" });
    this.element = el("span", { class: "report" }, this.button, this.said);
  }

  async write() {
    const asked = this.asked();
    if (!asked || this.button.disabled) return;
    this.button.disabled = true;
    setText(this.said, "Writing …");
    try {
      const response = await raw(`report?${questionOf(asked)}`);
      save(nameOf(response.headers.get("Content-Disposition")), await response.blob());
      setText(this.said, "");
    } catch (error) {
      setText(this.said, sentenceOf(error));
    } finally {
      this.button.disabled = false;
    }
  }
}

/** @param {Reported} asked */
export function questionOf({ run, window }) {
  const query = new URLSearchParams({ run });
  if (window) {
    query.set("from", String(window.from));
    query.set("to", String(window.to));
  }
  return query;
}

/** As the server names the file. @param {string | null} disposition */
const nameOf = (disposition) => /filename="([^"/\\]+)"/.exec(disposition ?? "")?.[1] ?? "report.html";

/** @param {string} name @param {Blob} content */
function save(name, content) {
  const url = URL.createObjectURL(content);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
