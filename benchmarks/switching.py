"""From a press on a link of the bar to the first chart of the page, locally and through a line of 80 ms and 20 Mbit/s.

python -m benchmarks.switching
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.first_load import write_run
from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, dashboard, wait_for
from tests.support.slow_line import slow_line

ROUNDS = int(os.environ.get("SWITCHING_ROUNDS", "5"))
CHARTS = {  # what is there when the page shows something, by its path
    "/": "section.lane canvas",
    "/flame": "section.lane canvas",
    "/hosts": "section.lane canvas",
    "/training": ".chart .uplot",
    "/boards": ".board-chart .uplot",
}
BUDGETS_MS = {"locally": 150.0, "through the line": 450.0}
SHOWN = "(selector) => [...document.querySelectorAll(selector)].some((one) => one.checkVisibility() && one.width !== 0)"
SWITCH = """async ([path, selector]) => {
  const frame = () => new Promise(requestAnimationFrame);
  const charts = () => [...document.querySelectorAll(selector)];
  const seen = (window.seen ??= new WeakSet());  // charts that were painted before, and keep that while their page is away
  const left = new Set(document.querySelectorAll("#page *, #ahead *"));
  const isNew = (one) => one.checkVisibility() && one.width !== 0 && !left.has(one);
  const link = [...document.querySelectorAll("a[data-page]")].find(({ pathname }) => pathname === path);
  const begun_ms = performance.now();
  const isPainted = ({ at, stale }) => at > performance.timeOrigin + begun_ms && !stale;
  const { flame } = deepseekPainted;
  const all = () => [...Object.values(deepseekPainted.drawn), ...Object.values(deepseekPainted.curves)];
  const painted = () => all().some(isPainted) || (path === "/flame" && deepseekPainted.flame !== flame);
  link.click();
  while (!charts().some((one) => isNew(one) && (seen.has(one) || painted()))) await frame();
  await frame();  // in which it is on the screen
  const took_ms = performance.now() - begun_ms;
  charts().forEach((one) => seen.add(one));
  return took_ms;
}"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        stack.callback(browser.close)
        write_run(Path(folder) / "logs")
        running = stack.enter_context(dashboard(Path(folder) / "logs", "--no-profile"))
        wait_for(lambda: running.run("run").get("points"), 30, "the run is not read")
        line = stack.enter_context(slow_line(int(running.address.rstrip("/").rpartition(":")[2])))
        ways = {"locally": running.address, "through the line": f"http://127.0.0.1:{line.port}"}
        rounds = {where: [round_of(browser, address) for _ in range(ROUNDS)] for where, address in ways.items()}
    return [
        row_of(where, path, sorted(took[path] for took in found)) for where, found in rounds.items() for path in CHARTS
    ]


def row_of(where: str, path: str, took_ms: list[float]) -> Row:
    spread = f"{took_ms[0]:.0f} to {took_ms[-1]:.0f} ms over {len(took_ms)}"
    return Row(f"to {path}, {where}", statistics.median(took_ms), "ms", BUDGETS_MS[where], spread=spread)


def round_of(browser: Browser, address: str) -> dict[str, float]:
    """Milliseconds by path: of second visits, since the first ones also fetch what a page alone needs."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?run=run")
    page.wait_for_function(SHOWN, arg=CHARTS["/"], timeout=30_000)
    for path in [*list(CHARTS)[1:], "/"]:
        switched(page, path)
    found = {path: switched(page, path) for path in [*list(CHARTS)[1:], "/"]}
    context.close()
    return found


def switched(page: Page, path: str) -> float:
    time.sleep(0.5)
    return float(page.evaluate(SWITCH, [path, CHARTS[path]]))


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
