/** The line at the foot: the keys, the dashboard's cost, and its delay. */

import { el, setText } from "../lib/dom.js";
import { isOwner } from "../role.js";
import { duration, figure, megabytes } from "../lib/format.js";
import { troubleOf } from "./run_strip.js";

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

export class Status {
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
