/** The lanes of the Hosts page (pure): the heat strip, the most useful metrics, then all others of the catalog, those of the host last. */

import { colourAt } from "../../data/colours.js";
import { withStates } from "../../data/gpu_states.js";
import { GIB, busyMetas, hostLanes, lane, limitOf, linesPerGpu, named, perGpu } from "../../data/lanes.js";
import { keyOf } from "../../data/series.js";

/** @typedef {import("../../data/series.js").Meta} Meta as `GET /series` returns it */
/** @typedef {import("../../data/lanes.js").Lane} Lane */
/** @typedef {import("../../data/lanes.js").LaneLine} LaneLine */

const HEAT_ROW = 14;
const HEAT_MOST = 240; // px, for any number of rows
const LANE = 52; // px at least

const FIRST = [
  "gpu/sm_active_pct",
  "gpu/tensor_active_pct",
  "gpu/dram_active_pct",
  "gpu/memory_used_bytes",
  "gpu/power_w",
  "gpu/temperature_c",
  "gpu/sm_clock_mhz",
  "gpu/pcie_rx_bytes_per_s",
  "gpu/pcie_tx_bytes_per_s",
  "gpu/nvlink_tx_bytes_per_s",
];
const FIRST_OF_HOST = [
  "host/pressure_cpu_pct",
  "host/pressure_memory_pct",
  "host/pressure_io_pct",
  "host/run_cpu_pct",
  "host/run_memory_bytes",
];
const LIMIT = new Map([
  ["gpu/memory_used_bytes", "gpu/memory_total_bytes"],
  ["gpu/power_w", "gpu/power_limit_w"],
  ["gpu/power_instant_w", "gpu/power_limit_w"],
  ["gpu/temperature_c", "gpu/temperature_slowdown_c"],
  ["gpu/sm_clock_mhz", "gpu/sm_clock_max_mhz"],
  ["gpu/memory_clock_mhz", "gpu/memory_clock_max_mhz"],
  ["host/cgroup_memory_used_bytes", "host/cgroup_memory_limit_bytes"],
]);
const OF_RUNS = "host/run_"; // a line for each run, also of those that are over
const STALE_S = 20; // they are measured every second or two
const NO_LANE = new Set([
  ...LIMIT.values(),
  "gpu/utilization_pct", // the heat strip
  "gpu/clock_event_reasons", // a bit mask, shown in words
  "gpu/xid", // a mark on the axis
]);

/** By the catalog's unit, the lane's unit. @type {Map<string, Partial<Lane> & {shown: string}>} */
const UNITS = new Map([
  ["%", { shown: "%", y: "percent", digits: 0 }],
  ["B", { shown: "GiB", scale: GIB, digits: 1 }],
  ["B/s", { shown: "GB/s", scale: 1e-9, digits: 1 }],
  ["W", { shown: "W", digits: 0, sum: "W" }],
  ["J", { shown: "kJ", scale: 1e-3, digits: 0 }],
  ["MHz", { shown: "MHz", digits: 0 }],
  ["°C", { shown: "°C", digits: 0 }],
  ["", { shown: "", digits: 0 }],
]);

/**
 * @param {Meta[]} machine @param {import("../../data/gpu_states.js").GpuStates} states @param {boolean} all also what few look at
 * @returns {Lane[]}
 */
export function gpuPageLanes(machine, states, all) {
  const gpu = machine.some(({ name }) => name.startsWith("gpu/"));
  const host = [...hostLanes(machine), heat("host/cpu_core_pct", named(machine, "host/cpu_core_pct"), tracesOf(machine, "host/cpu_core_pct"))];
  const top = gpu ? [heat("gpu/utilization_pct", busyMetas(machine), linesPerGpu(busyMetas(machine)))] : host;
  const drawn = new Set([...top, ...host].flatMap(({ lines, limit }) => [...lines.flatMap(({ keys }) => keys), limit]));
  const others = machine.filter((meta) => !drawn.has(keyOf(meta)) && !NO_LANE.has(meta.name));
  const further = all ? others.sort((a, b) => String(a.label).localeCompare(String(b.label))).map(({ name }) => name) : [];
  const of = (/** @type {string} */ prefix, /** @type {string[]} */ first) =>
    [...new Set([...first, ...further])].filter((name) => name.startsWith(prefix)).map((name) => metricLane(machine, name));
  const below = gpu ? [...of("gpu/", FIRST), ...(all ? [...host, ...of("host/", [])] : [])] : of("host/", FIRST_OF_HOST);
  const lanes = [...top, ...below].filter(({ lines }) => lines.length);
  return withStates(lanes, machine, states);
}

/** A row per GPU, or a core. @param {string} name @param {Meta[]} metas @param {LaneLine[]} lines of these */
function heat(name, metas, lines) {
  const { label = name } = metas[0] ?? {};
  const height = Math.min(HEAT_MOST, Math.max(54, 13 + HEAT_ROW * lines.length));
  return lane(name, label, height, "percent", lines, { kind: "heat", note: "worst per pixel", digits: 0, unit: "%" });
}

/** One line per GPU. @param {Meta[]} metas @param {string} name */
function metricLane(metas, name) {
  const { label = name, unit = "" } = named(metas, name)[0] ?? {};
  const { shown, y = "zero", ...more } = UNITS.get(unit) ?? { shown: unit };
  const limit = limitOf(metas, LIMIT.get(name) ?? "");
  return lane(name, label, LANE, y, tracesOf(metas, name), { ...more, note: shown, limit, ...(name.startsWith(OF_RUNS) ? { stale_s: STALE_S } : {}) });
}

/** @param {Meta[]} metas @param {string} name @returns {LaneLine[]} */
function tracesOf(metas, name) {
  if (name.startsWith("gpu/")) return perGpu(metas, name);
  const lines = named(metas, name).map((meta) => ({ label: labelOf(meta), keys: [keyOf(meta)] }));
  const sorted = lines.sort((a, b) => a.label.localeCompare(b.label, "en", { numeric: true }));
  return sorted.map((line, i) => ({ ...line, colour: i ? colourAt(i) : "accent" }));
}

/** `job 1` for a rank of a run, else its labels beside the host: `core 3`, `fan 2`. @param {Meta} meta */
function labelOf({ labels: { host: _, run, rank, ...others } }) {
  const words = [run, rank, ...Object.entries(others).map(([name, value]) => `${name} ${value}`)];
  return words.filter(Boolean).join(" ") || "now";
}
