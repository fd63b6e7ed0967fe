/** A page about one run: its events, its profile, and what its window is compared with. */

import { get } from "./api.js";
import { Compare } from "./compare.js";
import { Page } from "./page.js";
import { Pins } from "./pins.js";
import { Profile } from "./profile.js";
import { stepAt } from "./progress.js";
import { readAddress } from "./url.js";

const NOW_EVERY_MS = 2000; // while nothing is selected, the flame graph is asked for so often

/** A page shows the profile's answers itself: it is the `Sink`. */
export class RunPage extends Page {
  /** @param {HTMLElement} bar @param {HTMLElement} foot the status line @param {number} [buckets] that a view is read in */
  constructor(bar, foot, buckets) {
    super(bar, foot, { run: readAddress().run, buckets });
    this.compare = new Compare(this.timeline, this.steering, () => this.compared());
    this.pins = new Pins(this.timeline, this.steering, () => this.pinned());
    this.profile = new Profile(/** @type {any} */ (this));
    this.profile.baseline = this.compare.window;
    setInterval(() => this.range.window || document.hidden || this.inquire(), NOW_EVERY_MS);
  }

  async learnMore() {
    const run = this.runs.name;
    if (run !== null) this.events = (await get("events", { run })).events;
    this.invalidate();
  }

  /** Ask for the profile of the window, or of now. @param {boolean} [done] false while it is being drawn */
  inquire(done = true) {
    const { name, current, over } = this.runs;
    if (name === null) return;
    if (this.range.window) this.profile.ask(name, this.range.window, done);
    else this.profile.askNow(name, over ? current.last_time_s : this.end_s);
  }

  /** @param {"on" | "retry"} action */
  steerProfile(action) {
    this.profile.steer(action).catch((error) => this.failed(error));
  }

  /** The steps that a window spans. @param {import("./range.js").Window | null | undefined} window @param {import("./series.js").Series | null} stepper */
  steps(window, stepper) {
    return { from: window ? stepAt(stepper, window.from) : null, to: window ? stepAt(stepper, window.to) : null };
  }

  address() {
    return { run: this.runs.name, ...super.address(), ...this.compare.address(), ...this.pins.address() };
  }

  /** @param {import("./range.js").View} _view @param {import("./series.js").Series | null} _stepper */
  drawMore(_view, _stepper) {
    this.compare.draw();
    this.pins.draw();
  }

  // What a person does

  /** @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.range.follow();
    this.events = [];
    this.book.series = new Map();
    this.load();
    this.inquire();
  }

  /** @param {number} from @param {number} to @param {boolean} done */
  select(from, to, done) {
    this.compare.select(from, to, done);
  }

  moved() {
    super.moved();
    this.inquire();
  }

  /** @param {boolean} done */
  chosen(done) {
    this.inquire(done);
    super.chosen(done);
  }

  /** A person chose what to compare with. */
  compared() {
    this.profile.baseline = this.compare.window;
    this.inquire(!this.compare.pending);
    this.keepAddress();
    this.invalidate();
  }

  pinned() {
    this.keepAddress();
    this.invalidate();
  }

  /** @returns {import("./keys.js").Key[]} */
  keys() {
    return [...this.compare.keys(), ...this.pins.keys()];
  }

  // What the server says

  /** @param {any} message */
  heard(message) {
    this.events.push(...message.events.filter((/** @type {{run: string}} */ { run }) => run === this.runs.name));
  }

  /** @param {any} message @param {ReturnType<import("./runs.js").Runs["hear"]>} news */
  told(message, news) {
    this.profile.hear(message.profile ?? {}, this.runs.over);
    if (!news.first && news.more) this.#newRuns();
    else if (!news.first && news.grown) this.load();
    else super.told(message, news);
  }

  async #newRuns() {
    await this.runs.read().catch((error) => this.failed(error));
    if (this.runs.name === null) this.load();
    this.invalidate();
  }
}
