/** Where the time of the selected window went: a row per kind with its share, its bound of what a fix saves, its line and what exposes it. */

import { el, setClass, setText } from "../lib/dom.js";
import { capital, duration } from "../lib/format.js";
import { pathTo } from "../lib/url.js";
import { isOwner } from "../role.js";
import { basisOf, communicationOf, lineOf, partsOf, rangeOf, shareOf } from "./kinds.js";

/** @typedef {import("./kinds.js").Ledger} Ledger */
/** @typedef {import("./kinds.js").Part} Part */
/** @typedef {import("./asking.js").Question} Question */

const LEAST_QUEUED_S = 1;

export class LedgerTable {
  /** @param {HTMLElement} element its place in the panel */
  constructor(element) {
    this.element = element;
    this.rows = el("tbody");
    this.basis = el("p", { class: "dim" });
    this.why = el("p", { class: "why" });
    const saves = el("th", { class: "num", scope: "col", title: "How much a loop without it would gain at most; a line may hide behind another" }, "potential saving");
    const head = el("tr", {}, el("th", { scope: "col" }, "Where time went"), el("th", { class: "num", scope: "col" }, "share"), saves);
    this.table = el("table", {}, el("thead", {}, head), this.rows);
    this.element.append(this.table, this.why, this.basis);
    this.clear();
  }

  /** @param {Ledger} ledger @param {Question} question */
  show(ledger, { run }) {
    const { rows, sentence, window, communication, queued_s } = ledger;
    if (!rows.length) return this.fail(sentence);
    const inside = { run, from: String(window[0]), to: String(window[1]) };
    const queued = queued_s >= LEAST_QUEUED_S ? [queuedRow(queued_s)] : [];
    this.rows.replaceChildren(...partsOf(rows).map((part) => tableRow(part, inside, communicationOf(communication))), ...queued);
    setText(this.basis, `${capital(basisOf(ledger))}.`);
    this.#turn(true, "");
    return undefined;
  }

  /** @param {string} sentence why there is no ledger */
  fail(sentence) {
    this.#turn(false, sentence);
  }

  /** Older content stays, dimmed, while another window is drawn and blamed. */
  dim() {
    setClass(this.element, "stale", true);
  }

  /** Nothing is known of the window yet. */
  clear() {
    this.rows.replaceChildren();
    this.#turn(false, "");
  }

  /** @param {boolean} filled @param {string} why */
  #turn(filled, why) {
    this.rows.hidden = this.basis.hidden = !filled;
    this.why.hidden = filled;
    setText(this.why, why);
    setClass(this.element, "stale", false);
  }
}

/** @param {Part} part @param {Record<string, string>} inside run and window @param {string} communication within the busy time, or "" */
function tableRow(part, inside, communication) {
  const { row, label, colour } = part;
  const range = row ? rangeOf(row) : "";
  const saves = row && row.saves_at_most > 0 ? `${row.saves_at_most.toFixed(0)} %` : "";
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("i", { class: "key", style: `background:var(--${colour})` }), label, ...(row ? notes(row, inside, communication) : [])),
    el("td", { class: "num" }, el("b", {}, shareOf(part)), range ? el("small", { title: `confidence ${row?.confidence}` }, range) : null),
    el("td", { class: "num mid" }, saves),
  );
}

/** Time in the queue of jobs: no device was the run's then, so it has no share. @param {number} seconds */
const queuedRow = (seconds) =>
  el("tr", { class: "queued" }, el("th", { scope: "row" }, el("i", { class: "key", style: "background:var(--line-strong)" }), "queued", el("small", {}, "besides: not the device’s time")), el("td", { class: "num" }, el("b", {}, duration(seconds))), el("td"));

/** The dearest line, what of busy may be communication, and the wait that makes it cost time. @param {import("./kinds.js").KindRow} row @param {Record<string, string>} inside @param {string} communication */
function notes(row, inside, communication) {
  const [line] = row.lines;
  const exposed = row.exposed_by;
  return [
    line ? el("small", {}, link(line, inside)) : "",
    row.kind === "busy" && communication ? el("small", {}, communication) : "",
    row.kind === "cpu_taken" && isOwner ? el("small", {}, el("a", { href: pathTo("/gpus#host-processes") }, "host processes")) : "",
    exposed ? el("small", {}, "exposed by ", link(exposed, inside), ", which waits for the GPU") : "",
  ];
}

/** To its source, on the flame graph of the window. @param {{file: string, line: number | null, function: string}} where @param {Record<string, string>} inside */
function link(where, inside) {
  const query = new URLSearchParams({ ...inside, ...(where.line ? { code: `${where.file}:${where.line}` } : {}) });
  return el("a", { href: pathTo(`/flame?${query}`), title: where.file }, lineOf(where));
}
