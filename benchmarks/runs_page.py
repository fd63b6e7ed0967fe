"""The Runs page with 10,000 runs: how long until its rows are drawn, and how long a filter takes on the server and to the eye.

python -m benchmarks.runs_page                      about 2 minutes; the store is made first, and kept below the folder for temporary files
RUNS_BENCH_RUNS=1000 python -m benchmarks.runs_page
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
from typing import NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.report import Row, run
from collectors.store.engines import maintenance, open_store
from dashboard.queries import Queries
from dashboard.runs.columns import SHOWN
from dashboard.runs.table import TableQuery
from tests.conftest import CHROMIUM, QUIET, ROOT, wait_for
from tests.support.many_runs import fill
from tests.support.serving import Web

RUNS = int(os.environ.get("RUNS_BENCH_RUNS", "10000"))
POINTS = 24
LOADS, ASKED = 9, 9
FILTERS = (
    "vit-l16",
    "name:vit-l16 lr<=3e-4 -state:crashed",
    "optimizer.name:adam* model=vit-b16 duration>1min",
    "best.val/acc>0.85",
)
SERVE = """
import sys, time
from pathlib import Path
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.support.serving import served
folder = Path(sys.argv[1])
with served(Queries(open_store(folder, write=False), folder, folder)) as web:
    print(web.port, flush=True)
    sys.stdin.read()
"""
ROWS = "#runs-grid .ag-row .run-cell"
WATCH = f"""() => {{
  const look = () => {{
    if (document.querySelector({ROWS!r})) globalThis.rows_ms ??= performance.now();
    else requestAnimationFrame(look);
  }};
  look();
}}"""


class Taken(NamedTuple):
    """Milliseconds, several of the same."""

    ms: list[float]

    def row(self, name: str, budget: float | None = None) -> Row:
        return Row(
            name,
            statistics.median(self.ms),
            "ms",
            budget,
            spread=f"{min(self.ms):.0f} to {max(self.ms):.0f} ms over {len(self.ms)}",
        )


def measure() -> list[Row]:
    folder = Path(tempfile.gettempdir()) / f"runs-bench-{RUNS}x{POINTS}"
    make(folder)
    rows = table_rows(folder)
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None and server.stdin is not None
        web = Web(int(server.stdout.readline()))
        web.ask("/api/v1/table")
        rows += server_rows(web)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
            rows += page_rows(browser, web.port)
            browser.close()
        web.close()
        server.stdin.close()
    return rows


def make(folder: Path) -> None:
    if not (folder / "runs.sqlite").exists():
        writer = open_store(folder, write=True)
        fill(writer, RUNS, POINTS, time.time())
        writer.close()
        maintenance(folder).compact()


def table_rows(folder: Path) -> list[Row]:
    """In this process, without HTTP."""
    queries = Queries(open_store(folder, write=False), folder, folder)
    began_s = time.perf_counter()
    queries.runs()
    states_ms = (time.perf_counter() - began_s) * 1e3
    first = took(lambda: queries.table.ask(TableQuery(columns=SHOWN)), 1)

    def look() -> None:
        queries.table.stale()
        queries.table.ask(TableQuery(columns=SHOWN))

    again = took(look, ASKED)
    queries.close()
    return [
        Row(f"{RUNS:,} runs: their states, the first time", states_ms, "ms"),
        first.row("the table, the first time", 1000),
        again.row("the table, looked at again without a change"),
    ]


def server_rows(web: Web) -> list[Row]:
    rows = []
    for text in FILTERS:
        ask = web.ask("/api/v1/table", q=text, limit=100)
        assert ask.status == 200, ask.body
        taken = took(lambda text=text: web.ask("/api/v1/table", q=text, limit=100), ASKED)  # type: ignore[misc]
        rows.append(taken.row(f"server: filter {text}: {ask.json['found']:,} runs", 100))
    return [
        *rows,
        took(lambda: web.ask("/api/v1/table", sort="best", limit=100), ASKED).row(
            "server: sorted by the best value", 100
        ),
    ]


def page_rows(browser: Browser, port: int) -> list[Row]:
    loads = [load(browser, port) for _ in range(LOADS + 1)][1:]
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/runs")
    page.wait_for_selector(ROWS)
    filters = [filtered(page, f"{i}-vit") for i in range(1, ASKED + 1)]
    context.close()
    return [
        Taken(loads).row("page: from the address to rows drawn, nothing cached", 1500),
        Taken(filters).row("page: from a key in the filter to other rows drawn", 100),
    ]


def load(browser: Browser, port: int) -> float:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(f"({WATCH})()")
    page.goto(f"http://127.0.0.1:{port}/runs")
    ms = wait_for(lambda: page.evaluate("() => globalThis.rows_ms"), 30, "no rows")
    context.close()
    return float(ms)


def filtered(page: Page, text: str) -> float:
    """`text` is in each name that it keeps."""
    changed = f"""async (text) => {{
      const box = document.getElementById("filter"), began = performance.now();
      box.value = text;
      box.dispatchEvent(new Event("input"));
      const names = () => [...document.querySelectorAll({ROWS!r} + " a")].map((link) => link.textContent);
      while (!names().length || !names().every((name) => name.includes(text))) await new Promise(requestAnimationFrame);
      return performance.now() - began;
    }}"""
    return float(page.evaluate(changed, text))


def took(what: Callable[[], object], times: int) -> Taken:
    found = []
    for _ in range(times):
        began_s = time.perf_counter()
        what()
        found.append((time.perf_counter() - began_s) * 1e3)
    return Taken(found)


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
