/** The run picker: a button with the run's name opens a list that typing filters; of thousands only the visible rows are made. */

import { el, hang, setText, visibleName } from "./dom.js";
import { count, duration } from "./format.js";

const MOST = 50; // rows in the list

export class Picker {
  /** @param {(run: string) => void} pick */
  constructor(pick) {
    this.pick = pick;
    /** @type {import("../data/runs.js").Runs | null} */
    this.runs = null;
    this.at = 0; // of the rows, which Enter picks
    this.button = el("button", { class: "picker", type: "button", "aria-label": "Run", "aria-haspopup": "listbox", disabled: true, onclick: () => this.open() }, "…");
    this.input = el("input", {
      type: "search",
      placeholder: "run",
      "aria-label": "Find a run",
      oninput: () => this.#find(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    });
    this.rows = el("div", { class: "rows", role: "listbox" });
    this.more = el("div", { class: "dim" });
    this.list = el("div", { class: "runs", popover: "auto" }, el("span", { class: "find" }, this.input), this.rows, this.more);
    this.element = el("div", { class: "pick" }, this.button, this.list);
  }

  /** @param {import("../data/runs.js").Runs} runs */
  draw(runs) {
    this.runs = runs;
    const { list, name, current } = runs;
    setText(this.button, current ? visibleName(current.run) : runs.missing ? `no run “${name}”` : list.length ? "choose a run" : runs.read_once ? "no run yet" : "…");
    this.button.title = this.button.textContent;
    this.button.ariaLabel = `Run: ${this.button.textContent}`;
    this.button.value = current?.run ?? "";
    this.button.disabled = !list.length;
  }

  open() {
    this.input.value = "";
    this.#find();
    hang(this.list, this.button);
    this.input.focus();
  }

  #find() {
    const { list, now_s, name } = /** @type {import("../data/runs.js").Runs} */ (this.runs);
    const words = this.input.value.toLowerCase().split(/\s+/);
    const found = list.filter(({ run }) => words.every((/** @type {string} */ word) => run.toLowerCase().includes(word)));
    const shown = found.slice(0, MOST);
    this.at = Math.max(0, shown.findIndex(({ run }) => run === name));
    this.rows.replaceChildren(...shown.map((run) => this.#row(run, now_s)));
    const rest = found.length - shown.length;
    setText(this.more, rest ? `${count(rest)} more: type a part of the name` : found.length ? "" : "No run has that in its name.");
    this.#mark();
  }

  /** @param {import("../types/api").Run} run @param {number} now_s */
  #row({ run, state, doing, last_time_s }, now_s) {
    const ago = last_time_s && state !== "running" ? `${duration(Math.max(0, now_s - last_time_s))} ago` : "";
    return el(
      "button",
      { type: "button", role: "option", "data-run": run, onclick: () => this.#chosen(run) },
      el("span", { class: "run-name" }, visibleName(run)),
      el("span", { class: "dim" }, [doing ?? state, ago].filter(Boolean).join(", ")),
    );
  }

  #mark() {
    [...this.rows.children].forEach((row, i) => {
      row.setAttribute("aria-selected", String(i === this.at));
      if (i === this.at) row.scrollIntoView({ block: "nearest" });
    });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (way) {
      event.preventDefault();
      this.at = Math.max(0, Math.min(this.rows.children.length - 1, this.at + way));
      this.#mark();
    } else if (event.key === "Enter") {
      event.preventDefault(); // else it presses the picker's button, which then has the focus, and reopens the list
      this.rows.children[this.at]?.click();
    }
  }

  /** @param {string} run */
  #chosen(run) {
    this.list.hidePopover();
    if (run !== this.runs?.name || this.runs.missing) this.pick(run);
  }
}
