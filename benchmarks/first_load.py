"""From the address to the first picture of each page, in a browser that has nothing in its cache, and what the page weighs.

python -m benchmarks.first_load                                  of this checkout
FIRST_LOAD_CHECKOUT=FOLDER python -m benchmarks.first_load       of another one
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, ROOT, Dashboard, dashboard, wait_for

CHECKOUT = Path(os.environ.get("FIRST_LOAD_CHECKOUT", ROOT))
LOADS = 15
STEPS = 5_000
PAGES = {"/": "Live", "/flame": "Flame", "/gpus": "GPUs"}
WATCH = """() => {
  const look = () => {
    const { drawn } = globalThis.deepseek ?? {};
    if (Object.values(drawn ?? {}).some(({ count }) => count > 0)) globalThis.firstPicture_ms ??= performance.now();
    else requestAnimationFrame(look);
  };
  look();
}"""
BYTES = "() => performance.getEntriesByType('resource').reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        log_dir = Path(folder) / "logs"
        write_run(log_dir)
        with dashboard(log_dir, "--no-profile", checkout=CHECKOUT) as running:
            wait_for(lambda: running.run("run").get("points") == 2 * STEPS, 30, "the run is not read")
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
            rows = [row for path, name in PAGES.items() for row in rows_of(name, running, path, browser)]
            browser.close()
    return rows


def rows_of(name: str, running: Dashboard, path: str, browser: Browser) -> list[Row]:
    loads = [load(browser, running.address + path) for _ in range(LOADS + 1)][1:]
    took_ms = sorted(ms for ms, _ in loads)
    spread = f"{took_ms[0]:.0f} to {took_ms[-1]:.0f} ms over {LOADS} loads"
    return [
        Row(f"{name}: first picture", statistics.median(took_ms), "ms", budget=1000, spread=spread),
        Row(f"{name}: transferred", loads[-1][1] / 1000, "kB"),
    ]


def load(browser: Browser, address: str) -> tuple[float, float]:
    """Milliseconds to the first picture, and bytes."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(f"({WATCH})()")
    page.goto(address)
    ms = wait_for(lambda: page.evaluate("() => globalThis.firstPicture_ms"), 30, f"nothing is drawn at {address}")
    size = page.evaluate(BYTES)
    context.close()
    return ms, size


def write_run(log_dir: Path) -> None:
    (log_dir / "run").mkdir(parents=True)
    begun_s = time.time() - STEPS / 10
    lines = (
        {"time_s": begun_s + step / 10, "step": step, "train/loss": 1 / (step + 1), "train/lr": 0.1}
        for step in range(STEPS)
    )
    (log_dir / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
