"""A report in Chromium: without a network and without scripts all of it is there, in the dark, in the light, on a phone and on paper; and
the buttons that write one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from collectors.store.engines import open_store
from dashboard.report.contents import ReportQuery, gather
from dashboard.report.page import html_of
from tests.dashboard.test_any_request import records
from tests.support.axe import serious
from tests.support.reported import SLOW, T0, fill, inert, opened
from tests.support.serving import Web, served

EXPECTED_ERRORS = ("/api/v1/source", "503 (Service Unavailable)")  # the files of the made run are nowhere


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store, and beside it the reports of its runs."""
    folder = tmp_path_factory.mktemp("shown")
    store = open_store(folder, write=True)
    fill(store, "run")
    fill(store, "starved", data_ms=60, t0=T0 + 1e5)
    store.append(records())
    queries = opened(folder)
    for name, query in {
        "whole": ReportQuery("starved", against="run"),
        "window": ReportQuery("run", SLOW),
        "odd": ReportQuery("odd"),
    }.items():
        (folder / f"{name}.html").write_bytes(html_of(gather(queries, query)))
    queries.close()
    yield folder
    store.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["whole", "window", "odd"])
def test_a_report_opens_without_a_network_and_without_scripts(
    folder: Path, browser: Browser, name: str, theme: Literal["dark", "light"], width: int
) -> None:
    size = {"width": width, "height": 844}
    context = browser.new_context(viewport=size, color_scheme=theme, offline=True, java_script_enabled=False)  # type: ignore[arg-type]
    page = context.new_page()
    asked_for: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url))
    page.goto((folder / f"{name}.html").as_uri())
    assert asked_for == [(folder / f"{name}.html").as_uri()]
    assert page.locator("h1").is_visible() and page.locator("footer").is_visible()
    widest = max(
        box["x"] + box["width"] for box in (part.bounding_box() for part in page.locator("section").all()) if box
    )
    assert widest <= width, "nothing is wider than the page"
    if name != "odd":
        assert page.locator(".flame > svg").count() >= 5 and page.locator(".plot").count() >= 4
        assert page.locator(".bar").is_visible()
    context.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["whole", "window", "odd"])
def test_axe_finds_nothing_serious_in_a_report(
    folder: Path, browser: Browser, name: str, theme: Literal["dark", "light"], width: int
) -> None:
    size = {"width": width, "height": 844}
    context = browser.new_context(viewport=size, color_scheme=theme, bypass_csp=True)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto((folder / f"{name}.html").as_uri())
    said = serious(page)
    context.close()
    assert not said, "\n".join(said)


def test_on_paper_it_is_light(folder: Path, browser: Browser) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto((folder / "whole.html").as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    context.close()


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[Web]:
    queries = opened(folder)
    with served(queries) as web:
        yield web
    queries.close()


def downloaded(page: Page, button: str) -> str:
    with page.expect_download() as download:
        page.click(button)
    assert download.value.suggested_filename == "report-run.html"
    return inert(download.value.path().read_bytes()).text


def test_live_writes_the_report_of_the_run_and_of_the_window(web: Web, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{web.port}/?run=run&from={SLOW[0]}&to={SLOW[1]}")
    page.wait_for_selector(".panel.selected")
    assert "A window" in downloaded(page, ".panel .report button")
    assert "The whole run" in downloaded(page, "#actions .report button")


def test_flame_writes_the_report_of_its_window(web: Web, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{web.port}/flame?run=run&from={SLOW[0]}&to={SLOW[1]}")
    page.wait_for_selector(".flame-head .said:not(:empty)")
    page.get_by_role("button", name="Export").click()
    assert "A window" in downloaded(page, "[role=menuitem]:has-text('Report')")


def test_a_report_that_is_not_answered_leaves_a_sentence(web: Web, page: Page) -> None:
    page.route(
        "**/api/v1/report?*",
        lambda route: route.fulfill(status=503, json={"error": "the dashboard is busy; ask again"}),
    )
    page.goto(f"http://127.0.0.1:{web.port}/flame?run=run&from={SLOW[0]}&to={SLOW[1]}")
    page.wait_for_selector(".flame-head .said:not(:empty)")
    page.get_by_role("button", name="Export").click()
    page.get_by_role("menuitem", name="Report").click()
    page.wait_for_selector(".flame-head [role=status]:has-text('is busy')")
    page.get_by_role("button", name="Export").click()
    page.get_by_role("menuitem", name="Report").wait_for()
