/** The parts of every page: the runs, the server's state over the socket, the status line, the address and the keys. It has no time axis. */

import { Feed } from "../data/feed.js";
import { Runs } from "../data/runs.js";
import { publish } from "../lib/selection.js";
import { pathTo, writeAddress } from "../lib/url.js";
import { showFiring } from "./firing.js";
import { Status } from "./status.js";

/** @typedef {ReturnType<Runs["hear"]>} News */

export class Session {
  /** @param {HTMLElement} foot the status line @param {string | null} run that the address asks for @param {[string, string][]} [hints] keys that the status line names */
  constructor(foot, run, hints) {
    this.runs = new Runs(run);
    this.status = new Status(foot, hints);
    /** @type {number | null} age of the newest point when it arrived */
    this.behind_s = null;
    /** Settles when there is a first picture, or nothing to draw. */
    this.ready = new Promise((settle) => (this.settle = settle));
  }

  /** @type {(value?: unknown) => void} */
  settle = () => {};

  /** Call once the page's own parts exist. */
  start() {
    this.feed = new Feed(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${pathTo("/api/v1/live")}`, {
      delta: (message) => this.delta(message),
      state: (message) => {
        showFiring(message.firing);
        this.state(message);
      },
      reset: () => this.reset(),
      status: (lost_ms) => this.#connection(lost_ms),
    });
  }

  // Messages of the server

  /** New points, lines and events. @param {import("../types/api").Delta} message */
  delta(message) {
    const newest_s = Math.max(...message.series.map(({ t }) => t.at(-1) ?? -Infinity));
    if (newest_s > 0) this.behind_s = this.runs.now_s - newest_s;
    this.heard(message);
    if (this.drawsDeltas) this.invalidate();
  }

  /** @param {import("../types/api").State} message */
  state(message) {
    this.received(message, this.runs.hear(message));
    this.invalidate();
  }

  /** Deltas were missed: the shown data must be read again. */
  reset() {}

  /** @param {number | null} lost_ms the browser's clock */
  #connection(lost_ms) {
    this.runs.lost_s = lost_ms === null ? null : lost_ms / 1000 + this.runs.clock_off_s;
    this.invalidate();
  }

  // Defined by each page

  /** A page whose charts read for themselves is drawn with the server's state only: each frame composes all of its canvases anew. */
  drawsDeltas = true;

  /** A delta, after its points were added. @param {import("../types/api").Delta} _message */
  heard(_message) {}

  /** The server's state, once the page knows it. @param {import("../types/api").State} _message @param {News} _news */
  received(_message, _news) {}

  /** The page's part of the address. @returns {Record<string, string | number | string[] | null>} */
  address() {
    return { run: this.runs.name };
  }

  /** The selection, for Dash's callbacks. @returns {import("../lib/selection.js").Selection} */
  selection() {
    const { name } = this.runs;
    return { run: name, runs: name === null ? [] : [name], axis: "time", from: null, to: null, live: true };
  }

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    return [];
  }

  /** What a pointer does on the page. @returns {[string, string][]} */
  gestures() {
    return [];
  }

  // The view

  /** Draw once in the next frame; a hidden tab has none. */
  invalidate() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }

  #frame = 0;

  draw() {
    this.status.draw(this.runs.message, this.behind_s);
  }

  keepAddress() {
    writeAddress(this.address());
    publish(this.selection());
  }
}
