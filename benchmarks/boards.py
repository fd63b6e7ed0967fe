"""A board of 24 charts of eight series each, all in view, live: what it costs the browser's main thread, and how soon it is there.

python -m benchmarks.boards                          two to three minutes
BOARDS_BENCH_S=10 python -m benchmarks.boards        shorter

The run logs all 192 series ten times a second; the board shows its last 5 minutes. The main thread's share is `TaskDuration` of Chromium over that time. A board is there once each of its charts has its curves on
its canvas. Beside it stands the same page with a note alone, which is what the frame, the socket and the status line cost.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, dashboard, script, wait_for

SECONDS = float(os.environ.get("BOARDS_BENCH_S", "30"))
OPENED = 5
CHARTS, SERIES, A_ROW = 24, 8, 6
VIEW = {"width": 1920, "height": 1200}
LOGGED_S = 30.0  # before the board is opened
LOGGER = f"""
import math, random, sys, time
from deepseek.log import RunLog
with RunLog(sys.argv[1], run="live", config={{}}) as log:
    step, began = 0, time.monotonic()
    while True:
        log.scalars(step, {{f"part{{i // {SERIES}}}/value{{i % {SERIES}}}": math.exp(-step / 1000) + random.random() / 10 + i % {SERIES} for i in range({CHARTS * SERIES})}})
        step += 1
        time.sleep(max(0, began + step / 10 - time.monotonic()))
"""
THERE = f"() => Object.values(deepseekPainted.curves).filter(({{curves, points}}) => curves === {SERIES} && points > {SERIES}).length === {CHARTS}"
UPDATES = "() => Object.values(deepseekPainted.curves).map(({at}) => at)"


def measure() -> list[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="boards-") as folder,
        dashboard(Path(folder) / "logs", "--no-profile") as served,
        script(LOGGER, str(Path(folder) / "logs")),
        sync_playwright() as playwright,
    ):
        write_boards(Path(folder) / "logs" / "boards")
        wait_for(lambda: served.run("live").get("last_step", 0) > 10 * LOGGED_S, LOGGED_S + 60, "the run does not log")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        opened_ms = [opened(browser, served.address) for _ in range(OPENED + 1)][1:]  # the first one warms the server
        note_ms = statistics.median(opened(browser, served.address, "empty") for _ in range(OPENED))
        empty_pct, _ = live(browser, served.address, "empty")
        busy_pct, rate = live(browser, served.address, "many")
        web = served.get("/healthz")
        browser.close()
    spread = f"{min(opened_ms):.0f} to {max(opened_ms):.0f}"
    return [
        Row(
            "24 charts of 8 series: main thread of the browser",
            busy_pct,
            "% of a core",
            budget=10.0,
            baseline=empty_pct,
        ),
        Row("... drawings of a chart", rate, "a second", budget=1.5, at_least=True),
        Row(
            "... from the address to all curves on their canvases",
            statistics.median(opened_ms),
            "ms",
            budget=1500.0,
            baseline=note_ms,
            spread=spread,
        ),
        Row("... the dashboard's own processes", float(web["cpu_pct"]), "% of a core"),
    ]


def write_boards(folder: Path) -> None:
    folder.mkdir()
    rows = []
    for first in range(0, CHARTS, A_ROW):
        charts = "".join(
            f"      - {{kind: line, title: part {i}, series: [{', '.join(f'part{i}/value{k}' for k in range(SERIES))}]}}\n"
            for i in range(first, first + A_ROW)
        )
        rows.append(f"  - height: 230\n    charts:\n{charts}")
    (folder / "many.yaml").write_text(f"title: Many\nwindow: 5 min\nrows:\n{''.join(rows)}")
    (folder / "empty.yaml").write_text("title: Empty\nrows: [{charts: [{kind: text, text: nothing}]}]\n")


def page_of(browser: Browser, address: str, board: str) -> Page:
    page = browser.new_context(viewport=VIEW).new_page()  # type: ignore[arg-type]
    page.goto(f"{address}/boards?board={board}&run=live", wait_until="commit")
    return page


def opened(browser: Browser, address: str, board: str = "many") -> float:
    """Milliseconds until all is drawn, a note or the charts; nothing is in the browser's cache."""
    page = page_of(browser, address, board)
    if board == "empty":
        page.wait_for_selector(".board-note")
        note_ms: float = page.evaluate("() => performance.now()")
        page.context.close()
        return note_ms
    page.wait_for_function(f"() => globalThis.deepseekPainted && ({THERE})()", timeout=60_000)
    drawn_ms: float = page.evaluate(
        "() => Math.max(...Object.values(deepseekPainted.curves).map(({at}) => at)) - performance.timeOrigin"
    )
    page.context.close()
    return drawn_ms


def live(browser: Browser, address: str, board: str) -> tuple[float, float]:
    """The main thread's share of a core, and how often a chart is drawn a second."""
    page = page_of(browser, address, board)
    if board == "many":
        page.wait_for_function(f"() => globalThis.deepseekPainted && ({THERE})()", timeout=60_000)
    time.sleep(5)  # Dash's bundles are parsed
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # of the processor: others may have it meanwhile
    page.evaluate(
        "() => { globalThis.drawn = 0; let last = 0; setInterval(() => { const at = deepseekPainted.curves['part 0']?.at ?? 0; if (at !== last) drawn++; last = at; }, 50); }"
    )
    began_s, busy_s, drawn = time.monotonic(), task_s(session), page.evaluate("() => drawn")
    time.sleep(SECONDS)
    took_s = time.monotonic() - began_s
    share = 100 * (task_s(session) - busy_s) / took_s
    rate = (page.evaluate("() => drawn") - drawn) / took_s
    page.context.close()
    print(f"{board}: {share:.1f} % of a core, {rate:.2f} drawings of a chart a second", file=sys.stderr)
    return share, rate


def task_s(session: CDPSession) -> float:
    return next(
        float(item["value"])
        for item in session.send("Performance.getMetrics")["metrics"]
        if item["name"] == "TaskDuration"
    )


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
