/** The runs or groups whose curves a board draws: their colours and labels, which are hidden, and which stands out. */

import { coloursOf } from "../../data/run_colours.js";
import { visibleName } from "../../lib/visible.js";
import { labelOf } from "../curve.js";

/** @typedef {import("../curve.js").Curve} Curve */
/** @typedef {import("./legend.js").Entry} Entry */

export class Names {
  /** @param {string[]} off names that the address hides @param {(all: boolean) => void} changed what is shown, or only what stands out */
  constructor(off, changed) {
    this.changed = changed;
    this.off = new Set(off);
    this.lit = "";
    /** @type {string[]} */
    this.runs = [];
    this.group = ""; // a key of the configuration
    /** @type {Map<string, string>} labels, by name, as far as groups were read */
    this.groups = new Map();
    /** @type {Map<string, string>} names that users gave runs */
    this.titles = new Map();
    this.colours = coloursOf([]);
    this.ofRuns = coloursOf([]);
  }

  /** @param {string[]} runs @param {string} group */
  set(runs, group) {
    if (group === this.group && JSON.stringify(runs) === JSON.stringify(this.runs)) return;
    if (this.runs.length) this.off = new Set(group || this.group ? [] : [...this.off].filter((name) => runs.includes(name)));
    Object.assign(this, { runs, group, groups: new Map(), ofRuns: coloursOf(runs), lit: "" });
    this.colours = group ? coloursOf([]) : this.ofRuns;
  }

  /** Which groups there are is known once they were read; their colours depend on that. @param {Curve[]} curves @returns {boolean} whether some are new */
  learn(curves) {
    const before = this.groups.size;
    for (const { name, colour, label, row } of this.group ? curves : []) if (!colour && row.group && !this.groups.has(name)) this.groups.set(name, label);
    if (this.groups.size === before) return false;
    this.colours = coloursOf(this.groups.keys());
    return true;
  }

  /** @returns {string[]} */
  get all() {
    return this.group ? [...this.groups.keys()] : this.runs;
  }

  /** @returns {Entry[]} */
  get entries() {
    return this.all.map((name) => ({ name, label: this.groups.get(name) ?? this.titles.get(name) ?? visibleName(name), colour: this.colours.get(name) ?? "ink-3" }));
  }

  /** @param {import("../../types/api").Run[]} rows of the runs */
  entitle(rows) {
    this.titles = new Map(rows.flatMap(({ run, about }) => (about?.name ? [[run, visibleName(about.name)]] : [])));
  }

  /** @param {Curve} curve */
  labelOf = ({ colour, label, row }) => (colour || !row.run ? label : labelOf(row, this.titles.get(row.run)));

  /** @param {Curve} curve */
  colourOf = ({ colour, name }) => colour ?? this.colours.get(name) ?? this.ofRuns.get(name) ?? "ink-3";

  /** The machine's curves are of no run: they stay. @param {Curve[]} curves */
  shown(curves) {
    return this.off.size ? curves.filter(({ colour, name }) => colour || !this.off.has(name)) : curves;
  }

  /** Show it or hide it. @param {string} name */
  turn(name) {
    this.#hide(this.off.has(name) ? [...this.off].filter((other) => other !== name) : [...this.off, name]);
  }

  /** Only this one, or all where it is alone already. @param {string} name */
  only(name) {
    const others = this.all.filter((other) => other !== name);
    this.#hide(!this.off.has(name) && others.every((other) => this.off.has(other)) ? [] : others);
  }

  /** @param {string[]} names */
  #hide(names) {
    this.off = new Set(names);
    this.changed(true);
  }

  /** @param {string} name of those that stand out, "" for none */
  light(name) {
    if (name === this.lit) return;
    this.lit = name;
    this.changed(false);
  }
}
