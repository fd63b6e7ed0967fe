/** The processes on each GPU: a row per process, with a link to its flame graph. */

import { GIB } from "../../data/lanes.js";
import { sentenceOf } from "../../lib/api.js";
import { change } from "../../lib/change.js";
import { el, setText } from "../../lib/dom.js";
import { figure } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";

/**
 * @typedef {Object} Use a row of `GET /processes`
 * @property {number} gpu
 * @property {number | null} mig
 * @property {number} pid
 * @property {"compute" | "graphics"} kind
 * @property {number | null} used_memory_bytes
 * @property {number | null} utilization_pct
 * @property {string} name
 * @property {string} command
 * @property {string} user
 * @property {string | null} run
 * @property {number | null} rank
 * @property {string} not_attachable why it cannot become a run, "" where it can
 */

export class Processes {
  constructor() {
    this.body = el("div", { class: "uses" });
    this.count = el("span", { class: "dim" });
    this.element = el(
      "section",
      { class: "processes", "aria-label": "Processes on the GPUs" },
      el("div", { class: "head" }, el("h2", {}, "GPU processes"), this.count),
      this.body,
    );
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
      el("td", { colspan: 4 }, el("code", { title }, title), run === null ? attachable(uses[0]) : flameLink(run, rank)),
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
    el("span", { class: "use" }, el("i", { class: "key", style: `background:var(--gpu-${gpu % 8})` }), text),
  );
}

/** The run's flame graph, of the same stretch of time. @param {string} run */
export function flamePath(run) {
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
