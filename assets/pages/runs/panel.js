/** The side panel: Python fills it (`panel_of` in `dashboard/pages/runs.py`), and its buttons send what a user changes. */

import { aboutOf, change, get, isOwner, sentenceOf } from "../../lib/api.js";
import { copyText } from "../../lib/clipboard.js";
import { el, setClass, setText, visible } from "../../lib/dom.js";
import { percent } from "../../lib/figures.js";
import { count, counted, duration, figure, minute } from "../../lib/format.js";
import { colourOf, keyOf, segmentsOf } from "../../ledger/shares.js";
import { guard, life, listen } from "../../lib/life.js";
import { partsOf } from "../provenance.js";

const ID = "about";
const READ_MS = 2000; // after which a run that is not read yet is asked for again,
const MAX_TRIES = 60; // so often

export class Panel {
  /**
   * @param {() => void} changed called once the server has taken a change
   * @param {(sentence: string, undo: () => void) => void} offer what was done, and how it is undone
   */
  constructor(changed, offer) {
    this.changed = changed;
    this.offer = offer;
    /** @type {string | null} */
    this.run = null;
    this.times = 0;
    /** @type {string | null} a run whose files are being read again */
    this.awaited = null;
    this.ran = el("div");
    this.shares = el("div");
    this.drafts = new Drafts();
    listen(document, "click", (event) => {
      const button = /** @type {HTMLElement} */ (event.target).closest?.(`#${ID} [data-act]`);
      if (button) this.#act(/** @type {HTMLElement} */ (button));
    });
    listen(document, "input", ({ target }) => {
      if (/** @type {HTMLElement} */ (target).closest?.(`#${ID}`)) this.#typed(/** @type {HTMLInputElement} */ (target));
    });
    listen(document, "keydown", (event) => {
      const field = /** @type {HTMLElement} */ (event.target).closest?.(`#${ID} :is(input, textarea)`);
      if (!field) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#save();
      if (event.key === "Escape") this.close();
    });
    guard(() => this.#unsaved);
    life().signal.addEventListener("abort", () => setClass(document.body, "with-about", false));
  }

  /** @param {string} run */
  show(run) {
    if (run !== this.run && !this.#mayLeave()) return;
    this.run = run;
    this.#ask();
    setClass(document.body, "with-about", true);
  }

  /** There are other runs than before: one that is read again may be among them. */
  others() {
    if (this.awaited !== null && this.awaited === this.run) this.#ask();
  }

  /** Until the run is read again, and the panel has a place for what ran. @param {string} run @param {number} [tries] left */
  #await(run, tries = MAX_TRIES) {
    setTimeout(() => {
      if (this.awaited !== run) return;
      if (this.run !== run || !tries || this.filledFor === run) {
        this.awaited = null;
        return;
      }
      this.#ask();
      this.#await(run, tries - 1);
    }, READ_MS);
  }

  /** Whether it was open. It stays open where a user does not want to lose what is typed. */
  close() {
    const open = this.run !== null;
    if (!this.#mayLeave()) return open;
    this.run = null;
    this.#ask();
    setClass(document.body, "with-about", false);
    return open;
  }

  get #unsaved() {
    return this.drafts.changed().map(({ name }) => name).join(" and ");
  }

  /** Nothing that is typed is lost, or a user does not mind. */
  #mayLeave() {
    if (this.#unsaved && !confirm(`Discard the unsaved ${this.#unsaved}?`)) return false;
    this.drafts.clear();
    return true;
  }

  /** Python reads the run anew. */
  #ask() {
    setProps("focused", { data: this.run === null ? null : { run: this.run, times: ++this.times } });
  }

  /** Python has filled the panel anew. @param {string | null} run whose provenance and ledger it has places for */
  filled(run) {
    this.drafts.show();
    if (run === this.filledFor) return;
    this.filledFor = run;
    if (run === null) return;
    this.#fillRan(run);
    fill(this.shares, get("ledger", { run }), (answer) => ledgerParts(/** @type {RunLedger} */ (answer)), () => this.filledFor === run);
  }

  /** @type {string | null} */
  filledFor = null;

  /** What ran, as in the dialog of Live. @param {string} run */
  async #fillRan(run) {
    const isWanted = () => this.filledFor === run;
    const answer = await fill(this.ran, get("run", { run }), ({ info }) => partsOf(run, info), isWanted);
    if (answer && !Object.keys(answer.info).length && isWanted()) setTimeout(() => isWanted() && this.ran.isConnected && this.#fillRan(run), READ_MS); // its files are being read, as after an undo
  }

  /** @param {HTMLInputElement} control */
  #typed(control) {
    const field = this.drafts.typed(control);
    if (!field) return;
    const length = [...field.value].length;
    say(length > field.most ? `The ${field.name} has ${count(length)} characters; at most ${count(field.most)} can be saved.` : "");
  }

  /** @param {HTMLElement} button */
  #act(button) {
    const { act } = button.dataset;
    if (act === "close") this.close();
    if (act === "save") this.#save();
    if (act === "archive") this.#archive(button.textContent === "Archive");
    if (act === "delete") this.#delete();
    if (act === "restore") this.#restore(this.run);
    if (act === "keep") this.#keep(/** @type {HTMLButtonElement} */ (button).value);
    if (act === "copy") copyText(document.querySelector(`#${ID} .command`)?.textContent ?? "").then((copied) => say(copied ? "Copied." : "The browser does not let the page copy: select it and press Ctrl C."));
  }

  /** Only what was changed here: the rest may have been changed elsewhere. */
  async #save() {
    const fields = this.drafts.changed();
    if (!fields.length) return say("Nothing to save.");
    const tagsIn = (/** @type {string} */ text) => text.split(",").map((tag) => tag.trim()).filter(Boolean);
    const sent = Object.fromEntries(fields.map(({ name, value }) => [name, name === "tags" ? tagsIn(value) : value]));
    await this.#send(sent, this.run, () => this.drafts.saved(fields));
  }

  /** The way back is offered in place. @param {boolean} on */
  async #archive(on) {
    const { run } = this;
    if (run === null || !(await this.#send({ archived: on }, run))) return;
    this.offer(`${visible(run)} is ${on ? "archived" : "back"}.`, () => {
      if (this.run !== run) this.show(run);
      this.#send({ archived: !on }, run);
    });
  }

  /** It can be restored as it was for some minutes, after a reload as well. */
  async #delete() {
    const { run } = this;
    if (run === null) return;
    try {
      const { purge_s } = await change(`runs/${encodeURIComponent(run)}/delete`, {});
      this.#taken(run);
      this.offerUndo(run, purge_s);
    } catch (error) {
      if (run === this.run) say(sentenceOf(error));
    }
  }

  /** Runs that were deleted lately can be restored. */
  async offerDeleted() {
    if (!isOwner) return;
    const { deleted } = await get("deleted").catch(() => ({ deleted: [] }));
    const [newest] = deleted.filter(({ purge_s }) => purge_s > 0);
    if (newest) this.offerUndo(newest.run, newest.purge_s);
  }

  /** @param {string} run @param {number} purge_s when its data leaves the store */
  offerUndo(run, purge_s) {
    this.offer(`${visible(run)} is deleted. Its data leaves the store at ${minute(purge_s)}.`, () => this.#restore(run));
  }

  /** @param {string | null} run */
  async #restore(run) {
    if (run === null) return;
    try {
      await change(`runs/${encodeURIComponent(run)}/restore`, {});
      if (this.run !== run) this.show(run);
      this.#await((this.awaited = run));
      this.#taken(run);
    } catch (error) {
      if (run === this.run) say(sentenceOf(error));
    }
  }

  /** @param {string} keep "" for ever, else as `30d` */
  async #keep(keep) {
    if (await this.#send({ keep })) say("Saved.");
  }

  /** @param {string} run that the server has changed */
  #taken(run) {
    if (this.run === run) this.#ask();
    this.changed();
  }

  /** Whether the server has taken it. @param {Record<string, unknown>} fields @param {string | null} [run] @param {() => void} [taken] */
  async #send(fields, run = this.run, taken = () => {}) {
    if (run === null) return false;
    try {
      await change(aboutOf(run), fields);
      if (this.run === run) {
        taken();
        this.#ask();
      }
      this.changed();
      return true;
    } catch (error) {
      if (run === this.run) say(sentenceOf(error));
      return false;
    }
  }
}

/** @param {string} sentence */
function say(sentence) {
  const said = document.getElementById("about-said");
  if (said) setText(said, sentence);
}

// What a user has typed into the fields of the side panel and not saved: it outlives that Python fills the panel anew.

/** @typedef {{name: string, value: string, most: number}} Draft `most`: characters that can be saved */

class Drafts {
  constructor() {
    /** @type {Map<string, Draft>} */
    this.typedIn = new Map();
    this.focused = "";
  }

  /** @param {HTMLInputElement} control @returns {Draft | null} */
  typed(control) {
    const about = draftField(control);
    if (!about) return null;
    const draft = { name: about.dataset.field ?? "", value: control.value, most: Number(about.dataset.most) };
    this.typedIn.set(draft.name, draft);
    this.focused = control.id;
    return draft;
  }

  /** Those that differ from what was read. @returns {Draft[]} */
  changed() {
    return [...this.typedIn.values()].filter(({ name, value }) => fieldOf(name)?.dataset.read !== value);
  }

  /** The server has these; what was typed since stays. @param {Draft[]} drafts */
  saved(drafts) {
    for (const draft of drafts) if (this.typedIn.get(draft.name)?.value === draft.value) this.typedIn.delete(draft.name);
  }

  clear() {
    this.typedIn.clear();
  }

  /** Into the fields that Python has just filled. */
  show() {
    for (const { name, value } of this.typedIn.values()) setProps(`about-${name}`, { value });
    if (this.typedIn.size && document.activeElement === document.body) document.getElementById(this.focused)?.focus();
  }
}

/** @param {HTMLElement} control @returns {HTMLElement | null} */
const draftField = (control) => control.closest("[data-field]");

/** @param {string} name @returns {HTMLElement | null} */
const fieldOf = (name) => document.querySelector(`#about [data-field="${name}"]`);

// The ledger of the whole run in the side panel: which of its seconds were training that counted, and what the others went to.

/** @typedef {import("../../types/api").Row<"RunLedgerAnswer">} RunLedger */

/**
 * An answer in its place, or why there is none.
 * @template A
 * @param {HTMLElement} place @param {Promise<A>} asked @param {(answer: A) => (Node | string)[]} partsOf @param {() => boolean} isWanted
 * @returns {Promise<A | null>}
 */
async function fill(place, asked, partsOf, isWanted) {
  place.replaceChildren(el("p", { class: "dim" }, "Reading …"));
  try {
    const answer = await asked;
    if (isWanted()) place.replaceChildren(...partsOf(answer));
    return answer;
  } catch (error) {
    if (isWanted()) place.replaceChildren(el("p", { class: "dim" }, sentenceOf(error)));
    return null;
  }
}

/** @param {RunLedger} ledger @returns {Node[]} */
function ledgerParts(ledger) {
  if (!ledger.rows.length) return [el("p", { class: "dim" }, ledger.sentence)];
  const rows = ledger.rows.map(({ colour, label, share, seconds, basis }) =>
    el(
      "tr",
      { title: `From: ${basis}` },
      el("th", {}, keyOf(colourOf({ colour })), label),
      el("td", { class: "num" }, percent(share / 100)),
      el("td", { class: "num" }, duration(seconds)),
    ),
  );
  return [
    el("p", {}, ledger.sentence),
    el("ul", { class: "shares", "aria-label": "Shares of the run’s time" }, ...segmentsOf(ledger.rows)),
    el("table", {}, el("tbody", {}, ...rows)),
    ...paidOf(ledger).map((line) => el("p", {}, line)),
    ...ledger.missing.map((sentence) => el("p", { class: "dim" }, sentence)),
  ];
}

/** What of the energy and of the cost was lost. @param {RunLedger} ledger */
function paidOf({ paid, lost, currency, steps, redone_steps }) {
  const known = (/** @type {number | null} */ value) => value !== null && value > 0;
  return [
    steps ? `${counted(steps, "step")} done${redone_steps ? `, ${count(redone_steps)} of them twice` : ""}.` : "",
    known(paid.energy_j) ? `Energy: ${figure((lost.energy_j ?? 0) / 3.6e6)} of ${figure((paid.energy_j ?? 0) / 3.6e6)} kWh lost.` : "",
    known(paid.cost) ? `Cost: ${figure(lost.cost, 2)} of ${figure(paid.cost, 2)} ${currency} lost.` : "",
  ].filter(Boolean);
}

// Properties of Dash's components, from our modules.

/** Before Dash has laid out the page, nothing happens. @param {string} id @param {Record<string, any>} props */
export function setProps(id, props) {
  const { dash_clientside } = /** @type {any} */ (window);
  if (document.getElementById("runs-grid")) dash_clientside.set_props(id, props);
}
