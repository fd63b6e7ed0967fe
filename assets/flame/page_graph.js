/** A flame graph on a page of ours: of a run of this dashboard, where it is not given its data or another dashboard. */

import { embed } from "../embedding.js";
import { get } from "../lib/api.js";
import { session } from "../pages/session.js";
import { EmbeddedGraph, GRAPH_PX } from "./embedded_graph.js";

/** The dashboard whose page this is. @type {import("./embedded_graph.js").Asked} */
const home = {
  again() {},
  get,
  async runs(names) {
    const run = names[0] ?? (await session().runs.choose());
    if (run === null) throw new Error("there are no runs yet");
    return [run];
  },
};

/** @param {HTMLElement} place @param {any} props @param {(changed: Object) => void} setProps */
export function mountGraph(place, props, setProps) {
  const { view } = session();
  const named = () => ({ ...props, run: props.run ?? session().runs.name ?? undefined }); // else the one that is selected on the page
  const graph = embed(place, GRAPH_PX, named(), (frame, given) => new EmbeddedGraph(frame, given, setProps, home));
  const leave = view?.isPlain ? /** @type {import("../pages/plain_page.js").default} */ (view).onRun(() => graph.update(named())) : undefined;
  return {
    /** @param {any} changed */
    update(changed) {
      props = changed;
      graph.update(named());
    },
    close() {
      leave?.();
      graph.close();
    },
  };
}
