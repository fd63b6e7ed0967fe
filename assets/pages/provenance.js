/** What ran: command, configuration, commit, versions and variables of a run, for a dialog or a panel. */

import { get, sentenceOf } from "../lib/api.js";
import { el, setText } from "../lib/dom.js";
import { clock, day } from "../lib/format.js";

/** The fields that come first, with their names; others follow under their own. @type {[string, string][]} */
const FIRST = [
  ["command", "Command"],
  ["argv", "Command"],
  ["started_s", "Started"],
  ["cwd", "Folder"],
  ["git_commit", "Commit"],
  ["git_branch", "Branch"],
  ["git_note", "Commit"],
  ["gpu", "GPU"],
  ["gpu_topology", "GPUs by"],
  ["driver", "Driver"],
  ["cuda", "CUDA"],
  ["nccl", "NCCL"],
  ["torch", "PyTorch"],
  ["python", "Python"],
];
const LAST = ["config", "environment", "versions"]; // tables of their own
const APART = new Set(["git_dirty", ...FIRST.map(([key]) => key), ...LAST]);
const TITLES = { config: "Configuration", environment: "Variables", versions: "Libraries" };
/** @type {Record<string, string>} */
const WORDS = { pid: "Process", pid_start_ticks: "Process start, ticks", boot_id: "Boot", host: "Host", user: "User", kind: "Kind", unit: "Unit of work", cpu: "CPU", ended_s: "Ended" };
const MOST = 500; // rows of a table
const MAX_DEPTH = 12; // of tables in a configuration

/** @param {string} run @param {Record<string, any>} info @returns {(Node | string)[]} */
export function partsOf(run, info) {
  const rows = rowsOf(info);
  if (!rows.length && !LAST.some((key) => info[key])) return [el("p", { class: "dim" }, "Neither its files nor a process of it on this machine say what ran.")];
  return [
    table(rows),
    info.git_dirty ? changes(run) : "",
    ...LAST.flatMap((key) => (isTable(info[key]) ? [el("h3", {}, TITLES[/** @type {keyof typeof TITLES} */ (key)]), table(key === "config" ? flat(info[key]) : Object.entries(info[key]))] : [])),
  ];
}

/** `{model: {depth: 12}} -> [["model.depth", 12]]`, as the columns and the comparison call it. @param {Record<string, any>} values @returns {[string, unknown][]} */
function flat(values, before = "", depth = 0) {
  return Object.entries(values).flatMap(([key, value]) => {
    const name = before ? `${before}.${key}` : key;
    return isTable(value) && depth < MAX_DEPTH ? flat(value, name, depth + 1) : [/** @type {[string, unknown]} */ ([name, value])];
  });
}

/** A button that shows what differs from the commit. @param {string} run */
function changes(run) {
  const text = el("pre", { hidden: true });
  const show = async () => {
    text.hidden = false;
    const answer = await get("diff", { run }).catch((error) => ({ diff: sentenceOf(error) }));
    setText(text, answer.diff || "It is not kept.");
  };
  return el("div", {}, el("button", { class: "btn", type: "button", onclick: show }, "Changes since the commit"), text);
}

/** The name and text of each field that is no table of its own. @param {Record<string, any>} info @returns {[string, unknown][]} */
export function rowsOf(info) {
  const first = FIRST.filter(([key]) => info[key] !== undefined && !(key === "argv" && info.command !== undefined));
  const rest = Object.keys(info).filter((key) => !APART.has(key));
  /** @type {Record<string, (value: any) => unknown>} */
  const words = {
    argv: (argv) => (Array.isArray(argv) ? argv.join(" ") : argv),
    git_commit: (commit) => (info.git_dirty ? `${commit}, with changes` : commit),
    started_s: (time_s) => (typeof time_s === "number" ? `${day(time_s)} ${clock(time_s)}` : time_s),
  };
  /** @type {[string, unknown][]} */
  const rows = first.map(([key, name]) => [name, words[key]?.(info[key]) ?? info[key]]);
  return [...rows, ...rest.map((key) => /** @type {[string, unknown]} */ ([inWords(key), info[key]]))];
}

/** `world_size -> World size`, `pid -> Process`; what a user wrote in another way stays: `myField -> myField`. @param {string} key */
function inWords(key) {
  if (WORDS[key]) return WORDS[key];
  const words = key.replaceAll("_", " ").trim();
  return /^[a-z0-9 ]+$/.test(words) ? words[0].toUpperCase() + words.slice(1) : key;
}

/** @param {unknown} value */
const isTable = (value) => typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;

/** @param {[string, unknown][]} rows */
const table = (rows) => el("table", {}, ...rows.slice(0, MOST).map(([name, value]) => el("tr", {}, el("td", {}, name), el("td", {}, worded(value)))));

/** @param {unknown} value */
const worded = (value) => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
