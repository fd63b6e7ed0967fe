/** Curves in an app elsewhere, of given data or of a dashboard: a chart for each series, a line for each run. */

import { Colours } from "../data/colours.js";
import { CurveReader, readCurves } from "../data/curve_reader.js";
import { RemoteDashboard } from "../data/remote.js";
import { leaveFull } from "../lib/chart_tools.js";
import { el, setText, visibleName } from "../lib/dom.js";
import { onTheme } from "../lib/theme.js";
import { Chart } from "./chart.js";
import { curveOf, extentOf, rowOf } from "./curve.js";
import { addTools } from "./export.js";
import { Tip, lineKey } from "./tip.js";
import { PLAIN } from "./training_view.js";

/** @typedef {import("./training_view.js").Span} Span */
/** @typedef {import("./curve.js").Curve} Curve */
/** @typedef {{from: number, to: number}} Window */
/** @typedef {{axis: string, curves: Partial<import("./curve.js").Row>[], note?: string}} Data as `chart_data` of `dashboard/component_data.py` makes it */
/** @typedef {{runs: string[], series: string[], axis: string, window?: Window | null, data?: Data, source?: string, token?: string}} Props */
/** @typedef {{key: string, rows: object | null, curves: Curve[], chart: Chart, ylog: boolean}} Lane of one series */

export const LANE_PX = 160;
const BUCKETS = 600;

export class EmbeddedChart {
  /** @param {import("../embedding.js").Frame} frame @param {Props} props @param {(changed: {window: Window | null}) => void} setProps */
  constructor(frame, props, setProps) {
    this.frame = frame;
    this.setProps = setProps;
    this.tip = new Tip(frame.body);
    /** @type {Lane[]} */
    this.lanes = [];
    /** @type {Span | null} a zoomed range; null: all */
    this.span = null;
    /** @type {CurveReader<Lane> | null} */
    this.reader = null;
    /** @type {import("../data/feed.js").Feed | null} */
    this.feed = null;
    this.colours = new Colours(); // by line
    this.sized = new ResizeObserver(() => this.#fit());
    this.sized.observe(frame.body);
    frame.signal.addEventListener("abort", () => this.sized.disconnect());
    onTheme(() => this.lanes.forEach(({ chart }) => chart.recolour()));
    this.props = props;
    this.#begin();
  }

  /** @param {Props} props */
  update(props) {
    const { props: before } = this;
    this.props = props;
    const asked = (/** @type {Props} */ { runs, series, axis, source, token }) => JSON.stringify([runs, series, axis, source, token]);
    if (props.data !== before.data || (!props.data && asked(props) !== asked(before))) this.#begin();
    else this.#draw();
  }

  close() {
    this.reader?.want([]);
    this.reader?.forget();
    this.feed?.close();
    leaveFull(this.frame.body);
    for (const { chart } of this.lanes) chart.destroy();
  }

  #begin() {
    const { data, source, series } = this.props;
    this.reader?.want([]);
    this.reader?.forget();
    this.feed?.close();
    [this.reader, this.feed, this.span] = [null, null, null];
    this.frame.say("");
    if (data) {
      const names = [...new Set(data.curves.map(({ name }) => name ?? ""))];
      this.#lay(names);
      for (const lane of this.lanes) lane.curves = data.curves.filter(({ name }) => name === lane.key).map((row) => curveOf(rowOf(row)));
      if (!names.length) this.frame.say("There is nothing to draw: the data has no columns of numbers.");
    } else if (source) {
      this.#lay([...new Set(series)]);
      this.#follow(new RemoteDashboard(source, this.props.token));
      if (!series.length) this.frame.say("There is nothing to draw: name series=[...].");
    } else this.frame.say("There is nothing to draw: pass data=, or source= with the address of a dashboard.");
    this.#draw();
  }

  /** @param {string[]} names of the series */
  #lay(names) {
    leaveFull(this.frame.body);
    for (const { chart } of this.lanes) {
      this.sized.unobserve(chart.element);
      chart.destroy();
    }
    this.lanes = names.map((name) => {
      const chart = new Chart({ key: name, name, title: visibleName(name), unit: "", points: 0, direction: null, machine: false, progress: false }, this.#gestures);
      chart.head.replaceChildren(el("b", {}, visibleName(name)), chart.unit);
      addTools(chart);
      this.sized.observe(chart.element); // it may fill the window
      return { key: name, rows: null, curves: [], chart, ylog: false };
    });
    this.frame.body.append(...this.lanes.map(({ chart }) => chart.element));
    this.frame.body.style.minHeight = `${names.length * LANE_PX}px`;
    this.#fit();
  }

  // Of a dashboard

  /** @param {RemoteDashboard} dashboard */
  #follow(dashboard) {
    const { runs } = this.props;
    this.reader = new CurveReader({
      question: ({ key }) => this.#question(key),
      changed: (_, answer) => this.#read(dashboard, answer?.cursor ?? 0),
      read: async (exprs, parameters, how) => {
        const ask = /** @type {typeof import("../lib/api.js").get} */ ((noun, given, request) => dashboard.get(noun, given, request));
        return readCurves(exprs, { ...parameters, run: await dashboard.runs(runs) }, { ...how, ask });
      },
    });
    this.reader.want(this.lanes);
  }

  /** @param {string} key */
  #question(key) {
    const { span, props } = this;
    const parameters = { x: props.axis, from: span?.lo ?? null, to: span?.hi ?? null };
    return { id: JSON.stringify(parameters), exprs: [key], parameters, buckets: BUCKETS, grows: props.axis === "time" && !span };
  }

  /** @param {RemoteDashboard} dashboard @param {number} cursor of the answer; 0: there is none */
  #read(dashboard, cursor) {
    const reader = /** @type {CurveReader<Lane>} */ (this.reader);
    for (const lane of this.lanes) {
      const held = reader.of(lane);
      if (!held || held.rows === lane.rows) continue;
      Object.assign(lane, { rows: held.rows, curves: held.rows.map(curveOf) });
    }
    const trouble = this.lanes.map((lane) => reader.of(lane)?.trouble).find(Boolean) ?? "";
    this.frame.say(trouble, () => {
      dashboard.again();
      reader.refresh();
    });
    if (cursor) this.#subscribe(dashboard, reader, cursor);
    this.#draw();
  }

  /** New points come over the socket; which, the reader asks for. @param {RemoteDashboard} dashboard @param {CurveReader<Lane>} reader @param {number} cursor */
  #subscribe(dashboard, reader, cursor) {
    if (this.feed) return;
    /** @type {Map<string | null, string[]>} */
    const names = new Map();
    for (const { run, name } of reader.followed.values()) names.set(run, [...(names.get(run) ?? []), name]);
    if (!names.size) return;
    this.feed = dashboard.feed({
      onDelta: () => reader.touch(),
      onState: () => {},
      onReset: () => {
        this.#leave();
        reader.refresh();
      },
      onConnection: () => {},
      onLoggedOut: () => {
        this.#leave();
        reader.refresh(); // which says why
      },
    });
    this.feed.subscribe([...names].map(([run, series]) => (run === null ? { source: "host", series } : { run, series })), cursor);
  }

  /** The socket is opened anew after the next reading. */
  #leave() {
    this.feed?.close();
    this.feed = null;
  }

  // Drawing

  #fit() {
    for (const { chart } of this.lanes) chart.fit(chart.element.clientWidth, chart.element.clientHeight || LANE_PX);
    this.#draw();
  }

  /** What the charts show of the axis. @returns {Span} */
  get shown() {
    const { lo, hi } = this.span ?? extentOf(this.lanes.flatMap(({ curves }) => curves), false) ?? { lo: 0, hi: 1 };
    return lo < hi ? { lo, hi } : { lo: lo - 0.5, hi: lo + 0.5 };
  }

  #draw() {
    const { data, axis, window } = this.props;
    const lines = [...new Set(this.lanes.flatMap(({ curves }) => curves.map(({ label }) => label)))];
    this.colours.choose(lines);
    this.#legend(lines);
    const view = { ...PLAIN, x: data?.axis ?? axis };
    const span = this.shown;
    for (const lane of this.lanes) {
      const held = this.reader?.of(lane);
      const known = data ?? held;
      lane.chart.element.hidden = Boolean(held?.trouble) && !lane.curves.length; // the sentence above says why
      lane.chart.show({
        curves: known ? lane.curves : null,
        view: { ...view, ylog: lane.ylog },
        span,
        colourOf: ({ label }) => this.colours.of(label),
        lit: "",
        trouble: held?.left[0]?.reason ?? "",
        stale: held ? held.id !== this.#question(lane.key).id : false,
        window: window ? { lo: window.from, hi: window.to } : null,
      });
      setText(lane.chart.unit, lane.curves[0]?.unit ?? "");
    }
  }

  /** @param {string[]} lines */
  #legend(lines) {
    const note = this.props.data?.note ?? "";
    const key = JSON.stringify([lines, note]);
    if (key === this.#legended) return;
    this.#legended = key;
    const shown = lines.length > 1 || lines[0] ? lines : [];
    this.frame.head.replaceChildren(...shown.map((line) => el("span", {}, lineKey(this.colours.of(line), lines.length === 1), line)), note);
  }

  #legended = "";

  /** @type {import("./chart.js").Gestures} */
  #gestures = {
    hover: (chart, x, event) => {
      for (const { chart } of this.lanes) chart.crosshair(x);
      if (x === null || !event) this.tip.hide();
      else this.tip.show(chart, x, event);
    },
    zoom: ({ lo, hi }) => this.#choose({ from: lo, to: hi }),
    scale: (factor, x) => {
      const { lo, hi } = this.shown;
      this.#zoom({ lo: x - (x - lo) * factor, hi: x + (hi - x) * factor });
    },
    whole: () => {
      this.#choose(null);
      this.#zoom(null);
    },
    point: () => {},
    act: (chart, act) => {
      const lane = this.lanes.find((lane) => lane.chart === chart);
      if (lane && act === "log") lane.ylog = !lane.ylog;
      this.#draw();
    },
  };

  /** @param {Window | null} window */
  #choose(window) {
    this.props = { ...this.props, window };
    this.setProps({ window });
    this.#draw();
  }

  /** @param {Span | null} span */
  #zoom(span) {
    this.span = span;
    this.reader?.want(this.lanes);
    this.#draw();
  }
}
