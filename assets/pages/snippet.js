/** Python lines that write a first log, ready to paste: they make their folder (pure). */

/** @param {string} log_dir as the dashboard was given it, absolute */
export const snippet = (log_dir) => `import json, pathlib, time

folder = pathlib.Path(${quoted(log_dir)}) / "my-run"
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "metrics.jsonl", "a") as log:
    for step in range(100):
        log.write(json.dumps({"time_s": time.time(), "step": step, "loss": 2.31 / (1 + step)}) + "\\n")
        log.flush()
        time.sleep(0.1)
`;

/** A Python string. JSON's escapes are Python's, too. @param {string} text */
const quoted = (text) => JSON.stringify(text);
