"""All pages in Chromium, below a base path and behind a proxy that hands over nothing else: no request leaves it, and none fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from access.hosts import Access
from access.roles import Role
from access.tokens import Tokens
from collectors.records import Finding
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.auth import link_of
from dashboard.pages import pages
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.proxies import PrefixProxy, prefix_proxy
from tests.support.reported import MINUTES, fill
from tests.support.serving import served_app

BASE = "/user/ada/box/"
ADDRESSES = """() => [...document.querySelectorAll("a[href], link[href], script[src], img[src], form[action]")]
    .map((each) => each.href || each.src || each.action)"""
NO_SOURCE = f"{BASE}api/v1/source?"  # the run's files do not exist, and their lines are asked for
LAID_OUT = "() => document.querySelector('#content > *') !== null"


class Window(NamedTuple):
    """`asked` are the addresses of all requests and sockets; `wrong` what the console and failed answers say."""

    page: Page
    address: str
    asked: list[str]
    wrong: list[str]

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}{path}")
        self.laid_out()

    def laid_out(self) -> None:
        wait_for(lambda: self.page.evaluate(LAID_OUT), because="Dash has not laid out the page")

    def stray(self) -> list[str]:
        """Addresses out of the base path: asked for, or named on the shown page."""
        named = [url for url in self.page.evaluate(ADDRESSES) if url.startswith(("http", "ws"))]
        return [url for url in (*self.asked, *named) if not urlsplit(url).path.startswith(BASE)]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrefixProxy, Tokens]]:
    folder = tmp_path_factory.mktemp("walk")
    writer = open_store(folder, write=True)
    t0 = time.time() - 60 * MINUTES
    fill(writer, "run", t0=t0)
    writer.append(
        [Finding("slow-1", "run", "data_bound", "alert", t0 + 120, t0 + 132, True, "It was slow.", 0, 1200, {})]
    )
    queries = Queries(open_store(folder, write=False), folder, folder)
    queries._collector = lambda: {"host": "box", "collectors": []}  # type: ignore[method-assign]
    access = Access(base_path=BASE)
    with served_app(make_app(queries, access), access=access) as web, prefix_proxy(web.port, BASE) as between:
        yield between, Tokens(folder)
    queries.close()
    writer.close()


@pytest.fixture(scope="module")
def context(browser: Browser, proxy: tuple[PrefixProxy, Tokens]) -> Iterator[BrowserContext]:
    """Logged in: the proxy's header says that it is one, so that its connections need a token."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.goto(
        link_of(f"http://localhost:{proxy[0].port}{BASE}", proxy[1].new("me", Role.OWNER, None, {}), "/gpus?run=run")
    )
    page.get_by_role("button", name="Open the dashboard").click()
    page.wait_for_url(f"http://localhost:{proxy[0].port}{BASE}hosts?run=run")  # the address of older versions leads on
    page.close()
    yield context
    context.close()


@pytest.fixture
def window(context: BrowserContext, proxy: tuple[PrefixProxy, Tokens]) -> Iterator[Window]:
    page = context.new_page()
    window = Window(page, f"http://localhost:{proxy[0].port}{BASE.rstrip('/')}", [], [])
    page.on("request", lambda request: window.asked.append(request.url) if request.url.startswith("http") else None)
    page.on("websocket", lambda socket: window.asked.append(socket.url))
    page.on(
        "response",
        lambda answer: window.wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None,
    )
    page.on("pageerror", lambda error: window.wrong.append(str(error)))
    page.on(
        "console",
        lambda said: window.wrong.append(f"{said.text} {said.location['url']}") if said.type == "error" else None,
    )
    yield window
    assert window.stray() == []
    assert [text for text in window.wrong if NO_SOURCE not in text] == []
    assert proxy[0].strayed == []
    page.close()


@pytest.mark.parametrize("path", [page.path for page in pages()])
def test_a_page_draws(window: Window, path: str) -> None:
    window.open(f"{path}?run=run")
    window.page.wait_for_selector('a[data-page][aria-current="page"]', state="attached")
    if path != "/settings":
        wait_for(lambda: window.page.wait_for_timeout(20) or any(url.startswith("ws") for url in window.asked))
    window.page.wait_for_timeout(300)  # what is asked once it stands


def test_keys_and_links_stay_below_it(window: Window) -> None:
    window.open("/?run=run")
    window.page.keyboard.press("7")
    window.page.wait_for_url("**/user/ada/box/hosts?**")
    window.laid_out()
    window.page.keyboard.press("f")
    window.page.wait_for_url("**/user/ada/box/flame?**")
    window.laid_out()
    window.page.keyboard.press("Control+k")
    window.page.locator(".palette input").fill("Logs")
    window.page.wait_for_selector(".palette .hit")
    window.page.keyboard.press("Enter")
    window.page.wait_for_url("**/user/ada/box/logs**")
    window.laid_out()


def test_a_run_is_opened_from_its_row(window: Window) -> None:
    window.open("/runs")
    window.page.locator("#runs-grid .run-cell a").first.click()
    window.page.wait_for_url("**/user/ada/box/?**run=run**")
    window.laid_out()


def test_a_note_on_the_axis_leads_on(window: Window) -> None:
    window.open("/runs")
    csv: Any = window.page.locator("a[href*='format=csv']").first.get_attribute("href")
    assert csv.startswith(f"{BASE}api/v1/table?")
    window.open("/alerts")
    hrefs = window.page.evaluate(
        "() => [...document.querySelectorAll('.alert-row a')].map((a) => a.getAttribute('href'))"
    )
    assert all(href.startswith(BASE) for href in hrefs)


def test_a_shared_view_opens_below_it(window: Window) -> None:
    window.open("/flame?run=run")
    window.page.get_by_role("button", name="Share").click()
    window.page.locator(".share-dialog").get_by_role("button", name="Copy link").click()
    window.page.wait_for_selector(".share-link:not([hidden])")
    link = window.page.locator(".share-link").input_value()
    assert link.startswith(f"{window.address}/login#token=dsk_")
    assert link.endswith("&next=%2Fflame%3Frun%3Drun")
