/** Which lanes a run gets, and what stands in each (pure): a new lane is a row here. */

import { keyOf } from "./series.js";

/** @typedef {import("./series.js").Meta} Meta */

/**
 * @typedef {Object} Trace one line, one layer of a stack, or one row of a heat map
 * @property {string} label
 * @property {string} colour a token of `tokens.css`
 * @property {string[]} keys the series behind it; over several, their mean, lowest and highest
 * @property {boolean} [points] mark each point: they are few
 */

/**
 * @typedef {Object} Lane
 * @property {string} id
 * @property {string} title with the unit
 * @property {string} [note] the second line; without it, how many points are drawn
 * @property {number} height
 * @property {"lines" | "stack" | "heat"} kind
 * @property {"percent" | "zero" | "robust" | "log"} y
 * @property {number} scale from the series' unit to the lane's
 * @property {number} [digits] after the point, in the values; without them, as many as say something
 * @property {Trace[]} traces
 * @property {string} [limit] key of the series whose newest value is drawn as the limit
 * @property {number} [least] the axis reaches at least so far, and smaller differences are noise
 * @property {boolean} [stepped]
 * @property {string} [sum] unit in which the sum of all traces is told
 * @property {string} [unit] said behind the value
 */

const GIB = 2 ** -30;
const MB = 1e-6;
const OTHERS = 4; // lanes of series that nobody named here

/** @param {Meta[]} metas all series of the machine and of one run @returns {Lane[]} */
export function lanesOf(metas) {
  const machine = metas.filter((meta) => meta.run === null);
  const own = metas.filter((meta) => meta.run !== null);
  const gpu = machine.some((meta) => meta.name.startsWith("gpu/"));
  const lanes = [...(gpu ? gpuLanes(machine) : hostLanes(machine)), ...phaseLanes(own), ...knownLanes(own)];
  const shown = new Set(lanes.flatMap((lane) => lane.traces.flatMap((trace) => trace.keys)));
  return [...lanes.filter((lane) => lane.traces.length), ...otherLanes(own, shown)];
}

/** The keys of all series that lanes draw. @param {Lane[]} lanes @returns {Set<string>} */
export function keysOf(lanes) {
  return new Set(lanes.flatMap((lane) => [...lane.traces.flatMap((trace) => trace.keys), ...(lane.limit ? [lane.limit] : [])]));
}

/** @param {Meta[]} metas @param {string} name */
const named = (metas, name) => metas.filter((meta) => meta.name === name);

/** @param {Meta[]} metas @param {string} name @returns {string | undefined} */
const limitOf = (metas, name) => named(metas, name).map(keyOf)[0];

/** @param {Meta[]} machine @param {string} name @returns {Trace[]} */
function perGpu(machine, name) {
  const index = (/** @type {Meta} */ meta) => Number(meta.labels.gpu);
  const sorted = named(machine, name).sort((a, b) => index(a) - index(b));
  return sorted.map((meta) => ({ label: `GPU ${meta.labels.gpu}`, colour: `gpu-${index(meta) % 8}`, keys: [keyOf(meta)] }));
}

const HEAT_ROW = 11;

/** @param {Meta[]} machine @returns {Lane[]} */
function gpuLanes(machine) {
  const busy = perGpu(machine, "gpu/utilization_pct");
  const all = { label: "busy", colour: "accent", keys: busy.flatMap((trace) => trace.keys) };
  return [
    {
      id: "heat",
      title: "GPU utilisation",
      note: "worst per pixel",
      height: Math.max(54, 13 + HEAT_ROW * busy.length),
      kind: "heat",
      y: "percent",
      scale: 1,
      digits: 0,
      traces: busy,
      unit: "%",
    },
    {
      id: "busy",
      title: "Busy, %",
      note: busy.length > 1 ? "mean, min to max" : "min to max",
      height: 71,
      kind: "lines",
      y: "percent",
      scale: 1,
      digits: 0,
      traces: busy.length ? [all] : [],
      unit: "%",
    },
    {
      id: "memory",
      title: "Memory, GiB",
      note: "per GPU",
      height: 53,
      kind: "lines",
      y: "zero",
      scale: GIB,
      digits: 1,
      traces: perGpu(machine, "gpu/memory_used_bytes"),
      limit: limitOf(machine, "gpu/memory_total_bytes"),
    },
    {
      id: "power",
      title: "Power, W",
      note: "per GPU",
      height: 53,
      kind: "lines",
      y: "zero",
      scale: 1,
      digits: 0,
      traces: perGpu(machine, "gpu/power_w"),
      limit: limitOf(machine, "gpu/power_limit_w"),
      sum: "W",
    },
    {
      id: "temperature",
      title: "Temperature, °C",
      note: "per GPU",
      height: 49,
      kind: "lines",
      y: "robust",
      scale: 1,
      digits: 0,
      traces: perGpu(machine, "gpu/temperature_c"),
    },
  ];
}

/** @param {Meta[]} machine @returns {Lane[]} */
function hostLanes(machine) {
  const trace = (/** @type {string} */ name, /** @type {string} */ label, /** @type {string} */ colour) =>
    named(machine, name).map((meta) => ({ label, colour, keys: [keyOf(meta)] }));
  return [
    {
      id: "cpu",
      title: "Host CPU, %",
      note: "all cores",
      height: 71,
      kind: "lines",
      y: "percent",
      scale: 1,
      digits: 0,
      least: 1,
      traces: trace("host/cpu_pct", "busy", "accent"),
      unit: "%",
    },
    {
      id: "memory",
      title: "Memory, GiB",
      note: "used",
      height: 53,
      kind: "lines",
      y: "zero",
      scale: GIB,
      digits: 1,
      traces: trace("host/memory_used_bytes", "used", "gpu-1"),
      limit: limitOf(machine, "host/memory_total_bytes"),
    },
    {
      id: "disk",
      title: "Disk, MB/s",
      least: 1,
      height: 53,
      kind: "lines",
      y: "zero",
      scale: MB,
      digits: 1,
      traces: [
        ...trace("host/disk_read_bytes_per_s", "read", "gpu-1"),
        ...trace("host/disk_write_bytes_per_s", "written", "gpu-0"),
      ],
    },
    {
      id: "network",
      title: "Network, MB/s",
      least: 1,
      height: 53,
      kind: "lines",
      y: "zero",
      scale: MB,
      digits: 2,
      traces: [...trace("host/net_recv_bytes_per_s", "in", "gpu-1"), ...trace("host/net_sent_bytes_per_s", "out", "gpu-0")],
    },
  ];
}

const PHASE = /^phase\/(.+)_s$/;
const PHASES = ["data", "forward", "backward", "optimizer"]; // from the top of the stack down

/** @param {Meta[]} own @returns {Lane[]} */
function phaseLanes(own) {
  const rank = Math.min(...own.filter((meta) => PHASE.test(meta.name)).map(rankOf));
  const traces = own
    .filter((meta) => PHASE.test(meta.name) && rankOf(meta) === rank)
    .map((meta) => ({ label: /** @type {RegExpExecArray} */ (PHASE.exec(meta.name))[1], keys: [keyOf(meta)] }))
    .sort((a, b) => order(a.label) - order(b.label))
    .map((trace) => ({ ...trace, colour: PHASES.includes(trace.label) ? `phase-${trace.label}` : "phase-other" }));
  const note = rank > 0 || own.some((meta) => rankOf(meta) > 0) ? `rank ${rank}` : undefined;
  return traces.length
    ? [{ id: "phases", title: "Step phases, ms", note, height: 97, kind: "stack", y: "zero", scale: 1000, digits: 0, traces }]
    : [];
}

/** @param {string} phase */
const order = (phase) => (PHASES.includes(phase) ? PHASES.indexOf(phase) : PHASES.length);

/** @param {Meta} meta */
const rankOf = (meta) => Number(meta.labels.rank ?? 0);

/** @type {{id: string, title: string, height: number, y: Lane["y"], digits?: number, stepped?: boolean, note?: string, of: [string, string, boolean][]}[]} */
const KNOWN = [
  {
    id: "loss",
    title: "Loss",
    height: 111,
    y: "robust",
    digits: 4,
    of: [
      ["train/loss", "train", false],
      ["loss", "train", false],
      ["val/loss", "val", true],
    ],
  },
  {
    id: "grad_norm",
    title: "Gradient norm",
    note: "log",
    height: 50,
    y: "log",
    digits: 3,
    of: [
      ["train/grad_norm", "now", false],
      ["grad_norm", "now", false],
    ],
  },
  {
    id: "grad_scale",
    title: "Gradient scale",
    height: 36,
    y: "robust",
    digits: 0,
    stepped: true,
    of: [["train/grad_scale", "now", false]],
  },
  { id: "tokens", title: "Tokens/s", height: 50, y: "zero", digits: 0, of: [["train/tokens_per_s", "now", false]] },
  {
    id: "lr",
    title: "Learning rate",
    height: 40,
    y: "robust",
    digits: 6,
    of: [
      ["train/lr", "now", false],
      ["lr", "now", false],
    ],
  },
];

/** @param {Meta[]} own @returns {Lane[]} */
function knownLanes(own) {
  return KNOWN.map(({ of, ...lane }) => {
    const traces = of.flatMap(([name, label, points]) => ranked(named(own, name), label, points));
    return { ...lane, kind: "lines", scale: 1, traces };
  });
}

/** One trace a rank; the first in ink, further ones in GPU colours. @param {Meta[]} metas @param {string} label @param {boolean} points @returns {Trace[]} */
function ranked(metas, label, points) {
  const several = metas.length > 1;
  return metas
    .sort((a, b) => rankOf(a) - rankOf(b))
    .map((meta, i) => ({
      label: several ? `${label} ${rankOf(meta)}` : label,
      colour: points ? "gpu-1" : i ? `gpu-${i % 8}` : "ink",
      keys: [keyOf(meta)],
      points,
    }));
}

/** @param {Meta[]} own @param {Set<string>} shown @returns {Lane[]} */
function otherLanes(own, shown) {
  const names = new Set(
    own.filter((meta) => !shown.has(keyOf(meta)) && !/^(gpu_)?phase\//.test(meta.name)).map((meta) => meta.name),
  );
  return [...names].slice(0, OTHERS).map((name) => ({
    id: name,
    title: name,
    height: 50,
    kind: "lines",
    y: "robust",
    scale: 1,
    digits: 4,
    traces: ranked(named(own, name), "now", false),
  }));
}
