"""Weeks and thousands: a store of 30 days of eight GPUs and eight ranks, and 5,000 runs of 40 s on a remote folder.

python -m benchmarks.long                            about 20 minutes and 8 GB below TMPDIR
LONG_DAYS=3 python -m benchmarks.long                fewer days (30)
LONG_STORE=FOLDER python -m benchmarks.long          keep what is made there, and use it again
LONG_PARTS=days python -m benchmarks.long            only that part: days, runs

An hour is written by the store and stands again in each hour of the days (`long_store.py`); the newest hours are written anew, and the
last minutes again before each look. Beside the store of many days lies one of two hours, whose page is loaded in turns with the other's.
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
from collectors.store.sqlite.engine import SqliteStore
from tests.conftest import CHROMIUM, QUIET, Dashboard, dashboard, wait_for

from . import long_runs, long_store
from .first_load import load
from .report import Row, run

DAYS = float(os.environ.get("LONG_DAYS", "30"))
STORE = os.environ.get("LONG_STORE", "")
PARTS = os.environ.get("LONG_PARTS", "days,runs").split(",")
BLOCK_HOURS, LOADS = 1, 9
FEW = "few"  # the folder of the store of FEW_HOURS
FEW_HOURS = 2
LAST_MINUTES = 5
LIVE = f"/?run={long_store.RUN}"


def measure() -> list[Row]:
    rows = []
    if "days" in PARTS:
        with contextlib.nullcontext(STORE) if STORE else tempfile.TemporaryDirectory(prefix="long-") as place:
            rows += days_rows(Path(place))
    return [*rows, *(long_runs.measure() if "runs" in PARTS else [])]


def days_rows(place: Path) -> list[Row]:
    took, begin_s = made(place, DAYS)
    made(place / FEW, FEW_HOURS / 24)
    (machine,), (thin,) = files.machine_files(place / "work/block"), files.machine_files(place / "work/thin")
    parts = [machine, thin, place / "work/block" / files.RUNS_FILE]
    full_gb, thin_gb, run_gb = (files.size_bytes(path) / 1e9 * 24 / BLOCK_HOURS for path in parts)
    return [
        Row("the machine's samples and stacks, a day", full_gb, "GB"),
        Row("... older than a week, thinned", thin_gb, "GB", baseline=full_gb),
        Row("the run's own series, a day", run_gb, "GB"),
        Row("the whole store", files.folder_bytes(data_of(place)) / 1e9, "GB", spread=took),
        *looking(place, begin_s),
    ]


def data_of(place: Path) -> Path:
    return place / "logs" / ".deepseek"


def made(place: Path, days: float) -> tuple[str, float]:
    """What is said of the making, and when the first day begins."""
    if not (place / "made.json").exists():
        place.mkdir(exist_ok=True)
        now_s, began_s = time.time(), time.monotonic()
        end_s = now_s // 60 * 60
        long_store.make(data_of(place), place / "work", end_s, days, BLOCK_HOURS, now_s)
        took = f"{days:g} days made in {(time.monotonic() - began_s) / 60:.0f} min"
        (place / "made.json").write_text(json.dumps([took, end_s - days * long_store.DAY_S]))
    took, begin_s = json.loads((place / "made.json").read_text())
    return took, begin_s


def write_last_minutes(place: Path) -> None:
    """What the page shows first is all there, however long ago the rest was made."""
    start_s = time.time() // 60 * 60 - LAST_MINUTES * 60
    store = SqliteStore(data_of(place), write=True)
    long_store.write(store, start_s, LAST_MINUTES, step_at(start_s))
    store.close()


def step_at(time_s: float) -> int:
    return round(time_s * long_store.STEPS_A_S) - 17_000_000_000


def looking(place: Path, begin_s: float) -> list[Row]:
    with contextlib.ExitStack() as stack:
        running, start_s = stack.enter_context(started(place))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()]
        )
        with started(place / FEW) as (few, few_start_s):
            rows = [Row("start of the dashboard, until its collector writes", start_s, "s", baseline=few_start_s)]
            rows += live_rows(browser, running, few)
        rows.append(memory(running, "after Live"))
        day_s = begin_s + 2 * long_store.DAY_S
        for what, length_s in (("10 minutes", 600.0), ("an hour", 3600.0), ("3 hours", 3 * 3600.0)):
            opened_s = flame_s(browser, running, day_s + 3600, day_s + 3600 + length_s)
            rows.append(Row(f"flame graph of {what} of day 3, in the page", opened_s, "s"))
        longest = next((hours for hours in (12, 9, 6, 4, 3, 2, 1) if "samples" in answer(running, day_s, hours)), 0)
        rows.append(
            Row(
                "longest window of day 3 with a flame graph",
                longest,
                "h",
                spread=answer(running, day_s, 24).get("error", ""),
            )
        )
        rows.append(memory(running, "after the flame graph of day 3"))
        began_s = time.monotonic()
        os.kill(running.collector_pid() or 0, signal.SIGKILL)
        points = running.run(long_store.RUN)["points"]
        wait_for(lambda: running.run(long_store.RUN)["points"] > points, 60, "the collector does not come back")
        rows.append(
            Row("collector killed: until its successor has stored what is new", time.monotonic() - began_s, "s")
        )
        browser.close()
    return rows


@contextlib.contextmanager
def started(place: Path) -> Iterator[tuple[Dashboard, float]]:
    """A dashboard of this store whose run goes on, and how long its start took."""
    write_last_minutes(place)
    began_s = time.monotonic()
    with going_on(place / "logs"), dashboard(place / "logs", "--no-profile", "--max-size", "none") as running:
        start_s = time.monotonic() - began_s
        wait_for(lambda: running.run(long_store.RUN).get("state") == "running", 60, "the run does not go on")
        yield running, start_s


def live_rows(browser: Browser, running: Dashboard, few: Dashboard) -> list[Row]:
    """By turns of both dashboards, so that the machine's other work counts for both: the ratio is the cost of the days."""
    processes = [psutil.Process(each.process.pid) for each in (running, few)]
    took_ms: tuple[list[float], list[float]] = ([], [])
    cpu_ms: tuple[list[float], list[float]] = ([], [])
    for _ in range(LOADS + 1):
        for i, each in enumerate((running, few)):
            before_s = cpu_s(processes[i])
            took_ms[i].append(load(browser, each.address + LIVE)[0])
            cpu_ms[i].append((cpu_s(processes[i]) - before_s) * 1000)
    first, others = (took_ms[0][0], took_ms[1][0]), [statistics.median(column[1:]) for column in took_ms]
    cpu, few_cpu = (statistics.median(column[1:]) for column in cpu_ms)
    spread = f"{min(took_ms[0][1:]):.0f} to {max(took_ms[0][1:]):.0f} ms over {LOADS} loads"
    return [
        Row("Live, first charts drawn: the first load", first[0], "ms", baseline=first[1]),
        Row("Live, first charts drawn", others[0], "ms", 1000, baseline=others[1], spread=spread),
        Row("Live: CPU of the web process until then", cpu, "ms", baseline=few_cpu),
    ]


def cpu_s(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def answer(running: Dashboard, day_s: float, hours: int) -> dict[str, Any]:
    found: dict[str, Any] = running.get(
        f"/api/v1/flame?run={long_store.RUN}&from={day_s:.0f}&to={day_s + hours * 3600:.0f}"
    )
    return found


def flame_s(browser: Browser, running: Dashboard, lo: float, hi: float) -> float:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    began_s = time.monotonic()
    page.goto(
        f"{running.address}/flame?run={long_store.RUN}&from={lo:.0f}&to={hi:.0f}&span={2 * (hi - lo):.0f}&at={hi:.0f}"
    )
    wait_for(
        lambda: page.evaluate("() => (globalThis.deepseekPainted?.flame?.names ?? []).length > 0"),
        120,
        "no flame graph",
    )
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
        step = step_at(time.time())
        with (folder / "metrics.jsonl").open("a", buffering=1) as file:
            while not end.wait(1 / long_store.STEPS_A_S):
                step += 1
                file.write(
                    json.dumps({"time_s": time.time(), "step": step, "train/loss": 2.0, "phase/data_s": 0.004}) + "\n"
                )

    thread = threading.Thread(target=write, name="run", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
