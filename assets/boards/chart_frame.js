/** A chart of a board: its head, what draws it, the names of its curves, and a sentence where there is nothing to draw. */

import { curveOf } from "../curves/curve.js";
import { lineKey } from "../curves/key.js";
import { el, setClass, setText } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { tokensOf } from "./colouring.js";
import { KINDS } from "./kinds/kinds.js";
import { asks, titleOf } from "./model.js";
import { scaleOf, scaled } from "./scaling.js";

/** @typedef {import("./model.js").PlacedChart} PlacedChart */
/** @typedef {import("./reading.js").HeldChart} HeldChart */
/** @typedef {import("./kinds/kinds.js").Span} Span */

const [HEAD_PX, LEGEND_PX] = [24, 18];
const MOST_NAMES = 24; // of a legend

export class ChartFrame {
  /** @param {PlacedChart} placed @param {import("./kinds/kinds.js").Scene & {edit: (chart: PlacedChart) => void}} scene */
  constructor(placed, scene) {
    this.placed = placed;
    this.drawer = new KINDS[placed.fields.kind ?? "text"](placed, scene);
    this.unit = el("span", {});
    this.tools = el("button", { class: "chart-edit", type: "button", "data-owners": "", "aria-label": `Edit ${titleOf(placed.fields)}`, title: "Edit this chart", onclick: () => scene.edit(this.placed) }, "✎");
    this.title = el("h3", { class: "chart-name", title: titleOf(placed.fields) }, el("b", {}, titleOf(placed.fields)), this.unit);
    this.head = el("header", { class: "chart-head" }, this.title, this.tools);
    this.said = el("p", { class: "chart-instead", role: "status", hidden: true });
    this.body = el("div", { class: "board-body" }, this.drawer.element, this.said);
    this.legend = el("footer", { class: "board-legend" });
    this.element = el("article", { class: "chart board-chart", "data-chart": placed.key, "data-kind": placed.fields.kind ?? "" }, this.head, this.body, this.legend);
    this.legend.hidden = !this.drawer.legend;
    this.legend.addEventListener("scroll", () => this.#hint(), { passive: true });
    this.names = "";
    this.fitted = "";
    this.visible = false;
    setClass(this.element, "waiting", asks(placed.fields));
  }

  /** In CSS pixels of the whole element. @param {number} width @param {number} height */
  fit(width, height) {
    const key = `${width} ${height}`;
    if (key === this.fitted || width < 20) return;
    this.fitted = key;
    this.drawer.fit(width, Math.max(20, height - HEAD_PX - (this.drawer.legend ? LEGEND_PX : 0)));
    this.#hint();
  }

  /** @param {HeldChart | null} held @param {{span: Span, axis: "time" | "step", run: string | null, stale: boolean}} about */
  show(held, { span, axis, run, stale }) {
    const { fields } = this.placed;
    if (!asks(fields)) return this.drawer.show({ curves: [], span, axis, unit: "", by: 1, run, stale });
    if (!held) return undefined;
    setClass(this.element, "waiting", false);
    setClass(this.element, "stale", stale);
    const tokens = tokensOf(held.rows);
    const found = unitOf(held.rows.filter(({ item }) => item >= 0).map((row) => row.unit), fields.unit);
    const { by, unit } = fields.unit ? { by: 1, unit: found.unit } : scaleOf(held.rows, found.unit);
    const curves = held.rows.map((row, i) => ({ ...curveOf(/** @type {any} */ ({ ...scaled(row, row.item < 0 ? 1 : by), runs: row.run ? [row.run] : [] })), label: row.label, name: row.label, colour: tokens[i] }));
    const some = curves.some(({ x }) => x.length);
    setText(this.unit, found.units.length > 1 ? found.units.join(", ") : unit);
    const trouble = held.trouble || (some ? "" : sentence(held.left[0]?.reason ?? "no point in this range"));
    this.said.hidden = !trouble || some;
    setText(this.said, trouble);
    this.drawer.element.style.visibility = some ? "" : "hidden";
    const reasons = [...new Set([...held.left.map(({ reason }) => sentence(reason)), ...held.rows.map(({ reason }) => reason && sentence(reason))])].filter(Boolean);
    this.title.title = [titleOf(fields), ...reasons].join("\n");
    this.drawer.show({ curves, span, axis, unit, by, run, stale });
    if (this.drawer.legend) this.#name(held, tokens, reasons);
    return undefined;
  }

  /** @param {HeldChart} held @param {string[]} tokens @param {string[]} reasons */
  #name({ rows, left }, tokens, reasons) {
    const key = JSON.stringify([rows.map(({ label, item }) => [label, item]), tokens, left.length]);
    if (key === this.names) return;
    this.names = key;
    const shown = rows.map((row, i) => ({ row, colour: tokens[i] })).filter(({ row }) => row.item >= 0);
    const more = shown.length - MOST_NAMES;
    const gone = left.length && rows.length ? el("span", { class: "warn", title: reasons.join("\n") }, counted(left.length, "series", "series"), " not there") : null;
    this.legend.replaceChildren(...shown.slice(0, MOST_NAMES).map(({ row, colour }) => el("span", { title: row.label }, lineKey(colour, shown.length === 1), row.label)), more > 0 ? el("span", { class: "dim" }, `${more} more`) : "", gone ?? "");
    this.#hint();
  }

  /** Names that do not fit fade at the edge, and are reached by scrolling. */
  #hint() {
    const hidden = this.legend.scrollWidth - this.legend.clientWidth - this.legend.scrollLeft;
    this.legend.classList.toggle("more", hidden > 1);
    if (this.legend.scrollWidth > this.legend.clientWidth + 1) this.legend.tabIndex = 0;
    else this.legend.removeAttribute("tabindex");
  }

  destroy() {
    this.drawer.destroy();
    this.element.remove();
  }
}

/** What stands beside the title: the file's own unit, else those of the series. @param {string[]} found @param {string | undefined} given */
function unitOf(found, given) {
  const units = [...new Set(found)].filter(Boolean);
  return given ? { unit: given, units: [given] } : { unit: units.length === 1 ? units[0] : "", units };
}

/** @param {string} reason of the server */
const sentence = (reason) => `${reason.charAt(0).toUpperCase()}${reason.slice(1)}${/[.!?]$/.test(reason) ? "" : "."}`;
