/** The processes on each GPU: a row per process, with a link to its flame graph. */

import { colourAt, swatchClass } from "../../data/colours.js";
import { GIB } from "../../data/lanes.js";
import { change, get, sentenceOf } from "../../lib/api.js";
import { el, setClass, setText } from "../../lib/dom.js";
import { count, figure } from "../../lib/format.js";
import { every } from "../../lib/life.js";
import { pathTo } from "../../lib/url.js";

/** @typedef {import("../../types/api").Row<"GpuUserRow">} Use */

export class Processes {
  constructor() {
    this.body = el("div", { class: "uses" });
    this.title = el("h2", {}, "GPU processes");
    this.count = el("span", { class: "dim" });
    this.element = el(
      "section",
      { class: "processes", "aria-label": "Processes on the GPUs" },
      el("div", { class: "head" }, this.title, this.count),
      this.body,
    );
  }

  /** @param {boolean} windowed a window is selected, of which the list says nothing */
  name(windowed) {
    setText(this.title, windowed ? "GPU processes now" : "GPU processes");
  }

  /** @param {Use[]} uses in the order of the GPUs @param {string[]} notes why the list is not whole */
  draw(uses, notes) {
    const drawn = JSON.stringify([uses.map((use) => ({ ...use, time_s: 0 })), notes, location.search]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const processes = [...Map.groupBy(uses, ({ pid, kind }) => `${pid} ${kind}`).values()];
    this.count.textContent = processes.length ? `${processes.length} on the GPUs` : "";
    this.body.replaceChildren(
      ...(processes.length ? [table(processes)] : notes.length ? [] : [el("p", { class: "dim" }, "No process uses a GPU now.")]),
      ...notes.map((note) => el("p", { class: "dim" }, note)),
    );
  }

  #drawn = "";
}

/** @param {Use[][]} processes what each process uses */
const table = (processes) =>
  el(
    "table",
    {},
    el(
      "thead",
      {},
      el("tr", {}, el("th", {}, "GPU"), el("th", {}, "Process"), el("th", {}, "User"), el("th", { class: "num" }, "GiB"), el("th", { class: "num" }, "SM, %")),
    ),
    ...processes.map(process),
  );

/** @param {Use[]} uses of one process */
function process(uses) {
  const [{ pid, user, command, name, run, rank, kind }] = uses;
  const memory = sum(uses.map(({ used_memory_bytes }) => used_memory_bytes));
  const outside = sum(uses.map(({ outside_pytorch_bytes }) => outside_pytorch_bytes));
  const busy = sum(uses.map(({ utilization_pct }) => utilization_pct));
  const title = command || name || "in another container, or gone";
  return el(
    "tbody",
    { "data-pid": pid },
    el(
      "tr",
      {},
      el("td", {}, ...swatches(uses)),
      el("td", { class: "strong" }, String(pid), kind === "graphics" ? el("span", { class: "dim" }, " graphics") : null),
      el("td", {}, user || "–"),
      el("td", { class: "num strong" }, figure(memory === null ? null : memory * GIB, 1)),
      el("td", { class: "num strong" }, figure(busy === null ? null : busy / uses.length, 0)),
    ),
    el(
      "tr",
      {},
      el("td"),
      el("td", { colspan: 4 }, el("code", { title }, title), run === null ? attachable(uses[0]) : flameLink(run, rank), outside === null ? null : el("p", { class: "dim", title: "CUDA's context, NCCL, cuDNN and other libraries" }, `${figure(outside * GIB, 1)} GiB outside PyTorch`)),
    ),
  );
}

/** `[0, 1, 2, 5] -> 0–2, 5`, each stretch after the colour of its first. @param {Use[]} uses */
function swatches(uses) {
  const whole = uses.filter(({ mig }) => mig === null).map(({ gpu }) => gpu);
  /** @type {number[][]} */
  const stretches = [];
  for (const gpu of whole) {
    const last = stretches.at(-1);
    if (last && last[1] + 1 === gpu) last[1] = gpu;
    else stretches.push([gpu, gpu]);
  }
  const parts = uses.filter(({ mig }) => mig !== null).map(({ gpu, mig }) => ({ gpu, text: `${gpu}.${mig}` }));
  const all = [...stretches.map(([a, b]) => ({ gpu: a, text: a === b ? `${a}` : `${a}–${b}` })), ...parts];
  return all.map(({ gpu, text }) =>
    el("span", { class: "use" }, el("i", { class: swatchClass(colourAt(gpu), "key"), style: `background:var(--${colourAt(gpu)})` }), text),
  );
}

/** The run's flame graph, of the same stretch of time. @param {string} run */
function flamePath(run) {
  const query = new URLSearchParams(location.search);
  query.set("run", run);
  return pathTo(`/flame?${query}`);
}

/** @param {string} run @param {number | null} rank */
function flameLink(run, rank) {
  return el("a", { href: flamePath(run), title: `Flame graph of ${run}` }, rank ? `${run} ${rank}` : run, " flame graph →");
}

/** What makes a run of a process, or why that cannot be. @param {Use} use */
function attachable({ pid, not_attachable }) {
  if (not_attachable) return el("p", { class: "dim" }, `Not attachable: ${not_attachable}.`);
  const said = el("span", { class: "dim", role: "status" });
  const button = el("button", { class: "btn attach", type: "button", title: `Make a run of process ${pid}: stacks, CPU, memory, logs` }, "Attach");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const { run, notes } = await change("attach", { pid });
      setText(said, [`It is the run ${run} now.`, ...notes].join(" "));
    } catch (error) {
      button.disabled = false;
      setText(said, sentenceOf(error));
    }
  });
  return el("span", {}, button, " ", said);
}

/** @param {(number | null)[]} values */
const sum = (values) => (values.every((value) => value === null) ? null : values.reduce((all, value) => Number(all) + Number(value), 0));

// The processes that use most of this host now: read while they are in view, sorted by what the reader asks for.

/** @typedef {import("../../types/api").Answer<"host_processes">} Look */
/** @typedef {import("../../types/api").Row<"HostProcessRow">} HostUse */

const PERIOD_MS = 2000;
const MIN_OTHER = 0.1; // cores: less is the error of measuring
const ID = "host-processes"; // findings and the ledger link to it

/** @type {Record<"cpu" | "memory", (use: HostUse) => number>} */
const BY = { cpu: ({ cpu_cores }) => cpu_cores, memory: ({ resident_bytes }) => resident_bytes };

export class HostProcesses {
  constructor() {
    this.title = el("h2", {}, "Host processes");
    this.count = el("span", { class: "dim" });
    this.note = el("p", { class: "dim", hidden: true });
    this.by = /** @type {"cpu" | "memory"} */ ("cpu");
    /** @type {Map<number, Row>} by pid */
    this.rows = new Map();
    this.heads = { cpu: this.#sorting("cpu", "Cores"), memory: this.#sorting("memory", "GiB") };
    this.table = el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "PID"), el("th", {}, "User"), this.heads.cpu, this.heads.memory)));
    this.element = el(
      "section",
      { class: "host-processes", id: ID, "aria-label": "Processes on this host" },
      el("div", { class: "head" }, this.title, this.count),
      this.table,
      this.note,
    );
    this.#sort("cpu");
    new IntersectionObserver((entries) => {
      this.seen = entries.at(-1)?.isIntersecting ?? false;
      if (this.seen) this.#read();
    }).observe(this.element);
    every(PERIOD_MS, () => document.hidden || !this.seen || this.#read());
  }

  /** @param {boolean} windowed a window is selected, of which the list says nothing */
  name(windowed) {
    setText(this.title, windowed ? "Host processes now" : "Host processes");
  }

  /** Where the address asks for it, once what stands above has its height, and again when its rows are there. */
  show() {
    if (this.#wanted) this.element.scrollIntoView();
  }

  #wanted = location.hash === `#${ID}`; // the page writes its address without it

  seen = false;
  /** @type {Look["processes"]} */
  #uses = [];
  #reading = false;

  async #read() {
    if (this.#reading) return;
    this.#reading = true;
    try {
      this.#draw(await get("host_processes"));
    } catch (error) {
      this.#say(sentenceOf(error));
    } finally {
      this.#reading = false;
    }
  }

  /** @param {Look} look */
  #draw({ processes, count: all, busy_cores, other_cores, cores }) {
    this.#uses = processes;
    setText(this.count, `${count(all)}, ${figure(busy_cores, 1)} of ${cores} ${cores === 1 ? "core" : "cores"} busy`);
    this.#say(other_cores < MIN_OTHER ? "" : `${figure(other_cores, 1)} cores were used by processes that have ended since, or that are not visible from here.`);
    const known = new Set(processes.map(({ pid }) => pid));
    for (const [pid, row] of this.rows) if (!known.has(pid)) this.#forget(pid, row);
    for (const use of processes) {
      const row = this.rows.get(use.pid) ?? new Row(use.pid);
      row.draw(use);
      this.rows.set(use.pid, row);
      if (!row.element.isConnected) this.table.append(row.element);
    }
    if (!this.#isHeld()) this.#order();
    this.show();
    this.#wanted = false;
  }

  /** @param {number} pid @param {Row} row */
  #forget(pid, row) {
    row.element.remove();
    this.rows.delete(pid);
  }

  /** Whether the reader points at a row, or has one in focus: rows stay where they are then. */
  #isHeld() {
    return [...this.rows.values()].some(({ element }) => element.matches(":hover, :focus-within"));
  }

  #order() {
    const wanted = [...this.#uses].sort((a, b) => BY[this.by](b) - BY[this.by](a)).map(({ pid }) => /** @type {Row} */ (this.rows.get(pid)).element);
    const shown = [...this.table.tBodies];
    if (wanted.some((element, i) => element !== shown[i])) this.table.append(...wanted);
  }

  /** @param {"cpu" | "memory"} by @param {string} name */
  #sorting(by, name) {
    return el("th", { class: "num" }, el("button", { type: "button", title: `Sort by ${by === "cpu" ? "CPU" : "memory"}`, onclick: () => this.#sort(by) }, name));
  }

  /** @param {"cpu" | "memory"} by */
  #sort(by) {
    this.by = by;
    for (const [name, head] of Object.entries(this.heads)) {
      setClass(head, "sorted", name === by);
      if (name === by) head.setAttribute("aria-sort", "descending");
      else head.removeAttribute("aria-sort");
    }
    this.#order();
  }

  /** @param {string} sentence */
  #say(sentence) {
    this.note.hidden = !sentence;
    setText(this.note, sentence);
  }
}

class Row {
  /** @param {number} pid */
  constructor(pid) {
    this.user = el("td");
    this.cores = el("td", { class: "num strong" });
    this.memory = el("td", { class: "num strong" });
    this.command = el("code");
    this.run = el("a", { hidden: true });
    this.element = el(
      "tbody",
      { "data-pid": pid },
      el("tr", {}, el("td", { class: "strong" }, String(pid)), this.user, this.cores, this.memory),
      el("tr", {}, el("td", { colspan: 4 }, this.command, this.run)),
    );
  }

  /** @param {HostUse} use */
  draw({ user, cpu_cores, resident_bytes, command, run, rank, worker }) {
    setText(this.user, user);
    setText(this.cores, figure(cpu_cores, 2));
    setText(this.memory, figure(resident_bytes * GIB, 2));
    setText(this.command, command);
    this.command.title = command;
    this.run.hidden = run === null;
    if (run === null) return;
    const whose = [run, rank ? `rank ${rank}` : "", worker ? "worker" : ""].filter(Boolean).join(", ");
    setText(this.run, `${whose}: flame graph →`);
    this.run.href = flamePath(run);
  }
}
