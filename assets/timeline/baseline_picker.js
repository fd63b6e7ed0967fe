/** What a window is compared with instead of the run's normal: another window (`d`, then a drag over it), or another run. */

import { el } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { windowOf } from "../lib/url.js";

/** @typedef {import("../data/view_range.js").Window} Window */
/** @typedef {{run: string | null, window: Window | null}} Baseline a window of the same run, another run, or a window of that */

const WORD_PX = 100; // a narrower box carries no word

export class BaselinePicker {
  /**
   * @param {import("./timeline.js").Timeline} timeline that shows it @param {import("./gestures.js").ViewController} controller
   * @param {() => void} changed a window was drawn, is being drawn, or was given up
   */
  constructor(timeline, controller, changed) {
    this.timeline = timeline;
    this.controller = controller;
    this.changed = changed;
    /** @type {Baseline | null} null is the run's normal */
    this.value = baselineOfAddress();
    this.pending = false; // the next window that is drawn is the one to compare with
    this.word = el("span");
    this.box = el("div", { class: "compared", hidden: true }, this.word);
    this.hint = el("p", { class: "notice", role: "status", hidden: true }, "Drag over the window to compare with. ");
    this.hint.append(el("kbd", {}, "Esc"), " keeps the run’s normal.");
    timeline.surface.append(this.box);
    timeline.element.append(this.hint);
  }

  /** Replaces the controller's gestures, for `brush`. @param {number} from @param {number} to @param {boolean} done */
  select(from, to, done) {
    if (!this.pending) return this.controller.select(from, to, done);
    this.value = { run: null, window: { from, to } };
    if (done) this.#wait(false);
    return this.changed();
  }

  /** Wait for a window to compare the selected one with, or return to normal. */
  toggle() {
    if (!this.clear() && this.controller.range.window) this.#wait(true);
  }

  /** Back to the run's normal. @returns {boolean} whether there was a comparison to end */
  clear() {
    const had = this.pending || this.value !== null;
    this.#wait(false);
    if (this.value) {
      this.value = null;
      this.changed();
    }
    return had;
  }

  /** @param {boolean} pending */
  #wait(pending) {
    this.pending = pending;
    this.hint.hidden = !pending;
  }

  /** Draw it over the lanes; call after them. */
  draw() {
    const { value, timeline } = this;
    const window = value && value.run === null ? value.window : null;
    this.box.hidden = !window || !timeline.picture;
    if (!window || this.box.hidden) return;
    const [x0, x1] = [timeline.x(window.from), timeline.x(window.to)];
    this.box.style.left = `${x0}px`;
    this.box.style.width = `${Math.max(1, x1 - x0)}px`;
    this.word.textContent = x1 - x0 > WORD_PX ? `compared, ${duration(window.to - window.from)}` : "";
  }

  /** Its part of the address. */
  address() {
    return { baseline: this.value && baselineText(this.value) };
  }

  /** The controller's keys, with `Esc` ending the comparison first, and `d`. @returns {import("../lib/keys.js").Key[]} */
  keys() {
    const keys = this.controller.keys().map((key) => (key.shown === "Esc" ? { ...key, run: () => this.clear() || key.run() } : key));
    return [
      ...keys,
      { keys: ["d"], shown: "d", says: "compare the window with another one, or with normal", run: () => this.toggle() },
    ];
  }
}

/** As the address and the API write it: `1764000000.000-1764000048.000`, `@other-run`, or both. @param {Baseline} baseline */
export const baselineText = ({ run, window }) => `${window ? `${window.from.toFixed(3)}-${window.to.toFixed(3)}` : ""}${run === null ? "" : `@${run}`}`;

/** @returns {Baseline | null} */
function baselineOfAddress() {
  const query = new URLSearchParams(location.search);
  const [, ends, at, name] = /^([^@]*)(@?)(.*)$/s.exec(query.get("baseline") ?? "") ?? [];
  const [from, to] = ends.split("-");
  const [run, window] = [at ? name : null, windowOf(query, from, to)];
  return run !== null || window ? { run, window } : null;
}
