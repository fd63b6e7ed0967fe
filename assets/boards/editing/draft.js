/** A board that is being changed: its text and what that says, the way back, and what is saved. */

import { sentenceOf } from "../../lib/api.js";
import { change } from "../../lib/change.js";

/** @typedef {import("../model.js").BoardFields} BoardFields */
/** @typedef {import("../../types/api").Row<"BoardAnswer">} BoardAnswer */
/** @typedef {{kind: "set" | "remove" | "insert" | "move", place: (string | number)[], value?: unknown, to?: (string | number)[]}} Edit */
/** @typedef {{text: string, board: BoardFields}} Content */

const MOST_BACK = 200;
const EMPTY = "title: New board\n";

export class Draft {
  /** @param {BoardAnswer | null} file null for a new one @param {() => void} changed */
  constructor(file, changed) {
    this.changed = changed;
    this.name = file?.name ?? "";
    this.version = file?.version ?? "";
    /** @type {Content} */
    this.content = { text: file?.text ?? EMPTY, board: file?.board ?? {} };
    this.typed = file?.text ?? EMPTY; // also where it is no board
    this.saved = file?.text ?? "";
    /** @type {Content[]} */
    this.back = [];
    this.trouble = file?.trouble ?? "";
    /** @type {unknown} what the last change has met */
    this.failed = null;
    /** @type {Promise<void>} one change after the other */
    this.last = Promise.resolve();
  }

  get board() {
    return this.content.board;
  }

  /** Something would be lost without saving. */
  get dirty() {
    return this.typed !== this.saved;
  }

  /** Change the text at some places; comments stay. @param {Edit[]} edits */
  apply(edits) {
    return this.#next(() => this.#send(this.content.text, edits));
  }

  /** The text as a user types it: taken once it is a board. @param {string} text */
  type(text) {
    this.typed = text;
    return this.#next(() => (this.typed === text ? this.#send(text, []) : Promise.resolve()));
  }

  /** @param {() => Promise<void>} work */
  #next(work) {
    this.last = this.last.then(work);
    return this.last;
  }

  /** @param {string} text @param {Edit[]} edits */
  async #send(text, edits) {
    try {
      const { typed } = this;
      const answer = /** @type {Content} */ (await change("board_edits", { text, edits }));
      this.trouble = "";
      this.failed = null;
      if (answer.text !== this.content.text) this.back = [...this.back.slice(1 - MOST_BACK), this.content];
      this.content = answer;
      if (this.typed === typed || edits.length) this.typed = answer.text; // what is typed meanwhile comes next
    } catch (error) {
      this.trouble = sentenceOf(error);
      this.failed = error;
    }
    this.changed();
  }

  undo() {
    return this.#next(async () => {
      const before = this.back.pop();
      if (!before && this.typed === this.content.text) return;
      if (this.typed === this.content.text && before) this.content = before;
      else if (before) this.back.push(before); // what was typed last was no board
      this.typed = this.content.text;
      this.trouble = "";
      this.failed = null;
      this.changed();
    });
  }

  /** @param {string} name @returns {Promise<BoardAnswer>} throws Refused and Unreachable, and what the last change has met */
  async save(name) {
    await this.last;
    if (this.failed) throw this.failed; // the board would be saved without that change
    const version = name === this.name ? this.version : "";
    const saved = /** @type {BoardAnswer} */ (await change(`boards/${encodeURIComponent(name)}`, { text: this.typed, version }));
    this.#hold(saved);
    return saved;
  }

  /** What another editor, or a user's hand, has made of the file. @param {BoardAnswer} file */
  take(file) {
    if (this.content.text !== file.text && file.board) this.back = [...this.back, this.content];
    if (file.board && !file.trouble) this.content = { text: file.text, board: file.board };
    this.trouble = file.trouble;
    this.failed = null;
    this.#hold(file);
    this.changed();
  }

  /** @param {BoardAnswer} file */
  #hold({ name, version, text }) {
    Object.assign(this, { name, version, saved: text, typed: text });
  }

  /** @returns {Promise<BoardAnswer | null>} the board that stands behind it */
  async remove() {
    return (await change(`boards/${encodeURIComponent(this.name)}/delete`, { version: this.version })).board;
  }
}
