/** What every page has: the runs, the socket, the status line, the address and the keys. It has no time axis. */

import { Feed } from "../data/feed.js";
import { Runs } from "../data/runs.js";
import { isOwner } from "../lib/api.js";
import { publish } from "../lib/dash.js";
import { el, setText } from "../lib/dom.js";
import { duration, figure, megabytes } from "../lib/format.js";
import { pathTo, writeAddress } from "../lib/url.js";
import { troubleOf } from "./run_strip.js";

/** The base of all pages: those without an axis of time extend it directly, the others by `TimePage`. */
export class Session {
  /** @param {HTMLElement} foot the status line @param {string | null} run that the address asks for @param {[string, string][]} [hints] keys that the status line names */
  constructor(foot, run, hints) {
    this.runs = new Runs(run);
    this.status = new Status(foot, hints);
    /** @type {number | null} age of the newest point when it arrived */
    this.behind_s = null;
    /** Resolves when there is a first picture, or nothing to draw. */
    this.ready = new Promise((resolve) => (this.markReady = resolve));
  }

  /** @type {(value?: unknown) => void} */
  markReady = () => {};

  /** Call once the page's own parts exist. */
  start() {
    this.feed = new Feed(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${pathTo("/api/v1/live")}`, {
      onDelta: (delta) => {
        const newest_s = Math.max(...delta.series.map(({ t }) => t.at(-1) ?? -Infinity));
        if (newest_s > 0) this.behind_s = this.runs.now_s - newest_s;
        this.onDelta(delta);
        if (this.drawsDeltas) this.invalidate();
      },
      onState: (state) => {
        showFiring(state.firing);
        this.onState(state, this.runs.update(state));
        this.invalidate();
      },
      onReset: () => this.onReset(),
      onConnection: (lost_ms) => {
        this.runs.lost_s = lost_ms === null ? null : lost_ms / 1000 + this.runs.clock_off_s;
        this.invalidate();
      },
    });
  }

  // Messages of the server, for each page

  /** A page whose charts read for themselves is drawn with the server's state only: each frame composes all of its canvases anew. */
  drawsDeltas = true;

  /** New points, lines, events and findings. @param {import("../types/api").Delta} _delta */
  onDelta(_delta) {}

  /** The server's state, which `runs` holds by now. @param {import("../types/api").State} _state @param {import("../data/runs.js").News} _news */
  onState(_state, _news) {}

  /** Deltas were missed: the shown data must be read again. */
  onReset() {}

  // Defined by each page

  /** The page's part of the address. @returns {Record<string, string | number | string[] | null>} */
  address() {
    return { run: this.runs.name };
  }

  /** The selection, for Dash's callbacks. @returns {import("../lib/dash.js").Selection} */
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

// The line at the foot: the keys, the dashboard's cost, and its delay.

/** @type {[string, string][]} */
const KEYS = [
  ["drag", "select"],
  ["f", "flame"],
  ["[ ]", "findings"],
  ["space", "pause"],
  ["0", "whole range"],
  ["?", "all keys"],
];

/** Why some buttons are missing. */
const viewing = () => isOwner ? null : el("span", { class: "dim", title: "Changes, settings, alerts, and what was not granted, are the owner's." }, "viewing only");

class Status {
  /** @param {HTMLElement} host @param {[string, string][]} [keys] that it names */
  constructor(host, keys = KEYS) {
    this.cost = el("span");
    this.profiler = el("span");
    this.lag = el("span");
    this.parts = el("span", { class: "warn", role: "status" });
    this.hints = el("span", { class: "hints" });
    this.setKeys(keys);
    host.append(
      this.hints,
      el("span", { class: "right" }, viewing(), this.parts, this.cost, this.profiler, this.lag),
    );
  }

  /** The few keys that the line names. @param {string[][]} keys */
  setKeys(keys) {
    this.hints.replaceChildren(...keys.map(([key, does]) => el("span", { class: "hint-key" }, el("kbd", {}, key), does)));
  }

  /** @param {import("../types/api").State | null} message the server's state @param {number | null} behind_s */
  draw(message, behind_s) {
    const unwell = (message?.collectors ?? []).filter(({ state }) => state !== "ok");
    setText(this.parts, unwell.map(({ name, state }) => `${name} ${state}`).join(", "));
    this.parts.title = troubleOf(unwell) ?? "";
    if (message?.cost)
      setText(this.cost, `dashboard costs ${figure(message.cost.cpu_pct, 1)} % of a core, ${megabytes(message.cost.rss_bytes)}`);
    setText(this.profiler, message?.profile?.state === "on" ? `profiler ${figure(message.cost?.profiler_pct, 1)} %` : "");
    setText(this.lag, behind_s === null ? "" : `${duration(Math.max(0, behind_s))} behind`);
  }
}

// The sign in every page's bar: how many alerts fire. It also has the browser show new ones, where a user has allowed it.

const AGAIN_MS = 4000; // messages may come while as many alerts fire as before

/** @type {HTMLAnchorElement | null} */
const sign = document.querySelector(".firing");
let looked_ms = -Infinity;
let before = -1;

/** @param {number} firing */
function showFiring(firing) {
  if (sign) {
    sign.hidden = !firing || !isOwner; // the Alerts page is the owner's
    setText(sign, String(firing));
    sign.ariaLabel = firing === 1 ? "1 active alert" : `${firing} active alerts`;
    sign.title = sign.ariaLabel;
  }
  const now_ms = performance.now();
  if (firing === before && now_ms - looked_ms < AGAIN_MS) return;
  [before, looked_ms] = [firing, now_ms];
  if (isOwner && globalThis.Notification?.permission === "granted") import("../findings/desktop.js").then(({ notify }) => notify()).catch(() => {}); // asked again at the next
}
