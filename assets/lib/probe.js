/** The painted contents, for tests and benchmarks: a global of the page. */

/**
 * `deepseekPainted.drawn["train/loss"] -> {t, v, at, count, ylog}`: the newest point on the canvas, the wall time of its painting in ms, the
 * number of points of the line, and whether the scale is logarithmic. `deepseekPainted.flame`: the functions and the window of the flame graph, and when it was first drawn.
 * `deepseekPainted.curves["train/loss"]`: what the chart of that tag has on its canvas.
 * @type {{drawn: Record<string, {t: number, v: number, at: number, count: number, ylog: boolean}>, curves: Record<string, PaintedCurves>, window: {from: number, to: number} | null, flame: {names: string[], window: {from: number, to: number} | null, at: number}}}
 */
export const painted = { drawn: Object.create(null), curves: Object.create(null), window: null, flame: { names: [], window: null, at: 0 } };

/** @typedef {{at: number, curves: number, points: number, lines: number, bad: string[], top: number, x: [number, number], y: [number, number], ylog: boolean, stale: boolean}} PaintedCurves `top`: the highest pixel that is painted, as a share of the plot's height from its foot */

Object.defineProperty(globalThis, "deepseekPainted", { value: painted });

const now_ms = () => performance.timeOrigin + performance.now();

/** @param {string[]} names functions of the flame graph that has just been drawn @param {{from: number, to: number}} window */
export function paintedFlame(names, window) {
  const { flame } = painted;
  const again = flame.window?.from === window.from && flame.window.to === window.to;
  painted.flame = { names, window, at: again ? flame.at : now_ms() };
}

/** @param {import("../timeline/lane.js").LaneView} lane whose canvas has just been painted; a lane of rates draws no value that was logged */
export function paintedLane(lane) {
  if (lane.spec.rate) return;
  const at = now_ms();
  for (const series of lane.spec.lines.flatMap((line) => line.keys).map((key) => lane.series.get(key))) {
    if (!series?.bin.length || series.newest.t > lane.view.hi) continue;
    painted.drawn[series.meta.name] = { t: series.newest.t, v: series.newest.v, at, count: series.points, ylog: lane.chart?.scales.y.distr === 3 };
  }
}

/**
 * @param {string} name of the chart's series
 * @param {{curves: import("../curves/curve.js").Curve[], shapes: import("../curves/curve.js").Shape[], bad: import("../curves/curve.js").Bad[], span: {lo: number, hi: number}, y: {lo: number, hi: number}, place: {top: number, bottom: number, ylog: boolean}, stale: boolean}} chart
 */
export function paintedCurves(name, { curves, shapes, bad, span, y, place, stale }) {
  let least = place.bottom;
  for (const { parts, colour } of shapes) if (colour !== "ink-3") for (const part of parts) for (let i = 1; i < part.length; i += 2) if (part[i] < least) least = part[i];
  painted.curves[name] = {
    at: now_ms(),
    curves: curves.length,
    points: curves.reduce((sum, { x }) => sum + x.length, 0),
    lines: shapes.filter(({ kind }) => kind === "line").length,
    bad: bad.map(({ text }) => text),
    top: (place.bottom - least) / (place.bottom - place.top),
    x: [span.lo, span.hi],
    y: [y.lo, y.hi],
    ylog: place.ylog,
    stale,
  };
}
