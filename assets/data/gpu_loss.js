/** Since when GPUs do not answer, and the lines that stop because of it (pure). */

import { keyOf } from "./series.js";

/** @typedef {import("./series.js").Meta} Meta */
/** @typedef {import("./lanes.js").Lane} Lane */

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

/**
 * Lanes whose lines know since when the one GPU behind them is lost.
 * @param {Lane[]} lanes @param {Meta[]} metas @param {Map<string, number>} lost by uuid
 * @returns {Lane[]}
 */
export function withLost(lanes, metas, lost) {
  if (!lost.size) return lanes;
  const since = new Map(metas.map((meta) => [keyOf(meta), lost.get(meta.labels.uuid)]));
  return lanes.map((lane) => ({
    ...lane,
    lines: lane.lines.map((line) => {
      const lost_s = line.keys.length === 1 ? since.get(line.keys[0]) : undefined;
      return lost_s === undefined ? line : { ...line, lost_s };
    }),
  }));
}
