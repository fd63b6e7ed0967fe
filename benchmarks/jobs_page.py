"""The Jobs page with 10,000 jobs in the history: until its rows are drawn, and what the server takes for each part.

python -m benchmarks.jobs_page                      about a minute
JOBS_BENCH_JOBS=1000 python -m benchmarks.jobs_page
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.report import Row, run
from collectors.store.engines import open_store
from jobs.state_folder import VARIABLE
from tests.conftest import CHROMIUM, QUIET, ROOT, wait_for
from tests.support.many_jobs import fill_queue
from tests.support.serving import Web

JOBS = int(os.environ.get("JOBS_BENCH_JOBS", "10000"))
LOADS, ASKED = 9, 9
MAX_MS = 1500.0
SERVE = """
import sys, time
from pathlib import Path
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.support.serving import served
folder = Path(sys.argv[1])
with served(Queries(open_store(folder / "data", write=False), folder / "logs", folder / "data")) as web:
    print(web.port, flush=True)
    sys.stdin.read()
"""
PARTS = {
    "the queue, its slots and how many are over": "/api/v1/jobs",
    "whether it has changed": "/api/v1/jobs/signature",
    "a page of the history": "/api/v1/jobs/history",
    "a search that finds nothing": "/api/v1/jobs/history?q=nothing-like-it",
    "who was on which slot in a day": "/api/v1/jobs/attempts?from={day}",
    "the newest 5,000 starts": "/api/v1/jobs/attempts?from=0",
}
DRAWN = {
    "queue": ".jobs-table tbody tr",
    "slots": ".gantt-bar",
    "history": "#jobs-history .ag-row [col-id=name]",
    "comparison": ".fifo-figures",
}
WATCH = f"""() => {{
  globalThis.drawn_ms = {{}};
  const look = () => {{
    for (const [part, selector] of Object.entries({DRAWN!r})) if (document.querySelector(selector)) drawn_ms[part] ??= performance.now();
    if (Object.keys(drawn_ms).length < {len(DRAWN)}) requestAnimationFrame(look);
  }};
  look();
}}"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "logs").mkdir()
        open_store(folder / "data", write=True).close()
        fill_queue(folder / "queue", folder / "logs", JOBS, time.time())
        environment = {**os.environ, VARIABLE: str(folder / "queue")}
        with subprocess.Popen(
            [sys.executable, "-c", SERVE, folder],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None and server.stdin is not None
            web = Web(int(server.stdout.readline()))
            rows = server_rows(web)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
                rows += page_rows(browser, web.port)
                browser.close()
            web.close()
            server.stdin.close()
    return rows


def server_rows(web: Web) -> list[Row]:
    rows = []
    for part, address in PARTS.items():
        asked = address.format(day=time.time() - 86400)
        assert web.ask(asked).status == 200, asked
        rows.append(row(f"server: {part}", took(lambda asked=asked: web.ask(asked))))  # type: ignore[misc]
    spans = iter(range(80_000, 90_000))  # another one each time: nothing is kept
    rows.append(
        row(
            f"server: {JOBS:,} jobs replayed first in, first out",
            took(lambda: web.ask(f"/api/v1/jobs/fifo?span={next(spans)}")),
        )
    )
    return rows


def page_rows(browser: Browser, port: int) -> list[Row]:
    loads = [load(browser, port) for _ in range(LOADS + 1)][1:]
    words = {
        "queue": "the queue",
        "slots": "bars of the slots",
        "history": "rows of the history",
        "comparison": "the comparison",
    }
    return [
        row(
            f"page: from the address to {words[part]}, nothing cached",
            [ms[part] for ms in loads],
            MAX_MS if part in ("queue", "history") else None,
        )
        for part in DRAWN
    ]


def load(browser: Browser, port: int) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(f"({WATCH})()")
    page.goto(f"http://127.0.0.1:{port}/jobs")
    wait_for(
        lambda: page.evaluate("() => Object.keys(globalThis.drawn_ms).length") == len(DRAWN), 30, "not all is drawn"
    )
    found: dict[str, float] = page.evaluate("() => globalThis.drawn_ms")
    context.close()
    return found


def took(what: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(ASKED):
        began_s = time.perf_counter()
        what()
        found.append((time.perf_counter() - began_s) * 1e3)
    return found


def row(name: str, ms: list[float], most: float | None = None) -> Row:
    return Row(name, statistics.median(ms), "ms", most, spread=f"{min(ms):.0f} to {max(ms):.0f} ms over {len(ms)}")


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
