/** The strip of the Flame page: when GPUs starved, and what the main thread did, on one time axis with the selected window. */

import { get, newest } from "../../lib/api.js";
import { ChartLane } from "../../flame/chart.js";
import { el } from "../../lib/dom.js";
import { lanesOf } from "../../data/lanes.js";
import { Retry } from "../../lib/retry.js";

const FIRST = ["heat", "phases", "cpu"]; // the lane above the flame chart: the first existing one of these

export class Strip {
  /**
   * @param {import("../../timeline/timeline.js").Timeline} timeline
   * @param {{failed: (error: unknown, again: Retry) => void, tinting: () => import("../../flame/chart.js").Tinting, answered: () => void}} page
   */
  constructor(timeline, page) {
    this.chart = new ChartLane();
    /** @type {Record<string, any> | null} */
    this.asked = null;
    timeline.stack.after(this.chart.element);
    timeline.surface.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.chart.point(event));
    timeline.surface.addEventListener("pointerleave", () => (this.chart.tip.hidden = true));
    this.element = el("div", { class: "strip" }, timeline.element);
    this.read = newest(
      (/** @type {Record<string, any>} */ question) => get("flamechart", question),
      (chart) => {
        this.retry.done();
        this.chart.show(chart, page.tinting());
        page.answered();
      },
      (error) => {
        page.failed(error, this.retry);
        page.answered();
      },
    );
    this.retry = new Retry(() => this.asked && this.read(this.asked));
  }

  /** Read the stacks of a stretch of time. @param {string} run @param {import("../../lib/axis.js").View} view @param {import("./options.js").Choice} choice */
  ask(run, { lo, hi }, { thread, rank }) {
    const width = this.chart.plot.clientWidth;
    if (!width) return;
    this.asked = { run, from: lo, to: hi, width, thread, rank, view: thread ? "threads" : "main" };
    this.read(this.asked);
  }
}

/** The lane that shows dips best. @param {import("../../data/series.js").Meta[]} metas */
export function stripLanes(metas) {
  const lanes = lanesOf(metas);
  return FIRST.flatMap((id) => lanes.filter((lane) => lane.id === id)).slice(0, 1);
}
