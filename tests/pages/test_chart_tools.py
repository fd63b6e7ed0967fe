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


def downloads(page: Page, key: str) -> str:
    """The name of the file that the key saves."""
    with page.expect_download() as download:
        page.keyboard.press(key)
    return download.value.suggested_filename


def point_at(page: Page, chart: str) -> None:
    box = wait_for(lambda: page.locator(chart).first.bounding_box())
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2 + 2, box["y"] + box["height"] / 2)


def test_keys_are_for_the_chart_that_the_pointer_is_on(running: Dashboard, page: Page) -> None:
    point_at(page, open_page(running, page, "/"))
    wait_for(lambda: page.locator(".lane[data-lane=loss].pointed").count())
    assert downloads(page, "e") == "steady Loss.csv"
    page.keyboard.press("Enter")
    page.locator(".lane[data-lane=loss].is-full").wait_for()
    assert downloads(page, "p") == "steady Loss.png", "p is for the chart in full; else it pins the window"
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("epy")
    assert page.locator(".tail input").input_value() == "epy", "a field has the keys that are typed in it"


def test_keys_of_the_page_go_before_those_of_the_chart_that_is_pointed_at(running: Dashboard, page: Page) -> None:
    point_at(page, open_page(running, page, "/training"))
    page.keyboard.press("y")
    wait_for(lambda: address(page).get("ylog"), because="the page's own key is lost")
    page.keyboard.press("?")
    assert "y while you point" in page.locator("dialog[open]").inner_text()


def test_keys_printed_in_the_menu_work_while_it_is_open(running: Dashboard, page: Page) -> None:
    open_page(running, page, "/training")
    chart = page.locator('.chart[data-tag="train/loss"]')
    for key, file in (("e", "steady train-loss.csv"), ("p", "steady train-loss.png")):
        chart.hover()
        chart.locator(".dots").click()
        page.locator(".chart-menu").wait_for()
        assert downloads(page, key) == file
        assert not page.locator(".chart-menu").is_visible()
    chart.locator(".dots").click()
    page.keyboard.press("y")
    wait_for(lambda: painted_log(page), because="its axis is linear")
    assert "ylog" not in address(page), "the others stay as they are"


def test_a_lane_is_filled_and_folded_by_the_tab_and_enter_keys(running: Dashboard, page: Page) -> None:
    open_page(running, page, "/")
    lane = page.locator(".lane[data-lane=loss]")
    name = lane.locator(".name")
    name.focus()
    page.keyboard.press("Enter")
    wait_for(lambda: name.get_attribute("aria-expanded") == "false")
    box, around = name.bounding_box(), lane.bounding_box()
    assert box and around and box["y"] + box["height"] <= around["y"] + around["height"], (
        "the ring reaches into the next lane"
    )
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".lane[data-lane=loss].is-full").wait_for()


@pytest.mark.parametrize("path", ["/boards", "/logs", "/hosts"])
def test_a_chart_in_full_has_an_address_and_back_closes_it(running: Dashboard, page: Page, path: str) -> None:
    chart = {**CHARTS, "/hosts": ".lane[data-lane=cpu] .plot"}[path]
    page.goto(f"{running.address}{path}?run=steady")
    wait_for(lambda: page.locator(f"#content {chart} canvas").count() > 0, because="no chart")
    before = page.url
    page.locator(chart).first.focus()
    page.keyboard.press("Enter")
    full = page.locator(".is-full")
    full.wait_for()
    there = page.url
    assert there != before
    page.go_back()
    full.wait_for(state="detached")
    assert page.url == before
    page.goto(there)
    full.wait_for()
    page.keyboard.press("Escape")
    wait_for(lambda: full.count() == 0 and page.url == before)
