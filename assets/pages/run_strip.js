/** The strip at the top: the run, its state, its progress, and what is wrong. */

import { wordsOf } from "../data/runs.js";
import { el, icon, setClass, setText } from "../lib/dom.js";
import { clock, count, duration, figure, minute, sameDay, weekday } from "../lib/format.js";
import { NotifyButton } from "./notify.js";
import { Files, LastStacks, RanButton, ReportButton } from "./run_details.js";

/**
 * @typedef {Object} Standing what the strip shows
 * @property {import("../data/runs.js").Runs} runs
 * @property {number | null} step
 * @property {number | null} total
 * @property {number | null} rate steps per second, or units where lines stand for many
 * @property {number | null} items_per_s where lines count samples or steps, and do not say which
 * @property {number | null} steps_per_s by which the remaining steps are divided
 * @property {number | null} loss
 * @property {number | null} lossBefore at the left edge of the view
 * @property {string} span over which the loss has changed
 * @property {Finding | null} finding
 */
/** @typedef {{tone: "bad" | "warn" | "ok" | "dim", shape?: "triangle" | "octagon" | "disc", sentence: string, title?: string, id?: string, actions?: {label: string, run: (button: HTMLElement) => void}[]}} Finding `id` and `actions` of what the rules found */

const LONGEST_UNIT = 12; // characters

export class RunStrip {
  /** @param {HTMLElement} actions the page's place in the row of the scope @param {HTMLElement} [nav] the way through the findings */
  constructor(actions, nav) {
    this.files = new Files();
    this.ran = new RanButton();
    this.last = new LastStacks();
    this.report = new ReportButton(() => (this.run === null ? null : { run: this.run, window: null }), "btn ghost");
    this.notify = new NotifyButton("btn ghost");
    this.figures = Object.fromEntries(["Step", "Steps/s", "Loss", "Done in"].map((name) => [name, new Figure(name)]));
    this.said = el("div", { class: "finding-said", role: "status" });
    this.acts = el("div", { class: "finding-acts" });
    this.finding = el("div", { class: "finding" }, this.said, this.acts, nav ?? null);
    actions.append(this.files.element, this.last.element, this.ran.element, this.report.element, this.notify.element);
    this.element = el(
      "section",
      { class: "verdict arriving", "aria-label": "The run" },
      ...Object.values(this.figures).map(({ element }) => element),
      this.finding,
    );
  }

  /** @param {Standing} standing */
  draw(standing) {
    this.#drawRun(standing.runs.current, standing.runs.over);
    if (standing.runs.read_once) setClass(this.element, "arriving", false); // which figures there are is known
    const { step, total, steps_per_s, items_per_s, loss, lossBefore, span } = standing;
    const { now_s, current: run } = standing.runs;
    const unit = unitOf(run?.info);
    setText(this.figures["Step"].label, unit);
    const counts = standing.rate === null && items_per_s !== null; // items
    const rate = counts ? items_per_s : standing.rate;
    setText(this.figures["Steps/s"].label, counts ? "Items/s" : `${unit}s/s`);
    this.figures["Loss"].element.hidden = run?.info.kind === "service";
    this.figures["Step"].draw(count(step), total ? `of ${count(total)}` : "");
    this.figures["Steps/s"].draw(figure(rate, rate !== null && rate < 10 ? 2 : 1), "");
    const left = total && steps_per_s && step !== null && run?.state === "running" ? Math.max(0, total - step) / steps_per_s : null;
    this.figures["Done in"].element.hidden = standing.runs.over || !total;
    this.figures["Done in"].draw(left === null ? "–" : duration(left), left === null ? "" : doneAt(now_s, left));
    const change = loss !== null && lossBefore !== null && Number.isFinite(loss - lossBefore) ? loss - lossBefore : null;
    this.figures["Loss"].draw(
      figure(loss, 4),
      change === null ? "" : `${change > 0 ? "+" : ""}${figure(change, 3)} in ${span}`,
    );
    this.#drawFinding(standing.finding);
  }

  /** @param {import("../types/api").Run | null} run @param {boolean} over */
  #drawRun(run, over) {
    this.files.draw(run);
    this.ran.draw(run);
    this.last.draw(run);
    this.run = run?.run ?? null;
    this.report.element.hidden = this.run === null;
    this.notify.draw(over ? null : this.run);
  }

  /** @type {string | null} */
  run = null;

  /** @param {Finding | null} finding */
  #drawFinding(finding) {
    const drawn = JSON.stringify(finding);
    if (drawn === this.finding.dataset.drawn) return;
    this.finding.dataset.drawn = drawn;
    const shape = finding?.shape ?? (finding?.tone === "bad" ? "cross" : "triangle");
    this.said.replaceChildren(
      ...(finding
        ? [
            ...(finding.tone === "dim" ? [] : [icon(shape, finding.tone)]),
            el("span", { class: `text ${finding.tone}` }, finding.title ? el("b", {}, `${finding.title}. `) : null, finding.sentence),
          ]
        : []),
    );
    const button = (/** @type {NonNullable<Finding["actions"]>[number]} */ { label, run }) => el("button", { type: "button", onclick: (/** @type {any} */ event) => run(event.currentTarget) }, label);
    this.acts.replaceChildren(...(finding?.actions ?? []).map(button));
  }
}

export class Figure {
  /** @param {string} name */
  constructor(name) {
    this.label = el("div", { class: "k" }, name);
    this.value = el("span");
    this.more = el("small");
    this.element = el(
      "div",
      { class: "figure" },
      this.label,
      el("div", { class: "v" }, this.value, " ", this.more),
    );
  }

  /** @param {string} value @param {string} more */
  draw(value, more) {
    setText(this.value, value);
    setText(this.more, more);
  }
}

/** `Step`, `Request`: what the run calls a unit of its work. @param {Record<string, unknown> | undefined} info */
const unitOf = (info) => {
  const unit = typeof info?.unit === "string" && info.unit.length <= LONGEST_UNIT ? info.unit : "step";
  return `${unit.slice(0, 1).toUpperCase()}${unit.slice(1)}`;
};

/** @param {number} now_s @param {number} left_s */
const doneAt = (now_s, left_s) =>
  sameDay(now_s, now_s + left_s)
    ? `at ${minute(now_s + left_s)}`
    : left_s > 86400 * 6
      ? ""
      : `${weekday(now_s + left_s)} ${minute(now_s + left_s)}`;

/**
 * The most important finding, or none: a lost connection, then errors of the run, then what is missing.
 * @param {import("../data/runs.js").Runs} runs @returns {Finding | null}
 */
export function worst({ message, current: run, lost_s, now_s }) {
  if (lost_s !== null)
    return { tone: "warn", sentence: `Connection lost ${duration(Math.max(1, Math.round(now_s - lost_s)))} ago, retrying.` };
  if (!message) return null;
  const problem = message.problems[0] ?? message.read_only ?? troubleOf(message.collectors);
  if (problem) return { tone: "warn", sentence: problem };
  const [word, tone, meaning] = wordsOf(run);
  if (tone === "bad" || tone === "warn")
    return { tone, sentence: run?.state_reason || `${word}${run?.last_time_s ? ` at ${clock(run.last_time_s)}` : ""}.` };
  const lost = message.gpus.find(({ state }) => state === "lost");
  if (lost) return { tone: "bad", sentence: lost.reason };
  const quiet = [run?.ranks_note, meaning, run?.state === "ended" || run?.state === "queued" ? run.state_reason : "", message.gpu_note].find(Boolean);
  return quiet ? { tone: "dim", sentence: quiet } : null;
}

/** The first sentence of a failing collector; a stuck one goes first. @param {import("../types/api").Row<"CollectorRow">[]} collectors @returns {string | undefined} */
export function troubleOf(collectors) {
  const said = (/** @type {any} */ collector) => collector.sentence || collector.last_error;
  const bad = collectors.filter((collector) => collector.state !== "ok");
  const stuck = bad.find(({ state }) => state === "stuck");
  if (stuck) return said(stuck) || `The ${stuck.name} collector is stuck.`;
  return bad.map(said).find(Boolean);
}
