/** Charts change their place and their size by hand: dragged by the head, and by the corner. */

import { el } from "../../lib/dom.js";
import { COLUMNS } from "../model.js";

/** @typedef {import("./draft.js").Edit} Edit */

const DRAG_PX = 5; // less is a click
const [LEAST_PX, MOST_PX, STEP_PX] = [80, 1200, 10]; // heights of rows

/**
 * @typedef {Object} Acts
 * @property {(edits: Edit[], chart: string) => void} apply
 * @property {(chart: string) => void} choose
 */

/** @param {HTMLElement} element @returns {[number, number]} row and place of a chart */
const placeOf = (element) => /** @type {[number, number]} */ ((element.dataset.chart ?? "0.0").split(".").map(Number));

export class Arranging {
  /** @param {HTMLElement} field of the board @param {Acts} acts */
  constructor(field, acts) {
    this.field = field;
    this.acts = acts;
    this.mark = el("i", { class: "board-drop", hidden: true });
    this.control = new AbortController();
    const { signal } = this.control;
    field.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    field.addEventListener("click", (event) => this.#click(event), { signal });
  }

  /** Each chart has a corner to be dragged by. */
  mount() {
    for (const chart of this.field.querySelectorAll(".board-chart")) if (!chart.querySelector(".board-corner")) chart.append(el("i", { class: "board-corner", title: "Drag to change the size" }));
  }

  close() {
    this.control.abort();
    this.mark.remove();
    for (const corner of this.field.querySelectorAll(".board-corner")) corner.remove();
    for (const chart of this.field.querySelectorAll(".chosen")) chart.classList.remove("chosen");
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const chart = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest(".board-chart"));
    if (chart?.dataset.chart && !this.#dragged) this.acts.choose(chart.dataset.chart);
  }

  #dragged = false;

  /** @param {PointerEvent} event */
  #down(event) {
    this.#dragged = false;
    const target = /** @type {HTMLElement} */ (event.target);
    const chart = /** @type {HTMLElement | null} */ (target.closest(".board-chart"));
    if (event.button !== 0 || !chart) return;
    if (target.closest(".board-corner")) this.#drag(event, chart, (move, done) => this.#size(chart, event, move, done));
    else if (target.closest(".chart-head") && !target.closest("button")) this.#drag(event, chart, (move, done) => this.#carry(chart, move, done));
  }

  /** @param {PointerEvent} down @param {HTMLElement} chart @param {(move: PointerEvent, done: boolean) => void} act */
  #drag(down, chart, act) {
    down.preventDefault();
    const control = new AbortController();
    const { signal } = control;
    /** @type {PointerEvent | null} */
    let last = null;
    const end = (/** @type {boolean} */ done) => {
      control.abort();
      chart.classList.remove("moving");
      if (last) act(last, done);
    };
    addEventListener("pointermove", (move) => {
      if (!last && Math.hypot(move.clientX - down.clientX, move.clientY - down.clientY) < DRAG_PX) return;
      this.#dragged = true;
      last = move;
      chart.classList.add("moving");
      act(move, false);
    }, { signal });
    addEventListener("pointerup", () => end(true), { signal });
    addEventListener("pointercancel", () => ((this.mark.hidden = true), control.abort(), chart.classList.remove("moving")), { signal });
  }

  // A place

  /** @param {HTMLElement} chart @param {PointerEvent} move @param {boolean} done */
  #carry(chart, { clientX, clientY }, done) {
    const found = this.#target(clientX, clientY);
    this.mark.hidden = done || !found;
    if (!found) return;
    if (!done) {
      this.field.append(this.mark);
      const area = this.field.getBoundingClientRect();
      Object.assign(this.mark.style, { left: `${found.line.left - area.left}px`, top: `${found.line.top - area.top}px`, width: `${found.line.width}px`, height: `${found.line.height}px` });
      return;
    }
    this.mark.remove();
    const [row, place] = placeOf(chart);
    if (found.row === null) return this.#newRow(row, place, found.before);
    const to = found.row === row && found.place > place ? found.place - 1 : found.place;
    if (found.row === row && to === place) return;
    this.acts.apply([{ kind: "move", place: ["rows", row, "charts", place], to: ["rows", found.row, "charts", to] }], `${found.row}.${to}`);
  }

  /** @param {number} row @param {number} place @param {number} before which row */
  #newRow(row, place, before) {
    const from = row >= before ? row + 1 : row;
    this.acts.apply([{ kind: "insert", place: ["rows", before], value: { charts: [] } }, { kind: "move", place: ["rows", from, "charts", place], to: ["rows", before, "charts", 0] }], `${before}.0`);
  }

  /** Before or behind the chart below the pointer; between two rows a row of its own. @param {number} x @param {number} y */
  #target(x, y) {
    const rows = /** @type {HTMLElement[]} */ ([...this.field.querySelectorAll(".board-row")]);
    for (const row of rows) {
      const charts = /** @type {HTMLElement[]} */ ([...row.querySelectorAll(".board-chart")]);
      for (const chart of charts) {
        const { left, right, top, bottom, width, height } = chart.getBoundingClientRect();
        if (x < left || x > right || y < top || y > bottom) continue;
        const [at, place] = placeOf(chart);
        const behind = x > left + width / 2;
        return { row: at, place: place + Number(behind), before: 0, line: { left: (behind ? right : left) - 2, top, width: 4, height } };
      }
    }
    const area = this.field.getBoundingClientRect();
    const before = rows.findIndex((row) => y < row.getBoundingClientRect().top + row.offsetHeight / 2);
    const edge = before < 0 ? (rows.at(-1)?.getBoundingClientRect().bottom ?? area.top) : rows[before].getBoundingClientRect().top;
    return { row: null, place: 0, before: before < 0 ? rows.length : before, line: { left: area.left, top: edge - 6, width: area.width, height: 4 } };
  }

  // A size

  /** @param {HTMLElement} chart @param {PointerEvent} down @param {PointerEvent} move @param {boolean} done */
  #size(chart, down, move, done) {
    const row = /** @type {HTMLElement} */ (chart.parentElement);
    const [at, place] = placeOf(chart);
    const [left, top] = [chart.getBoundingClientRect().left, chart.getBoundingClientRect().top];
    const width = Math.max(1, Math.min(COLUMNS, Math.round(((move.clientX - left) / row.clientWidth) * COLUMNS)));
    const height = Math.max(LEAST_PX, Math.min(MOST_PX, STEP_PX * Math.round((move.clientY - top) / STEP_PX)));
    chart.style.gridColumn = `span ${width}`;
    const taller = Math.abs(move.clientY - down.clientY) > STEP_PX;
    if (taller) row.style.setProperty("--row-height", `${height}px`);
    if (!done) return;
    /** @type {Edit[]} */
    const edits = [{ kind: "set", place: ["rows", at, "charts", place, "width"], value: width }];
    if (taller) edits.push({ kind: "set", place: ["rows", at, "height"], value: height });
    this.acts.apply(edits, `${at}.${place}`);
  }
}
