"""How long from a point's line in the log file until the page has drawn it, in a real browser with default settings."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, Dashboard, dashboard, wait_for

POINTS = 60
PAUSE_S = (0.2, 0.6)  # drawn at random, so that no clock of ours can fall in step
STEADY_POINTS = 200
STEADY_S = (0.08, 0.12)  # about 10 lines a second
RECORD = """() => {
  globalThis.seen = {};
  const look = () => {
    const now = globalThis.deepseekPainted?.drawn?.["train/loss"];
    if (now && !(now.v in seen)) seen[now.v] = now.at;
    requestAnimationFrame(look);
  };
  look();
}"""


def measure() -> list[Row]:
    with (
        tempfile.TemporaryDirectory() as folder,
        dashboard(Path(folder) / "logs") as running,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        path = open_page(running, page)
        rows = rows_of("", drawn_after_ms(path, page, 1, POINTS, PAUSE_S))
        rows += rows_of(", 10 lines a second", drawn_after_ms(path, page, 1 + POINTS, STEADY_POINTS, STEADY_S))
        browser.close()
    return rows


def rows_of(how: str, delays_ms: list[float]) -> list[Row]:
    delays_ms = sorted(delays_ms)
    p50, p95 = (delays_ms[int(share * (len(delays_ms) - 1))] for share in (0.5, 0.95))
    spread = f"{delays_ms[0]:.0f} to {delays_ms[-1]:.0f} ms over {len(delays_ms)} points"
    return [
        Row(f"point written -> drawn{how}, p50", p50, "ms", budget=150, spread=spread),
        Row(f"point written -> drawn{how}, p95", p95, "ms", budget=400, spread=spread),
    ]


def open_page(running: Dashboard, page: Page) -> Path:
    """The log file whose first point is drawn, step 0."""
    path = running.log_dir / "run" / "metrics.jsonl"
    path.parent.mkdir()
    append(path, 0)
    page.goto(running.address)
    wait_for(
        lambda: page.evaluate("() => globalThis.deepseekPainted?.drawn?.['train/loss']?.count"), 30, "no first point"
    )
    page.evaluate(RECORD)
    return path


def drawn_after_ms(path: Path, page: Page, first: int, count: int, pause_s: tuple[float, float]) -> list[float]:
    """One delay a point, until it or a later one is the newest in the picture; raises when the last is never drawn."""
    written_s = {}
    for step in range(first, first + count):
        time.sleep(random.uniform(*pause_s))
        written_s[step] = append(path, step)
    wait_for(lambda: page.evaluate("last => last in seen", first + count - 1), 10, "the last point is not drawn")
    seen = {int(step): at_ms for step, at_ms in page.evaluate("() => seen").items()}
    return [
        min(at_ms for one, at_ms in seen.items() if one >= step) - 1000 * written for step, written in written_s.items()
    ]


def append(path: Path, step: int) -> float:
    """Write a line whose value is its step; when it stood in the file, Unix seconds."""
    with path.open("a") as file:
        file.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": step}) + "\n")
    return time.time()


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
