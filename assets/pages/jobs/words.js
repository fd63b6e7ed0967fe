/** What is said of jobs: states, where they run and with whom (pure). */

import { clock, counted, day, duration, minute, sameDay } from "../../lib/format.js";
import { percent } from "../../lib/figures.js";

/** @typedef {import("../../types/api").Row<"JobAnswer">} Job */

/** `14:25`, of another day `24 Nov 14:25` @param {number} time_s @param {number} now_s */
export const moment = (time_s, now_s) => (sameDay(time_s, now_s) ? minute(time_s) : `${day(time_s)} ${minute(time_s)}`);

/** With seconds, for a tip. @param {number} time_s */
export const exactly = (time_s) => `${day(time_s)} ${clock(time_s)}`;

/** `2 GPUs`, `1 core slot` @param {number} n @param {boolean} cards */
export const slotsInWords = (n, cards) => counted(n, cards ? "GPU" : "core slot");

/** `20 GiB`, `512 MiB`, "" @param {number | null} mib */
export const memory = (mib) => (mib === null ? "" : mib >= 1024 ? `${Number((mib / 1024).toFixed(1))} GiB` : `${Math.round(mib)} MiB`);

/** Seconds in the queue: it goes on for a job that waits. @param {Job} job @param {number} passed_s since the answer */
export const waited = (job, passed_s) => job.waited + (job.waits ? passed_s : 0);

/** Whole seconds at least: `42 s`, `2 h 34 min` @param {number} seconds */
export const lasting = (seconds) => (seconds < 59.5 ? `${Math.round(seconds)} s` : duration(seconds));

/** `on GPU 0 and GPU 1, beside job 7 since 14:02 with 92 % of its speed alone` @param {Job} job @param {number} now_s */
export function whereabouts(job, now_s) {
  if (!job.on.length) return "";
  const beside = job.beside.length ? `, beside ${job.beside.length > 1 ? "jobs" : "job"} ${listed(job.beside.map(String))}` : "";
  const since = beside && job.shared_since !== null ? ` since ${moment(job.shared_since, now_s)}` : "";
  return `on ${listed(job.on)}${beside}${since}${beside && pace(job)}`;
}

/** `, measured at 92 % of its speed alone` @param {Job} job */
const pace = (job) => (job.speed === null ? "; its speed beside it is not measured yet" : `; measured at ${percent(job.speed)} of its speed alone`);

/** Why it waits, since when it runs, or how it ended. @param {Job} job @param {number} now_s */
export function about(job, now_s) {
  if (job.reason) return job.reason;
  if (job.state === "running" && job.started !== null) return `for ${lasting(Math.max(0, now_s - job.started))}`;
  if (job.state === "starting") return "is being started";
  if (job.state === "stopping") return job.resumes ? "was asked to save and end" : "was asked to end";
  if (job.state === "held") return "is held by its user";
  if (job.state === "queued") return "has just come in";
  return ended(job.exit_code);
}

/** `exit code 1`, `killed by signal 9` @param {number | null} code */
export const ended = (code) => (code === null ? "" : code < 0 ? `ended by signal ${-code}` : code ? `exit code ${code}` : "");

/** How an attempt ended; what its sentence says already is not said twice. `preempted for job 5, saved; exit code 75` @param {{why: string, because: number | null, said: string, exit_code: number | null}} attempt */
export function endOf({ why, because, said, exit_code }) {
  const cause = why && because !== null ? `${why} ${why === "preempted" ? "for" : "beside"} job ${because}` : why;
  const sentence = why && said.startsWith(why) ? cause + said.slice(why.length) : [cause, said].filter(Boolean).join("; ");
  const code = ended(exit_code);
  return (code && !sentence.includes(code.replace("ended by ", "")) ? [sentence, code].filter(Boolean).join("; ") : sentence) || "by itself";
}

/** Why its run has no link, "" where it has one, or has none. @param {Job} job @param {string} followed the dashboard's log folder */
export const noLink = (job, followed) =>
  job.run !== null || !job.name ? "" : `Its run is in ${job.log_dir}, which this dashboard does not follow: start it with --log-dir ${job.log_dir}, or submit with --log-dir ${followed}. In a terminal: deepseek-jobs logs ${job.job}`;

/** `["a", "b", "c"] -> "a, b and c"` @param {string[]} words */
export const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : (words[0] ?? ""));

/** How many are running, waiting and on hold. @param {Job[]} jobs @param {number} over */
export function summary(jobs, over) {
  const many = (/** @type {string[]} */ states) => jobs.filter(({ state }) => states.includes(state)).length;
  const counts = [
    [many(["starting", "running", "stopping"]), "running"],
    [many(["queued"]), "waiting"],
    [many(["held"]), "on hold"],
    [over, "over"],
  ];
  return counts.filter(([n]) => n).map(([n, word]) => `${Number(n).toLocaleString("en")} ${word}`).join(", ");
}
