/** Every component of `dashboard/components.py` by its name: a function of its place, its properties and a way to set these. */

import { EmbeddedChart, LANE_PX } from "./curves/embedded_chart.js";
import { embed } from "./embedding.js";
import { EmbeddedGraph, GRAPH_PX } from "./flame/embedded_graph.js";
import { part } from "./pages/session.js";
import { mountGraph } from "./flame/page_graph.js";
import { start } from "./shell.js";
import { mountLanes } from "./timeline/time_chart.js";

export { Moment, RulePreview, SecretField } from "./pages/alerts/form.js";
export { RunNotify } from "./pages/notify.js";
export { OwnComponent } from "./pages/own_component.js";
export { Address, Selection } from "./pages/session.js";

const isOurs = Boolean(document.documentElement.dataset.base); // the dashboard's own HTML (dashboard/pages/frame.py)

/** Lanes on the axis of a page of ours; in an app elsewhere, or of given data, charts of its own. @param {HTMLElement} place @param {any} props @param {(changed: Object) => void} setProps */
export const TimeChart = (place, props, setProps) =>
  isOurs && !props.data && !props.source
    ? mountLanes(place, props, setProps)
    : embed(place, LANE_PX * Math.max(1, props.series.length), props, (frame, given) => new EmbeddedChart(frame, given, setProps));

/** Stacks of given data, or of a dashboard. @param {HTMLElement} place @param {any} props @param {(changed: Object) => void} setProps */
export const FlameGraph = (place, props, setProps) =>
  isOurs ? mountGraph(place, props, setProps) : embed(place, GRAPH_PX, props, (frame, given) => new EmbeddedGraph(frame, given, setProps));

export const AlertChange = part("AlertChange");
export const AlertsActive = part("AlertsActive");
export const AlertsEditor = part("AlertsEditor");
export const BoardsView = part("BoardsView");
export const DesktopChoice = part("DesktopChoice");
export const FlameView = part("FlameView");
export const GpusView = part("GpusView");
export const JobsView = part("JobsView");
export const LiveView = part("LiveView");
export const LogView = part("LogView");
export const RunFilling = part("RunFilling");
export const RunProvenance = part("RunProvenance");
export const RunShares = part("RunShares");
export const RunsCompared = part("RunsCompared");
export const RunsCurves = part("RunsCurves");
export const RunsHead = part("RunsHead");
export const SamplesView = part("SamplesView");
export const TrainingCharts = part("TrainingCharts");

if (isOurs) start();
