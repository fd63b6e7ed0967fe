/** What has been painted, for tests and benchmarks: the page's only global, `deepseek`. */

/**
 * `deepseek.drawn["train/loss"] -> {t, v, at, count}`: the newest point on the canvas, the wall time of its painting in ms, and
 * how many points the line stands for.
 * @type {{drawn: Record<string, {t: number, v: number, at: number, count: number}>, window: {from: number, to: number} | null, flame: {names: string[]}}}
 */
export const painted = { drawn: {}, window: null, flame: { names: [] } };

Object.defineProperty(globalThis, "deepseek", { value: painted });

/** @param {import("./lane.js").LaneView} lane whose canvas has just been painted */
export function paintedLane(lane) {
  const at = performance.timeOrigin + performance.now();
  for (const one of lane.spec.traces.flatMap((trace) => trace.keys).map((key) => lane.series.get(key))) {
    if (!one?.bin.length || one.newest.t > lane.view.hi) continue;
    painted.drawn[one.meta.name] = { t: one.newest.t, v: one.newest.v, at, count: one.points };
  }
}
