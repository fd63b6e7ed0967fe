"""The Settings page in a real browser."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from playwright.sync_api import Page

from collectors.records import Points
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.many_runs import LABELS
from tests.support.runs_house import opened
from tests.support.runs_house import queries as queries  # a fixture
from tests.support.runs_house import web as web  # a fixture
from tests.support.runs_house import writer as writer  # a fixture
from tests.support.serving import Web, served

EXPECTED_ERRORS = ("400 (Bad Request)",)  # a mistaken setting


def test_settings_are_saved_and_mistakes_are_said_in_place(page: Page, web: Web, queries: Queries) -> None:
    page.goto(f"http://127.0.0.1:{web.port}/settings")
    price = page.locator("#setting-price_per_gpu_hour")
    price.fill("2.5")
    page.locator("#setting-currency").fill("EUR")
    page.locator("#setting-currency").press("Enter")
    wait_for(lambda: queries.settings().values["price_per_gpu_hour"] == 2.5, because="not saved")
    wait_for(lambda: queries.settings().values["currency"] == "EUR", because="each is saved when it is left")
    price.fill("dear")
    page.locator("#setting-currency").fill("euro")
    page.locator("#setting-retention").fill("soon")
    page.locator("#setting-retention").press("Enter")
    wait_for(
        lambda: page.locator("#wrong-price_per_gpu_hour").inner_text() == "a number",
        because="no sentence beside the field",
    )
    wait_for(lambda: page.locator("#said").inner_text() == "Nothing is saved: 3 fields are wrong.")
    assert page.locator("#wrong-currency").inner_text() == "three capital letters such as EUR"
    assert (
        "soon" in page.locator("#wrong-retention").inner_text() and page.locator("#wrong-time_zone").inner_text() == ""
    )
    assert queries.settings().values["currency"] == "EUR"
    assert queries.settings().values["price_per_gpu_hour"] == 2.5


def test_the_theme_is_chosen_in_this_browser_and_what_is_stored_is_told(page: Page, web: Web) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(f"http://127.0.0.1:{web.port}/settings")
    shown = "() => document.documentElement.dataset.theme"
    for name, theme in (("Dark", "dark"), ("System", "light")):
        page.get_by_role("button", name=name, exact=True).click()
        wait_for(lambda theme=theme: page.evaluate(shown) == theme)  # type: ignore[misc]
        assert page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true"
    aside = page.locator("#settings-aside")
    wait_for(lambda: "Dashboard" in aside.inner_text() and "free on its disk" in aside.inner_text())
    assert page.get_by_role("link", name="Documentation").get_attribute("href") == "api/docs"


def test_times_are_shown_in_the_zone_of_the_settings(page: Page, web: Web, writer: Store) -> None:
    now_s = time.time()
    writer.append([Points("zoned", LABELS, ("train/loss",), (1.0,), now_s, 1)])

    def started() -> str:
        opened(page, web, "?q=name:zoned")
        return page.locator('.ag-row [col-id="started"]').inner_text()

    for zone in ("Asia/Tokyo", "America/St_Johns"):
        page.goto(f"http://127.0.0.1:{web.port}/settings")
        page.locator("#setting-time_zone").fill(zone)
        page.locator("#setting-time_zone").blur()
        wait_for(lambda: page.locator("#said").inner_text() == "All changes saved", because="not saved")
        there = datetime.fromtimestamp(now_s, ZoneInfo(zone))
        assert started() in (f"today {there:%H:%M}", f"{there:%a %H:%M}")


def test_settings_of_a_dashboard_that_only_reads_say_so(page: Page, tmp_path: Path) -> None:
    open_store(tmp_path, write=True).close()
    queries = Queries(
        open_store(tmp_path, write=False), tmp_path, tmp_path, read_only=lambda: "another dashboard writes here"
    )
    with served(queries) as web:
        page.goto(f"http://127.0.0.1:{web.port}/settings")
        page.wait_for_selector("#setting-currency[disabled]")
        assert page.get_by_text("another dashboard writes here").count() == 1
    queries.close()
