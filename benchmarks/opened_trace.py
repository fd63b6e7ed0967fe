"""From `deepseek-dashboard open` to the first picture of a large trace, and the memory of the process that reads it.

python -m benchmarks.opened_trace FILE                 FILE: a trace of PyTorch's profiler, whose events are repeated to 100 MB and to 1 GB
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, ROOT

SIZES = (("100 MB", 100_000_000, 5.0), ("1 GB", 1_000_000_000, 20.0))
MEMORY_MB, LOOK_S, ENDS_S = 500.0, 0.05, 10.0
APART = 1.01  # spans of the trace from one repetition to the next
CORRELATIONS = 1_000_000  # the ids of a repetition
SHOWN = "() => globalThis.deepseekPainted?.flame?.at > 0 || globalThis.deepseek?.flame?.at > 0"


def measure(file: Path) -> list[Row]:
    with gzip.open(file) as text:
        events = json.load(text)["traceEvents"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        try:
            return [row for size in SIZES for row in rows_of(events, Path(folder), browser, *size)]
        finally:
            browser.close()


def rows_of(
    events: list[dict[str, Any]], folder: Path, browser: Browser, name: str, size: int, budget_s: float
) -> Iterator[Row]:
    path = folder / f"{size}.pt.trace.json"
    written = write(path, events, size)
    begun_s = time.monotonic()
    command = [sys.executable, str(ROOT / "app.py"), "open", str(path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            peak = Peak(program.pid)
            address = next(word for word in program.stdout.readline().split() if word.startswith("http"))
            served_s = time.monotonic() - begun_s
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(address)
            page.wait_for_function(SHOWN, timeout=120_000)
            shown_s = time.monotonic() - begun_s
            page.close()
        finally:
            program.terminate()
            program.wait(ENDS_S)
    path.unlink()
    said = f"{written / 1e6:.0f} MB; the dashboard served after {served_s:.1f} s"
    yield Row(f"{name}: from the command to the first picture", shown_s, "s", budget_s, spread=said)
    yield Row(f"{name}: memory of the largest process", peak.end(), "MB", MEMORY_MB)


def write(path: Path, events: list[dict[str, Any]], size: int) -> int:
    """Bytes that are written, at least `size`."""
    timed = [event for event in events if "ts" in event]
    span_us = APART * (max(one["ts"] + one.get("dur", 0) for one in timed) - min(one["ts"] for one in timed))
    written = number = 0
    with path.open("w") as file:
        file.write('{"traceEvents": [{}')
        while written < size:
            for event in events:
                written += file.write(f",{json.dumps(moved(event, number, span_us))}")
            number += 1
        file.write("]}")
    return written


def moved(event: dict[str, Any], number: int, span_us: float) -> dict[str, Any]:
    args = event.get("args")
    later = {**event, "ts": event["ts"] + number * span_us} if "ts" in event else event
    if isinstance(args, dict) and "correlation" in args:
        return {**later, "args": {**args, "correlation": args["correlation"] + number * CORRELATIONS}}
    return later


class Peak:
    """Resident MB of the largest of a program's processes."""

    def __init__(self, pid: int) -> None:
        self._program, self._over, self._most = psutil.Process(pid), threading.Event(), 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                for process in (self._program, *self._program.children(recursive=True)):
                    self._most = max(self._most, process.memory_info().rss / 1e6)
            except psutil.Error:
                continue  # one of them is gone

    def end(self) -> float:
        self._over.set()
        self._thread.join()
        return self._most


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    trace = Path(sys.argv.pop())
    sys.exit(run(lambda: measure(trace), __doc__ or ""))
