/** Every component of `dashboard/components.py` by its name: a function of its place, its properties and a way to set these. */

import { part } from "./pages/session.js";
import { start } from "./shell.js";

export { Address, Selection } from "./pages/session.js";
export { TimeChart } from "./timeline/time_chart.js";

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
export const RunsHead = part("RunsHead");
export const SamplesView = part("SamplesView");
export const TrainingCharts = part("TrainingCharts");

if (document.documentElement.dataset.base) start(); // the dashboard's own HTML (dashboard/pages/frame.py)
