"""What a test waits for may be said by a page meanwhile."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.conftest import wait_for


def test_an_address_that_changes_while_a_test_waits_is_seen(page: Page) -> None:
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.evaluate("() => void setTimeout(() => { location.hash = 'later'; console.log('later'); }, 300)")
    wait_for(lambda: page.url.endswith("#later") and heard == ["later"], 5)
