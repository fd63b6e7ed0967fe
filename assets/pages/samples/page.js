/** The Samples page: what a run logged to be looked at, beside another one's if asked, and its checkpoints. */

import { el, setText } from "../../lib/dom.js";
import { every } from "../../lib/life.js";
import { Picker } from "../../lib/picker.js";
import { linkPages, readAddress } from "../../lib/url.js";
import { Checkpoints, Viewer } from "../../samples/viewer.js";
import { PageView } from "../session.js";

const EVERY_MS = 2000; // a living run is read again,
const CHECKPOINTS_EVERY = 5; // and its checkpoints each so many times

export default class SamplesPage extends PageView {
  /** @param {import("../session.js").Session} session */
  constructor(session) {
    const { run } = readAddress();
    super(session, run);
    const query = new URLSearchParams(location.search);
    /** @type {string | null} the second run */
    this.other = query.getAll("runs").find((name) => name !== run) ?? null;
    const step = parseFloat(query.get("step") ?? "");
    this.viewer = new Viewer({ step: Number.isFinite(step) ? step : null, find: query.get("find") ?? "", pixels: query.get("fit") === "pixels" }, () => this.keepAddress());
    this.viewer.others = () => this.runs.list.map(({ run }) => run).filter((name) => name !== this.runs.name);
    this.beside = new Picker((name) => this.compare(name));
    this.alone = el("button", { class: "btn", type: "button", onclick: () => this.compare(null) }, "Alone");
    this.checkpoints = new Checkpoints();
    this.element = el(
      "div",
      { class: "samples-page" },
      el("section", { class: "samples-head", "aria-label": "Second run" }, el("span", { class: "mid" }, "Beside"), this.beside.element, this.alone),
      this.viewer.element,
      this.checkpoints.element,
    );
    this.parts = { SamplesView: this.element };
    this.ahead = this.element;
    every(EVERY_MS, () => document.hidden || this.runs.over || this.#read((this.times += 1) % CHECKPOINTS_EVERY === 0));
    this.#load();
  }

  times = 0; // that a living run was read again

  async #load() {
    try {
      await this.runs.choose();
    } catch (error) {
      this.viewer.trouble = String(/** @type {Error} */ (error).message);
    }
    await this.#read();
    this.markReady();
    this.keepAddress();
  }

  /** @param {boolean} [checkpoints] those, too */
  async #read(checkpoints = true) {
    const { name, missing, now_s } = this.runs;
    this.invalidate();
    if (name === null || missing) {
      this.viewer.isRead = true;
      await this.viewer.show([]);
      return;
    }
    const others = this.other === null || this.other === name ? [] : [this.other];
    await Promise.all([this.viewer.show([name, ...others]), checkpoints && this.checkpoints.read(name, now_s)]);
  }

  /** @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.keepRuns();
    this.#read();
  }

  /** @param {string | null} run */
  compare(run) {
    this.other = run === this.runs.name ? null : run;
    this.keepRuns();
    this.#read();
  }

  /** @param {import("../../types/api").State} _state @param {import("../../data/runs.js").News} news */
  onState(_state, news) {
    if (news.more) this.runs.readList().then(() => this.invalidate(), () => {});
  }

  draw() {
    super.draw();
    const { runs, other } = this;
    const second = { list: runs.list, name: other, current: runs.list.find(({ run }) => run === other) ?? null, missing: false, now_s: runs.now_s };
    this.beside.draw(/** @type {any} */ (second));
    if (!second.current) setText(this.beside.button, "another run");
    this.beside.button.ariaLabel = `Second run: ${this.beside.button.textContent}`;
    this.alone.hidden = other === null;
  }

  /** The runs in the address: the second one is in `runs` with the first. */
  keepRuns() {
    const query = new URLSearchParams(location.search);
    query.delete("runs");
    if (this.other !== null) for (const run of [this.runs.name, this.other]) if (run !== null) query.append("runs", run);
    history.replaceState(history.state, "", `?${query}`);
    linkPages();
    this.keepAddress();
    this.invalidate();
  }

  address() {
    return { ...super.address(), step: this.viewer.step, find: this.viewer.find || null, fit: this.viewer.pixels ? "pixels" : null };
  }

  selection() {
    const runs = [this.runs.name, this.other].filter((run) => run !== null);
    return { ...super.selection(), runs: /** @type {string[]} */ (runs), axis: /** @type {"step"} */ ("step"), live: this.viewer.step === null };
  }

  keys() {
    return [
      { keys: ["ArrowLeft"], shown: "←", says: "previous step", run: () => this.viewer.move(-1) },
      { keys: ["ArrowRight"], shown: "→", says: "next step", run: () => this.viewer.move(1) },
      { keys: [" "], shown: "space", says: "the newest step", run: () => this.viewer.go(null) },
      { keys: ["/"], shown: "/", says: "find a name", run: () => this.viewer.input.focus() },
    ];
  }
}
