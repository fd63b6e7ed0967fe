"""What the ledger on Live costs a drag: from the pointer's release to the blame, with the ledger and without it, in a real browser.

python -m benchmarks.live_ledger        about two minutes
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, dashboard, wait_for
from tests.support import long_run

STORED_S, VIEW_S = 3 * 3600.0, 600.0
DRAGS = 12  # of each kind, in turn
COLD = 4  # while the ledger of hours is read
LEDGER = "**/api/v1/ledger?*"
RELEASED = "() => document.addEventListener('pointerup', () => (globalThis.released = performance.now()), true)"
ANSWERED = """(noun) => {
  const all = performance.getEntriesByType("resource").filter(({ name, startTime }) => name.includes(`/${noun}?`) && startTime >= released);
  return all.length ? all[0].responseEnd - released : null;
}"""


class Drag(NamedTuple):
    """Milliseconds from the release of the pointer to the answers."""

    blame_ms: float
    ledger_ms: float | None  # None where it was not asked


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        log_dir = Path(folder) / "logs"
        begun_s = long_run.write(log_dir, STORED_S)
        with dashboard(log_dir, "--no-profile") as running:
            wait_for(lambda: running.run(long_run.RUN).get("last_step", 0) > 10_000, 60, "the log is not read")
            rows = _dragged(browser, f"{running.address}/?run={long_run.RUN}", begun_s + STORED_S + 5)
        browser.close()
    return rows


def _dragged(browser: Browser, address: str, end_s: float) -> list[Row]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.route(LEDGER, lambda route: route.abort())
    _open(page, f"{address}&span={STORED_S:g}&at={end_s:.3f}")
    before = [_drag(page, random.Random(number), False) for number in range(COLD)]  # all but the ledger is known then
    _open(page, f"{address}&span={STORED_S:g}&at={end_s:.3f}")
    cold = [_drag(page, random.Random(number), True, at_once=True) for number in range(COLD)]
    _open(page, f"{address}&span={VIEW_S:g}&at={end_s:.3f}")
    noise = random.Random(7)
    _drag(page, noise, True)
    found: dict[bool, list[Drag]] = {True: [], False: []}
    for _ in range(DRAGS):
        for with_ledger in (True, False):
            found[with_ledger].append(_drag(page, noise, with_ledger))
    with_ms, without_ms = ([drag.blame_ms for drag in found[kind]] for kind in (True, False))
    after_ms = [drag.ledger_ms - drag.blame_ms for drag in found[True] if drag.ledger_ms is not None]
    return [
        Row(
            "drag -> blame, p50",
            statistics.median(with_ms),
            "ms",
            1000,
            baseline=statistics.median(without_ms),
            spread=_spread(with_ms),
        ),
        Row("the same without a ledger, p50", statistics.median(without_ms), "ms", spread=_spread(without_ms)),
        Row("blame -> ledger, p50", statistics.median(after_ms), "ms", spread=_spread(after_ms)),
        Row(
            "drag over 3 to 18 min -> blame while the ledger of 3 h is read, p50",
            statistics.median(drag.blame_ms for drag in cold),
            "ms",
            baseline=statistics.median(drag.blame_ms for drag in before),
            spread=_spread([drag.blame_ms for drag in cold]),
        ),
    ]


def _open(page: Page, address: str) -> None:
    page.goto(address)
    wait_for(
        lambda: page.evaluate("() => Object.keys(globalThis.deepseekPainted?.drawn ?? {}).length > 1"), 60, "no lanes"
    )
    wait_for(lambda: page.locator(".ledger-bar li").count() or page.locator(".ledger-bar p").count(), 60, "no ledger")
    page.evaluate(RELEASED)


def _drag(page: Page, noise: random.Random, with_ledger: bool, at_once: bool = False) -> Drag:
    """Over 10 to 60 s of ten minutes; `at_once`: another view's ledger is under way meanwhile."""
    page.unroute(LEDGER)
    page.keyboard.press("Escape")
    if at_once:
        with page.expect_request(LEDGER, timeout=30_000):
            page.keyboard.press("+" if noise.random() < 0.5 else "ArrowLeft")
    else:
        page.wait_for_timeout(1500)  # nothing is under way
    if not with_ledger:
        page.route(LEDGER, lambda route: route.abort())
    surface: Any = page.locator(".surface").bounding_box()
    length = noise.uniform(1 / 60, 1 / 10)
    start = noise.uniform(0.01, 0.99 - length)
    x0, x1 = (surface["x"] + share * surface["width"] for share in (start, start + length))
    page.mouse.move(x0, surface["y"] + 30)
    page.mouse.down()
    page.mouse.move(x1, surface["y"] + 32, steps=4)
    page.evaluate("() => performance.clearResourceTimings()")
    page.mouse.up()
    blame_ms = wait_for(lambda: page.evaluate(ANSWERED, "blame"), 60, "no blame")
    ledger_ms = (
        wait_for(lambda: page.evaluate(ANSWERED, "ledger"), 60, "no ledger") if with_ledger and not at_once else None
    )
    return Drag(float(blame_ms), float(ledger_ms) if ledger_ms is not None else None)


def _spread(values: list[float]) -> str:
    return f"{min(values):.0f} to {max(values):.0f} ms of {len(values)}"


if __name__ == "__main__":
    sys.exit(run(measure, str(__doc__)))
