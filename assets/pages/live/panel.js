/** The side panel: what Python is doing now, or what it did in the selected window. */

import { basis, facts, ownWords, sentence } from "../../blame/blame.js";
import { LogDifference } from "../../blame/log_difference.js";
import { TroubleBox } from "../../blame/requests.js";
import { TraceBox } from "../../blame/trace.js";
import { counterOf, stepRate } from "../../data/progress.js";
import { average } from "../../data/series.js";
import { FlameGraph } from "../../flame/flame.js";
import { legendOfDifference, legendOfKinds } from "../../flame/paint.js";
import { Tree, nameOf } from "../../flame/tree.js";
import { STEP } from "../../lib/axis.js";
import { copyButton } from "../../lib/clipboard.js";
import { el, setClass, setText } from "../../lib/dom.js";
import { capital, clock, count, counted, duration, figure, stepRange } from "../../lib/format.js";
import { paintedFlame } from "../../lib/probe.js";
import { pathTo } from "../../lib/url.js";
import { folded, logLine, pointLine, timeOf } from "../../logs/line.js";
import { ReportButton } from "../run_details.js";

const LOUD = 30; // level of a warning: the first one comes into sight

/** @typedef {import("../../flame/tree.js").Flame} Flame */
/** @typedef {import("../../blame/blame.js").Blame} Blame */
/** @typedef {import("../../blame/requests.js").Question} Question */
/** @typedef {import("../../blame/requests.js").Trouble} Trouble */
/** @typedef {import("../../data/view_range.js").Window} Window */

export class Panel {
  /** @param {{clear: () => void, changed: () => void, profile: (action: "on" | "retry") => void, hover: (time_s: number | null) => void, compare: () => void, pin: () => void, report: () => import("../run_details.js").Reported | null}} actions */
  constructor(actions) {
    /** @type {Blame | null} */
    this.blame = null;
    this.chosen = false; // the user chose what the window is compared with
    this.flame = new FlameGraph();
    this.title = el("div", { class: "title" });
    this.sub = el("div", { class: "sub" });
    this.escape = el(
      "button",
      { class: "key-button", type: "button", title: "Clear the window", onclick: actions.clear },
      el("kbd", {}, "Esc"),
    );
    this.said = el("p", { class: "said", "aria-live": "polite" });
    this.aside = el("p", { class: "aside" });
    this.logDifference = new LogDifference();
    this.trace = new TraceBox(actions.changed);
    this.facts = el("tbody");
    this.against = el("th", { class: "num" }, "rest");
    this.table = el(
      "section",
      { class: "facts" },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, el("th"), el("th", { class: "num" }, "window"), this.against, el("th"))),
        this.facts,
      ),
    );
    this.samples = el("span", { class: "dim" });
    this.legend = el("span", { class: "kinds", "aria-hidden": "true" });
    this.trouble = new TroubleBox(actions.profile);
    this.lines = el("div", {
      class: "log",
      onpointerover: (/** @type {PointerEvent} */ event) => actions.hover(timeOf(event)),
      onpointerleave: () => actions.hover(null),
    });
    this.lineCount = el("span", { class: "dim" });
    this.logs = el(
      "section",
      { class: "window-log" },
      el("div", { class: "head" }, el("h2", {}, "Log in this window"), this.lineCount),
      this.lines,
    );
    this.hint = gesture();
    this.open = el("a", { class: "btn pri" }, "Flame graph", el("kbd", {}, "f"));
    this.pin = el("button", { class: "btn", type: "button", "aria-pressed": "false", onclick: actions.pin }, "Pin", el("kbd", {}, "p"));
    this.actionsRow = el(
      "section",
      { class: "actions" },
      this.open,
      el("button", { class: "btn", type: "button", onclick: actions.compare }, "Compare", el("kbd", {}, "d")),
      this.pin,
      copyButton("Copy link", () => location.href),
      new ReportButton(actions.report).element,
    );
    this.element = el(
      "aside",
      { class: "panel arriving", "aria-label": "What Python does", "data-sheet": "peek" },
      grip(() => this.element),
      this.hint,
      el("section", { class: "head" }, el("div", {}, this.title, this.sub), this.escape),
      el("section", { class: "verdict-line" }, this.said, this.aside, this.logDifference.element),
      this.table,
      el(
        "section",
        { class: "graph" },
        el("div", { class: "head" }, el("h2", {}, "Flame graph"), this.legend, this.samples),
        this.trouble.element,
        el("div", { class: "graph-box" }, this.flame.element),
      ),
      this.trace.element,
      this.logs,
      this.actionsRow,
    );
  }

  /** A part about the selected window stands above the log's. @param {HTMLElement} part */
  hold(part) {
    this.held = part;
    this.logs.before(part);
  }

  /** A part stands above all that is said of the window. @param {HTMLElement} part */
  lead(part) {
    this.said.parentElement?.before(part);
  }

  /** @type {HTMLElement | null} */
  held = null;

  /** Older content stays, dimmed, until the answer arrives. @param {boolean} stale */
  dim(stale) {
    setClass(this.element, "stale", stale);
  }

  /**
   * @param {Window | null} window @param {{from: number | null, to: number | null}} steps @param {boolean} pinned
   * @param {string} otherwise the title without a window @param {import("../../lib/axis.js").Axis} axis
   */
  showWindow(window, steps, pinned, otherwise, axis) {
    this.pin.setAttribute("aria-pressed", String(pinned));
    const had = this.element.classList.contains("selected");
    setClass(this.element, "selected", window !== null);
    if (window !== null && !had) this.element.dataset.sheet = "half";
    this.escape.hidden = this.table.hidden = window === null;
    this.logs.hidden = this.actionsRow.hidden = window === null || axis === STEP;
    if (this.held) this.held.hidden = this.logs.hidden;
    this.hint.hidden = window !== null || axis === STEP;
    this.open.href = pathTo(`/flame${location.search}`);
    if (!window) {
      setText(this.title, otherwise);
      return;
    }
    setText(this.title, capital(axis.range(window.from, window.to)));
    const range = stepRange(steps);
    setText(this.sub, [axis.length(window.to - window.from), range].filter(Boolean).join(", "));
  }

  /** The page's own comparison of the window; the server's comparison with normal replaces it. @param {Fact[]} own */
  showFacts(own) {
    const compared = this.blame ? facts(this.blame) : [];
    setText(this.against, compared.length ? (this.chosen ? "other" : "normal") : "rest");
    const shown = compared.length ? compared : own;
    const looks = JSON.stringify(shown);
    if (looks === this.#facts) return;
    this.#facts = looks;
    this.facts.replaceChildren(...shown.map(factRow));
  }

  #facts = "";

  /** @param {Flame | null} flame @param {Question} question @param {{growing: boolean, trouble: Trouble | null}} about */
  showFlame(flame, { asked, now, baseline }, { growing, trouble }) {
    this.flame.show(flame?.samples ? new Tree(flame) : null);
    paintedFlame(this.flame.names, asked);
    this.own = ownWords(flame, this.flame.tree, { asked, now, growing, baseline });
    this.sampled = flame?.samples ?? 0;
    this.#say();
    if (now)
      setText(this.sub, flame?.samples ? `${duration(asked.to - asked.from)}, ${clock(asked.from)} – ${clock(asked.to)}` : "");
    this.legend.replaceChildren(...(!this.flame.tree ? [] : this.flame.tree.compared ? legendOfDifference() : legendOfKinds()));
    this.showTrouble(flame?.samples ? null : trouble);
  }

  /** @type {{said: (Node | string)[], aside: string}} the page's own words */
  own = { said: [], aside: "" };
  sampled = 0; // of the whole graph

  /** @param {Blame | null} blame null until the server has answered @param {Question} question */
  showBlame(blame, { baseline }) {
    this.blame = blame;
    this.chosen = baseline !== null;
    this.#mark();
    this.#say();
  }

  /** The blamed function is selected in the graph. */
  #mark() {
    const { blame } = this;
    if (blame?.function && blame.file) this.flame.mark(nameOf({ name: blame.function, file: blame.file }));
  }

  #say() {
    const { blame, own } = this;
    const said = blame?.sentence ? sentence(blame) : own.said;
    const samples = this.sampled && (blame?.samples || this.sampled); // those of the sentence, if there is one
    setText(this.samples, samples ? counted(samples, "sample") : "");
    this.said.replaceChildren(...said);
    const rests = blame?.sentence && blame.verdict !== "no_profile" ? basis(blame, this.chosen, this.flame.tree) : own.aside;
    setText(this.aside, rests === this.said.textContent ? "" : rests);
  }

  /** Without stacks there is no crosshair. @param {boolean} bare */
  #bare(bare) {
    setClass(this.element, "bare", bare);
  }

  /** @param {Trouble | null} trouble */
  showTrouble(trouble) {
    requestAnimationFrame(() => requestAnimationFrame(() => setClass(this.element, "arriving", false))); // what is said first has its place before it is seen, so that nothing jumps
    if (trouble) setText(this.aside, "");
    this.#bare(!this.flame.tree);
    this.trouble.show(trouble);
  }

  /** Steps without times have no stacks. @param {string} sentence */
  showNoTimes(sentence) {
    this.blame = null;
    this.own = { said: [], aside: "" };
    this.sampled = 0;
    this.flame.show(null);
    this.#say();
    setText(this.sub, "");
    this.legend.replaceChildren();
    this.showTrouble({ sentence, remedy: "", action: null });
    this.dim(false);
  }

  /** The crosshair in the log. @param {number | null} time_s */
  point(time_s) {
    pointLine(this.lines, time_s);
  }

  /** @param {import("../../logs/line.js").LogLine[]} lines of the window, oldest first @param {number} total @param {string} trouble why there are none */
  showLines(lines, total, trouble) {
    const rows = folded(lines);
    this.lines.replaceChildren(...rows.map((line) => logLine(line, { file: false })));
    const loud = /** @type {HTMLElement | undefined} */ (this.lines.children[rows.findIndex(({ level }) => level >= LOUD)]);
    this.lines.scrollTop = loud ? loud.offsetTop - this.lines.offsetTop : 0;
    if (trouble) setText(this.lineCount, trouble);
    else if (total > lines.length) setText(this.lineCount, `the last ${count(lines.length)} of ${count(total)} lines`);
    else setText(this.lineCount, total ? counted(total, "line") : "no lines");
  }
}

/** What the page is for, until a window is selected: a dip, and a window drawn over it. */
function gesture() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 96 40", width: 96, height: 40, "aria-hidden": "true" })) svg.setAttribute(name, String(value));
  for (const [kind, d] of [["drawn", "M34 3h26v34H34z"], ["line", "M2 12l5 1 5-2 6 1 5-1 6 1 5-1 3 17 5-1 5 2 5-1 4-16 5-1 6 1 5-1 6 2 6-1 6 1"]]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", kind);
    path.setAttribute("d", d);
    svg.append(path);
  }
  return el("section", { class: "gesture" }, svg, el("div", {}, el("b", {}, "Drag over a dip"), el("p", {}, "See which line of Python caused it, compared with the rest of this run.")));
}

/** @param {Fact} fact */
function factRow({ name, window, rest, digits }) {
  const most = name.endsWith("%") ? Math.max(100, window, rest) : Math.max(Math.abs(window), Math.abs(rest)) * 1.15 || 1;
  const at = (/** @type {number} */ value) => (Math.max(0, value) / most) * 100;
  const [left, right] = [Math.min(at(window), at(rest)), Math.max(at(window), at(rest))];
  const bar = el(
    "span",
    { class: "delta", "aria-hidden": "true" },
    el("i", { class: window > rest ? "more" : "less", style: `left:${left}%;width:${right - left}%` }),
    el("i", { class: "normal", style: `left:${at(rest)}%` }),
  );
  return el(
    "tr",
    {},
    el("td", {}, name),
    el("td", { class: "num strong" }, figure(window, digits)),
    el("td", { class: "num mid" }, figure(rest, digits)),
    el("td", { class: "num" }, bar),
  );
}

// A window compared with the rest of the view: the lanes that differ most (pure).

/** @typedef {{name: string, window: number, rest: number, digits?: number}} Fact */
/** @typedef {import("../../data/lanes.js").Lane} Lane */
/** @typedef {import("../../data/series.js").Series} Series */

const MOST = 5;
const SLACK = 0.02; // differences below this share of the value, or of the least that the lane shows, are noise even if the rest is constant

/**
 * @param {Lane[]} lanes @param {Map<string, Series>} series @param {Series | null} stepper
 * @param {{lo: number, hi: number}} view @param {{from: number, to: number}} window
 * @returns {Fact[]} in the order of the lanes
 */
export function evidence(lanes, series, stepper, view, window) {
  const facts = subjects(lanes).flatMap(({ name, keys, scale, digits, least }) => {
    const members = keys.flatMap((key) => series.get(key) ?? []);
    const inside = members.map((member) => average(member, view, window, false)).filter(({ points }) => points > 0);
    const outside = members.map((member) => average(member, view, window, true)).filter(({ points }) => points > 0);
    if (!inside.length || !outside.length) return [];
    const [a, b, spread] = [
      mean(inside.map((side) => side.mean)),
      mean(outside.map((side) => side.mean)),
      mean(outside.map((side) => side.spread)),
    ];
    return [
      {
        name,
        window: a * scale,
        rest: b * scale,
        digits,
        score: Math.abs(a - b) / (spread + SLACK * (Math.abs(b) + least / scale) || 1),
      },
    ];
  });
  const kept = new Set([...facts].sort((a, b) => b.score - a.score).slice(0, MOST));
  return [...rate(stepper, counterOf(series, stepper), view, window), ...facts.filter((fact) => kept.has(fact))];
}

/** One row per lane, or per layer or line where these mean different things. @param {Lane[]} lanes */
function subjects(lanes) {
  return lanes
    .filter(({ kind, rate }) => kind !== "heat" && !rate)
    .flatMap((lane) => {
      const { title, lines, scale, digits, kind, least = 0 } = lane;
      const [what, unit] = title.split(", ");
      const same = lines.every((line) => /^GPU |^\w+ \d+$/.test(line.label)) || lines.length === 1;
      if (same) return [{ name: title, keys: lines.flatMap((line) => line.keys), scale, digits, least }];
      return lines.map((line) => ({
        name: `${kind === "stack" ? capital(line.label) : `${what} ${line.label}`}${unit ? `, ${unit}` : ""}`,
        keys: line.keys,
        scale,
        digits,
        least,
      }));
    });
}

/** @param {Series | null} stepper @param {Series | null} counter of its units @param {{lo: number, hi: number}} view @param {{from: number, to: number}} window @returns {Fact[]} */
function rate(stepper, counter, view, window) {
  if (stepper?.axis.name === "step") return [];
  const inside = stepRate(stepper, window.from, window.to, counter);
  const before = stepRate(stepper, view.lo, window.from, counter);
  const after = stepRate(stepper, window.to, view.hi, counter);
  const [b, a] = [Math.max(0, window.from - view.lo), Math.max(0, view.hi - window.to)];
  const rest = before !== null && after !== null ? (before * b + after * a) / (a + b) : (before ?? after);
  return inside === null || rest === null ? [] : [{ name: "Steps/s", window: inside, rest, digits: 2 }];
}

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// The panel as a sheet on a phone: its grip pulls it up or down, and a tap selects the next height.

const HEIGHTS = ["peek", "half", "full"]; // app.css sets each height
const DRAG_PX = 4; // less is a tap

/** The grip of a sheet. @param {() => HTMLElement} sheet */
function grip(sheet) {
  /** @type {{y: number, height: number, moved: boolean} | null} */
  let drag = null;
  const next = (/** @type {HTMLElement} */ { dataset }) => (dataset.sheet = HEIGHTS[(HEIGHTS.indexOf(dataset.sheet ?? "") + 1) % HEIGHTS.length]);
  const handle = el("button", { class: "grip", type: "button", "aria-label": "Pull the panel up or down" });
  handle.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    drag = { y: event.clientY, height: sheet().offsetHeight, moved: false };
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (!drag || !(drag.moved ||= Math.abs(event.clientY - drag.y) > DRAG_PX)) return;
    setClass(sheet(), "pulled", true);
    sheet().style.height = `${drag.height + drag.y - event.clientY}px`;
  });
  const drop = () => {
    if (drag?.moved) snapToHeight(sheet());
    setTimeout(() => (drag = null)); // after the click that ends it
  };
  handle.addEventListener("pointerup", drop);
  handle.addEventListener("pointercancel", drop);
  handle.addEventListener("click", (/** @type {MouseEvent} */ { detail }) => (detail && drag?.moved) || next(sheet())); // detail is 0 for a key
  return handle;
}

/** Take the height nearest to the release. @param {HTMLElement} sheet */
function snapToHeight(sheet) {
  const pulled = sheet.offsetHeight;
  sheet.style.height = "";
  const heights = HEIGHTS.map((name) => {
    sheet.dataset.sheet = name;
    return sheet.offsetHeight;
  });
  const far = heights.map((height) => Math.abs(height - pulled));
  sheet.dataset.sheet = HEIGHTS[far.indexOf(Math.min(...far))];
  setClass(sheet, "pulled", false);
}
