"""The memory of tabs that are left open: Training with twelve charts of a run that logs twice a second, and Live.

python -m benchmarks.tab_memory                         30 minutes
TAB_MEMORY_MINUTES=3 python -m benchmarks.tab_memory    shorter

Each minute, after a collection of garbage: the bytes that the page's JavaScript holds, and how many nodes and listeners there are. A line through the second half says what an hour would add.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from playwright.sync_api import CDPSession, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, dashboard, script, wait_for

MINUTES = float(os.environ.get("TAB_MEMORY_MINUTES", "30"))
CHARTS = 12
PAGES = {"Training": "/training?run=live&size=s", "Live": "/?run=live"}
GROWTH_MB = 2.0  # an hour; what is held for the window on screen is bounded
LOGGER = f"""
import math, random, sys, time
from deepseek.log import RunLog
with RunLog(sys.argv[1], run="live", config={{}}) as log:
    step = 0
    while True:
        log.scalars(step, {{f"part{{i % 3}}/value{{i}}": math.exp(-step / 1000) + random.random() / 10 + i for i in range({CHARTS})}})
        step += 1
        time.sleep(0.5)
"""


class Held(NamedTuple):
    heap_mb: float
    nodes: float
    listeners: float


def measure() -> list[Row]:
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="tab-memory-") as folder,
        dashboard(Path(folder) / "logs", "--no-profile") as served,
        script(LOGGER, str(Path(folder) / "logs")),
        sync_playwright() as playwright,
    ):
        wait_for(lambda: served.run("live").get("last_step", 0) > 3, because="the run does not log")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        sessions = {}
        for name, path in PAGES.items():
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(served.address + path)
            sessions[name] = page.context.new_cdp_session(page)
        seen: dict[str, list[Held]] = {name: [] for name in PAGES}
        began = time.monotonic()
        while time.monotonic() - began < 60 * MINUTES:
            time.sleep(min(60, 6 * MINUTES))
            for name, session in sessions.items():
                seen[name].append(held(session))
                print(
                    f"{(time.monotonic() - began) / 60:.0f} min, {name}: {seen[name][-1]}", file=sys.stderr, flush=True
                )
        browser.close()
    for name, all_held in seen.items():
        rows += growth(name, all_held)
    return rows


def held(session: CDPSession) -> Held:
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]}
    return Held(metrics["JSHeapUsedSize"] / 1e6, metrics["Nodes"], metrics["JSEventListeners"])


def growth(name: str, all_held: list[Held]) -> list[Row]:
    half = all_held[len(all_held) // 2 :]
    minutes = np.arange(len(half)) * min(60, 6 * MINUTES) / 60
    an_hour = [float(np.polyfit(minutes, [getattr(item, field) for item in half], 1)[0]) * 60 for field in Held._fields]
    first, last = all_held[0], all_held[-1]
    spread = f"{first.heap_mb:.1f} MB after the first minute, {last.heap_mb:.1f} at the end of {MINUTES:g}"
    return [
        Row(f"{name}: JavaScript heap, growth an hour in the second half", an_hour[0], "MB", GROWTH_MB, spread=spread),
        Row(
            f"{name}: nodes of the document, growth an hour",
            an_hour[1],
            "",
            100,
            spread=f"{first.nodes:.0f} to {last.nodes:.0f}",
        ),
        Row(
            f"{name}: listeners, growth an hour",
            an_hour[2],
            "",
            100,
            spread=f"{first.listeners:.0f} to {last.listeners:.0f}",
        ),
    ]


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
