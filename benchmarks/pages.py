"""The Training page in a real Chromium: long curves, many runs, many series, and whether scrolling ever waits.

python -m benchmarks.pages                             everything: about 4 minutes and 1 GB of disk
PAGES_BENCH_SCALE=0.02 python -m benchmarks.pages      the same with a fiftieth of the points of the long curve
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.report import Row, run
from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.conftest import CHROMIUM, QUIET, wait_for
from tests.support.serving import served

SCALE = float(os.environ.get("PAGES_BENCH_SCALE", "1"))
LONG = int(10_000_000 * SCALE)
RUNS, STEPS, TAGS = 200, 1_000, 1_000
T0 = 1_764_000_000.0
BATCH = 50_000
LOADS, ZOOMS, WHEELS = 5, 15, 120
HOST = labels_of(host="box")

# When all charts in view are on their canvases with what was asked for, milliseconds after the navigation began.
WATCH = """() => {
  globalThis.nextFrame = (began) => new Promise((done, failed) => performance.timeOrigin + performance.now() - began > 20000 ? failed(new Error("not drawn in 20 s")) : requestAnimationFrame(done));
  globalThis.blocked = [];
  new PerformanceObserver((list) => blocked.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
  const seen = (chart) => { const { top, bottom } = chart.getBoundingClientRect(); return bottom > 0 && top < innerHeight && chart.checkVisibility({ visibilityProperty: true }); };
  globalThis.allDrawn = () => {
    const charts = [...document.querySelectorAll(".chart")].filter(seen);
    const { curves } = globalThis.deepseekPainted ?? globalThis.deepseek ?? {};
    return charts.length > 0 && charts.every((chart) => curves?.[chart.dataset.tag] && !curves[chart.dataset.tag].stale && !chart.matches(".waiting"));
  };
  const look = () => { if (allDrawn()) globalThis.drawn_ms ??= performance.now(); else requestAnimationFrame(look); };
  look();
}"""
ZOOM = """async ([from, to]) => {
  const tag = "train/loss", place = document.querySelector('.curves-full .chart-plot');
  const { left, top, width } = place.getBoundingClientRect();
  const send = (type, x) => place.dispatchEvent(new PointerEvent(type, { clientX: left + 44 + x * (width - 60), clientY: top + 50, pointerId: 1, bubbles: true, detail: 0 }));
  place.setPointerCapture = () => {};
  send("pointerdown", from); send("pointermove", to);
  const began = performance.timeOrigin + performance.now(), before = JSON.stringify(deepseekPainted.curves[tag].x);
  send("pointerup", to);
  const now = () => deepseekPainted.curves[tag];
  while (now().stale || JSON.stringify(now().x) === before || now().at < began) await nextFrame(began);
  return now().at - began;
}"""


def measure() -> list[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="pages-bench-") as folder,
        sync_playwright() as playwright,
        filled(Path(folder)) as port,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        address = f"http://127.0.0.1:{port}/training"
        rows = [*long_rows(browser, address), *overlay_rows(browser, address), *tag_rows(browser, address)]
        browser.close()
    return rows


def long_rows(browser: Browser, address: str) -> Iterator[Row]:
    query = urlencode({"run": "long", "chart": "train/loss"})
    yield first_screen(f"curve of {LONG:,} points: open", browser, f"{address}?{query}", 1200)
    with opened(browser, f"{address}?{query}") as page:
        complete(page)
        took_ms = []
        for i in range(ZOOMS):
            took_ms.append(page.evaluate(ZOOM, [0.3 + 0.01 * i, 0.5]))
            page.keyboard.press("0")
            wait_for(lambda: page.evaluate("() => allDrawn() && deepseekPainted.curves['train/loss'].x[0] === 0"))
    yield Row(f"zoom on {LONG:,} points: redrawn", statistics.median(took_ms), "ms", budget=100, spread=extent(took_ms))


def overlay_rows(browser: Browser, address: str) -> Iterator[Row]:
    query = urlencode({"runs": [f"sweep/{i:03d}" for i in range(RUNS)], "chart": "loss"}, doseq=True)
    yield first_screen(
        f"{RUNS} runs of {STEPS:,} points overlaid: from the address", browser, f"{address}?{query}", 1500
    )
    query = urlencode({"runs": [f"sweep/{i:03d}" for i in range(RUNS)]}, doseq=True)
    with opened(browser, f"{address}?{query}") as page:
        complete(page)
        took_ms = [page.evaluate(ANEW) for _ in range(LOADS)]
    yield Row(
        f"{RUNS} runs of {STEPS:,} points overlaid: read and drawn",
        statistics.median(took_ms),
        "ms",
        1000,
        spread=extent(took_ms),
    )


ANEW = """async () => {
  const began = performance.timeOrigin + performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true }));
  await nextFrame(began);
  while (!allDrawn() || !(deepseekPainted.curves.loss.at > began) || deepseekPainted.curves.loss.curves < 200) await nextFrame(began);
  return deepseekPainted.curves.loss.at - began;
}"""


def tag_rows(browser: Browser, address: str) -> Iterator[Row]:
    query = urlencode({"run": "tags", "size": "s"})
    yield first_screen(f"{TAGS:,} series: first screen", browser, f"{address}?{query}", 1500)
    with opened(browser, f"{address}?{query}") as page:
        complete(page)
        page.evaluate("() => (globalThis.blocked.length = 0)")
        browser.start_tracing(page=page, categories=["toplevel"])
        page.mouse.move(600, 500)
        for _ in range(WHEELS):
            page.mouse.wheel(0, 300)
            page.wait_for_timeout(16)
        wait_for(lambda: page.evaluate("() => allDrawn()"), because="the charts are not drawn after scrolling")
        worked_ms = longest_task_ms(browser.stop_tracing())
        longest_ms = max(page.evaluate("() => globalThis.blocked"), default=0.0)
    name = f"{TAGS:,} series: longest blocked time while scrolling"
    yield Row(name, longest_ms, "ms", budget=50, spread="0: none of 50 ms or more")
    yield Row(
        f"{name}, time of the processor", worked_ms, "ms", budget=50, spread="what other programs take is left out"
    )


def longest_task_ms(trace: bytes) -> float:
    """Of the page's main thread."""
    events = json.loads(trace)["traceEvents"]
    main = {
        (e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    return max(
        float(e.get("tdur", 0)) / 1000 for e in events if (e["pid"], e["tid"]) in main and e["name"].endswith("RunTask")
    )


def first_screen(name: str, browser: Browser, address: str, budget: float) -> Row:
    took_ms = []
    for _ in range(LOADS + 1):  # the first one warms the server
        with opened(browser, address) as page:
            took_ms.append(page.evaluate("() => drawn_ms"))
    return Row(name, statistics.median(took_ms[1:]), "ms", budget=budget, spread=extent(took_ms[1:]))


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """With nothing in its cache, once all that is in view is drawn."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(f"({WATCH})()")
    page.goto(address)
    wait_for(lambda: page.evaluate("() => globalThis.drawn_ms"), 60, f"nothing is drawn at {address[:200]}")
    yield page
    context.close()


def complete(page: Page) -> None:
    """Dash and the controls are there: what is measured then is ours."""
    wait_for(lambda: page.locator("#training-size").count() > 0, because="the controls are not there")
    page.wait_for_load_state("networkidle")


def extent(took_ms: list[float]) -> str:
    return f"{min(took_ms):.0f} to {max(took_ms):.0f} ms over {len(took_ms)}"


@contextmanager
def filled(folder: Path) -> Iterator[int]:
    """The port of a dashboard over a store with a long run, a sweep, and a run of many series."""
    writer = open_store(folder, write=True)
    values = 2 + np.random.default_rng(0).standard_normal(LONG) * 0.1
    for begin in range(0, LONG, BATCH):
        part = values[begin : begin + BATCH].tolist()
        writer.append(
            [Points("long", HOST, ("train/loss",), (v,), T0 + (begin + i) / 100, begin + i) for i, v in enumerate(part)]
        )
    for number in range(RUNS):
        noise = np.random.default_rng(number).standard_normal(STEPS).tolist()
        name = f"sweep/{number:03d}"
        writer.append(
            [Points(name, HOST, ("loss",), (1 + 400 / (100 + i) + 0.05 * v,), T0 + i, i) for i, v in enumerate(noise)]
        )
    names = tuple(f"layer{i // 4:03d}/part{i % 4}" for i in range(TAGS))
    writer.append(
        [Points("tags", HOST, names, tuple(float((i * j) % 17) for j in range(TAGS)), T0 + i, i) for i in range(200)]
    )
    while writer.compact(1.0):  # as the collector does after each commit
        pass
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web.port
    queries.close()
    writer.close()


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
