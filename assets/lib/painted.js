/** The painted contents, for tests and benchmarks: the page's only global, `deepseek`. */

/**
 * `deepseek.drawn["train/loss"] -> {t, v, at, count}`: the newest point on the canvas, the wall time of its painting in ms, and
 * the number of points of the line. `deepseek.flame`: the functions and the window of the flame graph, and when it was first drawn.
 * @type {{drawn: Record<string, {t: number, v: number, at: number, count: number}>, window: {from: number, to: number} | null, flame: {names: string[], window: {from: number, to: number} | null, at: number}}}
 */
export const painted = { drawn: {}, window: null, flame: { names: [], window: null, at: 0 } };

Object.defineProperty(globalThis, "deepseek", { value: painted });

const now_ms = () => performance.timeOrigin + performance.now();

/** @param {string[]} names functions of the flame graph that has just been drawn @param {{from: number, to: number}} window */
export function paintedFlame(names, window) {
  const { flame } = painted;
  const again = flame.window?.from === window.from && flame.window.to === window.to;
  painted.flame = { names, window, at: again ? flame.at : now_ms() };
}

/** @param {import("../timeline/lane.js").LaneView} lane whose canvas has just been painted */
export function paintedLane(lane) {
  const at = now_ms();
  for (const series of lane.spec.traces.flatMap((trace) => trace.keys).map((key) => lane.series.get(key))) {
    if (!series?.bin.length || series.newest.t > lane.view.hi) continue;
    painted.drawn[series.meta.name] = { t: series.newest.t, v: series.newest.v, at, count: series.points };
  }
}
