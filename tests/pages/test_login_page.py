"""The log-in page and what comes of it, in a real browser: with a keyboard, without JavaScript, and until the token is revoked."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.types import ASGIApp, Receive, Scope, Send

from access.hosts import Access
from access.roles import Role
from access.tokens import Tokens
from collectors.records import Finding, Points, labels_of
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.auth import link_of, script_hash
from dashboard.pages import pages
from dashboard.queries import Queries
from tests.conftest import Ask, wait_for
from tests.support.axe import serious
from tests.support.other_clients import PROXIED, Asked, ask_whole
from tests.support.serving import served_app

MAX_S = 0.5
INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>(.*?)</script>", re.DOTALL)


class House(NamedTuple):
    address: str
    port: int
    tokens: Tokens


class BehindProxy:
    """All requests come through a proxy, sockets too: what a browser is told to add to its headers is not sure to be in a socket's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        via = [(name.lower().encode(), value.encode()) for name, value in PROXIED.items()]
        await self._app({**scope, "headers": [*scope.get("headers", ()), *via]}, receive, send)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("login")
    now_s = time.time()
    writer = open_store(folder, write=True)
    writer.append(
        [Points("a", labels_of(host="box"), ("train/loss",), (1.0,), now_s - 100 + step, step) for step in range(100)]
    )
    writer.append(
        [Finding("f", "a", "nan_loss", "alert", now_s - 50, now_s - 40, True, "the loss became NaN at step 50", 0, 50)]
    )
    writer.close()
    queries = Queries(open_store(folder, write=False), folder, folder)
    app = make_app(queries, Access())
    app.add_middleware(BehindProxy)
    with served_app(app) as web:
        yield House(f"http://127.0.0.1:{web.port}", web.port, Tokens(folder))
    queries.close()


class Window:
    """A browser that is not the user's own. Its console and all addresses that it asked for are kept."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.problems.append(f"{said.text} {said.location['url']}") if said.type == "error" else None,
        )
        self.page.on(
            "request", lambda request: self.asked.append(f"{request.url} {request.headers.get('referer', '')}")
        )


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    window = Window(browser)
    yield window
    window.context.close()


def log_in(window: Window, house: House, secret: str, path: str = "/") -> None:
    window.page.goto(link_of(house.address, secret, path))
    window.page.get_by_role("button", name="Open the dashboard").click()
    window.page.wait_for_url(f"{house.address}{path}")
    window.page.wait_for_selector("#content")


def test_a_link_is_redeemed_by_its_button_and_left_nowhere(window: Window, house: House) -> None:
    secret = house.tokens.new("linked", Role.VIEWER, time.time() + 3600, {})
    window.page.goto(link_of(house.address, secret, "/logs?run=a"))
    wait_for(lambda: "#" not in window.page.url)
    assert window.page.locator("#token").input_value() == secret
    assert not [each for each in house.tokens.all() if each.of == "linked"], "it was only looked at"
    window.page.keyboard.press("Enter")  # the button has the focus
    window.page.wait_for_url(f"{house.address}/logs?run=a")
    assert window.page.get_attribute("html", "data-role") == "viewer"
    assert not [line for line in window.asked if secret in line], "neither an address nor a referrer has it"
    (cookie,) = window.context.cookies()
    assert cookie["name"] == f"deepseek-{house.port}" and cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    assert window.problems == []


def test_without_javascript_a_link_is_pasted(browser: Browser, house: House) -> None:
    secret = house.tokens.new("pasted", Role.OWNER, None, {})
    window = Window(browser, java_script_enabled=False)
    try:
        window.page.goto(f"{house.address}/hosts")
        assert window.page.title().startswith("Log in")
        window.page.get_by_label("Link or token").fill("nonsense")
        window.page.keyboard.press("Enter")
        assert "not known" in window.page.get_by_role("alert").inner_text()
        window.page.get_by_label("Link or token").fill(secret)
        window.page.get_by_role("button").click()
        assert window.page.url == f"{house.address}/hosts" and window.page.get_attribute("html", "data-role") == "owner"
    finally:
        window.context.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_log_in_page_stands_in_nobodys_way(browser: Browser, house: House, scheme: Any) -> None:
    window = Window(browser, color_scheme=scheme)
    try:
        window.page.goto(f"{house.address}/login")
        wait_for(lambda: window.page.get_attribute("html", "data-theme") == scheme)
        assert serious(window.page) == [] and window.problems == []
        assert window.page.evaluate("document.activeElement.id") == "token"
    finally:
        window.context.close()


def test_a_log_in_takes_a_moment(house: House) -> None:
    """The best of ten: 20 ms at rest."""
    secret = house.tokens.new("timed", Role.VIEWER, None, {})
    form = {"Content-Type": "application/x-www-form-urlencoded", **PROXIED}
    times = []
    for asked in [Asked("GET", "/login", PROXIED), Asked("POST", "/login", form, f"token={secret}")] * 10:
        begun_s = time.perf_counter()
        assert ask_whole(house.port, asked)[0].status in (200, 303)
        times.append(time.perf_counter() - begun_s)
    pairs = [sum(times[i : i + 2]) for i in range(0, len(times), 2)]
    assert min(pairs) <= MAX_S, "page and log-in together"


def test_a_revoked_browser_is_soon_asked_to_log_in(window: Window, house: House) -> None:
    secret = house.tokens.new("ending", Role.VIEWER, None, {})
    log_in(window, house, secret, "/?run=a")
    window.page.wait_for_selector(".lane")
    house.tokens.revoke("ending")
    window.page.get_by_role("button", name="Open the dashboard").wait_for(timeout=30_000)
    assert window.page.locator("#next").get_attribute("value") == "/?run=a"
    assert "was revoked, or is over" in window.page.get_by_role("alert").inner_text()


def test_each_page_as_viewer_draws_without_an_error(window: Window, house: House) -> None:
    """What is not theirs is not asked for; the policy blocks nothing that a page needs."""
    log_in(window, house, house.tokens.new("looking", Role.VIEWER, None, {}))
    assert window.page.locator("#share").count() == 0
    for page in pages():
        if not page.owners:
            window.page.goto(f"{house.address}{page.path}?run=a")
            window.page.wait_for_selector("#content")
            window.page.get_by_text("View only").wait_for()
            assert (
                window.page.locator("[data-owners], [data-exports], .attach, .report").filter(visible=True).count() == 0
            ), page.name
    assert window.problems == []


def test_a_viewer_is_offered_no_change(window: Window, house: House, browser: Browser) -> None:
    log_in(window, house, house.tokens.new("no-change", Role.VIEWER, None, {}), "/?run=a")
    owner = Window(browser)
    log_in(owner, house, house.tokens.new("all-changes", Role.OWNER, None, {}), "/?run=a")
    for shown, is_owner in ((window.page, False), (owner.page, True)):
        shown.locator(".found-mark").first.wait_for()
        shown.locator(".found-mark").first.click()
        shown.get_by_text("the loss became NaN").first.wait_for()
        assert (shown.get_by_role("button", name="Mute").count() > 0) is is_owner
        assert (shown.get_by_role("button", name="Of no use").count() > 0) is is_owner
        shown.keyboard.press("n")
        if is_owner:
            shown.locator("dialog.note").wait_for()
        else:
            shown.keyboard.press("?")
            shown.locator(".hints", has_text="all keys").or_(shown.locator("dialog.help")).first.wait_for()
            assert (
                shown.locator("dialog.note").count() == 0
                and "a note on the window" not in shown.locator("body").inner_text()
            )
    assert window.problems == owner.problems == []
    owner.context.close()


@pytest.mark.parametrize("grants", [[], ["exports"]])
def test_exports_are_offered_where_they_are_granted(grants: list[str], window: Window, house: House) -> None:
    log_in(
        window,
        house,
        house.tokens.new(f"exporting-{len(grants)}", Role.VIEWER, None, {"grants": grants}),
        "/flame?run=a",
    )
    window.page.get_by_role("button", name="Export").click()
    window.page.get_by_role("menuitem", name="Copy link").wait_for()
    assert window.page.get_by_role("menuitem", name="Report").is_visible() is bool(grants)
    window.page.goto(f"{house.address}/runs")
    button = window.page.locator("[data-exports]").filter(has_text="CSV")
    button.wait_for(state="attached")
    assert button.is_visible() is bool(grants)


def test_the_policy_knows_each_inline_script_that_is_sent(house: House) -> None:
    secret = house.tokens.new("reading", Role.OWNER, None, {})
    for path in (*(page.path for page in pages()), "/login", "/nope", "/api/docs"):
        got, headers = ask_whole(house.port, Asked("GET", path, {"Authorization": f"Bearer {secret}"}))
        policy = headers["content-security-policy"]
        assert all(script_hash(script) in policy for script in INLINE.findall(got.text)), path
        scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
        assert (
            "unsafe" not in scripts
            and "frame-ancestors 'none'" in policy
            and headers["x-content-type-options"] == "nosniff"
        )
        assert not re.search(r"<[^>]+\son\w+=", got.text), path


def test_a_view_is_shared_from_its_page(browser: Browser, house: House) -> None:
    owner, colleague = Window(browser), Window(browser)
    try:
        log_in(owner, house, house.tokens.new("sharing", Role.OWNER, None, {}), "/logs?run=a")
        owner.page.locator("#share").click()
        owner.page.get_by_role("button", name="Copy link").click()
        field = owner.page.get_by_label("Link", exact=True)
        field.wait_for()
        assert serious(owner.page, ".share-dialog") == []
        colleague.page.goto(field.input_value())
        colleague.page.get_by_role("button").click()
        colleague.page.wait_for_url(re.compile(r"/logs\?.*run=a"))
        assert colleague.page.get_attribute("html", "data-role") == "viewer"
        assert owner.problems == colleague.problems == []
        owner.page.goto(f"{house.address}/settings")
        row = owner.page.locator(".token-row", has_text="Logs of a")
        row.get_by_role("button", name="Revoke").click()
        row.wait_for(state="detached")
        colleague.page.get_by_label("Link or token").wait_for(
            timeout=30_000
        )  # the open page has become the log-in page
        assert owner.problems == []
    finally:
        owner.context.close()
        colleague.context.close()


def test_a_page_whose_socket_ends_without_a_word_hears_from_an_answer_that_it_is_logged_out(ask: Ask) -> None:
    code = """
    const { Feed } = await load("data/feed.js");
    const said = [];
    class Refused { constructor() { setTimeout(() => this.onclose({ code: 1006 })); } close() {} }
    class Broken { constructor() { setTimeout(() => this.onopen()); setTimeout(() => this.onclose({ code: 1006 }), 5); } close() {} }
    for (const [name, kind] of [["refused", Refused], ["broken", Broken]]) {
      window.WebSocket = kind;
      const feed = new Feed("ws://x", { onConnection() {}, onRefused: () => said.push(name) });
      await new Promise((done) => setTimeout(done, 50));
      feed.close();
    }
    return said;"""
    assert ask(code) == ["refused"]


def test_a_frame_of_another_site_shows_nothing(window: Window, house: House, tmp_path: Path) -> None:
    file = tmp_path / "frame.html"
    file.write_text(f"<iframe src='{house.address}/login'></iframe>")
    window.page.goto(f"file://{file}")
    wait_for(lambda: [problem for problem in window.problems if "frame-ancestors" in problem])
