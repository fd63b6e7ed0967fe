/** The runs and the state that the server last sent: the shown run, whether it is over, and the server's time. */

import { get } from "../lib/api.js";

/** The word and the tone of each state. @type {Record<string, [string, string]>} */
export const STATES = {
  queued: ["Queued", "dim"],
  running: ["Running", "acc"],
  stalled: ["Stalled", "warn"],
  ended: ["Ended", "dim"],
  finished: ["Finished", "dim"],
  failed: ["Crashed", "bad"],
  killed: ["Killed", "bad"],
  preempted: ["Pre-empted", "warn"],
  requeued: ["Requeued", "warn"],
  crashed: ["Crashed", "bad"], // from older collectors
};
/** What a living run is at that makes no steps: the word, its tone, and what it means. @type {Record<string, [string, string, string]>} */
const DOINGS = {
  starting: ["Starting", "acc", "It has made no step yet."],
  compiling: ["Compiling", "acc", "Its main thread compiles."],
  validating: ["Validating", "acc", "Its main thread is in a validation."],
  checkpointing: ["Saving a checkpoint", "acc", "Its main thread writes a checkpoint."],
  waiting: ["Waiting", "warn", "Its GPUs report that they are busy, but only poll in a collective: no step has ended."],
  idle: ["Idle", "dim", "The process lives, and its main thread sleeps or waits for input: the training loop was left."],
  silent: ["Silent", "warn", "The process lives and writes nothing."],
  hung: ["Hung", "bad", "Nothing moves: no line, no byte, no work."],
};

/** The word and the tone for a run, and what it means. @param {{state: string, doing?: string | null} | null | undefined} run @returns {[string, string, string]} */
export function wordsOf(run) {
  const doing = run?.doing ? DOINGS[run.doing] : undefined;
  if (doing) return doing;
  const [word, tone] = STATES[run?.state ?? ""] ?? [run?.state ?? "", "dim"];
  return [word, tone, ""];
}
const ALIVE = new Set(["running", "stalled"]);

const NEAR_S = 5; // between two clocks' readings of one start
const REMOTE = "/.remote/"; // in the names of runs that another host has handed over

/**
 * @typedef {Object} News what a state message has changed
 * @property {boolean} first it is the first message
 * @property {boolean} more there are runs that the list lacks
 * @property {boolean} grown the shown run has other series than when they were requested
 * @property {boolean} silenced other GPUs than before do not answer
 */

export class Runs {
  /** @param {string | null} name of the run that the address asks for */
  constructor(name) {
    this.name = name;
    /** @type {import("../types/api").Run[]} the newest first */
    this.list = [];
    this.read_once = false;
    /** @type {import("../types/api").State | null} the server's last state message */
    this.message = null;
    this.clock_off_s = 0; // server's clock minus the browser's
    /** @type {number | null} when the connection was lost, on the server's clock */
    this.lost_s = null;
    /** @type {number | undefined} how many series the shown run had when its list of series was last requested */
    this.listedSeries = undefined;
  }

  get now_s() {
    return Date.now() / 1000 + this.clock_off_s;
  }

  /** The shown run, or null. */
  get current() {
    return this.list.find((run) => run.run === this.name) ?? null;
  }

  /** Other runs that the shown one's process has logged: a program may name its own. @returns {string[]} */
  get beside() {
    const { current: run } = this;
    const [pid, host] = [run?.info.pid, run?.info.host];
    if (!run || pid === undefined) return [];
    const alike = this.list.filter((other) => other !== run && other.info.pid === pid && other.info.host === host);
    const [from, to] = [(run.started_s ?? 0) - NEAR_S, (run.ended_s ?? Infinity) + NEAR_S];
    return alike.filter(({ started_s }) => started_s !== null && started_s >= from && started_s <= to).map((other) => other.run);
  }

  /** The address names a run that does not exist. */
  get missing() {
    return this.read_once && this.name !== null && this.current === null;
  }

  /** The shown run's log has steps and no times. */
  get untimed() {
    const run = this.current;
    return run !== null && run.points > 0 && run.last_step !== null && !(run.timed ?? run.last_time_s !== null);
  }

  /** No more data is expected from the shown run. */
  get over() {
    const { current: run } = this;
    return run !== null && run.state !== "queued" && !ALIVE.has(run.state);
  }

  /** Whether another host handed the shown run over. */
  get isFromAnotherHost() {
    return `/${this.current?.run ?? ""}`.includes(REMOTE);
  }

  /** When the shown run ended, else when its newest line was written: others may go on writing to its log. */
  get last_s() {
    const { last_time_s, ended_s } = this.current ?? {};
    return ended_s ?? last_time_s ?? null;
  }

  /** The run to show: the address's, else the newest that runs, else the newest. Its list of series is requested next. */
  async choose() {
    if (!this.list.length) await this.readList();
    this.name ??= (this.list.find(({ state }) => state === "running") ?? this.list[0])?.run ?? null;
    this.listedSeries = this.current?.series;
    return this.name;
  }

  async readList() {
    this.list = (await get("runs")).runs;
    this.read_once = true;
  }

  /** Update the runs by a state message, which names living ones only. @param {import("../types/api").State} message @returns {News} */
  update(message) {
    const first = this.message === null;
    const silent = silentOf(this.message);
    const near = new Map(message.runs.map((run) => [run.run, run]));
    this.message = message;
    this.clock_off_s = message.time_s - Date.now() / 1000;
    this.list = this.list.map((run) => near.get(run.run) ?? run);
    return {
      first,
      more: this.read_once && message.runs_total !== this.list.length,
      grown: this.read_once && this.current?.series !== this.listedSeries,
      silenced: silentOf(message) !== silent,
    };
  }
}

/** @param {import("../types/api").State | null} message @returns {string} which GPUs do not answer, and since when */
const silentOf = (message) => (message?.gpus ?? []).map(({ index, since_s }) => `${index} ${since_s ?? ""}`).join();
