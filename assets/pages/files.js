/** The skipped parts of a run's files, and why: a count beside the run's state, with a list. */

import { get, newest, sentenceOf } from "../lib/api.js";
import { change, filesOf } from "../lib/change.js";
import { el, hang, setText } from "../lib/dom.js";
import { counted, size } from "../lib/format.js";

/** @typedef {{path: string, offset: number, lines_read: number, lines_skipped: number, fields_skipped: number, first_skip: string, trouble?: string, is_data?: boolean}} File a row of `GET /files` */

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
    setInterval(() => this.run !== null && !document.hidden && this.read(this.run), EVERY_MS);
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
