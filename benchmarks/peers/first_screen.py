"""When the first screen of another tool's page is there, by a rule that favours it.

That is when the last response with data that the first screen needs has arrived, and the last of the charts in view has its canvas,
though nothing may be drawn on it yet. Where the page asks for data again and again, only as many responses count as it needs at first.
"""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Error, Page, Request

from benchmarks.peers.curves import Curves
from benchmarks.peers.servers import Peer

QUIET_MS = 2_000  # without a new chart or response: no more belongs to the first screen
LOOKED = 10  # frames in that time: the page was not merely busy
WATCH = """([charts]) => {
  performance.setResourceTimingBufferSize(100000);
  globalThis.seen = { counts: [[0, 0]], frames: 0 };
  const inView = (place) => { const { top, bottom, width, height } = place.getBoundingClientRect(); return bottom > 0 && top < innerHeight && width > 100 && height > 50; };
  const look = () => {
    const count = [...document.querySelectorAll(charts)].filter(inView).length;
    if (count !== seen.counts.at(-1)[1]) { seen.counts.push([performance.now(), count]); seen.frames = 0; }
    seen.frames++;
    requestAnimationFrame(look);
  };
  look();
}"""
LOOK = """(part) => ({
  now: performance.now(), counts: seen.counts, frames: seen.frames,
  ends: performance.getEntriesByType("resource").filter((entry) => entry.name.includes(part) && entry.responseStatus === 200).map(({ responseEnd }) => responseEnd).sort((a, b) => a - b),
})"""


class Asked(NamedTuple):
    url: str
    method: str
    kind: str  # of the body
    body: bytes | None


class Screen(NamedTuple):
    drawn_ms: float  # since the navigation began
    charts: int  # in view
    asked: list[Asked]  # for the data of the first screen


class Requests:
    """Of a page, for data."""

    def __init__(self, page: Page, part: str) -> None:
        self.asked: list[Asked] = []
        self.part, self.open, self.done = part, 0, 0
        page.on("request", self._begin)
        page.on("requestfinished", lambda request: self._end(request, 1))
        page.on("requestfailed", lambda request: self._end(request, 0))

    def _begin(self, request: Request) -> None:
        if self.part in request.url:
            kind = request.headers.get("content-type", "application/json")
            self.asked.append(Asked(request.url, request.method, kind, request.post_data_buffer))
            self.open += 1

    def _end(self, request: Request, answered: int) -> None:
        if self.part in request.url:
            self.open -= 1
            self.done += answered


def first_screen(
    browser: Browser, peer: Peer, address: str, curves: Curves, limit_s: float, picture: Path | None
) -> Screen | None:
    """With nothing in the browser's cache; None where it is not there in time, or the tab gave up. `picture`: a file for a screenshot."""
    needed = peer.needed(curves) if peer.needed else None
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(limit_s * 1000)
    page.add_init_script(f"({WATCH})({[peer.charts]!r})")
    requests, until_s, screen = Requests(page, peer.data), time.monotonic() + limit_s, None
    try:
        page.goto(address + peer.page(curves), wait_until="commit")
        while not screen and time.monotonic() < until_s:
            page.wait_for_timeout(100)
            if requests.done >= (needed or 1) and (needed or not requests.open):
                screen = settled(page.evaluate(LOOK, peer.data), needed)
        if picture:
            page.screenshot(path=picture)
    except Error:  # the tab crashed, or is at work for longer
        return None
    finally:
        context.close()
    return screen._replace(asked=requests.asked[:needed]) if screen else None


def settled(look: dict[str, Any], needed: int | None) -> Screen | None:
    """None while more may come."""
    ends = look["ends"][:needed]
    count = look["counts"][-1][1]
    if not count or len(ends) < (needed or 1):
        return None
    last_ms = max(ends[-1], look["counts"][-1][0])
    if look["now"] - last_ms < QUIET_MS or look["frames"] < LOOKED:
        return None
    there_ms = next(ms for ms, charts in look["counts"] if charts >= count)
    return Screen(max(ends[-1], there_ms), count, [])


def received(screen: Screen) -> int:
    """Steps in the responses that it needed, which are asked for once more."""
    return sum(steps_of(asked) for asked in screen.asked)


def steps_of(asked: Asked) -> int:
    again = urllib.request.Request(asked.url, asked.body, {"Content-Type": asked.kind}, method=asked.method)
    with urllib.request.urlopen(again, timeout=120) as response:
        data: bytes = response.read()
    return data.count(b'"step":')
