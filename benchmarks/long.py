"""Weeks and thousands: a store of 30 days of eight GPUs and eight ranks, and 5,000 runs of 40 s on a remote folder.

python -m benchmarks.long                            about 20 minutes and 8 GB below TMPDIR
LONG_DAYS=3 python -m benchmarks.long                fewer days (30)
LONG_STORE=FOLDER python -m benchmarks.long          keep what is made there, and use it again
LONG_PARTS=days python -m benchmarks.long            only that part: days, runs

An hour is written by the store and stands again in each hour of the days (`long_store.py`); the newest hours are written anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, sync_playwright

from collectors.store.sqlite import files
from tests.conftest import CHROMIUM, QUIET, Dashboard, dashboard, wait_for

from . import long_runs, long_store
from .first_load import load
from .report import Row, run

DAYS = float(os.environ.get("LONG_DAYS", "30"))
STORE = os.environ.get("LONG_STORE", "")
PARTS = os.environ.get("LONG_PARTS", "days,runs").split(",")
BLOCK_HOURS, LOADS = 1, 5
LIVE = f"/?run={long_store.RUN}"


def measure() -> list[Row]:
    rows = []
    if "days" in PARTS:
        with contextlib.nullcontext(STORE) if STORE else tempfile.TemporaryDirectory(prefix="long-") as place:
            rows += days_rows(Path(place))
    return [*rows, *(long_runs.measure() if "runs" in PARTS else [])]


def days_rows(place: Path) -> list[Row]:
    data, log_dir = place / "logs" / ".deepseek", place / "logs"
    if not (place / "made.json").exists():
        now_s, began_s = time.time(), time.monotonic()
        end_s = now_s // 60 * 60
        long_store.make(data, place / "work", end_s, DAYS, BLOCK_HOURS, now_s)
        took = f"{DAYS:g} days made in {(time.monotonic() - began_s) / 60:.0f} min"
        (place / "made.json").write_text(json.dumps([took, end_s - DAYS * long_store.DAY_S]))
    took, begin_s = json.loads((place / "made.json").read_text())
    (machine,), (thin,) = files.machine_files(place / "work/block"), files.machine_files(place / "work/thin")
    parts = [machine, thin, place / "work/block" / files.RUNS_FILE]
    full_gb, thin_gb, run_gb = (files.size_bytes(path) / 1e9 * 24 / BLOCK_HOURS for path in parts)
    return [
        Row("the machine's samples and stacks, a day", full_gb, "GB"),
        Row("... older than a week, thinned", thin_gb, "GB", baseline=full_gb),
        Row("the run's own series, a day", run_gb, "GB"),
        Row("the whole store", files.folder_bytes(data) / 1e9, "GB", spread=took),
        *looking(log_dir, begin_s),
    ]


def looking(log_dir: Path, begin_s: float) -> list[Row]:
    began_s = time.monotonic()
    with going_on(log_dir), dashboard(log_dir, "--no-profile", "--max-size", "none") as running, sync_playwright() as playwright:
        rows = [Row("start of the dashboard, until its collector writes", time.monotonic() - began_s, "s")]
        wait_for(lambda: running.run(long_store.RUN).get("state") == "running", 60, "the run does not go on")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        first_ms, *live_ms = (load(browser, running.address + LIVE)[0] for _ in range(LOADS + 1))
        rows.append(Row("Live, first charts drawn: the first load", first_ms, "ms"))
        spread = f"{min(live_ms):.0f} to {max(live_ms):.0f} ms over {LOADS} loads"
        rows.append(Row("Live, first charts drawn", statistics.median(live_ms), "ms", 1000, spread=spread))
        rows.append(memory(running, "after Live"))
        day_s = begin_s + 2 * long_store.DAY_S
        for what, length_s in (("10 minutes", 600.0), ("an hour", 3600.0), ("3 hours", 3 * 3600.0)):
            opened_s = flame_s(browser, running, day_s + 3600, day_s + 3600 + length_s)
            rows.append(Row(f"flame graph of {what} of day 3, in the page", opened_s, "s"))
        longest = next((hours for hours in (12, 9, 6, 4, 3, 2, 1) if "samples" in answer(running, day_s, hours)), 0)
        rows.append(
            Row("longest window of day 3 with a flame graph", longest, "h", spread=answer(running, day_s, 24).get("error", ""))
        )
        rows.append(memory(running, "after the flame graph of day 3"))
        began_s = time.monotonic()
        os.kill(running.collector_pid() or 0, signal.SIGKILL)
        points = running.run(long_store.RUN)["points"]
        wait_for(lambda: running.run(long_store.RUN)["points"] > points, 60, "the collector does not come back")
        rows.append(Row("collector killed: until its successor has stored what is new", time.monotonic() - began_s, "s"))
        browser.close()
    return rows


def answer(running: Dashboard, day_s: float, hours: int) -> dict[str, Any]:
    found: dict[str, Any] = running.get(f"/api/v1/flame?run={long_store.RUN}&from={day_s:.0f}&to={day_s + hours * 3600:.0f}")
    return found


def flame_s(browser: Browser, running: Dashboard, lo: float, hi: float) -> float:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    began_s = time.monotonic()
    page.goto(f"{running.address}/flame?run={long_store.RUN}&from={lo:.0f}&to={hi:.0f}&span={2 * (hi - lo):.0f}&at={hi:.0f}")
    wait_for(lambda: page.evaluate("() => (globalThis.deepseek?.flame?.names ?? []).length > 0"), 120, "no flame graph")
    took_s = time.monotonic() - began_s
    page.close()
    return took_s


def memory(running: Dashboard, when: str) -> Row:
    web, collector = running.process.pid, running.collector_pid() or 0
    mb = [psutil.Process(pid).memory_info().rss / 1e6 for pid in (web, collector)]
    return Row(f"memory of web and collector, {when}", sum(mb), "MB", spread=f"web {mb[0]:.0f}, collector {mb[1]:.0f}")


@contextlib.contextmanager
def going_on(log_dir: Path) -> Iterator[None]:
    """Rank 0 of the run writes ten lines a second."""
    folder, end = log_dir / long_store.RUN, threading.Event()
    folder.mkdir(exist_ok=True)

    def write() -> None:
        step = round(time.time() * long_store.STEPS_A_S) - 17_000_000_000
        with (folder / "metrics.jsonl").open("a", buffering=1) as file:
            while not end.wait(1 / long_store.STEPS_A_S):
                step += 1
                file.write(json.dumps({"time_s": time.time(), "step": step, "train/loss": 2.0, "phase/data_s": 0.004}) + "\n")

    thread = threading.Thread(target=write, name="run", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
