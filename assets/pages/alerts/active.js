/** The Active tab: what fires, what is over, what finished, and the evidence of the selected one. */

import { curveOf } from "../../curves/curve.js";
import { readCurves } from "../../data/curve_reader.js";
import { looksOf } from "../../findings/marks.js";
import { change, get, newest, sentenceOf } from "../../lib/api.js";
import { el, fill, hang, icon, setText, visibleName } from "../../lib/dom.js";
import { clock, count, day, duration, minute, place, sameDay } from "../../lib/format.js";
import { pathTo } from "../../lib/url.js";
import { RuleChart } from "./rule_chart.js";

const MOST = 100; // rows of a part
const FEW = 5; // finished runs, until the others are asked for
const AROUND_S = 5;
const [BEFORE_S, AFTER_S, BUCKETS] = [300, 120, 400]; // of a chart of evidence, at least; its curves
const MUTES = /** @type {const} */ ([["1 h", 1], ["8 h", 8], ["1 day", 24], ["7 days", 168], ["Indefinitely", null]]);
const USUAL = "By default you are alerted when a run crashes, hangs, does not come back after preemption or has had NaN for ten steps; when memory or disk will run out within the hour; and when a GPU is lost or reports a fatal XID.";

/** @typedef {import("../../types/api").Row<"FindingRow">} Found */
/** @typedef {import("../../types/api").Answer<"alerts">} Alerts */
/** @typedef {import("../../types/api").Row<"AlertMessageRow">} Message */

export class ActiveAlerts {
  /** @param {{tabs: HTMLElement, now_s: () => number, reload: () => void}} page */
  constructor(page) {
    this.page = page;
    /** @type {Alerts | null} */
    this.alerts = null;
    /** @type {string | null} the id of the selected one */
    this.selected = null;
    this.showsAllFinished = false;
    this.seen = el("input", { type: "checkbox", onchange: () => this.draw() });
    this.seenLabel = el("label", { class: "mid seen" }, this.seen, el("span", {}, "Show acknowledged"));
    this.said = el("span", { class: "warn", role: "status" });
    this.muteAll = el("button", { class: "btn mute-all", type: "button", onclick: () => this.#openMutes(null, this.muteAll) }, "Mute everything");
    this.all = el("button", { class: "btn", type: "button", onclick: () => this.#acknowledge(this.#unseen().map(({ id }) => id), true) }, "Acknowledge all");
    this.list = el("div", { class: "alerts-left" });
    this.evidence = el("aside", { class: "alerts-aside", "aria-label": "Evidence" });
    this.chart = new RuleChart();
    this.chart.element.classList.add("evidence-chart");
    this.mutes = el("div", { class: "mute-for", popover: "auto" });
    this.element = el(
      "div",
      { class: "alerts-active" },
      page.tabs,
      el("div", { class: "alerts-tool" }, this.seenLabel, this.said, el("span", { class: "grow" }), this.muteAll, this.all),
      el("div", { class: "alerts-body" }, this.list, this.evidence),
      this.mutes,
    );
    this.read = newest(
      (/** @type {string} */ id) => Promise.all([get("finding", { id }), get("alerts/history")]),
      ([found, { messages }], id) => id === this.selected && this.#drawEvidence(found, messages),
      (error) => this.say(sentenceOf(error)),
    );
    this.readCurves = newest(
      (/** @type {{id: string, expression: string, limit: number | null, start: number, question: import("../../data/curve_reader.js").Parameters}} */ { expression, question }) => readCurves([expression], question),
      ({ curves, left_out }, { id, expression, limit, start }) => {
        if (id !== this.selected) return;
        const title = curves[0]?.name || expression;
        this.chart.show(title, { curves: curves.map(curveOf), limit, moments: [start], trouble: curves.length ? "" : (left_out[0]?.reason ?? "No values of this time are stored any more.") });
      },
      (error, { id, expression, limit, start }) => id === this.selected && this.chart.show(expression, { curves: [], limit, moments: [start], trouble: sentenceOf(error) }),
    );
  }

  /** @param {string} sentence */
  say(sentence) {
    setText(this.said, sentence);
  }

  /** @param {Alerts} alerts */
  show(alerts) {
    this.alerts = alerts;
    this.draw();
  }

  /** The rows that can be selected, in their order. @returns {Found[]} */
  #rows() {
    if (!this.alerts) return [];
    const firing = this.seen.checked ? this.alerts.firing : this.#unseen();
    return [...firing, ...this.#earlier(), ...this.#finished()];
  }

  /** The newest first. */
  #finished() {
    return (this.alerts?.finished ?? []).toReversed().slice(0, this.showsAllFinished ? MOST : FEW);
  }

  #unseen() {
    const seen = new Set(this.alerts?.acknowledged);
    return (this.alerts?.firing ?? []).filter(({ id }) => !seen.has(id));
  }

  /** What is over, the newest of each rule and run; those that fire stand above. */
  #earlier() {
    const firing = new Set(this.alerts?.firing.map(({ id }) => id));
    /** @type {Map<string, Found>} */
    const newestOf = new Map();
    for (const found of this.alerts?.recent.toReversed() ?? []) {
      const key = JSON.stringify([found.rule, found.run]);
      if (!firing.has(found.id) && !newestOf.has(key)) newestOf.set(key, found);
    }
    return [...newestOf.values()];
  }

  draw() {
    const { alerts } = this;
    if (!alerts) return;
    const seen = new Set(alerts.acknowledged);
    const unseen = this.#unseen();
    const rows = this.#rows();
    if (!rows.some(({ id }) => id === this.selected)) this.#select(rows[0]?.id ?? null);
    setText(this.seenLabel.lastElementChild, `Show acknowledged (${seen.size})`);
    this.all.hidden = unseen.length < 2;
    const firing = this.seen.checked ? alerts.firing : unseen;
    const none = el("div", { class: "none" }, el("p", {}, "No active alerts."), el("p", { class: "dim" }, USUAL));
    const muted = alerts.mutes.map((mute) => this.#mute(mute, alerts.muted));
    const earlier = this.#earlier();
    const finished = this.#finished();
    const more = Math.min(MOST, alerts.finished.length) - finished.length;
    const parts = [
      ...(firing.length ? listed(firing, (found) => this.#row(found, seen.has(found.id), true)) : [none]),
      ...(muted.length || alerts.mutes_trouble ? [head("Muted", ""), alerts.mutes_trouble && el("p", { class: "none warn" }, alerts.mutes_trouble), ...muted] : []),
      ...(earlier.length ? [head("Earlier", "last 24 hours"), ...listed(earlier, (found) => this.#row(found, false, false))] : []),
      ...(finished.length ? [head("Notifications", "No action needed; not counted in the bell"), ...finished.map((found) => this.#row(found, false, false))] : []),
      ...(more > 0 ? [el("p", { class: "none" }, el("button", { class: "link", type: "button", onclick: () => this.#showAllFinished() }, `Show ${count(more)} more`))] : []),
    ];
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.closest?.("[data-key]")?.getAttribute("data-key");
    fill(this.list, ...parts);
    if (focused) this.#focus(focused);
    if (this.selected) this.read(this.selected);
  }

  /** @param {string} key */
  #focus(key) {
    /** @type {HTMLElement | null} */ (this.list.querySelector(`[data-key="${CSS.escape(key)}"]`))?.focus();
  }

  #showAllFinished() {
    this.showsAllFinished = true;
    this.draw();
    this.#focus(`row ${this.#finished()[FEW]?.id}`);
  }

  /** @param {Found} found @param {boolean} seen @param {boolean} fires */
  #row(found, seen, fires) {
    const { shape, tone } = looksOf(found);
    const now_s = this.page.now_s();
    const acts = fires
      ? [el("span", { class: "dim" }, found.over ? `${duration(now_s - found.start)} ago` : `for ${duration(now_s - found.start)}`), this.#acknowledgeButton(found, seen)]
      : [el("span", { class: "dim" }, moment(found.start, now_s)), el("span", { class: "mid" }, this.#outcome(found))];
    const title = el("button", { class: "plain alert-title", type: "button", "data-key": `row ${found.id}`, onclick: () => this.#select(found.id) }, el("b", {}, found.title), " ", el("span", { class: "dim" }, whereOf(found)));
    return el(
      "div",
      { class: `alert-row${fires ? " fires" : ""}`, "data-id": found.id, "aria-current": found.id === this.selected ? "true" : null, onclick: (/** @type {Event} */ event) => event.target instanceof Element && !event.target.closest("button") && this.#select(found.id) },
      icon(shape, fires && !seen ? tone : tone === "ok" ? "ok" : "dim"),
      el("div", { class: "alert-what" }, title, el("p", { class: fires ? "mid" : "dim" }, found.sentence)),
      el("div", { class: "alert-acts" }, ...acts),
    );
  }

  /** @param {Found} found */
  #outcome(found) {
    if (this.alerts?.unresolved.includes(found.id)) return "Run ended without recovering";
    return found.end > found.start && found.rule !== "finished" ? `Resolved after ${duration(found.end - found.start)}` : "";
  }

  /** @param {Found} found @param {boolean} seen @param {string} look */
  #acknowledgeButton(found, seen, look = "btn") {
    const name = `${found.title} of ${found.run ?? "this host"}`;
    return el(
      "button",
      { class: look, type: "button", "data-key": `${look} ${found.id}`, "aria-pressed": String(seen), "aria-label": seen ? `Undo: ${name} is acknowledged` : `Acknowledge ${name}`, onclick: () => this.#acknowledge([found.id], !seen) },
      seen ? "Acknowledged" : "Acknowledge",
    );
  }

  /** @param {Alerts["mutes"][number]} mute @param {Found[]} held */
  #mute({ rule, run, until }, held) {
    const many = held.filter((found) => (rule ?? found.rule) === found.rule && (run ?? found.run) === found.run).length;
    const what = `${rule ? (held.find((found) => found.rule === rule)?.title ?? rule) : "All rules"} ${run ? `of ${visibleName(run)}` : "in all runs"}`;
    const until_said = until === null ? "indefinitely" : `for another ${duration(until - this.page.now_s())}`;
    return el(
      "div",
      { class: "alert-row mute" },
      icon("bar", "dim"),
      el("div", { class: "alert-what" }, el("b", {}, what), el("p", { class: "dim" }, `${until_said}; ${many ? `${many} would fire` : "nothing would fire"}`)),
      el("div", { class: "alert-acts" }, el("button", { class: "btn", type: "button", "aria-label": `Unmute ${what}`, onclick: () => this.#change("alerts/mute", { rule, run, on: false }) }, "Unmute")),
    );
  }

  /** @param {string | null} id */
  #select(id) {
    if (id === this.selected) return;
    this.selected = id;
    for (const row of this.list.querySelectorAll("[data-id]")) {
      if (row.getAttribute("data-id") === id) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    if (id) this.read(id);
    else fill(this.evidence);
  }

  /** @param {import("../../types/api").Answer<"finding">} found @param {Message[]} messages */
  #drawEvidence(found, messages) {
    const now_s = this.page.now_s();
    const fires = this.alerts?.firing.some(({ id }) => id === found.id) ?? false;
    const seen = this.alerts?.acknowledged.includes(found.id) ?? false;
    const numbers = Object.entries(found.numbers).slice(0, 8);
    const about = messages.filter(({ findings }) => findings.includes(found.id));
    const history = [
      [found.start, `Began${found.step === null ? "" : ` at step ${count(found.step)}`}`],
      ...about.map(({ time, receiver, state, error }) => /** @type {[number, string]} */ ([time, `${receiver}: ${error || state}`])),
      ...(found.over && found.end > found.start ? [[found.end, this.#outcome(found) || "Over"]] : []),
    ].toSorted(([a], [b]) => Number(a) - Number(b));
    const mute = el("button", { class: "btn", type: "button", onclick: () => this.#openMutes(found, mute) }, "Mute");
    fill(
      this.evidence,
      el("div", { class: "evidence-head" }, el("h2", {}, `${found.title}, ${visibleName(found.run ?? "this host")}`), el("span", { class: "dim" }, moment(found.start, now_s))),
      el("p", { class: "said" }, found.sentence),
      found.place && el("p", { class: "mid" }, el("code", {}, found.place.line === null ? found.place.file : place(found.place.file, found.place.line)), found.place.function ? ` in ${found.place.function}` : ""),
      found.lines.length > 0 && el("pre", { class: "evidence-lines" }, found.lines.slice(-6).join("\n")),
      found.evidence && this.chart.element,
      numbers.length > 0 && el("table", { class: "evidence-numbers" }, ...numbers.map(([name, value]) => el("tr", {}, el("td", {}, name.replaceAll("_", " ")), el("td", { class: "num" }, String(Number(Number(value).toPrecision(5))))))),
      el("h3", {}, "History"),
      el("table", { class: "evidence-history" }, ...history.map(([time_s, said]) => el("tr", {}, el("td", { class: "dim" }, clock(Number(time_s))), el("td", {}, String(said))))),
      el(
        "div",
        { class: "actions" },
        fires && this.#acknowledgeButton(found, seen, seen ? "btn" : "btn pri"),
        mute,
        el("a", { class: "btn", href: addressOf(found) }, found.run === null ? "Open host" : `Open run at ${minute(found.start)}`),
        el("a", { class: "btn", href: `${pathTo("/alerts")}?tab=rules&edit=${encodeURIComponent(found.rule)}` }, "Edit rule"),
      ),
    );
    this.#readChart(found);
  }

  /** The series around the time, once for what is over. @param {import("../../types/api").Answer<"finding">} found */
  #readChart({ id, run, start, end, over, evidence }) {
    const key = `${id} ${over ? end : Math.floor(this.page.now_s())}`;
    if (!evidence || key === this.#charted) return;
    if (!this.#charted.startsWith(`${id} `)) {
      this.chart.forget();
      this.chart.show("", { curves: null, limit: null, moments: [] });
    }
    this.#charted = key;
    const lasted = end - start;
    const question = { run: run ?? "*", x: "time", from: start - Math.max(BEFORE_S, lasted), to: end + Math.max(AFTER_S, lasted / 2), buckets: BUCKETS };
    this.readCurves({ id, expression: evidence.expression, limit: evidence.limit, start, question });
  }

  #charted = "";

  // What a user does

  /** @param {Found | null} found null: everything @param {HTMLElement} button */
  #openMutes(found, button) {
    const what = found ? `${found.title} of ${visibleName(found.run ?? "this host")}` : "everything";
    const mute = (/** @type {number | null} */ hours) => {
      this.mutes.hidePopover();
      this.#change("alerts/mute", { rule: found?.rule ?? null, run: found?.run ?? null, hours, on: true });
    };
    fill(this.mutes, el("p", { class: "dim" }, `Mute ${what} for`), ...MUTES.map(([name, hours]) => el("button", { class: "plain", type: "button", "aria-label": `Mute ${what}: ${name}`, onclick: () => mute(hours) }, name)));
    hang(this.mutes, button);
  }

  /** @param {string[]} findings @param {boolean} on */
  #acknowledge(findings, on) {
    if (findings.length) this.#change("alerts/acknowledge", { findings, on });
  }

  /** @param {string} path @param {Object} body */
  async #change(path, body) {
    try {
      this.show(await change(path, body));
      this.say("");
    } catch (error) {
      this.say(sentenceOf(error));
      this.page.reload();
    }
  }

  /** @param {number} by */
  #move(by) {
    const rows = this.#rows();
    const at = rows.findIndex(({ id }) => id === this.selected);
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
    if (!next) return;
    this.#select(next.id);
    this.list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  /** @returns {Found | undefined} */
  #current() {
    return this.#rows().find(({ id }) => id === this.selected);
  }

  /** @returns {import("../../lib/keys.js").Key[]} */
  keys() {
    const acknowledge = () => {
      const found = this.#current();
      if (found && this.alerts?.firing.some(({ id }) => id === found.id)) this.#acknowledge([found.id], !this.alerts.acknowledged.includes(found.id));
    };
    const mute = () => {
      const row = /** @type {HTMLElement | null} */ (this.list.querySelector("[aria-current] .alert-title"));
      this.#openMutes(this.#current() ?? null, row ?? this.muteAll);
    };
    return [
      { keys: ["j", "ArrowDown"], shown: "j", says: "the next alert", run: () => this.#move(1) },
      { keys: ["k", "ArrowUp"], shown: "k", says: "the previous alert", run: () => this.#move(-1) },
      { keys: ["a"], shown: "a", says: "acknowledge it", run: acknowledge },
      { keys: ["m"], shown: "m", says: "mute it", run: mute },
    ];
  }
}

/** @param {Found[]} found @param {(found: Found) => HTMLElement} row */
function listed(found, row) {
  const rest = found.length - MOST;
  return [...found.slice(0, MOST).map(row), rest > 0 ? el("p", { class: "none dim" }, `and ${count(rest)} more`) : ""];
}

/** @param {string} title @param {string} note */
const head = (title, note) => el("div", { class: "alerts-head" }, el("h2", {}, title), el("span", { class: "dim" }, note));

/** @param {Found} found */
const whereOf = ({ run, step }) => `${visibleName(run ?? "this host")}${step === null ? "" : `, step ${count(step)}`}`;

/** `14:25`, of another day with its date @param {number} time_s @param {number} now_s */
const moment = (time_s, now_s) => (sameDay(time_s, now_s) ? minute(time_s) : `${day(time_s)} ${minute(time_s)}`);

/** Its window on Live; of the machine on GPUs. @param {Found} found */
function addressOf({ id, run, start, end }) {
  const [from, to] = end - start >= 1 ? [start, end] : [start - AROUND_S, start + AROUND_S];
  const query = new URLSearchParams({ ...(run === null ? {} : { run }), from: from.toFixed(3), to: to.toFixed(3), finding: id });
  return run === null ? pathTo(`/hosts?${query}`) : pathTo(`/?${query}`);
}
