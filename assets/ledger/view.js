/** The ledger on the Live page: the bar of the view, its lane, and the table of the selected window. */

import { LedgerAsking } from "./asking.js";
import { LedgerBar } from "./bar.js";
import { lane } from "../data/lanes.js";
import { SharesLane } from "../timeline/shares.js";
import { LedgerTable } from "./table.js";

/** @typedef {import("../data/lanes.js").Lane} Lane */
/** @typedef {import("./kinds.js").Ledger} Ledger */
/** @typedef {import("../timeline/shares.js").Shares} Shares */

const BELOW = new Set(["loss", "phases", "gpu_phases"]); // the lane stands under these
const LANE = lane("ledger", "Where time went", 64, "percent", [], { note: "% of each block", view: SharesLane });

export class LedgerView {
  /** @param {import("./place.js").LedgerPlace} place */
  constructor(place) {
    this.bar = new LedgerBar(place);
    this.table = new LedgerTable(place.table);
    /** @type {Shares | null} */
    this.shares = null;
    /** @type {string | null} */
    this.run = null;
    this.asking = new LedgerAsking({
      view: (ledger, { run }) => {
        if (run !== this.run) return;
        this.bar.show(ledger);
        this.shares = sharesOf(ledger);
        place.page.drawn();
      },
      window: (ledger, question) => this.table.show(ledger, question),
      failed: (sentence) => this.table.fail(sentence),
    });
  }

  /** With the ledger's lane. @param {Lane[]} lanes @returns {Lane[]} */
  among(lanes) {
    const at = lanes.findLastIndex(({ id }) => BELOW.has(id)) + 1;
    return [...lanes.slice(0, at), LANE, ...lanes.slice(at)];
  }

  /** @param {import("./asking.js").Sight | null} sight null where no ledger can be */
  look(sight) {
    const run = sight?.run ?? null;
    if (run !== this.run) {
      this.run = run;
      this.shares = null;
      this.bar.clear();
      this.asking.forget();
    }
    this.asking.look(sight);
  }

  /** @param {boolean} selected a window is selected or drawn: it is blamed first */
  select(selected) {
    if (selected) {
      this.asking.pause();
      this.table.dim();
    } else {
      this.asking.resume();
      this.table.clear();
    }
  }

  /** @param {import("./asking.js").Question} question */
  judged(question) {
    this.asking.judged(question);
  }
}

/** @param {Ledger} ledger @returns {Shares} */
const sharesOf = ({ blocks, window, rows, sentence }) => ({ blocks, window, why: rows.length ? "" : sentence });
