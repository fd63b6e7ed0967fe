"""A dashboard with runs of many series, and its Training page in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from playwright.sync_api import Locator, Page

from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.serving import Web, served

T0 = 1_764_000_000.0
HOST = labels_of(host="box")
ODD = "<b onclick=alert(1)>odd</b> 50%2F\u202e, run"
NAMELESS = """() => [...document.querySelectorAll("#page button, #page input")]
  .filter((one) => one.checkVisibility() && !one.textContent.trim() && !one.ariaLabel && !one.labels?.length && !one.closest("label"))
  .map((one) => one.outerHTML.slice(0, 200))"""


class House(NamedTuple):
    web: Web
    writer: Store
    data_dir: Path


def curve(
    run: str, series: str, values: list[float], start_s: float = T0, step: int = 0, gap_s: float = 1.0
) -> list[Points]:
    return [Points(run, HOST, (series,), (value,), start_s + i * gap_s, step + i) for i, value in enumerate(values)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A long run with a spike, two short ones of which one lacks a series, one of 1,000 series, one with an odd name, and the host."""
    data_dir = tmp_path_factory.mktemp("training")
    writer = open_store(data_dir, write=True)
    spiked = [1.0 + (i % 7) / 100 for i in range(100_000)]
    spiked[61_803] = 9.0
    writer.append(curve("long", "train/loss", spiked, gap_s=0.01))
    for run, last in (("a", 1.0), ("b", 2.0)):
        names = ("train/loss", "train/lr")
        writer.append([Points(run, HOST, names, (last + 1 / (1 + i), i - 50.0), T0 + i, i) for i in range(200)])
    writer.append(curve("a", "val/acc", [{50: float("nan"), 150: float("inf")}.get(i, 0.5) for i in range(200)]))
    writer.append(curve("a", "tokens", [float(i * 10) for i in range(200)]))
    thousand = tuple(f"layer{i // 4:03d}/part{i % 4}" for i in range(1000))
    writer.append(
        [Points("tags", HOST, thousand, tuple(float(i * j % 17) for j in range(1000)), T0 + i, i) for i in range(20)]
    )
    writer.append(curve(ODD, "<img src=x onerror=alert(1)>/a,b*", [1.0, 2.0, 3.0]))
    for rank in (0, 1):
        writer.append(
            [
                Points("ddp", labels_of(host="box", rank=str(rank)), ("loss",), (1.0 + rank,), T0 + i, i)
                for i in range(50)
            ]
        )
    machine = [
        Points(None, HOST, ("host/cpu_pct", "host/memory_used_bytes"), (50.0, 2.0**33), T0 + i, None)
        for i in range(200)
    ]
    writer.append(machine)
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    with served(queries) as web:
        yield House(web, writer, data_dir)
    queries.close()
    writer.close()


def open_training(house: House, page: Page, drawn: str = "", **query: Any) -> None:
    """Until the chart of a series is on its canvas, and the controls are there."""
    page.goto(f"http://127.0.0.1:{house.web.port}/training?{urlencode(query, doseq=True)}")
    if drawn:
        wait_for(lambda: painted(page, drawn), because=f"{drawn} is not drawn")
    wait_for(lambda: page.locator("#training-x").count() > 0, because="the controls are not there")


AXIS_PX = 54  # as in assets/lib/format.js


def painted(page: Page, tag: str) -> dict[str, Any]:
    """What the chart of a series has on its canvas; {} until it holds what was asked for."""
    found: dict[str, Any] = page.evaluate("(tag) => globalThis.deepseekPainted?.curves[tag] ?? {}", tag)
    return {} if found.get("stale", True) else found


def plot(page: Page, tag: str) -> Locator:
    return page.locator(f'.chart[data-tag="{tag}"] .chart-plot').last


def drag(page: Page, tag: str, lo: float, hi: float) -> None:
    """Over a chart, from one share of its plot's width to another."""
    box = plot(page, tag).bounding_box()
    assert box is not None
    left, width = box["x"] + AXIS_PX, box["width"] - AXIS_PX - 8
    page.mouse.move(left + lo * width, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(left + hi * width, box["y"] + 44, steps=5)
    page.mouse.up()


def address(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlparse(page.evaluate("() => location.href")).query)


def titles(page: Page) -> list[str]:
    names: list[str] = page.locator(".chart").evaluate_all("charts => charts.map((chart) => chart.dataset.tag)")
    return names


def use_menu(page: Page, tag: str, item: str) -> None:
    """Of the menu of a series' chart."""
    page.locator(f'.chart[data-tag="{tag}"]').hover()
    page.get_by_role("button", name=f"Chart tools: {tag}", exact=True).click()
    page.locator(".chart-menu").get_by_text(item, exact=True).click()
