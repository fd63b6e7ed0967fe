"""What the Training page shows of the axis: zoom, the window, permalinks, keys and full size."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from playwright.sync_api import Error, Page, Route

from tests.conftest import wait_for
from tests.support.training_house import T0, House, address, drag, open_training, painted, plot, titles
from tests.support.training_house import house as house  # a fixture

EXPECTED_ERRORS = ("ERR_CONNECTION_REFUSED",)


def test_a_spike_of_one_step_in_100_000_is_drawn_at_every_zoom_smoothed_or_not(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="long")
    for smooth in ("none", "ema", "gauss"):
        assert wait_for(lambda: painted(page, "train/loss"))["top"] > 0.9, smooth
        assert address(page).get("smooth", ["none"]) == [smooth]
        page.keyboard.press("s")
    foot = page.locator('.chart[data-tag="train/loss"] .chart-foot').get_attribute("title")
    assert foot and re.fullmatch(r"[\d,]+ of 100,000 points", foot)
    drag(page, "train/loss", 0.6, 0.64)
    wait_for(lambda: painted(page, "train/loss").get("x", [0])[0] > 59_000)
    drawn = wait_for(lambda: painted(page, "train/loss"))
    assert drawn["top"] > 0.9
    assert drawn["x"][1] < 65_000


def test_a_drag_zooms_all_charts_and_0_shows_all_of_it_again(house: House, page: Page) -> None:
    open_training(house, page, "train/lr", runs=["a", "b"])
    whole = wait_for(lambda: painted(page, "train/loss"))["x"]
    drag(page, "train/lr", 0.25, 0.5)
    zoomed = wait_for(lambda: painted(page, "train/loss") if painted(page, "train/loss").get("x") != whole else {})["x"]
    assert zoomed == pytest.approx([50, 100], abs=3)
    assert painted(page, "train/lr")["x"] == zoomed
    assert page.locator(".strip-zoomed").inner_text().startswith("steps 5")
    assert [float(address(page)[name][0]) for name in ("lo", "hi")] == pytest.approx(zoomed, abs=0.01)
    page.keyboard.press("0")
    wait_for(lambda: painted(page, "train/loss").get("x") == whole, because="not all of it is shown again")
    assert "lo" not in address(page)


def test_a_permalink_shows_the_same(house: House, page: Page) -> None:
    query = {
        "runs": ["b", "a"],
        "x": "tokens",
        "smooth": "ema:25",
        "ylog": "1",
        "clip": "1",
        "base": "a",
        "q": "loss",
        "lo": 100,
        "hi": 900,
    }
    open_training(house, page, "train/loss", **query)
    wait_for(
        lambda: "2 selected" in page.locator("#training-runs").inner_text(), because="the controls do not show the runs"
    )
    assert {name: address(page)[name] for name in query} == parse_qs(urlencode(query, doseq=True))
    assert painted(page, "train/loss")["x"] == [100, 900]
    assert page.locator("#training-q").input_value() == "loss"
    assert page.locator("#training-amount").input_value() == "25"
    before = page.evaluate("() => location.search")
    page.reload()
    drawn = wait_for(lambda: painted(page, "train/loss"))
    assert drawn["x"] == [100, 900]
    assert page.evaluate("() => location.search") == before


def test_keys_and_controls_change_the_same_view(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    page.keyboard.press("y")
    wait_for(lambda: page.locator("#training-ylog input").is_checked(), because="the control does not follow the key")
    assert wait_for(lambda: address(page).get("ylog")) == ["1"]
    wait_for(lambda: "not on a log axis" in page.locator('.chart[data-tag="train/lr"] .chart-foot').inner_text())
    page.locator("#training-ylog input").click()
    wait_for(lambda: "ylog" not in address(page), because="the charts do not follow the control")
    page.keyboard.press("/")
    page.keyboard.type("acc")
    wait_for(lambda: titles(page) == ["val/acc"], because="the search finds something else")
    assert "1 of" in page.locator(".strip-found").inner_text()
    page.keyboard.press("Control+a")
    page.keyboard.type("(")
    page.locator("#training-match").click()
    page.get_by_text("regex", exact=True).click()
    wait_for(lambda: "not a regular expression" in page.locator(".strip-found").inner_text())


def test_what_happened_at_a_point_is_a_window_of_that_run_on_live_and_flame(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="long")
    drag(page, "train/loss", 0.5, 0.6)
    wait_for(lambda: "lo" in address(page))
    page.get_by_text("What happened here?").click()
    wait_for(lambda: page.locator(".curves-card a").count() == 2, because="there are no links")
    live, flame = (urlparse(str(link.get_attribute("href"))) for link in page.locator(".curves-card a").all())
    assert (live.path, flame.path) == ("/", "/flame")
    lo, hi = (float(address(page)[name][0]) for name in ("lo", "hi"))
    window = {name: float(values[0]) for name, values in parse_qs(live.query).items() if name != "run"}
    assert window["from"] == pytest.approx(T0 + lo * 0.01, abs=0.05)
    assert window["to"] == pytest.approx(T0 + hi * 0.01, abs=0.05)
    assert parse_qs(flame.query)["run"] == ["long"]


def test_a_chart_opens_to_full_size_with_a_row_for_each_run(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", runs=["a", "b"])
    page.locator('.chart[data-tag="train/loss"] .chart-name').click()
    wait_for(lambda: page.locator(".curves-full .full-rows tbody tr").count() == 2)
    assert address(page)["chart"] == ["train/loss"]
    assert plot(page, "train/loss").bounding_box()["width"] > 1000  # type: ignore[index]
    page.keyboard.press("Escape")
    assert not page.locator(".curves-full").is_visible()
    assert "chart" not in address(page)


def test_the_machine_is_drawn_along_time_and_on_steps_it_says_where(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    page.locator(".curves-scroll").evaluate("scroll => (scroll.scrollTop = scroll.scrollHeight)")
    wait_for(lambda: "recorded by time" in page.locator(".curves-field").inner_text())
    page.keyboard.press("a")
    drawn = wait_for(lambda: painted(page, "host/cpu_pct"), because="the host is not drawn along relative time")
    assert drawn["x"] == pytest.approx([0, 199], abs=2)
    assert "GiB" in page.locator('.chart[data-tag="host/memory_used_bytes"] .chart-name').inner_text()


def test_a_letter_is_a_key_also_where_a_list_was_used_last(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    page.locator("#training-x").click()
    page.get_by_text("relative time", exact=True).click()
    wait_for(lambda: address(page).get("x") == ["relative"])
    page.keyboard.press("a")
    wait_for(lambda: address(page).get("x") == ["time"])
    assert page.locator(".dash-dropdown-content").count() == 0


def test_a_click_opens_what_happened_there_and_it_stays(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    plot(page, "train/loss").click(position={"x": 150, "y": 40})
    wait_for(lambda: page.locator(".curves-card a").count() == 2, because="there are no links")
    page.wait_for_timeout(300)
    assert page.locator(".curves-card").is_visible()


def test_a_control_counts_that_is_used_right_after_a_key(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    held: list[Route] = []
    page.route("**/_dash-update-component*", lambda route: held.append(route))
    log_y = page.locator("#training-ylog input")
    page.keyboard.press("y")
    wait_for(lambda: log_y.is_checked())
    wait_for(lambda: address(page).get("ylog") == ["1"])
    log_y.click()
    wait_for(lambda: not log_y.is_checked())
    page.unroute_all(behavior="ignoreErrors")  # lets go of those that are held
    for route in held:
        with suppress(Error):
            route.continue_()
    wait_for(lambda: "ylog" not in address(page), because="the charts do not follow the control")


def test_the_list_of_keys_names_those_of_this_page(house: House, page: Page) -> None:
    open_training(house, page, "train/loss", run="a")
    page.keyboard.press("?")
    said = page.locator("dialog.help[open]").inner_text()
    assert all(
        words in said
        for words in ("log y", "smoothing", "x axis", "zoom all charts", "search the series", "page Flame")
    )
