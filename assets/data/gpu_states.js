/** What is known of GPUs beside their numbers: since when one does not answer, and when one counted as busy and only waited (pure). */

import { ACTIVE, UTILIZATION } from "./lanes.js";
import { keyOf } from "./series.js";

/** @typedef {import("./series.js").Meta} Meta */
/** @typedef {import("./lanes.js").Lane} Lane */
/** @typedef {import("./lanes.js").Stretch} Stretch */
/** @typedef {import("../findings/marks.js").Found} Found */
/** @typedef {{lost: Map<string, number>, waits: Map<string, Stretch[]>}} GpuStates by uuid: since when a GPU does not answer, and when it waited */

const WAITS = "spinning"; // the rule

/**
 * By uuid, since when a GPU does not answer. One that was lost before the collector started has not reported its uuid: it is the one
 * that last had its index.
 * @param {import("../pages/gpus/page.js").Card[]} cards @param {Meta[]} machine
 * @returns {Map<string, number>}
 */
export function lostSince(cards, machine) {
  const known = new Set(cards.map(({ uuid }) => uuid));
  return new Map(
    cards
      .filter(({ state }) => state === "lost")
      .flatMap(({ uuid, index, since_s }) => {
        if (uuid) return [/** @type {[string, number]} */ ([uuid, Number(since_s)])];
        const former = machine.filter(({ labels }) => labels.gpu === String(index) && !known.has(labels.uuid));
        return former.map(({ labels, last_time_s }) => /** @type {[string, number]} */ ([labels.uuid, Number(last_time_s)]));
      })
      .sort(([, a], [, b]) => a - b), // of several series the one that reported last
  );
}

/** @param {Found} found */
export const saysWaits = ({ rule }) => rule === WAITS;

/** When GPUs waited, by uuid. @param {Iterable<Found>} found @returns {GpuStates["waits"]} */
export function waitsOf(found) {
  /** @type {GpuStates["waits"]} */
  const waits = new Map();
  for (const { rule, gpus, start, end, over } of found)
    if (rule === WAITS) for (const uuid of gpus) waits.set(uuid, [...(waits.get(uuid) ?? []), { from: start, to: over ? end : Infinity }]);
  return waits;
}

/**
 * Lanes whose lines know what is known of the GPUs behind them: each line of one lost GPU, and how busy one that waits counts as.
 * @param {Lane[]} lanes @param {Meta[]} metas @param {GpuStates} states
 * @returns {Lane[]}
 */
export function withStates(lanes, metas, { lost, waits }) {
  if (!lost.size && !waits.size) return lanes;
  const uuids = new Map(metas.map(({ labels, ...meta }) => [keyOf({ ...meta, labels }), labels.uuid]));
  const busy = new Set(metas.filter(({ name }) => name === UTILIZATION || name === ACTIVE).map(keyOf));
  return lanes.map((lane) => ({
    ...lane,
    lines: lane.lines.map((line) => {
      const lost_s = line.keys.length === 1 ? lost.get(uuids.get(line.keys[0]) ?? "") : undefined;
      const waited = line.keys.filter((key) => busy.has(key)).flatMap((key) => waits.get(uuids.get(key) ?? "") ?? []);
      return { ...line, ...(lost_s === undefined ? {} : { lost_s }), ...(waited.length ? { waits: waited } : {}) };
    }),
  }));
}
