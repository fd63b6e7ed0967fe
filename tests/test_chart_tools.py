"""Every chart has the same tools, on each page: a menu, and keys for the one that has the focus."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.conftest import Dashboard, address, dashboard, saved, script, wait_for

TRAINER = """
import sys, time
from deepseek.log import RunLog

with RunLog(sys.argv[1], run="steady") as log:
    for step in range(1_000_000):
        time.sleep(0.02)
        log.scalars(step, {"train/loss": 1 + 1 / (1 + step), "train/grad_norm": 0.5})
        if step % 10 == 0:
            log.text(f"step {step} went well")
"""
CHARTS = {
    "/": ".lane[data-lane=loss] .plot",
    "/training": '.chart[data-tag="train/loss"] .chart-plot',
    "/boards": ".board-chart[data-kind=line] .board-body",
    "/logs": ".lane-density .plot",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("tools") / "logs"
    log_dir.mkdir()
    with script(TRAINER, str(log_dir)), dashboard(log_dir, "--no-profile") as running:
        wait_for(lambda: running.run("steady").get("last_step", 0) > 150, because="the run does not get on")
        yield running


def open_page(running: Dashboard, page: Page, path: str) -> str:
    """Returns what finds a chart on it, that is drawn."""
    page.goto(f"{running.address}{path}?run=steady")
    wait_for(lambda: page.locator(f"{CHARTS[path]} canvas").count() > 0, because="no chart")
    page.wait_for_selector("#content > *, #page > *", state="attached")
    return CHARTS[path]


@pytest.mark.parametrize("path", CHARTS)
def test_a_chart_with_the_focus_is_saved_and_fills_the_window_by_keys(
    running: Dashboard, page: Page, path: str
) -> None:
    chart = page.locator(open_page(running, page, path)).first
    wait_for(lambda: chart.bounding_box(), because="it has no place")
    time.sleep(1)  # until the first values are there
    small = chart.bounding_box()
    chart.focus()
    table = saved(page, "e").decode().splitlines()
    assert len(table) > 2 and "," in table[0]
    assert saved(page, "p").startswith(b"\x89PNG")
    if path == "/training":  # it has a page of its own, with a table of values
        page.keyboard.press("Enter")
        wait_for(lambda: "chart" in address(page))
        return
    page.keyboard.press("Enter")
    box = wait_for(
        lambda: found if (found := chart.bounding_box()) and small and found["height"] > 2 * small["height"] else None
    )
    assert box
    page.keyboard.press("Escape")
    wait_for(lambda: chart.bounding_box() and abs(chart.bounding_box()["height"] - small["height"]) < 40)  # type: ignore[index]


def test_a_chart_has_a_log_axis_of_its_own_which_the_browser_remembers(running: Dashboard, page: Page) -> None:
    chart = page.locator(open_page(running, page, "/training"))
    wait_for(lambda: painted_log(page) is False)
    chart.focus()
    page.keyboard.press("y")
    wait_for(lambda: painted_log(page), because="its axis is linear")
    assert "ylog" not in address(page), "the others stay as they are"
    open_page(running, page, "/training")
    wait_for(lambda: painted_log(page), because="it is forgotten")


def test_a_lane_has_a_log_scale_by_key_and_a_linear_one_again(running: Dashboard, page: Page) -> None:
    lane = page.locator(open_page(running, page, "/")).first
    scale = "() => globalThis.deepseekPainted?.drawn['train/loss']?.ylog"
    wait_for(lambda: page.evaluate(scale) is False)
    lane.focus()
    page.keyboard.press("y")
    wait_for(lambda: page.evaluate(scale) is True, because="its scale stays linear")
    page.keyboard.press("y")
    wait_for(lambda: page.evaluate(scale) is False, because="its scale stays logarithmic")


def painted_log(page: Page) -> bool | None:
    found: bool | None = page.evaluate("() => globalThis.deepseekPainted?.curves['train/loss']?.ylog")
    return found


def test_a_click_into_a_chart_leaves_the_keys_to_the_page(running: Dashboard, page: Page) -> None:
    chart = page.locator(open_page(running, page, "/boards")).first
    chart.click()
    page.keyboard.press("e")
    page.wait_for_selector(".board-editor")
