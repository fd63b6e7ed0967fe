/** What an empty log folder says: how to get a first run. */

import { copyButton } from "../lib/clipboard.js";
import { el } from "../lib/dom.js";

/** @param {string | null | undefined} log_dir as the dashboard was given it, absolute @returns {{sentence: string, more: HTMLElement[]}} */
export function firstRun(log_dir) {
  const folder = log_dir ?? "logs";
  const ways = /** @type {const} */ ([
    ["Start your script like this. Nothing in it changes:", `deepseek-dashboard run --log-dir ${shellWord(folder)} -- python train.py`],
    ["Watch a process that already runs:", `deepseek-dashboard attach --log-dir ${shellWord(folder)} PID`],
    ["Or write a line of JSON per step:", snippet(folder)],
  ]);
  return { sentence: `No runs in ${folder} yet.`, more: ways.map(([says, code]) => el("section", { class: "first-run" }, el("p", {}, says), el("div", {}, el("pre", {}, code), copyButton("Copy", () => code)))) };
}

/** @param {string} text */
const shellWord = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Python that makes its folder and writes a first log; JSON's escapes of a string are Python's, too. @param {string} log_dir */
export const snippet = (log_dir) => `import json, pathlib, time

folder = pathlib.Path(${JSON.stringify(log_dir)}) / "my-run"
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "metrics.jsonl", "a") as log:
    for step in range(100):
        log.write(json.dumps({"time_s": time.time(), "step": step, "loss": 2.31 / (1 + step)}) + "\\n")
        log.flush()
        time.sleep(0.1)
`;
