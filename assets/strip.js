/** The strip of the Flame page: when GPUs starved, and what the main thread did, on one time axis with the selected window. */

import { get, newest } from "./api.js";
import { ChartLane } from "./chart.js";
import { Compare } from "./compare.js";
import { el } from "./dom.js";
import { lanesOf } from "./lanes.js";
import { lostSince, withLost } from "./lost.js";
import { paintedLane } from "./painted.js";
import { Timeline } from "./timeline.js";

const FIRST = ["heat", "phases", "cpu"]; // the lane above the flame chart: the first of these that there is

/** @typedef {import("./steering.js").Steering} Steering */

export class Strip {
  /**
   * @param {Steering} steering
   * @param {{hover: (time_s: number | null) => void, compared: () => void, failed: (error: unknown) => void, tinting: () => import("./chart.js").Tinting}} page
   */
  constructor(steering, page) {
    this.timeline = new Timeline(
      {
        ...steering.gestures(),
        select: (from, to, done) => this.compare.select(from, to, done),
        hover: page.hover,
        click: () => steering.clear(),
      },
      paintedLane,
    );
    this.compare = new Compare(this.timeline, steering, page.compared);
    this.chart = new ChartLane();
    this.timeline.stack.after(this.chart.element);
    this.timeline.surface.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.chart.point(event));
    this.timeline.surface.addEventListener("pointerleave", () => (this.chart.tip.hidden = true));
    this.element = el("div", { class: "strip" }, this.timeline.element);
    this.read = newest(
      (/** @type {Record<string, any>} */ question) => get("flamechart", question),
      (chart) => this.chart.show(chart, page.tinting()),
      page.failed,
    );
  }

  /** Read the stacks of a stretch of time. @param {string} run @param {import("./range.js").View} view @param {import("./flame_options.js").Choice} choice */
  ask(run, { lo, hi }, { thread, rank }) {
    const width = this.chart.plot.clientWidth;
    if (width) this.read({ run, from: lo, to: hi, width, thread, rank, view: thread ? "threads" : "main" });
  }

  /** @param {import("./timeline.js").Picture} picture */
  draw(picture) {
    this.timeline.draw(picture);
    this.chart.draw(picture.view);
    this.compare.draw();
  }
}

/** What shows dips best. @param {any[]} metas @param {import("./gpu_head.js").Card[]} cards */
export function stripLanes(metas, cards) {
  const lanes = lanesOf(metas);
  const first = FIRST.flatMap((id) => lanes.filter((lane) => lane.id === id)).slice(0, 1);
  const machine = metas.filter(({ run }) => run === null);
  return withLost(first, metas, lostSince(cards, machine));
}
