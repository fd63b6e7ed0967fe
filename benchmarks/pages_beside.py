"""Our Training page beside the pages of TensorBoard and Trackio: the same curves, one server after the other, nothing in the browser's cache.

python -m benchmarks.peers.environment                        the peers, once
python -m benchmarks.pages_beside                             everything
PEERS_BENCH_SCALE=0.01 python -m benchmarks.pages_beside      a hundredth of the points, one load: 6 minutes on busy cores
PEERS_BENCH_SCREENS=FOLDER python -m benchmarks.pages_beside  also a picture of each page

TensorBoard and we read the same event files; Trackio has a database that its library wrote. Servers are started as their users start them.
For us a screen is there once every chart in view has the curves that were asked for on its canvas. For the others it is there as soon as the last
response that it needs has arrived and its charts have their canvases: on screenshots of that moment TensorBoard's lines are still missing (`benchmarks/peers/first_screen.py`).
The baseline of a row is the peer's figure. A page of ours stands for all points of a curve; how many steps a peer fetched stands in its rows.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from playwright.sync_api import Browser, sync_playwright

from benchmarks.pages import extent, opened
from benchmarks.peers.curves import Curves
from benchmarks.peers.environment import MISSING, is_ready, versions
from benchmarks.peers.event_files import write_event_files
from benchmarks.peers.first_screen import Screen, first_screen, received
from benchmarks.peers.servers import Peer, Serving, memory_mb, serving, tensorboard, trackio
from benchmarks.report import Row, run
from tests.conftest import CHROMIUM, QUIET, Dashboard, dashboard

SCALE = float(os.environ.get("PEERS_BENCH_SCALE", "1"))
SCREENS = os.environ.get("PEERS_BENCH_SCREENS")
LOADS = max(1, round(5 * SCALE))
LIMIT_S = 120.0  # for a page
LOAD_S, LONGEST_LOAD_S = 600.0, 120.0  # for all data; for those of the longest curve
ON_SCREEN = """() => {
  const inView = (chart) => { const { top, bottom } = chart.getBoundingClientRect(); return bottom > 0 && top < innerHeight && chart.checkVisibility({ visibilityProperty: true }); };
  const charts = [...document.querySelectorAll(".chart")].filter(inView);
  return [charts.length, Math.max(...charts.map((chart) => deepseekPainted.curves[chart.dataset.tag].curves))];
}"""


class Case(NamedTuple):
    name: str
    curves: Curves
    peers: list[Peer]
    load_s: float = LOAD_S


class Found(NamedTuple):
    """Of one server; None: not in time."""

    there_s: float | None
    drawn_ms: list[float]  # of each load
    memory_mb: float | None
    drawn: str  # in words: what is on the screen, or why nothing is


def scaled(count: int) -> int:
    return max(4, round(count * SCALE))


def cases() -> list[Case]:
    many, runs, long, longest = scaled(1_000), scaled(200), scaled(1_000_000), scaled(10_000_000)
    usual, database = tensorboard("TensorBoard"), trackio()
    every = tensorboard("TensorBoard with samples_per_plugin of all", "--samples_per_plugin", f"scalars={long}")
    return [
        Case(f"{many:,} tags of 200 steps", Curves("tags", 1, 200, many), [usual, database]),
        Case(f"{runs} runs of 1,000 points overlaid", Curves("sweep", runs, 1_000, 1), [usual, database]),
        Case(f"a curve of {long:,} points", Curves("long", 1, long, 1), [usual, every, database]),
        Case(f"a curve of {longest:,} points", Curves("longest", 1, longest, 1), [usual, database], LONGEST_LOAD_S),
    ]


def measure() -> list[Row]:
    if not is_ready():
        print(f"skipped: {MISSING}")
        return []
    print(
        ", ".join(f"{name} {version}" for name, version in versions("tensorboard", "trackio").items()), file=sys.stderr
    )
    rows: list[Row] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *QUIET.split()])
        for case in cases():
            with tempfile.TemporaryDirectory(prefix="pages-beside-") as folder:
                rows += rows_of(browser, case, Path(folder))
        browser.close()
    return rows


def rows_of(browser: Browser, case: Case, folder: Path) -> Iterator[Row]:
    """A row of ours beside each peer, and one of what we have where the peer has nothing: the last column says why."""
    log_dir = folder / "logs"
    write_event_files(case.curves, log_dir)
    peers = [(peer, of_peer(browser, peer, case, log_dir, folder)) for peer in case.peers]
    ours = of_ours(browser, case, log_dir)
    if ours.there_s is None or ours.memory_mb is None:
        print(f"{case.name}: ours {ours.drawn}", file=sys.stderr)
        return
    for peer, found in peers:
        ours_ms, theirs_ms = (
            statistics.median(ours.drawn_ms),
            statistics.median(found.drawn_ms) if found.drawn_ms else None,
        )
        spread = f"ours {extent(ours.drawn_ms)}, {ours.drawn}; {peer.name} {found.drawn}"
        yield Row(f"{case.name}: first screen; baseline {peer.name}", ours_ms, "ms", baseline=theirs_ms, spread=spread)
        yield Row(
            f"{case.name}: from the start to all data there; baseline {peer.name}",
            ours.there_s,
            "s",
            baseline=found.there_s,
        )
        yield Row(
            f"{case.name}: memory of the servers; baseline {peer.name}", ours.memory_mb, "MB", baseline=found.memory_mb
        )


def of_peer(browser: Browser, peer: Peer, case: Case, log_dir: Path, folder: Path) -> Found:
    own = folder / peer.name.replace(" ", "-")
    own.mkdir()
    try:
        peer.write(case.curves, own)
    except subprocess.TimeoutExpired as error:
        return Found(None, [], None, f"has not written its own data after {error.timeout:g} s")
    with serving(peer, case.curves, log_dir, own, case.load_s) as served:
        if not served:
            return Found(None, [], None, f"has not all data after {case.load_s:g} s")
        return screens_of(browser, peer, case, served)


def screens_of(browser: Browser, peer: Peer, case: Case, served: Serving) -> Found:
    drawn_ms: list[float] = []
    first: Screen | None = None
    for load in range(LOADS + 1):  # the first one warms the server
        picture = (
            Path(SCREENS) / f"{case.curves.name}-{peer.name.replace(' ', '-')}.png" if SCREENS and load == 0 else None
        )
        screen = first_screen(browser, peer, served.address, case.curves, LIMIT_S, picture)
        if not screen:
            return Found(served.there_s, [], memory_mb(served.pid), f"has no first screen after {LIMIT_S:g} s")
        first = first or screen
        drawn_ms.append(screen.drawn_ms)
    memory = memory_mb(served.pid)
    assert first
    what = f"{charts(first.charts)}, {received(first):,} steps fetched"
    return Found(served.there_s, drawn_ms[1:], memory, f"{extent(drawn_ms[1:])}, {what}")


def of_ours(browser: Browser, case: Case, log_dir: Path) -> Found:
    began_s = time.monotonic()
    with dashboard(log_dir) as running:
        while (points := points_of(running)) < case.curves.points and time.monotonic() - began_s < case.load_s:
            time.sleep(0.1)
        there_s = time.monotonic() - began_s
        if points != case.curves.points:
            return Found(None, [], None, f"have {points:,} of {case.curves.points:,} points after {case.load_s:g} s")
        names = case.curves.run_names
        query = urlencode({"run": names[0]} if len(names) == 1 else {"runs": names}, doseq=True)
        drawn_ms: list[float] = []
        for load in range(LOADS + 1):
            with opened(browser, f"{running.address}/training?{query}") as page:
                drawn_ms.append(page.evaluate("() => drawn_ms"))
                seen, curves = page.evaluate(ON_SCREEN)
                if SCREENS and load == 0:
                    page.screenshot(path=Path(SCREENS) / f"{case.curves.name}-ours.png")
        what = f"{charts(seen)} of {curves} {'curve' if curves == 1 else 'curves'} each"
        return Found(there_s, drawn_ms[1:], memory_mb(running.process.pid), what)


def points_of(running: Dashboard) -> int:
    return sum(view["points"] for view in running.get("/api/v1/runs")["runs"])


def charts(count: int) -> str:
    return "1 chart" if count == 1 else f"{count} charts"


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
