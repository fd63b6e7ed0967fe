/** Plots of charts that were scrolled away, for those that come into view: a canvas made anew is work for the browser's garbage collector. */

/** @typedef {{chart: import("./chart.js").Chart}} Owner whose curves a plot draws now */

const MOST = 48;

/** @type {Map<string, any[]>} by size, scales and theme */
const idle = new Map();
let kept = 0;

/** @param {string} key @returns {any | null} */
export function takePlot(key) {
  const plot = idle.get(key)?.pop();
  if (plot) kept -= 1;
  return plot ?? null;
}

/** @param {string} key @param {any} plot */
export function keepPlot(key, plot) {
  if (kept >= MOST) return plot.destroy();
  plot.root.remove();
  const plots = idle.get(key) ?? [];
  plots.push(plot);
  idle.set(key, plots);
  kept += 1;
  return undefined;
}

/** Those of another theme are never asked for again. */
export function dropPlots() {
  for (const plots of idle.values()) for (const plot of plots) plot.destroy();
  idle.clear();
  kept = 0;
}
