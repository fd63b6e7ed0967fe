/** What the pages share while a reader moves between them: the runs, the socket and the status line; and what each page has of its own. */

import { Feed } from "../data/feed.js";
import { Runs } from "../data/runs.js";
import { isOwner } from "../lib/api.js";
import { el, setClass, setText } from "../lib/dom.js";
import { duration, figure, megabytes } from "../lib/format.js";
import { life, renewLife } from "../lib/life.js";
import { pathTo, writeAddress } from "../lib/url.js";
import { troubleOf } from "./run_strip.js";
import { Scope } from "./scope.js";

const LATEST_MS = 3000; // that Dash waits for a first picture

/** One for the document. The page that is shown hears what the server sends. */
export class Session {
  /** @param {HTMLElement} ahead where a page is until it is laid out @param {HTMLElement} foot the status line */
  constructor(ahead, foot) {
    this.scope = new Scope((run) => this.view?.pick(run));
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

  /** Show another page: the one before hears nothing more. @param {(session: Session) => PageView} make */
  show(make) {
    this.view?.close();
    renewLife();
    this.scope.clear();
    this.feed.forget();
    this.behind_s = null;
    this.view = null;
    this.view = make(this);
    this.ahead.replaceChildren(...(this.view.ahead ? [this.view.ahead] : []));
    this.view.start();
    for (const listener of this.#shown) listener();
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

/** The base of all pages: those without an axis of time extend it directly, the others by `TimePage`. */
export class PageView {
  /** @param {Session} session @param {string | null} run that the address asks for @param {[string, string][]} [hints] keys that the status line names */
  constructor(session, run, hints) {
    this.session = session;
    this.feed = session.feed;
    this.runs = session.runs;
    this.runs.name = run;
    this.status = session.status;
    this.status.setKeys(hints);
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

  /** Called once the view is the one that is shown. */
  start() {}

  /** Another page is shown. */
  close() {
    cancelAnimationFrame(this.#frame);
    this.#frame = -1; // nothing is drawn from now on
  }

  get isClosed() {
    return this.life.aborted;
  }

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
    if (this.isClosed) return;
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
  let given = props;
  const show = () => {
    const { ahead, view } = session();
    const element = view?.parts[name];
    if (element && element.parentElement !== place) {
      move(element, place);
      ahead.replaceChildren();
      view?.placed();
    }
    view?.onProps(name, given);
  };
  show();
  return {
    update: (/** @type {Record<string, any>} */ props) => {
      given = props;
      show();
    },
    close: session().onShow(show),
  };
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
      setText(this.cost, `dashboard costs ${figure(message.cost.cpu_pct, 1)} % of a core, ${megabytes(message.cost.rss_bytes)}`);
    setText(this.profiler, message?.profile?.state === "on" ? `profiler ${figure(message.cost?.profiler_pct, 1)} %` : "");
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
