"""The Logs page in a real Chromium over five million lines: the first screen, scrolling, jumps, and a search.

python -m benchmarks.logs_page                          about 4 minutes and 1 GB of disk
LOGS_BENCH_SCALE=0.01 python -m benchmarks.logs_page    a hundredth of the lines

Of scrolling the processor's time counts, by Chromium's trace: script of a frame, and the longest task of the main thread.
"""

from __future__ import annotations

import bisect
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.logs import LINES, fill, peak_bytes, serving
from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, wait_for

WHEELS, JUMPS = 80, 8
TRACED = ["toplevel", "devtools.timeline", "blink"]
SCRIPT = {"FunctionCall", "RunMicrotasks", "EvaluateScript"}
JUMP = """(share) => { const list = document.querySelector('.log-scroll');
  list.dispatchEvent(new WheelEvent('wheel', { deltaY: -1 })); list.scrollTop = share * (list.scrollHeight - list.clientHeight); }"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="logs-page-bench-") as folder:
        fill(Path(folder))
        return measure_page(Path(folder))


def measure_page(folder: Path) -> list[Row]:
    """Of a data folder that is filled already."""
    with serving(folder) as (web, pid), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET.split(), "--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        began_s = time.monotonic()
        page.goto(f"http://127.0.0.1:{web.port}/logs")
        page.wait_for_selector(".log-rows .entry .m")
        rows = [Row(f"first screen of {LINES:,} lines, nothing read before", time.monotonic() - began_s, "s")]
        page.wait_for_selector(".template")
        rows += [*scroll_rows(browser, page), jump_row(page), *search_rows(page)]
        browser.close()
        return [*rows, Row("web process, at its peak", peak_bytes(pid) / 1e6, "MB", 300)]


def scroll_rows(browser: Browser, page: Page) -> Iterator[Row]:
    box = page.locator(".log-scroll").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 400, box["y"] + 300)
    for way, by in (("up", -400), ("down", 300)):
        browser.start_tracing(page=page, categories=TRACED)
        for _ in range(WHEELS):
            page.mouse.wheel(0, by)
            page.evaluate("() => new Promise(requestAnimationFrame)")
        frames_ms, longest_ms = of_main_thread(json.loads(browser.stop_tracing())["traceEvents"])
        slow_ms = statistics.quantiles(frames_ms, n=20)[18]
        about = f"median {statistics.median(frames_ms):.1f}, most {max(frames_ms):.1f}, {len(frames_ms)} frames"
        yield Row(f"scrolling {way}, script of a frame, p95", slow_ms, "ms", 16, spread=about)
        yield Row(f"scrolling {way}, longest task", longest_ms, "ms", 50)


def of_main_thread(events: list[dict[str, Any]]) -> tuple[list[float], float]:
    """Milliseconds of the processor: script by frame, and the longest task."""
    renderers = [
        event for event in events if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    ]
    own = [
        event
        for event in events
        if event.get("ph") == "X"
        and "tdur" in event
        and event["pid"] == renderers[-1]["pid"]
        and event["tid"] == renderers[-1]["tid"]
    ]
    begins = sorted(event["ts"] for event in own if event["name"] == "WebFrameWidgetImpl::BeginMainFrame")
    frames_ms = [0.0] * (len(begins) + 1)
    end = -1.0
    for event in sorted(
        (event for event in own if event["name"] in SCRIPT), key=lambda event: (event["ts"], -event["dur"])
    ):
        if event["ts"] >= end:  # not inside of another one
            end = event["ts"] + event["dur"]
            frames_ms[bisect.bisect_right(begins, event["ts"])] += event["tdur"] / 1e3
    return frames_ms, max(event["tdur"] for event in own if event["name"].endswith("RunTask")) / 1e3


def jump_row(page: Page) -> Row:
    chance, took_s = random.Random(1), []
    for _ in range(JUMPS):
        before = page.locator(".log-rows .entry").first.get_attribute("data-offset")
        began_s = time.monotonic()
        page.evaluate(JUMP, chance.random())
        wait_for(lambda before=before: page.locator(".log-rows .entry").first.get_attribute("data-offset") != before)  # type: ignore[misc]
        page.wait_for_function("() => !document.querySelector('.awaited')")
        took_s.append(time.monotonic() - began_s)
    return Row(
        "a jump to any place: its lines are there",
        statistics.median(took_s) * 1e3,
        "ms",
        spread=f"most {max(took_s) * 1e3:.0f}",
    )


def search_rows(page: Page) -> Iterator[Row]:
    for name, regex, text in (("text", False, "Loss"), ("regex", True, r"loss [0-9]\.")):
        if regex:
            page.get_by_label("regex").check()
        began_s = time.monotonic()
        page.locator("#logs-text").fill(text)
        page.wait_for_function("() => /^[1-9]/.test(document.querySelector('.hits').textContent)")
        yield Row(f"{name} typed: hits are said", time.monotonic() - began_s, "s")
        page.locator("#logs-text").fill("")
        page.wait_for_function("() => document.querySelector('.hits').textContent === ''")


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
