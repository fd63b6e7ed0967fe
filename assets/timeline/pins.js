/** Windows that the user pinned: they stay on the axis, and a click selects one again. The address keeps them. */

import { el } from "../lib/dom.js";
import { windowOf } from "../lib/url.js";

/** @typedef {import("../data/view_range.js").Window} Window */

export class Pins {
  /** @param {import("./timeline.js").Timeline} timeline that shows them @param {import("./gestures.js").ViewController} controller @param {() => void} changed */
  constructor(timeline, controller, changed) {
    this.timeline = timeline;
    this.controller = controller;
    this.changed = changed;
    /** @type {Window[]} */
    this.windows = pinsOfAddress();
    this.row = el("div", { class: "pins" });
    timeline.axis.querySelector(".scale").append(this.row);
  }

  /** @param {Window | null} window */
  has(window) {
    return window !== null && this.windows.some((pin) => same(pin, window));
  }

  /** Pin the selected window, or remove its pin. */
  toggle() {
    const { window } = this.controller.range;
    if (!window) return;
    this.windows = this.has(window) ? this.windows.filter((pin) => !same(pin, window)) : [...this.windows, window];
    this.changed();
  }

  /** Draw them over the axis; call after the lanes. */
  draw() {
    const { picture, width = 0 } = this.timeline;
    if (!picture) return;
    const { window, view } = picture;
    const seen = this.windows.filter((pin) => pin.to > view.lo && pin.from < view.hi && !(window && same(pin, window)));
    const places = seen.map(({ from, to }) => [Math.max(0, this.timeline.x(from)), Math.min(width, this.timeline.x(to))]);
    const shown = JSON.stringify(seen);
    if (shown !== this.row.dataset.shown) this.row.replaceChildren(...seen.map((pin) => this.#pin(pin)));
    this.row.dataset.shown = shown;
    places.forEach(([x0, x1], i) => {
      const { style } = /** @type {HTMLElement} */ (this.row.children[i]); // it stays the same one while the axis moves: it may be pressed just now
      style.left = `${(x0 + x1) / 2}px`;
      style.minWidth = `${Math.max(1, x1 - x0)}px`;
    });
  }

  /** @param {Window} window */
  #pin({ from, to }) {
    const { axis } = this.controller.range;
    const length = axis.length(to - from);
    const title = `Pinned: ${axis.range(from, to)}, ${length}`;
    return el("button", { class: "pin", type: "button", title, onclick: () => this.controller.select(from, to, true) }, length);
  }

  /** Their part of the address. */
  address() {
    const pins = this.windows.map(({ from, to }) => `${from.toFixed(3)}-${to.toFixed(3)}`).join();
    return { pins: pins || null };
  }

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    return [{ keys: ["p"], shown: "p", says: "pin the window, or remove its pin", run: () => this.toggle() }];
  }
}

/** @param {Window} a @param {Window} b to a millisecond, as in the address */
const same = (a, b) => Math.abs(a.from - b.from) < 0.0015 && Math.abs(a.to - b.to) < 0.0015;

/** `pins=1764000000.000-1764000048.000,...` @returns {Window[]} */
function pinsOfAddress() {
  const query = new URLSearchParams(location.search);
  const pins = (query.get("pins") ?? "").split(",");
  return pins.flatMap((pin) => windowOf(query, ...pin.split("-").slice(0, 2)) ?? []);
}
