/** A flame graph in an app elsewhere, of a given answer of `/flame` or of a dashboard. */

import { RemoteDashboard } from "../data/remote.js";
import { Retry } from "../data/refresh.js";
import { lasting, newest, sentenceOf } from "../lib/api.js";
import { leaveFull } from "../lib/chart_tools.js";
import { el } from "../lib/dom.js";
import { counted, duration } from "../lib/format.js";
import { onTheme } from "../lib/theme.js";
import { FlameGraph } from "./flame.js";
import { legendOfDifference, legendOfKinds } from "./paint.js";
import { Tree } from "./tree.js";

/** @typedef {import("./tree.js").Flame} Flame */
/** @typedef {{name: string, file: string, line: number, share: number, self_s: number, total_s: number}} Selected `share` of the shown time, 0 to 1 */
/** @typedef {{run?: string, window?: {from: number, to: number} | null, baseline: string, data?: Flame, source?: string, token?: string}} Props */

/** @typedef {Pick<RemoteDashboard, "again" | "get" | "runs">} Asked a dashboard */

export const GRAPH_PX = 360;

export class EmbeddedGraph {
  /** @param {import("../embedding.js").Frame} frame @param {Props} props @param {(changed: {selected: Selected}) => void} setProps @param {Asked | null} [home] the dashboard whose page this is */
  constructor(frame, props, setProps, home = null) {
    this.frame = frame;
    this.home = home;
    this.props = props;
    /** @type {Asked | null} */
    this.dashboard = null;
    this.graph = new FlameGraph({ chosen: (node) => setProps({ selected: this.#describe(node) }) });
    this.graph.addTools(() => (this.props.run ? `Flame graph of ${this.props.run}` : "Flame graph"));
    this.about = el("span");
    this.kinds = el("span", { class: "kinds" });
    frame.head.append(this.about, this.kinds);
    frame.body.append(this.graph.element);
    this.retry = new Retry(() => this.#ask());
    this.read = newest(
      () => this.#read(),
      (flame) => this.#show(flame),
      (error) => this.#fail(error),
    );
    this.#begin();
  }

  /** @param {Props} props */
  update(props) {
    const { props: before } = this;
    this.props = props;
    const asked = (/** @type {Props} */ { run, window, baseline, source, token }) => JSON.stringify([run, window, baseline, source, token]);
    if (props.data !== before.data || (!props.data && asked(props) !== asked(before))) this.#begin();
  }

  close() {
    leaveFull(this.frame.body);
    this.retry.done();
  }

  #begin() {
    const { data, source, token } = this.props;
    this.dashboard = null;
    this.retry.done();
    if (data) this.#show(data);
    else if (source || this.home) {
      this.dashboard = source ? new RemoteDashboard(source, token) : this.home;
      this.#ask();
    } else this.frame.say("There is nothing to draw: pass data=, or source= with the address of a dashboard.");
  }

  #ask() {
    this.read(null);
  }

  /** Of the window, or the whole run until now. @returns {Promise<Flame>} */
  async #read() {
    const { dashboard, props } = this;
    if (!dashboard) throw new Error("no dashboard is asked");
    const [run] = await dashboard.runs(props.run ? [props.run] : []);
    const { from, to } = props.window ?? (await extentOf(dashboard, run));
    return dashboard.get("flame", { run, from, to, baseline: props.baseline });
  }

  /** @param {Flame} flame */
  #show(flame) {
    if (this.frame.signal.aborted || (!this.props.data && !this.dashboard)) return;
    this.retry.done();
    const tree = flame.samples && flame.nodes.frame.length ? new Tree(flame) : null;
    this.graph.show(tree);
    this.about.textContent = tree ? `${duration(flame.seconds)}, ${counted(flame.samples, "sample")}` : "";
    this.kinds.replaceChildren(...(!tree ? [] : tree.compared ? legendOfDifference() : legendOfKinds()));
    this.frame.say(tree ? "" : flame.note ? `${flame.note.sentence} ${flame.note.remedy}`.trim() : "There are no stacks in this window.");
  }

  /** @param {unknown} error */
  #fail(error) {
    if (this.frame.signal.aborted) return;
    this.frame.say(sentenceOf(error), () => {
      this.dashboard?.again();
      this.#ask();
    });
    if (!lasting(error)) this.retry.failed();
  }

  /** @param {number} node @returns {Selected} */
  #describe(node) {
    const tree = /** @type {Tree} */ (this.graph.tree);
    const { name, file, line } = tree.frame(node);
    const { self_s, total_s } = tree.nodes;
    return { name, file, line, share: total_s[node] / tree.total_s, self_s: self_s[node], total_s: total_s[node] };
  }
}

/** @param {Asked} dashboard @param {string} run */
async function extentOf(dashboard, run) {
  const { started_s, ended_s, last_time_s } = await dashboard.get("run", { run });
  return { from: started_s, to: last_time_s === null ? ended_s : Math.max(ended_s ?? 0, last_time_s) };
}
