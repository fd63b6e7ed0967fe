/** Sparklines: the losses of the rows in view, read in one question and drawn on small canvases, each as long as its run got. */

import { get } from "../../lib/api.js";
import { emptyContext } from "../../lib/dom.js";
import { onTheme, token } from "../../lib/theme.js";

/** @typedef {import("../../types/api").Answer<"sparklines">["sparks"][number]} Spark */
/** @typedef {{run: string, stamp: string, share: number | null, tint: string, bad: boolean}} Wish */

const WIDTH = 88;
const HEIGHT = 18;
const WAIT_MS = 30; // for the other rows that scroll into view
const MOST = 100; // of a question
const KEPT = 2000;

export class Sparks {
  constructor() {
    /** @type {Map<HTMLCanvasElement, Wish>} */
    this.shown = new Map();
    /** @type {Map<string, {stamp: string, spark: Spark | null}>} */
    this.known = new Map();
    /** @type {Set<string>} */
    this.asking = new Set();
    onTheme(() => requestAnimationFrame(() => this.#drawAll()));
  }

  /** Draw on this canvas, now or once the run's loss is there; null takes it back. @param {HTMLCanvasElement} canvas @param {Wish | null} wish */
  place(canvas, wish) {
    if (wish === null) {
      this.shown.delete(canvas);
      return;
    }
    this.shown.set(canvas, wish);
    draw(canvas, wish, this.known.get(wish.run)?.spark ?? null);
    if (this.known.get(wish.run)?.stamp !== wish.stamp) this.#timer ??= setTimeout(() => this.#ask(), WAIT_MS);
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  async #ask() {
    this.#timer = undefined;
    const stamps = new Map([...this.shown.values()].map(({ run, stamp }) => [run, stamp]));
    const runs = [...stamps.keys()].filter((run) => this.known.get(run)?.stamp !== stamps.get(run) && !this.asking.has(run)).slice(0, MOST);
    if (!runs.length) return;
    for (const run of runs) this.asking.add(run);
    try {
      const { sparks } = await get("sparklines", { run: runs });
      const found = new Map(sparks.map((spark) => [spark.run, spark]));
      if (this.known.size > KEPT) this.known.clear();
      for (const run of runs) this.known.set(run, { stamp: stamps.get(run) ?? "", spark: found.get(run) ?? null });
      this.#drawAll();
    } catch {
      // the rows say that there is no connection; what comes into view next asks again
    } finally {
      for (const run of runs) this.asking.delete(run);
    }
  }

  #drawAll() {
    for (const [canvas, wish] of this.shown) draw(canvas, wish, this.known.get(wish.run)?.spark ?? null);
  }
}

/** @param {HTMLCanvasElement} canvas @param {Wish} wish @param {Spark | null} spark */
function draw(canvas, { share, tint, bad }, spark) {
  const context = emptyContext(canvas, WIDTH, HEIGHT);
  if (!spark?.t.length) return;
  const points = placed(spark, share ?? 1);
  if (!points.length) return;
  const [x, y] = points[points.length - 1];
  context.strokeStyle = token(tint);
  context.lineWidth = tint === "ink-3" ? 1 : 1.5;
  context.beginPath();
  for (const [at, height] of points) context.lineTo(at, height);
  context.stroke();
  context.fillStyle = token(bad || spark.non_finite ? "bad" : tint);
  context.beginPath();
  context.arc(x, y, 1.75, 0, 2 * Math.PI);
  context.fill();
}

/** Its finite points in pixels. @param {Spark} spark @param {number} share of the width @returns {[number, number][]} */
function placed({ t, mean }, share) {
  const known = /** @type {[number, number][]} */ (t.map((at, i) => [at, mean[i]]).filter(([, value]) => Number.isFinite(value)));
  const values = known.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [known[0]?.[0] ?? 0, known[known.length - 1]?.[0] ?? 1];
  const width = Math.max(4, share * (WIDTH - 6));
  const across = (/** @type {number} */ at) => 2 + (last > first ? ((at - first) / (last - first)) * width : 0);
  const up = (/** @type {number} */ value) => HEIGHT - 3 - (high > low ? ((value - low) / (high - low)) * (HEIGHT - 6) : (HEIGHT - 6) / 2);
  return known.map(([at, value]) => [across(at), up(value)]);
}
