/** The line above a board: which board, whose run, which range, and the buttons that change it. */

import { spanWord } from "../../curves/xaxis.js";
import { el, setText } from "../../lib/dom.js";
import { duration } from "../../lib/format.js";
import { Picker } from "../../lib/picker.js";

/** @typedef {import("../../types/api").Row<"BoardRowOfList">} ListRow */
/** @typedef {{open: (name: string) => void, pick: (run: string) => void, window: (window_s: number | null) => void, live: () => void, edit: () => void, make: () => void}} Acts */
/** @typedef {{list: ListRow[], name: string, runs: import("../../data/runs.js").Runs, window_s: number | null, fields: import("../../boards/model.js").BoardFields, held: {lo: number, hi: number} | null, editing: boolean}} Shown */

const WINDOWS_S = [60, 300, 900, 3600, 6 * 3600, 86400];
const SOURCES = /** @type {const} */ ([
  ["data", "Your boards"],
  ["log", "Boards of the log folder"],
  ["template", "Boards that come along"],
]);

export class Tools {
  /** @param {Acts} acts */
  constructor(acts) {
    this.boards = el("select", { class: "input", "aria-label": "Board", onchange: () => acts.open(this.boards.value) });
    this.picker = new Picker((run) => acts.pick(run));
    this.window = el("select", { class: "input", "aria-label": "Range", onchange: () => acts.window(this.window.value === "" ? null : Number(this.window.value)) });
    this.held = el("span", { class: "mid" });
    this.live = el("button", { class: "btn", type: "button", onclick: () => acts.live() }, "Live ", el("kbd", {}, "0"));
    this.edit = el("button", { class: "btn", type: "button", "data-owners": "", onclick: () => acts.edit() }, "Edit ", el("kbd", {}, "e"));
    this.make = el("button", { class: "btn", type: "button", "data-owners": "", onclick: () => acts.make() }, "New ", el("kbd", {}, "n"));
    this.element = el("section", { class: "boards-tools", "aria-label": "Board and range" }, this.boards, this.picker.element, this.window, this.held, this.live, el("span", { class: "room" }), this.edit, this.make);
    this.seen = "";
  }

  /** @param {Shown} shown */
  draw({ list, name, runs, window_s, fields, held, editing }) {
    this.picker.draw(runs);
    const key = JSON.stringify([list.map((row) => [row.name, row.title, row.source, Boolean(row.trouble)]), name, window_s, fields.window]);
    if (key !== this.seen) {
      this.seen = key;
      const groups = SOURCES.map(([source, label]) => ({ label, rows: list.filter((row) => row.source === source) })).filter(({ rows }) => rows.length);
      const gone = list.some((row) => row.name === name) ? [] : [el("option", { value: name }, name)];
      this.boards.replaceChildren(...gone, ...groups.map(({ label, rows }) => el("optgroup", { label }, ...rows.map((row) => el("option", { value: row.name, title: row.about }, `${row.title}${row.trouble ? " (broken)" : ""}`)))));
      this.boards.value = name;
      const own = fields.window && fields.window !== "all" ? `last ${fields.window}` : "whole run";
      const more = window_s !== null && !WINDOWS_S.includes(window_s) ? [window_s] : [];
      this.window.replaceChildren(el("option", { value: "" }, own), ...[...WINDOWS_S, ...more].map((seconds) => el("option", { value: String(seconds) }, `last ${duration(seconds)}`)));
      this.window.value = window_s === null ? "" : String(window_s);
    }
    this.window.hidden = held !== null || fields.axis === "step";
    this.held.hidden = this.live.hidden = held === null;
    setText(this.held, held ? spanWord(fields.axis ?? "time", held) : "");
    this.edit.hidden = this.make.hidden = editing;
    this.boards.disabled = editing;
  }
}
