/** Steps of a run that are traced on demand: the button, and which line of the script launched which kernels. Read once it is opened. */

import { change, get, sentenceOf, traceOf } from "../lib/api.js";
import { el, setClass, setText } from "../lib/dom.js";
import { brief, percent } from "../lib/figures.js";
import { clock, count, place, stepRange } from "../lib/format.js";

/** @typedef {import("../types/api").Row<"TraceRow">} TraceRow */
/** @typedef {import("../types/api").Row<"TracedLineRow">} TracedLineRow */
/** @typedef {import("../types/api").Row<"CardStepRow">} CardStepRow */
/** @typedef {import("../types/api").Row<"TracedRanksAnswer">} Ranks */
/** @typedef {Pick<CardStepRow, "seconds" | "idle" | "causes" | "compute" | "exposed" | "overlapped" | "copies">} Shares of a step or a rank */

const STEPS = 3;
const LOOK_MS = 1000;
const LINES = 12;
const STEP_ROWS = 24;
const KERNELS = 3; // of a line, those that took longest

export class TraceBox {
  /** @param {() => void} changed how kernels are grouped, which is in the address */
  constructor(changed) {
    this.changed = changed;
    /** @type {"line" | "module"} */
    this.by = new URLSearchParams(location.search).get("kernels") === "module" ? "module" : "line";
    /** @type {number | null} whose trace is shown, where several ranks were traced; null: the newest */
    this.rank = /^\d{1,6}$/.test(new URLSearchParams(location.search).get("traced") ?? "") ? Number(new URLSearchParams(location.search).get("traced")) : null;
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

  /** Its part of the address. */
  address() {
    return { kernels: this.by === "module" ? "module" : null, traced: this.rank };
  }

  /** Of a run that has ended no further step can be traced. @param {string | null} run @param {boolean} alive */
  of(run, alive) {
    this.button.hidden = !alive;
    if (run === this.run) return;
    if (this.run !== null) this.rank = null;
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
    setClass(this.body, "reading", run !== null && !this.body.hasChildNodes());
    while (run !== null && run === this.run) {
      const answer = await get("trace", { run, id, rank: id === null ? this.rank : null }).catch((error) => ({ state: "failed", sentence: sentenceOf(error), trace: null }));
      if (run !== this.run) return;
      if (answer.state !== "asked") return this.#show(answer.trace, answer.sentence, await this.#ranks(run, answer.trace));
      setText(this.said, answer.sentence);
      await new Promise((done) => setTimeout(done, LOOK_MS));
    }
  }

  /** The ranks beside this one, where the trace is a file of a profiler. @param {string} run @param {TraceRow | null} trace @returns {Promise<Ranks | null>} */
  async #ranks(run, trace) {
    if (!trace || !trace.id.endsWith(".json") && !trace.id.endsWith(".gz")) return null;
    const found = await get("trace/ranks", { run }).catch(() => null);
    return found?.rows.length ? found : null;
  }

  /** @param {TraceRow | null} trace @param {string} sentence @param {Ranks | null} ranks */
  #show(trace, sentence, ranks = null) {
    setClass(this.body, "reading", false);
    setText(this.said, [trace && ranks ? `Rank ${trace.rank}.` : "", trace ? headOf(trace) : "", sentence].filter(Boolean).join(" "));
    const beside = trace && ranks ? rankTable(ranks, trace.rank, (rank) => void this.#choose(rank)) : [];
    this.body.replaceChildren(...(trace ? [...beside, ...trace.cards.flatMap((card) => cardTables(card, trace.cards.length > 1)), this.#kernels(trace)] : []));
  }

  /** @param {number} rank */
  async #choose(rank) {
    this.rank = rank;
    this.changed();
    await this.#loadTrace(null);
    /** @type {HTMLElement | null} */ (this.body.querySelector(".trace-steps [aria-pressed=true]"))?.focus();
  }

  /** The dearest lines, or modules where the trace names them. @param {TraceRow} trace */
  #kernels(trace) {
    const what = trace.device === "CPU" ? "Operators" : "Kernels";
    const table = el("div", {}, this.by === "module" && trace.modules.length ? modulesOf(trace, what) : linesOf(trace, what));
    if (!trace.modules.length) return table;
    /** @param {"line" | "module"} by @param {string} label */
    const choice = (by, label) => el("button", { type: "button", "aria-pressed": String(this.by === by), onclick: () => this.#group(by, trace) }, label);
    return el("div", {}, el("div", { class: "segments", role: "group", "aria-label": `${what} by` }, choice("line", "By line"), choice("module", "By module")), table);
  }

  /** @param {"line" | "module"} by @param {TraceRow} trace */
  #group(by, trace) {
    this.by = by;
    this.changed();
    const shown = this.#kernels(trace);
    this.body.lastElementChild?.replaceWith(shown);
    /** @type {HTMLElement} */ (shown.querySelector("[aria-pressed=true]")).focus();
  }
}

/** Kernels are brief: `0.000042 -> "42 µs"`. @param {number} seconds */
const spent = (seconds) => (seconds > 0 && seconds < 9.5e-4 ? `${count(Math.ceil(seconds * 1e6))} µs` : brief(seconds));

/** @param {TraceRow} trace */
function headOf({ first_step, last_step, window, step_s, device, busy, cards, is_dated }) {
  const steps = stepRange({ from: first_step, to: last_step }).replace(/^s/, "S");
  const each = cards[0]?.seconds ?? step_s;
  const head = `${steps}${is_dated ? ` at ${clock(window[0])}` : ""}, ${spent(each)} per step while traced.`;
  if (!busy) return `${head} ${device === "CPU" ? "Operators on the CPU, without those that they call." : ""}`.trim();
  const hidden = busy.hidden > 0 ? ` (${spent(busy.hidden)} more behind compute)` : "";
  return `${head} GPU busy ${spent(busy.compute + busy.communication + busy.copy)}: compute ${spent(busy.compute)}, communication ${spent(busy.communication)}${hidden}, copies ${spent(busy.copy)}.`;
}

/** What a card did while it had nothing to run. */
const CAUSES = {
  data: "waiting for data",
  collective: "a collective on the host",
  sync: "waiting for the GPU",
  copy: "a call that copies",
  host: "the host was late",
  launch: "launching",
  unknown: "not in the trace",
};

/** Why a card was idle, and which lines launch next. @param {import("../types/api").Row<"CardRow">} card @param {boolean} several */
function cardTables({ device, seconds, idle, compute, exposed, causes, late, tensor_cores, steps }, several) {
  const name = several ? `GPU ${device}` : "GPU";
  const parts = [`idle ${percent(idle / 100)}`, `compute ${percent(compute / 100)}`, exposed > 0 ? `exposed communication ${percent(exposed / 100)}` : "", tensor_cores === null ? "" : `tensor cores ${percent(tensor_cores / 100)} of compute`];
  const number = (/** @type {number} */ value) => [el("td", { class: "num strong" }, spent(value)), el("td", { class: "num" }, percent(value / seconds))];
  const why = causes.toSorted((a, b) => b.seconds - a.seconds).map(({ cause, seconds: its_s }) => el("tr", {}, el("td", {}, CAUSES[cause]), ...number(its_s)));
  const lines = late.filter(({ share }) => share >= 0.5).slice(0, LINES).map((line) => {
    const where = line.file ? [el("code", {}, place(line.file, line.line ?? 0)), ` ${line.function}`] : [line.function || "no line that the trace names"];
    return el("tr", {}, el("td", { title: line.file }, ...where, el("div", { class: "dim", title: line.kernel }, `${CAUSES[line.cause]}; then ${line.kernel}`)), ...number(line.seconds));
  });
  return [
    el("p", { class: "mid" }, `${name}: ${parts.filter(Boolean).join(", ")}.`),
    ...stepTable(`Steps on ${name}`, steps),
    ...(why.length ? [table(`Why ${name} was idle`, `idle ${several ? `on ${name}` : "because"}`, why)] : []),
    ...(lines.length ? [table(`Lines that ended idle time of ${name}`, "idle before the line launched", lines)] : []),
  ];
}

/** What the time of a card is made of, in the order of its bar. */
const PARTS = { compute: "compute", exposed: "communication", copies: "copies", data: "waiting for data" };

/** Bars of time, and what they are made of: one row each. @param {string} label @param {string} first @param {(Node | string)[]} names @param {Shares[]} parts @param {string[][]} said lines below each bar */
function barTable(label, first, names, parts, said) {
  const longest_s = Math.max(...parts.map(({ seconds }) => seconds));
  const shares = parts.map(sharesOf);
  const legend = Object.entries(PARTS).filter(([part]) => shares.some((of) => of[part] > 0));
  const rows = parts.map(({ seconds }, i) => {
    const bar = el("div", { class: "step-bar", "aria-hidden": "true" }, ...legend.map(([part]) => segment(part, shares[i][part])), segment("idle", shares[i].idle));
    bar.style.width = `${(100 * seconds) / longest_s}%`;
    return el("tr", {}, el("td", { class: "step-number" }, names[i]), el("td", {}, bar, ...said[i].map((line) => el("div", { class: "dim step-said" }, line))), el("td", { class: "num strong" }, spent(seconds)));
  });
  const kinds = el("span", { class: "kinds" }, ...legend.flatMap(([part, words]) => [el("i", { class: part }), words]), el("i", { class: "idle" }), shares.some(({ data }) => data > 0) ? "idle otherwise" : "idle");
  const head = el("tr", {}, el("th", { class: "step-number" }, first), el("th", {}, kinds), el("th", { class: "num" }, "a step"));
  return el("table", { "aria-label": label, class: "trace-steps" }, el("thead", {}, head), el("tbody", {}, ...rows));
}

/** The ranks of one job. @param {Ranks} ranks @param {number} shown @param {(rank: number) => void} choose */
function rankTable({ rows, matched, sentences }, shown, choose) {
  const names = rows.map(({ rank }) => el("button", { type: "button", class: "plain rank-choice", "aria-pressed": String(rank === shown), title: `Show rank ${rank}`, onclick: () => choose(rank) }, count(rank)));
  const said = rows.map((row) => [sharesSaid(row), row.matched ? waitsSaid(row) : ""].filter(Boolean));
  const late = rows.toSorted((a, b) => b.waited_for_s - a.waited_for_s)[0];
  const verdict = matched && late.last ? [el("p", { class: "mid" }, `Rank ${count(late.rank)} was last at ${count(late.last)} of ${count(matched)} collectives; others waited ${spent(late.waited_for_s)} for it.`)] : [];
  return [...verdict, barTable("Ranks", "rank", names, rows, said), ...sentences.map((sentence) => el("p", { class: "dim" }, sentence))];
}

/** @param {Ranks["rows"][number]} row */
function waitsSaid({ last, matched, waited_s, waited_for_s }) {
  const others = last ? `, others waited ${spent(waited_for_s)} for it` : "";
  return `last at ${count(last)} of ${count(matched)} collectives${others}; it waited ${spent(waited_s)} for others`;
}

/** @param {string} label @param {CardStepRow[]} steps */
function stepTable(label, steps) {
  if (!steps.length) return [];
  const shown = steps.slice(0, STEP_ROWS);
  const said = shown.map((step) => [[sharesSaid(step), step.launch_lead_s === null ? "" : `launch queue ${spent(step.launch_lead_s)}`, step.tensor_cores ? `tensor cores ${percent(step.tensor_cores / 100)} of compute` : ""].filter(Boolean).join("; ")]);
  const more = steps.length > shown.length ? [el("p", { class: "dim" }, `The first ${count(shown.length)} of ${count(steps.length)} steps.`)] : [];
  return [barTable(label, "step", shown.map(({ step }) => count(step)), shown, said), ...more];
}

/** @param {Shares} shares @returns {Record<string, number>} percent of the time; they add up to 100 */
function sharesOf({ compute, exposed, copies, idle, causes }) {
  const data = causes.find(({ cause }) => cause === "data")?.share ?? 0;
  return { compute, exposed, copies, data, idle: idle - data };
}

/** @param {string} part @param {number} share percent */
function segment(part, share) {
  const drawn = el("i", { class: part });
  drawn.style.width = `${share}%`;
  return drawn;
}

/** `busy 57%; idle 43%: waiting for data 32%, the host was late 7.7%` @param {Shares} shares */
function sharesSaid({ idle, causes, exposed, overlapped }) {
  const why = causes.filter(({ share }) => share >= 0.5).toSorted((a, b) => b.share - a.share).map(({ cause, share }) => `${CAUSES[cause]} ${percent(share / 100)}`);
  return [
    `busy ${percent(1 - idle / 100)}`,
    `idle ${percent(idle / 100)}${why.length ? `: ${why.join(", ")}` : ""}`,
    overlapped === null ? "" : `exposed communication ${percent(exposed / 100)}, ${percent(overlapped / 100)} of all communication behind compute`,
  ].filter(Boolean).join("; ");
}

/** @param {string} label @param {string} first @param {HTMLElement[]} rows */
function table(label, first, rows) {
  const head = el("tr", {}, el("th", {}, first), el("th", { class: "num" }, "a step"), el("th", { class: "num" }, "share"));
  return el("table", { "aria-label": label }, el("thead", {}, head), el("tbody", {}, ...rows));
}

/** @param {TraceRow} trace @param {string} what */
function linesOf({ lines, first_step, last_step }, what) {
  const steps = last_step - first_step + 1;
  return table(`${what} by line`, "line", lines.slice(0, LINES).map((line) => lineRow(line, steps)));
}

/** @param {TraceRow} trace @param {string} what */
function modulesOf({ modules, first_step, last_step }, what) {
  const steps = last_step - first_step + 1;
  const rows = modules.slice(0, LINES).map((module) => moduleRow(module, steps));
  const more = modules.length > LINES ? [el("p", { class: "dim" }, `${count(modules.length - LINES)} more modules took less.`)] : [];
  return el("div", {}, table(`${what} by module`, "module, forward and backward", rows), ...more);
}

/** @param {TracedLineRow} line @param {number} steps */
function lineRow(line, steps) {
  const where = line.file ? [el("code", {}, place(line.file, line.line ?? 0)), ` ${line.function}`] : ["no line of the script"];
  return kernelRow(line, steps, line.file, [line.backward ? "backward of " : "", ...where]);
}

/** @param {import("../types/api").Row<"TracedModuleRow">} module @param {number} steps */
function moduleRow(module, steps) {
  const [name, above] = [module.path.at(-1), module.path.slice(0, -1).join(" › ")];
  return kernelRow(module, steps, module.path.join(" › "), name ? [el("code", {}, name), above ? ` in ${above}` : ""] : ["no module"]);
}

/** @param {Pick<TracedLineRow, "kernels" | "seconds" | "share">} row @param {number} steps @param {string} title @param {(Node | string)[]} name */
function kernelRow({ kernels, seconds, share }, steps, title, name) {
  const dearest = kernels.slice(0, KERNELS).map((kernel) => `${kernel.name} × ${count(kernel.calls / steps)}, ${spent(kernel.seconds)}`);
  return el(
    "tr",
    {},
    el("td", { title }, ...name, ...dearest.map((text) => el("div", { class: "dim", title: text }, text))),
    el("td", { class: "num strong" }, spent(seconds)),
    el("td", { class: "num" }, percent(share / 100)),
  );
}
