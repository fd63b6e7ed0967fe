/** The lanes of a run and their lines (pure): a new lane is a row here. */

import { colourAt, phaseColours } from "./colours.js";
import { keyOf } from "./series.js";

/** @typedef {import("./series.js").Meta} Meta */

/** @typedef {{from: number, to: number}} Stretch Unix seconds; `to` is Infinity while it goes on */

/**
 * @typedef {Object} LaneLine one line, one layer of a stack, or one row of a heat map
 * @property {string} label
 * @property {string} colour a token of `tokens.css`
 * @property {string[]} keys the series behind it; over several, their mean, lowest and highest
 * @property {boolean} [points] mark each point: they are few
 * @property {number} [lost_s] since when the GPU behind it does not answer
 * @property {boolean} [waiting] at the moment whose values are shown
 * @property {Stretch[]} [waits] when a GPU behind it counted as busy and only waited
 */

/**
 * @typedef {Object} Lane
 * @property {string} id
 * @property {string} title with the unit
 * @property {string} [note] the second line; without it, how many points are drawn
 * @property {number} height
 * @property {"lines" | "stack" | "heat"} kind
 * @property {boolean} [rate] draws the steps per second of its series, not their values
 * @property {"percent" | "zero" | "robust" | "log"} y
 * @property {number} scale from the series' unit to the lane's
 * @property {number} [stale_s] an older point is not the value of now, as of a run that is over
 * @property {number} [digits] after the point, in the values; without them, as many as say something
 * @property {LaneLine[]} lines
 * @property {string} [limit] key of the series whose newest value is drawn as the limit
 * @property {number} [least] the axis reaches at least so far, and smaller differences are noise
 * @property {boolean} [stepped]
 * @property {string} [whole] what the layers of a stack are parts of; without it, a step
 * @property {string} [sum] unit of the sum of all lines, where that is shown
 * @property {string} [unit] said behind the value
 * @property {typeof import("../timeline/lane.js").LaneView} [viewClass] draws the lane in its own way
 */

export const GIB = 2 ** -30;
const MB = 1e-6;
const BESIDE_GPU = 2; // lanes of the host: CPU and memory
/** @type {Further} */
export const FEW = { search: "", most: 4 };

/**
 * The run's own curves first, then its phases, the GPUs and the host.
 * @param {Meta[]} metas all series of the machine and of one run @param {Further} [further] which of the curves that have no lane here
 * @returns {Lane[]}
 */
export function lanesOf(metas, further = FEW) {
  const machine = metas.filter((meta) => meta.run === null);
  const own = metas.filter((meta) => meta.run !== null);
  const gpu = machine.some((meta) => meta.name.startsWith("gpu/"));
  const [loss, ...known] = knownLanes(own);
  const run = [loss, ...serviceLanes(own), ...phaseLanes(own), ...known].filter(({ lines }) => lines.length);
  const rest = furtherNames(metas, further).map((name) => lane(`other ${name}`, name, 44, "robust", ranked(named(own, name).filter((meta) => !isProgress(meta)), "now", false)));
  const host = hostLanes(machine);
  const below = gpu ? [...gpuLanes(machine), ...host.slice(0, BESIDE_GPU)] : host;
  return [...run, ...rest, ...below.filter(({ lines }) => lines.length)];
}

/** @typedef {{search: string, most: number}} Further which curves of the run are shown that have no lane of their own */

/** Those that have no lane here, all of them or those that a search finds. @param {Meta[]} metas @param {string} search */
export function furtherFound(metas, search) {
  const words = search.toLowerCase().split(/\s+/);
  const own = metas.filter((meta) => meta.run !== null && !isProgress(meta));
  const placed = new Set(Object.values(NAMES).flatMap((names) => firstOf(own, names).map(({ name }) => name)));
  const names = new Set(own.map(({ name }) => name).filter((name) => !placed.has(name) && !PHASE.test(name) && !GPU_PHASE.test(name)));
  const found = [...names].filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  return found.sort((a, b) => lateness(a, names) - lateness(b, names)); // a stable sort: otherwise as they came
}

/** A counter that was read from text, which the axis shows, or its rate, which has a lane of its own. @param {Meta} meta */
const isProgress = ({ name, labels }) => PROGRESS.includes(name) && labels.source === "text";

const BAND = /\/(min|p05|p25|p50|p75|p95|max)$/; // of a histogram

/** What a user logged as a number comes first, then bookkeeping, then the quantiles of histograms. @param {string} name @param {Set<string>} names */
function lateness(name, names) {
  const base = name.replace(BAND, "");
  if (base !== name && ["min", "p50", "max"].every((band) => names.has(`${base}/${band}`))) return 2;
  return /(^|\/)(hp_metric|epochs?)$/.test(name) ? 1 : 0;
}

/** @param {Meta[]} metas @param {Further} further */
const furtherNames = (metas, { search, most }) => furtherFound(metas, search).slice(0, most);

/** The keys of all series that lanes draw. @param {Lane[]} lanes @returns {Set<string>} */
export function keysOf(lanes) {
  return new Set(lanes.flatMap((lane) => [...lane.lines.flatMap((line) => line.keys), ...(lane.limit ? [lane.limit] : [])]));
}

/** @param {Meta[]} metas @param {string} name */
export const named = (metas, name) => metas.filter((meta) => meta.name === name);

/** Of a whole card, where there is one: a MIG instance has less. @param {Meta[]} metas @param {string} name @returns {string | undefined} */
export const limitOf = (metas, name) => [...named(metas, name)].sort((a, b) => Number(a.labels.mig !== undefined) - Number(b.labels.mig !== undefined)).map(keyOf)[0];

/** A MIG instance follows its card. @param {Meta[]} machine @param {string} name @returns {LaneLine[]} */
export const perGpu = (machine, name) => linesPerGpu(named(machine, name));

/** @param {Meta[]} metas @returns {LaneLine[]} */
export function linesPerGpu(metas) {
  const index = (/** @type {Meta} */ { labels }) => Number(labels.gpu) + Number(labels.mig ?? -1) / 100;
  const label = (/** @type {Meta["labels"]} */ { gpu, mig }) => (mig === undefined ? `GPU ${gpu}` : `GPU ${gpu}.${mig}`);
  const sorted = [...metas].sort((a, b) => index(a) - index(b));
  return sorted.map((meta) => ({ label: label(meta.labels), colour: colourAt(Number(meta.labels.gpu)), keys: [keyOf(meta)] }));
}

export const UTILIZATION = "gpu/utilization_pct";
export const ACTIVE = "gpu/graphics_active_pct"; // the only one that MIG instances have

/** How busy each GPU is, by the driver's utilization, else by its own counter; of a card in MIG mode its instances. @param {Meta[]} machine */
export function busyMetas(machine) {
  const known = new Set(named(machine, UTILIZATION).map(({ labels }) => labels.uuid));
  const others = named(machine, ACTIVE).filter(({ labels }) => !known.has(labels.uuid));
  const divided = new Set(others.filter(({ labels }) => labels.mig !== undefined).map(({ labels }) => labels.gpu));
  return [...named(machine, UTILIZATION), ...others.filter(({ labels }) => labels.mig !== undefined || !divided.has(labels.gpu))];
}

const HEAT_ROW = 11;

/**
 * @param {string} id @param {string} title @param {number} height @param {Lane["y"]} y @param {LaneLine[]} lines @param {Partial<Lane>} [more]
 * @returns {Lane}
 */
export const lane = (id, title, height, y, lines, more = {}) => ({ id, title, height, y, lines, kind: "lines", scale: 1, ...more });

/** @param {Meta[]} machine @returns {Lane[]} */
function gpuLanes(machine) {
  const busy = linesPerGpu(busyMetas(machine));
  const heat = Math.max(54, 13 + HEAT_ROW * busy.length);
  const all = busy.length ? [{ label: "busy", colour: "accent", keys: busy.flatMap((line) => line.keys) }] : [];
  const of = (/** @type {string} */ name) => perGpu(machine, name);
  const [memory, power] = [limitOf(machine, "gpu/memory_total_bytes"), limitOf(machine, "gpu/power_limit_w")];
  const note = "per GPU";
  return [
    lane("heat", "GPU utilisation", heat, "percent", busy, { kind: "heat", note: "worst per pixel", digits: 0, unit: "%" }),
    lane("busy", "Busy, %", 71, "percent", all, {
      note: busy.length > 1 ? "mean, min to max" : "min to max",
      digits: 0,
      unit: "%",
    }),
    lane("memory", "Memory, GiB", 53, "zero", of("gpu/memory_used_bytes"), { note, scale: GIB, digits: 1, limit: memory }),
    lane("power", "Power, W", 53, "zero", of("gpu/power_w"), { note, digits: 0, limit: power, sum: "W" }),
    lane("temperature", "Temperature, °C", 49, "robust", of("gpu/temperature_c"), { note, digits: 0 }),
  ];
}

/** One thin lane of how busy the GPUs are, the least busy one at each place; without GPUs the processors. @param {Meta[]} metas @returns {Lane[]} */
export function busyLane(metas) {
  const machine = metas.filter(({ run }) => run === null);
  const keys = linesPerGpu(busyMetas(machine)).flatMap((line) => line.keys);
  if (!keys.length) return hostLanes(machine).filter(({ id, lines }) => id === "cpu" && lines.length);
  const lines = [{ label: "now", colour: "accent", keys }];
  return [lane("gpu_busy", "GPU busy, %", 42, "percent", lines, { kind: "heat", note: keys.length > 1 ? "the least busy" : "worst per pixel", digits: 0, unit: "%" })];
}

/** @param {Meta[]} machine @returns {Lane[]} */
export function hostLanes(machine) {
  const of = (/** @type {string} */ name, /** @type {string} */ label, /** @type {string} */ colour) =>
    named(machine, name).map((meta) => ({ label, colour, keys: [keyOf(meta)] }));
  const disk = [...of("host/disk_read_bytes_per_s", "read", "c1"), ...of("host/disk_write_bytes_per_s", "written", "c2")];
  const network = [...of("host/net_recv_bytes_per_s", "in", "c1"), ...of("host/net_sent_bytes_per_s", "out", "c2")];
  const cpu = of("host/cpu_pct", "busy", "accent");
  const memory = of("host/memory_used_bytes", "used", "c1");
  const limit = limitOf(machine, "host/memory_total_bytes");
  return [
    lane("cpu", "Host CPU, %", 71, "percent", cpu, { note: "all cores", digits: 0, least: 1, unit: "%" }),
    lane("host_memory", "Host RAM, GiB", 53, "zero", memory, { note: "used", scale: GIB, digits: 1, limit }),
    lane("disk", "Disk, MB/s", 53, "zero", disk, { scale: MB, digits: 1, least: 1 }),
    lane("network", "Network, MB/s", 53, "zero", network, { scale: MB, digits: 2, least: 1 }),
  ];
}

const PHASE = /^phase\/(.+)_s$/;
export const ITEMS_PER_S = ["progress/items_per_s"]; // samples, or steps: text does not say which
const PROGRESS = ["progress/step", "progress/batch", "progress/item", ...ITEMS_PER_S];
const GPU_PHASE = /^gpu_phase\/(.+)_s$/;
const PHASES = ["data", "forward", "backward", "optimizer"]; // from the top of the stack down

/** The phases of a step on the host and the GPU. @param {Meta[]} own @returns {Lane[]} */
function phaseLanes(own) {
  const phases = stackLane(own, PHASE, "phases", "Step phases, ms", 84);
  const ofRequests = firstOf(own, NAMES.p99).length ? { title: "A request, ms", whole: "request" } : {};
  return [{ ...phases, ...ofRequests }, stackLane(own, GPU_PHASE, "gpu_phases", "GPU phases, ms", 64)];
}

/** The phases of one rank; of several ranks, the lowest. @param {Meta[]} own @param {RegExp} pattern @param {string} id @param {string} title @param {number} height */
function stackLane(own, pattern, id, title, height) {
  const phases = own.filter((meta) => pattern.test(meta.name));
  const rank = phases.reduce((least, meta) => Math.min(least, rankOf(meta)), Infinity);
  const named = phases
    .filter((meta) => rankOf(meta) === rank)
    .map((meta) => ({ label: meta.name.replace(pattern, "$1"), keys: [keyOf(meta)] }))
    .sort((a, b) => order(a.label) - order(b.label));
  const colours = phaseColours(named.map(({ label }) => label));
  const lines = named.map((line) => ({ ...line, colour: colours.get(line.label) ?? "accent" }));
  const note = phases.some((meta) => rankOf(meta) !== rank) ? `rank ${rank}` : undefined;
  return lane(id, title, height, "zero", lines, { kind: "stack", note, scale: 1000, digits: 0 });
}

/** @param {string} phase */
const order = (phase) => (PHASES.includes(phase) ? PHASES.indexOf(phase) : PHASES.length);

/** @param {Meta} meta */
const rankOf = (meta) => Number(meta.labels.rank ?? 0);

/** Aliases of RunLog's users, Hugging Face's Trainer, Lightning and plain scripts: the first existing one has the lane. */
const NAMES = {
  p50: ["service/p50_s"],
  p99: ["service/p99_s"],
  loss: ["train/loss", "loss", "train_loss", "training/loss", "training_loss", "train/total_loss", "total_loss"],
  val: ["val/loss", "val_loss", "eval_loss", "eval/loss", "valid_loss", "valid/loss", "validation/loss", "test/loss", "test_loss"],
  gradNorm: ["train/grad_norm", "grad_norm"],
  gradScale: ["train/grad_scale"],
  tokens: ["train/tokens_per_s", "tokens_per_s"],
  samples: ["train/samples_per_s", "samples_per_s"],
  lr: ["train/lr", "lr", "learning_rate", "train/learning_rate"],
};
export const LOSSES = NAMES.loss;

/** @param {Meta[]} own @param {string[]} names */
const firstOf = (own, names) => named(own, firstName(new Set(own.map(({ name }) => name)), names));

/** The first of these names that is known, else one that says the same; "" without one. @param {Set<string>} known @param {string[]} names */
export function firstName(known, names) {
  const exact = names.find((name) => known.has(name));
  if (exact !== undefined) return exact;
  const others = new Map([...known].reverse().map((name) => [usual(name), name]));
  return others.get(names.find((name) => others.has(name)) ?? "") ?? "";
}

/** `"Loss/train" -> "train/loss"`, as the examples of TensorBoard have it. @param {string} name */
const usual = (name) => name.toLowerCase().replace(/^(.+)\/(train|training|val|valid|validation|eval|test)$/, "$2/$1");

/** @param {Meta[]} own @returns {Lane[]} */
function knownLanes(own) {
  const of = (/** @type {string} */ label, /** @type {string[]} */ names) =>
    ranked(firstOf(own, names), label, label === "val");
  const lanes = [
    lane("loss", "Loss", 104, "robust", [...of("train", NAMES.loss), ...of("val", NAMES.val)], { digits: 4 }),
    lane("grad_norm", "Gradient norm", 50, "log", of("now", NAMES.gradNorm), { note: "log", digits: 3 }),
    lane("grad_scale", "Gradient scale", 36, "robust", of("now", NAMES.gradScale), { digits: 0, stepped: true }),
    ...rateLane(own),
    lane("tokens", "Tokens/s", 44, "zero", of("now", NAMES.tokens), { digits: 0 }),
    lane("items", "Items/s", 44, "zero", ranked(own.filter((meta) => ITEMS_PER_S.includes(meta.name) && isProgress(meta)), "now", false), { digits: 1 }),
    lane("samples", "Samples/s", 44, "zero", of("now", NAMES.samples), { digits: 1 }),
    lane("lr", "Learning rate", 40, "robust", of("now", NAMES.lr)),
  ];
  const text = new Set(own.filter(({ labels }) => labels.source === "text").map(keyOf));
  const isText = (/** @type {Lane} */ { lines }) => lines.some(({ keys }) => keys.some((key) => text.has(key)));
  return lanes.map((lane) => (isText(lane) ? { ...lane, note: "read from text" } : lane));
}

/** What a run of kind `service` does: its steps are requests. @param {Meta[]} own @returns {Lane[]} */
function serviceLanes(own) {
  const slow = firstOf(own, NAMES.p99);
  const above = ranked(slow, "p99", false).map((line) => ({ ...line, colour: "c1" }));
  return [
    lane("rate", "Requests/s", 60, "zero", ranked(slow, "now", false), { rate: true }),
    lane("latency", "Latency, ms", 60, "zero", [...ranked(firstOf(own, NAMES.p50), "p50", false), ...above], { scale: 1000 }),
  ];
}

/** Steps per second, where nothing else shows how fast the run gets on. @param {Meta[]} own @returns {Lane[]} */
function rateLane(own) {
  const says = own.some(({ name }) => PHASE.test(name) || [...NAMES.tokens, ...NAMES.samples, ...NAMES.p99].includes(name));
  const counted = own.filter(({ first_step, first_time_s }) => typeof first_step === "number" && typeof first_time_s === "number");
  const most = Math.max(...counted.map(({ points }) => points ?? 0));
  const name = counted.find((meta) => meta.name === "progress/step" && isProgress(meta))?.name ?? firstOf(counted, NAMES.loss)[0]?.name ?? counted.find(({ points }) => (points ?? 0) === most)?.name;
  if (says || name === undefined) return [];
  return [lane("rate", "Steps/s", 44, "zero", ranked(named(counted, name), "now", false), { rate: true })];
}

/** Of series of one name: the rank, and where ranks are alike, the labels in which they differ. @param {Meta[]} metas @param {string} word before a rank @returns {string[]} */
function namesOf(metas, word) {
  const ranks = metas.map((meta) => String(rankOf(meta)));
  if (new Set(ranks).size === metas.length) return ranks.map((rank) => word + rank);
  const keys = [...new Set(metas.flatMap(({ labels }) => Object.keys(labels)))].filter((key) => key !== "rank" && new Set(metas.map(({ labels }) => labels[key])).size > 1);
  return metas.map((meta) => [new Set(ranks).size > 1 ? `${word}${rankOf(meta)}` : "", ...keys.map((key) => meta.labels[key] ?? "")].filter(Boolean).join(" "));
}

/**
 * One line per rank; the first in ink, further ones in the colours of the palette.
 * @param {Meta[]} metas @param {string} label @param {boolean} points @returns {LaneLine[]}
 */
function ranked(metas, label, points) {
  const sorted = [...metas].sort((a, b) => rankOf(a) - rankOf(b));
  const names = namesOf(sorted, label === "now" ? "rank " : "");
  return sorted.map((meta, i) => ({
    label: sorted.length > 1 ? `${label === "now" ? "" : `${label} `}${names[i]}` : label,
    colour: points ? "c1" : i ? colourAt(i) : "ink",
    keys: [keyOf(meta)],
    points,
  }));
}
