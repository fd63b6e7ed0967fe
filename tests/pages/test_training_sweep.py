"""The Training page with a sweep of twelve runs: legend, groups, values below the pointer, the opened chart, a phone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page

from collectors.records import Points, RunInfo, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.conftest import Ask, wait_for
from tests.support.serving import Web, served
from tests.support.training_house import painted

T0 = 1_764_000_000.0
HOST = labels_of(host="box")
RUNS = [f"sweep/lr{10 ** -(1 + i % 4):g}-seed{i // 4}-of-the-long-names" for i in range(12)]
NAMES = tuple(f"layers/{i // 6}/attention/norm{i % 6}" for i in range(60))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Of each run a loss at each step and a sparse val/loss, the first without one; of one run sixty series of layers."""
    folder = tmp_path_factory.mktemp("sweep")
    writer = open_store(folder, write=True)
    for k, run in enumerate(RUNS):
        writer.append([RunInfo(run, {"config": {"optimizer": {"lr": 10 ** -(1 + k % 4)}}})])
        noise = [math.sin(i * 12.9898 + k) * 0.2 for i in range(1001)]
        writer.append(
            [
                Points(run, HOST, ("train/loss",), (4 / (1 + i / 100) + k / 20 + noise[i],), T0 + i, i)
                for i in range(1001)
            ]
        )
        if k:
            writer.append(
                [
                    Points(run, HOST, ("val/loss",), (4 / (1 + i / 100) + k / 10,), T0 + i, i)
                    for i in range(49, 1001, 100)
                ]
            )
    writer.append(
        [Points("deep", HOST, NAMES, tuple(float(i + j) for j in range(len(NAMES))), T0 + i, i) for i in range(9)]
    )
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def opened(web: Web, page: Page, drawn: str = "train/loss", **query: Any) -> None:
    page.goto(f"http://127.0.0.1:{web.port}/training?{urlencode({'runs': RUNS, **query}, doseq=True)}")
    settled(page, drawn)


def settled(page: Page, drawn: str = "train/loss") -> None:
    """The chart is on its canvas, and stands among the controls, where it moves to: that takes its focus."""
    wait_for(lambda: painted(page, drawn), because=f"{drawn} is not drawn")
    wait_for(lambda: page.locator("#training-x").count() > 0, because="the controls are not there")


def curves(page: Page) -> int:
    return int(painted(page, "train/loss").get("curves", -1))


@pytest.mark.parametrize(("width", "lines", "shown"), [(1000, 2, 6), (330, 2, 6), (323, 2, 4), (100, 2, 1), (90, 9, 6)])
def test_as_many_names_stand_in_the_legend_as_fit_beside_the_button_for_the_rest(
    ask: Ask, width: int, lines: int, shown: int
) -> None:
    code = (
        f"const {{ fitting }} = await load('curves/legend.js'); return fitting(Array(6).fill(100), {width}, {lines});"
    )
    assert ask(code) == shown


def test_a_name_of_the_legend_shows_and_hides_its_curves_and_only_them(web: Web, page: Page) -> None:
    opened(web, page)
    names = page.locator(".strip-name:visible")
    assert names.count() < 12
    page.locator(".strip-more").click()
    wait_for(lambda: names.count() == 12)
    assert (
        len(set(page.locator(".strip-name .line-key").evaluate_all("keys => keys.map((key) => key.style.color)"))) == 12
    )
    names.nth(2).click()
    wait_for(lambda: curves(page) == 11)
    wait_for(lambda: "off=" in page.url, because="the address says otherwise")
    page.reload()
    settled(page)
    wait_for(lambda: curves(page) == 11, because="a link does not show the same")
    names.nth(2).focus()
    page.keyboard.press("Enter")
    wait_for(lambda: curves(page) == 12)
    page.keyboard.press("Alt+Enter")
    wait_for(lambda: curves(page) == 1)
    names.nth(2).dblclick()
    wait_for(lambda: curves(page) == 12)
    assert names.nth(2).get_attribute("aria-pressed") == "true"


def test_runs_without_a_series_are_named_quietly_and_only_for_charts_in_view(web: Web, page: Page) -> None:
    opened(web, page, "val/loss")
    wait_for(lambda: page.get_by_text("1 run without some of these series").is_visible())
    assert not page.locator(".link.warn").is_visible()


def test_groups_are_named_with_their_key_and_how_many_runs_they_are(web: Web, page: Page) -> None:
    opened(web, page, by="optimizer.lr")
    wait_for(lambda: page.locator(".strip-name").count() == 4)
    assert set(page.locator(".strip-name").all_inner_texts()) == {
        f"optimizer.lr {lr} (3 runs)" for lr in ("0.1", "0.01", "0.001", "0.0001")
    }


def test_the_tooltip_says_of_which_step_values_are(web: Web, page: Page) -> None:
    opened(web, page, "val/loss")
    wait_for(lambda: painted(page, "train/loss"))
    chart = page.locator('.chart[data-tag="val/loss"] .chart-plot')
    chart.hover()
    wait_for(lambda: page.locator(".curves-tip").is_visible())
    said = page.locator(".curves-tip > b").inner_text().removeprefix("step ")
    assert int(said) % 100 == 49, "a step that val/loss has"


def test_an_opened_chart_has_the_best_first_and_is_sorted_by_its_heads(web: Web, page: Page) -> None:
    opened(web, page, "val/loss", chart="val/loss")
    rows = page.locator(".full-rows tbody tr")
    wait_for(lambda: rows.count() == 11)
    assert RUNS[1] in rows.first.inner_text(), "of a loss, the lowest"
    heads = page.locator(".full-rows th")
    assert heads.all_inner_texts() == ["Run", "Last", "Least", "Greatest", "Points"]
    heads.nth(3).get_by_role("button").click()
    heads.nth(3).get_by_role("button").click()
    wait_for(lambda: heads.nth(3).get_attribute("aria-sort") == "descending")
    assert RUNS[11] in rows.first.inner_text()
    assert re.search(r"step 49\b", rows.first.inner_text()), "where the greatest is"


def test_a_group_of_many_charts_folds_at_the_second_prefix(web: Web, page: Page) -> None:
    opened(web, page, NAMES[0], runs=["deep"])
    heads = page.locator(".curves-head")
    assert heads.first.inner_text().split() == ["▾", "layers", str(len(NAMES))]
    heads.nth(1).click()
    wait_for(lambda: heads.nth(1).get_attribute("aria-expanded") == "false")
    assert page.locator(f'.chart[data-tag="{NAMES[0]}"]').count() == 0
    heads.first.click()
    wait_for(lambda: heads.count() == 1, because="its parts are folded with it")


def test_the_last_word_of_the_x_axis_has_room(ask: Ask) -> None:
    code = """
    const { rightOf } = await load("curves/chart.js");
    return [[0, 1000], [0, 1040], [0, 1e6]].map(([lo, hi]) => rightOf("step", false, { lo, hi }, 400));"""
    exact, away, million = ask(code)
    assert exact >= 14, "half of 1000"
    assert away == 8
    assert million >= 7


def test_on_a_phone_a_tap_shows_values_and_a_second_one_what_happened(browser: Browser, web: Web) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        opened(web, page, lo=200, hi=600)
        assert page.locator(".strip-name").first.is_visible(), "while it is zoomed, too"
        chart = page.locator('.chart[data-tag="train/loss"] .chart-plot')
        chart.tap()
        wait_for(lambda: page.locator(".curves-tip").is_visible())
        page.wait_for_timeout(600)  # two taps at once are a double click
        chart.tap()
        wait_for(lambda: page.locator(".curves-card").is_visible())
