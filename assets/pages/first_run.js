/** What an empty log folder shows: how to start a first run, whether this host is ready, and what there will be to see. */

import { isOwner } from "../lib/api.js";
import { copyButton } from "../lib/clipboard.js";
import { el, icon } from "../lib/dom.js";
import { pathTo } from "../lib/url.js";

/** On a page that is about runs. @param {string | null | undefined} log_dir as the dashboard was given it, absolute @returns {{sentence: string, more: HTMLElement[]}} */
export function firstRun(log_dir) {
  const folder = log_dir ?? "logs";
  return { sentence: `No runs in ${folder} yet. Prefix your training command; no code changes are needed:`, more: [el("section", { class: "first-run" }, command(folder))] };
}

/** The Live page of an empty folder. @param {import("../types/api").State} state of the server @returns {{sentence: string, more: HTMLElement[]}} */
export function firstPage({ log_dir, gpus, gpu_note }) {
  const place = `--log-dir ${shellWord(log_dir)}`;
  const others = [
    ["Attach to a running process", `deepseek-dashboard attach ${place} PID`],
    ["Open existing logs", "deepseek-dashboard --log-dir runs"],
    ["Try the demo", "deepseek-dashboard --demo"],
  ];
  const other = (/** @type {string[]} */ [label, code]) => el("tr", {}, el("th", { scope: "row" }, label), el("td", {}, el("code", {}, code)), el("td", {}, copyButton("Copy", () => code)));
  const start = el(
    "section",
    { class: "first-run" },
    el("h1", {}, "Start your first run"),
    el("p", { class: "mid" }, "Prefix your training command. No code changes are needed."),
    command(log_dir),
    el("p", { class: "mid" }, el("i", { class: "dot acc" }), ` No runs in ${log_dir} yet. Yours opens here within a second of starting.`),
    el("h2", {}, "Other ways to start"),
    el("table", {}, el("tbody", {}, ...others.map(other))),
    el("details", {}, el("summary", {}, "Write a line of JSON per step"), el("div", { class: "first-command" }, el("pre", {}, snippet(log_dir)), copyButton("Copy", () => snippet(log_dir)))),
    el("h2", {}, "This host"),
    el("ul", {}, ...checks(gpus, gpu_note)),
  );
  const points = [["Charts", " of GPUs, the host and every metric that your script logs"], ["Drag over a dip", " to get the line of Python that caused it"], ["The log", " and flame graphs on the same time axis"]];
  const seen = el("section", { class: "first-seen" }, el("h2", {}, "What you will see"), picture(), el("ol", {}, ...points.map(([name, rest]) => el("li", {}, el("b", {}, name), rest))));
  return { sentence: "", more: [start, seen] };
}

/** @param {string} folder */
function command(folder) {
  const code = `deepseek-dashboard run --log-dir ${shellWord(folder)} -- python train.py`;
  return el("div", { class: "first-command" }, el("pre", {}, code), copyButton("Copy", () => code));
}

/** What is ready on this host, and what is not. @param {import("../types/api").State["gpus"]} gpus @param {string | null} [gpu_note] */
function checks(gpus, gpu_note) {
  const row = (/** @type {boolean} */ good, /** @type {string} */ text, /** @type {Node | null} */ more = null) => el("li", {}, icon(good ? "disc" : "triangle", good ? "ok" : "dim"), el("span", {}, text), more);
  const cards = gpus.length ? `${gpus.length} x ${[...new Set(gpus.map(({ name }) => name))].join(", ")}` : gpu_note || "No GPU found.";
  return [row(gpus.length > 0, cards), ...(isOwner ? [row(false, "Alerts appear on this dashboard only until you add a channel.", el("a", { href: pathTo("/alerts") }, "Add one"))] : [])];
}

/** A dip on three lanes, and the window that is drawn over it. */
function picture() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const part = (/** @type {string} */ tag, /** @type {Record<string, string | number>} */ attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
    svg.append(node);
    return node;
  };
  for (const [name, value] of Object.entries({ viewBox: "0 0 480 190", role: "img", "aria-label": "A dip on all lanes with a window drawn over it" })) svg.setAttribute(name, value);
  for (const [text, y] of /** @type {[string, number][]} */ ([["GPU busy", 12], ["Steps/s", 92], ["Loss", 144]])) part("text", { x: 0, y, class: "label" }).textContent = text;
  for (let row = 0; row < 6; row++) for (const [x, width, kind] of [[0, 124, "busy"], [124, 40, "idle"], [164, 316, "busy"]]) part("rect", { x, y: 18 + row * 9, width, height: 8, class: kind });
  const wave = (/** @type {number} */ base, /** @type {number} */ dip) => Array.from({ length: 121 }, (_, i) => `${i ? "L" : "M"}${i * 4} ${(base + 2 * Math.sin(i * 1.7) + 1.5 * Math.sin(i * 0.9) + (i > 30 && i < 41 ? dip : 0)).toFixed(1)}`).join("");
  part("path", { d: wave(104, 18), class: "line" });
  part("path", { d: wave(166, 0), class: "line" });
  part("rect", { x: 122, y: 14, width: 44, height: 172, class: "drawn" });
  return el("figure", {}, svg, el("figcaption", {}, el("b", {}, el("code", {}, "decode_image"), " added 369 ms per step, 94% of the slowdown"), el("span", { class: "dim" }, "data.py:88, high confidence")));
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
