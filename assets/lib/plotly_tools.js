/** The tools of a Plotly figure, which Dash draws: those of every chart. */

import { chartTools, flip, isFlipped } from "./chart_tools.js";

const COLUMNS = /** @type {const} */ (["x", "y", "z", "open", "high", "low", "close", "values", "labels", "text"]);
const SCALE = 2; // of the picture

/** Give a figure its tools, once. @param {any} figure `.js-plotly-plot` */
export function addPlotlyTools(figure) {
  if (figure.querySelector(":scope > .chart-tools")) return;
  const Plotly = () => /** @type {any} */ (window).Plotly;
  const title = () => textOf(figure.layout?.title) || textOf(figure.layout?.yaxis?.title) || "Figure";
  const id = () => `figure ${title()}`;
  const turn = () => {
    flip(id());
    Plotly().relayout(figure, { "yaxis.type": figure._fullLayout.yaxis.type === "log" ? "linear" : "log", "yaxis.autorange": true });
  };
  figure.classList.add("tooled");
  figure.append(
    chartTools(
      {
        element: figure,
        title,
        table: () => tableOf(figure._fullData ?? []),
        picture: async () => blobOf(await Plotly().toImage(figure, { format: "png", scale: SCALE, width: figure.clientWidth, height: figure.clientHeight })),
        logY: { on: () => figure._fullLayout?.yaxis?.type === "log", turn },
      },
      { menuOnly: true },
    ),
  );
  new ResizeObserver(() => figure.clientWidth && Plotly().Plots.resize(figure)).observe(figure);
  if (isFlipped(id()) && figure._fullLayout?.yaxis?.type === "linear") Plotly().relayout(figure, { "yaxis.type": "log", "yaxis.autorange": true });
}

/** The page's policy lets nothing fetch a `data:` address. @param {string} address */
const blobOf = (address) => new Blob([Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (char) => char.charCodeAt(0))], { type: "image/png" });

/** @param {any} given a title as Plotly takes it */
const textOf = (given) => String(given?.text ?? (typeof given === "string" ? given : "")).replace(/<[^>]*>/g, "");

/** A row for each point; a matrix has one for each cell; of parallel coordinates, one for each line. @param {any[]} traces @returns {import("./chart_tools.js").Table} */
function tableOf(traces) {
  const lines = traces.find(({ dimensions }) => dimensions?.length);
  if (lines) {
    const shown = lines.dimensions.filter((/** @type {any} */ { values }) => values?.length);
    return { columns: shown.map((/** @type {any} */ { label }) => label ?? ""), rows: Array.from(shown[0]?.values ?? [], (_, i) => shown.map((/** @type {any} */ { values }) => values[i])) };
  }
  const columns = COLUMNS.filter((name) => traces.some((trace) => isList(trace[name])));
  const rows = traces.flatMap((trace) => {
    if (isList(trace.z) && isList(trace.z[0])) return Array.from(trace.z, (row, i) => Array.from(row, (z, k) => [trace.name, ...columns.map((name) => ({ x: trace.x?.[k] ?? k, y: trace.y?.[i] ?? i, z })[/** @type {"x"} */ (name)])])).flat();
    const length = Math.max(0, ...columns.map((name) => (isList(trace[name]) ? trace[name].length : 0)));
    return Array.from({ length }, (_, i) => [trace.name, ...columns.map((name) => (isList(trace[name]) ? trace[name][i] : null))]);
  });
  return { columns: ["trace", ...columns], rows };
}

/** @param {any} value @returns {value is ArrayLike<any>} */
const isList = (value) => Array.isArray(value) || ArrayBuffer.isView(value);
