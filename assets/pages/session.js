/** What the pages share while a reader moves between them: the runs, the socket and the status line; and what each page has of its own. */

import { Feed } from "../data/feed.js";
import { Runs } from "../data/runs.js";
import { get, isOwner } from "../lib/api.js";
import { el, scrolled, setClass, setText } from "../lib/dom.js";
import { percent } from "../lib/figures.js";
import { duration, megabytes } from "../lib/format.js";
import { Life, enter, life } from "../lib/life.js";
import { keepBack, pathTo, withChanges, writeAddress } from "../lib/url.js";
import { troubleOf } from "./run_strip.js";
import { Scope } from "./scope.js";

const LATEST_MS = 3000; // that Dash waits for a first picture

/** One for the document. The page that is shown hears what the server sends. */
export class Session {
  /** @param {HTMLElement} ahead where a page is until it is laid out @param {HTMLElement} foot the status line */
  constructor(ahead, foot) {
    this.scope = new Scope((run) => {
      if (run !== this.view?.runs.name) keepBack();
      this.view?.pick(run);
    });
    this.ahead = ahead;
    this.runs = new Runs(null);
    this.status = new Status(foot);
    /** @type {number | null} age of the newest point when it arrived */
    this.behind_s = null;
    /** @type {PageView | null} */
    this.view = null;
    this.feed = new Feed(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${pathTo("/api/v1/live")}`, {
      onDelta: (delta) => this.#onDelta(delta),
      onState: (state) => {
        showFiring(state.firing);
        const news = this.runs.update(state);
        this.view?.onState(state, news);
        this.view?.invalidate();
      },
      onReset: () => this.view?.onReset(),
      onLoggedOut: () => location.reload(), // the log-in page leads back here
      onRefused: () => get("directions").catch(() => {}), // a page that is logged out hears it from any question; the socket's last word may have been lost
      onConnection: (lost_ms) => {
        this.runs.lost_s = lost_ms === null ? null : lost_ms / 1000 + this.runs.clock_off_s;
        this.view?.invalidate();
      },
    });
  }

  /** @param {import("../types/api").Delta} delta */
  #onDelta(delta) {
    const newest_s = Math.max(...delta.series.map(({ t }) => t.at(-1) ?? -Infinity));
    if (newest_s > 0) this.behind_s = this.runs.now_s - newest_s;
    this.view?.onDelta(delta);
    if (this.view?.drawsDeltas) this.view.invalidate();
  }

  /**
   * Show another page. The view before hears nothing more; one that is kept comes back as it was left, if the address still asks for that.
   * @param {string} path of the page @param {(session: Session) => PageView} make
   */
  show(path, make) {
    this.#leave();
    const kept = this.#kept.get(path);
    this.#kept.delete(path);
    if (kept?.isAsked(new URLSearchParams(location.search))) this.#wake(kept);
    else {
      kept?.close();
      enter(new Life());
      this.view = make(this);
      this.ahead.replaceChildren(...(this.view.ahead ? [this.view.ahead] : []));
      this.view.start();
    }
    this.#path = path;
    this.status.setKeys(this.view?.hints);
    for (const listener of this.#shown) listener();
  }

  #path = "";

  /** Views that were left and may be shown again, by the path of their page. @type {Map<string, PageView>} */
  #kept = new Map();

  #leave() {
    const { view } = this;
    this.view = null;
    this.feed.forget();
    this.behind_s = null;
    const controls = this.scope.take();
    if (!view) return;
    if (view.isKept) this.#kept.set(this.#path, view);
    view.leave(controls);
    if (!view.isKept) view.close();
  }

  /** @param {PageView} view */
  #wake(view) {
    enter(view.life);
    this.view = view;
    view.wake();
  }

  /** @type {Set<() => void>} */
  #shown = new Set();

  /** Resolves when Dash no longer keeps the shown page's first picture waiting: at once, where the page has none without Dash. */
  async pictured() {
    if (this.view?.ahead) await Promise.race([this.view.ready, new Promise((late) => setTimeout(late, LATEST_MS))]);
  }

  /** @param {() => void} listener called after another page is shown @returns {() => void} ends that */
  onShow(listener) {
    this.#shown.add(listener);
    return () => this.#shown.delete(listener);
  }
}

/** @typedef {{address: URLSearchParams, controls: import("./scope.js").Controls, scrolls: (() => void)[]}} Left what a page is left with: its part of the address, its controls in the row of the scope, and what scrolls it to where it was */

/** The base of all pages: those without an axis of time extend it directly, the others by `TimePage`. */
export class PageView {
  /** @param {Session} session @param {string | null} run that the address asks for @param {[string, string][]} [hints] keys that the status line names */
  constructor(session, run, hints) {
    this.session = session;
    this.runs = session.runs;
    this.runs.name = run;
    this.status = session.status;
    this.hints = hints;
    this.life = life();
    /** Resolves when there is a first picture, or nothing to draw. */
    this.ready = new Promise((resolve) => (this.markReady = resolve));
  }

  /** What stands in the layout of the page, by the name of the component (`dashboard/components.py`). @type {Record<string, HTMLElement>} */
  parts = {};

  /** What stands for the page until Dash has laid it out: its part, where that will be. @type {HTMLElement | null} */
  ahead = null;

  /** A part of it has got its place: sizes are known from now on. */
  placed() {
    this.invalidate();
  }

  /** A part is laid out, or a callback has changed its properties. @param {string} _part @param {Record<string, any>} _props */
  onProps(_part, _props) {}

  /** @type {(value?: unknown) => void} */
  markReady = () => {};

  /** A page of Dash components alone: no part of ours stands on it. */
  get isPlain() {
    return false;
  }

  /** Called once the view is the one that is shown. */
  start() {}

  // Left, and shown again

  /** Whether it comes back as it was left; else it is made anew. */
  get isKept() {
    return false;
  }

  /** Another page is shown. */
  get isAway() {
    return this.life.rests || this.life.signal.aborted;
  }

  /** What the server sends, while the page is shown. */
  get feed() {
    return this.isAway ? null : this.session.feed;
  }

  /** @type {Left | null} */
  #left = null;

  /** Another page is shown: nothing is drawn from now on. @param {import("./scope.js").Controls} controls its own, from the row of the scope */
  leave(controls) {
    this.#left = { address: withChanges(new URLSearchParams(), this.address()), controls, scrolls: Object.values(this.parts).map(scrolled) };
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.life.rests = true;
  }

  /** It never comes back. */
  close() {
    this.life.end();
  }

  /** Parts of the address that may differ when it comes back: `onReturn` takes them. @type {string[]} */
  moving = [];

  /** Whether the address asks for what it was left with. @param {URLSearchParams} query */
  isAsked(query) {
    const names = Object.keys(this.address()).filter((name) => !this.moving.includes(name));
    const of = (/** @type {URLSearchParams} */ found) => JSON.stringify(names.map((name) => found.getAll(name)));
    return this.#left !== null && of(query) === of(this.#left.address);
  }

  /** It is shown again: what it drew is there at once, and then what is new. */
  wake() {
    const { address, controls, scrolls } = /** @type {Left} */ (this.#left);
    this.life.rests = false;
    this.runs.name = address.get("run");
    this.session.scope.give(controls);
    this.ahead?.append(...Object.values(this.parts).filter((element) => element !== this.ahead));
    this.session.ahead.replaceChildren(...(this.ahead ? [this.ahead] : []));
    for (const scroll of scrolls) scroll();
    this.onReturn();
    this.draw();
  }

  /** It is shown again: its data may be old, and the address another place of it. */
  onReturn() {}

  // Messages of the server, for each page

  /** A page whose charts read for themselves is drawn with the server's state only: each frame composes all of its canvases anew. */
  drawsDeltas = true;

  /** New points, lines, events and findings. @param {import("../types/api").Delta} _delta */
  onDelta(_delta) {}

  /** The server's state, which `runs` holds by now. @param {import("../types/api").State} _state @param {import("../data/runs.js").News} _news */
  onState(_state, _news) {}

  /** Deltas were missed: the shown data must be read again. */
  onReset() {}

  // Defined by each page

  /** What it is about where that is not one run: the row of the scope says so, and offers no other run. */
  get about() {
    return "";
  }

  /** Another run is picked in the row of the scope. @param {string} run */
  pick(run) {
    this.runs.name = run;
    this.keepAddress();
    this.invalidate();
  }

  /** The page's part of the address. @returns {Record<string, string | number | string[] | null>} */
  address() {
    return { run: this.runs.name };
  }

  /** The selection, for Dash's callbacks. @returns {Selected} */
  selection() {
    const { name } = this.runs;
    return { run: name, runs: name === null ? [] : [name], axis: "time", from: null, to: null, live: true };
  }

  /** What the files of its charts are named by, beside the chart. @returns {string[]} */
  chartRuns() {
    return this.selection().runs;
  }

  /** @returns {import("../lib/keys.js").Key[]} */
  keys() {
    return [];
  }

  /** What a pointer does on the page. @returns {[string, string][]} */
  gestures() {
    return [];
  }

  // The view

  /** Draw once in the next frame; a hidden tab has none. */
  invalidate() {
    if (this.isAway) return;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }

  #frame = 0;

  draw() {
    this.session.scope.draw(this.runs, this.about);
    this.status.draw(this.runs.message, this.session.behind_s);
  }

  keepAddress() {
    if (this.isAway) return;
    writeAddress(this.address());
    publish(this.selection());
  }
}

// The session of the document, and the parts of its page in Dash's layout.

/** @type {Session | null} there is none in an app of somebody else's */
let begun = null;

/** It begins with whoever asks first: a part that Dash has laid out, or the shell. */
export function session() {
  const [ahead, foot] = ["ahead", "status"].map((id) => /** @type {HTMLElement} */ (document.getElementById(id)));
  return (begun ??= new Session(ahead, foot));
}

/** A part of a page that its view draws, in the place that Dash has laid out for it. @param {string} name */
export const part = (name) => (/** @type {HTMLElement} */ place, /** @type {Record<string, any>} */ props) => {
  const take = () => {
    const { ahead, view } = session();
    const element = view?.parts[name];
    if (view?.isPlain) place.replaceChildren(el("p", { class: "warn", role: "alert" }, `${name} is a part of one of the dashboard's own pages, and draws nothing on this one. TimeChart and FlameGraph draw on any page.`));
    if (!element || element.parentElement === place) return;
    move(element, place);
    ahead.replaceChildren();
    view.placed();
  };
  /** A view that is made later does not hear it: the properties were said of another one. @param {Record<string, any>} said */
  const update = (said) => {
    const { view } = session();
    if (view && name in view.parts) view.onProps(name, said);
  };
  take();
  update(props);
  return { update, close: session().onShow(take) };
};

/** It stays scrolled and focused, where the browser can move an element. @param {HTMLElement} element @param {HTMLElement} place */
function move(element, place) {
  place.replaceChildren();
  if (element.isConnected && "moveBefore" in place) /** @type {any} */ (place).moveBefore(element, null);
  else place.append(element);
}

// What Dash's callbacks hear of the document: which page the address is of, and the selection.

/**
 * Which page it is of.
 * @param {HTMLElement} _place @param {{pathname?: string}} laidOut which page that was done for
 * @param {(changed: {pathname: string, search: string}) => void} setProps
 */
export function Address(_place, laidOut, setProps) {
  const tell = () => setProps({ pathname: location.pathname, search: location.search });
  if (laidOut.pathname !== location.pathname) tell();
  return { close: session().onShow(() => session().pictured().then(tell)) };
}

/**
 * @typedef {Object} Selected
 * @property {string | null} run
 * @property {string[]} runs
 * @property {"time" | "step"} axis
 * @property {number | null} from start of the selected window, Unix seconds or a step; null where none is selected
 * @property {number | null} to
 * @property {boolean} live the view follows the newest point
 */

/** @type {Selected | null} */
let newest = null;
/** @type {(changed: {data: Selected | null}) => void} */
let told = () => {};

/** Its `data` is what is selected. @param {HTMLElement} _place @param {Object} _props @param {(changed: {data: Selected | null}) => void} setProps */
export function Selection(_place, _props, setProps) {
  told = setProps;
  if (newest) told({ data: newest });
}

/** @param {Selected} selection */
function publish(selection) {
  if (JSON.stringify(selection) === JSON.stringify(newest)) return;
  newest = selection;
  told({ data: newest });
}

// The line at the foot: the keys, the dashboard's cost, and its delay.

/** @type {[string, string][]} */
const KEYS = [
  ["drag", "select"],
  ["f", "flame"],
  ["[ ]", "findings"],
  ["space", "pause"],
  ["0", "whole range"],
  ["?", "all keys"],
];

class Status {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.cost = el("span");
    this.profiler = el("span");
    this.lag = el("span");
    this.parts = el("span", { class: "warn", role: "status" });
    this.hints = el("span", { class: "hints" });
    host.append(
      this.hints,
      el("span", { class: "right" }, this.parts, this.cost, this.profiler, this.lag),
    );
  }

  /** The few keys that the line names. @param {string[][]} [keys] */
  setKeys(keys = KEYS) {
    this.hints.replaceChildren(...keys.map(([key, does]) => el("span", { class: "hint-key" }, el("kbd", {}, key), does)));
  }

  /** @param {import("../types/api").State | null} message the server's state @param {number | null} behind_s */
  draw(message, behind_s) {
    const unwell = (message?.collectors ?? []).filter(({ state }) => state !== "ok");
    setText(this.parts, unwell.map(({ name, state }) => `${name} ${state}`).join(", "));
    this.parts.title = troubleOf(unwell) ?? "";
    if (message?.cost)
      setText(this.cost, `Dashboard: ${percent(message.cost.cpu_pct / 100)} of a core, ${megabytes(message.cost.rss_bytes)}`);
    setText(this.profiler, message?.profile?.state === "on" ? `Profiler: ${percent((message.cost?.profiler_pct ?? 0) / 100)}` : "");
    setText(this.lag, behind_s === null ? "" : `${duration(Math.max(0, behind_s))} behind`);
  }
}

// The sign in every page's bar: how many alerts fire. It also has the browser show new ones, where a user has allowed it.

const AGAIN_MS = 4000; // messages may come while as many alerts fire as before

/** @type {HTMLAnchorElement | null} */
const sign = document.querySelector(".bell"); // the Alerts page is the owner's
let looked_ms = -Infinity;
let before = -1;

/** @param {number} firing */
function showFiring(firing) {
  if (sign) {
    setClass(sign, "on", firing > 0);
    setText(/** @type {HTMLElement} */ (sign.lastElementChild), firing ? String(firing) : "");
    sign.ariaLabel = firing === 1 ? "Alerts: 1 is active" : firing ? `Alerts: ${firing} are active` : "Alerts";
  }
  const now_ms = performance.now();
  if (firing === before && now_ms - looked_ms < AGAIN_MS) return;
  [before, looked_ms] = [firing, now_ms];
  if (isOwner && globalThis.Notification?.permission === "granted") import("../findings/desktop.js").then(({ notify }) => notify()).catch(() => {}); // asked again at the next
}
