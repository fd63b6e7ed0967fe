/** Steps of a run that are traced on demand: the button, and which line of the script launched which kernels. Read once it is opened. */

import { change, get, sentenceOf, traceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { brief, percent } from "../lib/figures.js";
import { clock, count, place, stepRange } from "../lib/format.js";

/** @typedef {import("../types/api").Row<"TraceRow">} TraceRow */
/** @typedef {import("../types/api").Row<"TracedLineRow">} TracedLineRow */

const STEPS = 3;
const LOOK_MS = 1000;
const LINES = 12;
const KERNELS = 3; // of a line, those that took longest

export class TraceBox {
  constructor() {
    this.button = el("button", { class: "btn", type: "button", onclick: () => this.#trace() }, `Trace ${STEPS} steps`);
    this.said = el("p", { class: "dim", role: "status" });
    this.body = el("div", {});
    this.element = el(
      "details",
      { class: "trace", ontoggle: () => this.element.open && this.#loadTrace(null) },
      el("summary", {}, "Kernels by line"),
      this.button,
      this.said,
      this.body,
    );
  }

  /** @type {string | null} */
  run = null;

  /** Of a run that has ended no further step can be traced. @param {string | null} run @param {boolean} alive */
  of(run, alive) {
    this.button.hidden = !alive;
    if (run === this.run) return;
    this.run = run;
    this.element.hidden = run === null;
    this.#show(null, "");
    if (this.element.open) this.#loadTrace(null);
  }

  async #trace() {
    const { run } = this;
    if (run === null) return;
    this.button.disabled = true;
    try {
      const { id } = await change(traceOf(run), { steps: STEPS });
      setText(this.said, "The run was asked; it traces after its next step.");
      await this.#loadTrace(id);
    } catch (error) {
      if (run === this.run) setText(this.said, sentenceOf(error));
    } finally {
      this.button.disabled = false;
    }
  }

  /** Until it is there. @param {string | null} id of one that was asked for; null: the newest */
  async #loadTrace(id) {
    const { run } = this;
    while (run !== null && run === this.run) {
      const answer = await get("trace", { run, id }).catch((error) => ({ state: "failed", sentence: sentenceOf(error), trace: null }));
      if (run !== this.run) return;
      if (answer.state !== "asked") return this.#show(answer.trace, answer.sentence);
      setText(this.said, answer.sentence);
      await new Promise((done) => setTimeout(done, LOOK_MS));
    }
  }

  /** @param {TraceRow | null} trace @param {string} sentence */
  #show(trace, sentence) {
    setText(this.said, [trace ? headOf(trace) : "", sentence].filter(Boolean).join(" "));
    this.body.replaceChildren(trace ? tableOf(trace) : "");
  }
}

/** Kernels are brief: `0.000042 -> "42 µs"`. @param {number} seconds */
const spent = (seconds) => (seconds > 0 && seconds < 9.5e-4 ? `${count(Math.ceil(seconds * 1e6))} µs` : brief(seconds));

/** @param {TraceRow} trace */
function headOf({ first_step, last_step, window, step_s, device, busy }) {
  const steps = stepRange({ from: first_step, to: last_step }).replace(/^s/, "S");
  const head = `${steps} at ${clock(window[0])}, ${spent(step_s)} per step while traced.`;
  if (!busy) return `${head} ${device === "CPU" ? "Operators on the CPU, without those that they call." : ""}`.trim();
  const hidden = busy.hidden > 0 ? ` (${spent(busy.hidden)} more behind compute)` : "";
  return `${head} GPU busy ${spent(busy.compute + busy.communication + busy.copy)}: compute ${spent(busy.compute)}, communication ${spent(busy.communication)}${hidden}, copies ${spent(busy.copy)}.`;
}

/** @param {TraceRow} trace */
function tableOf({ lines, first_step, last_step, device }) {
  const steps = last_step - first_step + 1;
  const head = el("tr", {}, el("th", {}, "line"), el("th", { class: "num" }, "a step"), el("th", { class: "num" }, "share"));
  const rows = lines.slice(0, LINES).map((line) => lineRow(line, steps));
  return el("table", { "aria-label": device === "CPU" ? "Operators by line" : "Kernels by line" }, el("thead", {}, head), el("tbody", {}, ...rows));
}

/** @param {TracedLineRow} line @param {number} steps */
function lineRow(line, steps) {
  const where = line.file ? [el("code", {}, place(line.file, line.line ?? 0)), ` ${line.function}`] : ["no line of the script"];
  const kernels = line.kernels.slice(0, KERNELS).map(({ name, seconds, calls }) => `${name} × ${count(calls / steps)}, ${spent(seconds)}`);
  return el(
    "tr",
    {},
    el("td", { title: line.file }, line.backward ? "backward of " : "", ...where, ...kernels.map((text) => el("div", { class: "dim", title: text }, text))),
    el("td", { class: "num strong" }, spent(line.seconds)),
    el("td", { class: "num" }, percent(line.share / 100)),
  );
}
