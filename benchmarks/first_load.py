"""From the address to the first chart of each page, in a browser that has nothing in its cache, and what the page weighs.

python -m benchmarks.first_load                                  of this checkout, locally and through a line of 80 ms and 20 Mbit/s
FIRST_LOAD_BEFORE=FOLDER python -m benchmarks.first_load         beside another one, load by load
FIRST_LOAD_CHECKOUT=FOLDER python -m benchmarks.first_load       of another one
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, ROOT, dashboard, wait_for
from tests.support.slow_line import slow_line

CHECKOUT = Path(os.environ.get("FIRST_LOAD_CHECKOUT", ROOT))
BEFORE = os.environ.get("FIRST_LOAD_BEFORE")
LOADS = int(os.environ.get("FIRST_LOAD_LOADS", "9"))
BUDGET_MS = 1000.0
STEPS = 5_000
PAGES = {"/": "Live", "/flame": "Flame", "/hosts": "Hosts", "/training": "Training", "/boards": "Boards"}
BEFORE_DASH = {"/hosts": "/gpus"}  # where a page was before pages were Dash pages
WATCH = """() => {
  const look = () => {
    const { drawn, curves, flame } = globalThis.deepseekPainted ?? globalThis.deepseek ?? {};
    const isThere = (location.pathname === "/flame" && flame?.at > 0) || Object.values(drawn ?? {}).some(({ count }) => count > 0) || Object.values(curves ?? {}).some(({ stale }) => !stale);
    if (isThere) globalThis.firstPicture_ms ??= performance.now();
    else requestAnimationFrame(look);
  };
  look();
}"""
BYTES = "() => performance.getEntriesByType('resource').reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"


def measure() -> list[Row]:
    checkouts = {"now": CHECKOUT} | ({"before": Path(BEFORE)} if BEFORE else {})
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        stack.callback(browser.close)
        ways = {
            name: stack.enter_context(opened(Path(folder) / name, checkout)) for name, checkout in checkouts.items()
        }
        return [row for path in PAGES for row in rows_of(path, ways, browser)]


@contextmanager
def opened(folder: Path, checkout: Path) -> Iterator[dict[str, str]]:
    """A dashboard's addresses: "locally", and "through the line"."""
    write_run(folder / "logs")
    with dashboard(folder / "logs", "--no-profile", checkout=checkout) as running:
        wait_for(lambda: running.run("run").get("points") == 2 * STEPS, 30, "the run is not read")
        with slow_line(int(running.address.rstrip("/").rpartition(":")[2])) as line:
            yield {"locally": running.address, "through the line": f"http://127.0.0.1:{line.port}"}


def rows_of(path: str, ways: dict[str, dict[str, str]], browser: Browser) -> Iterator[Row]:
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for _ in range(LOADS + 1):
        for checkout, addresses in ways.items():
            for where, address in addresses.items():
                here = path if exists(f"{address}{path}") else BEFORE_DASH[path]
                found[checkout, where].append(load(browser, f"{address}{here}?run=run"))
    took_ms = {key: sorted(ms for ms, _ in loads[1:]) for key, loads in found.items()}
    for where in ways["now"]:
        ours, before = took_ms["now", where], took_ms.get(("before", where))
        yield Row(
            f"{PAGES[path]}: first chart {where}",
            statistics.median(ours),
            "ms",
            budget=BUDGET_MS if where == "locally" else None,
            baseline=statistics.median(before) if before else None,
            spread=f"{ours[0]:.0f} to {ours[-1]:.0f} ms over {LOADS} loads",
        )
    yield Row(f"{PAGES[path]}: transferred", found["now", "through the line"][-1][1] / 1000, "kB")


def exists(address: str) -> bool:
    return httpx.get(address, timeout=10).status_code != HTTPStatus.NOT_FOUND


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
