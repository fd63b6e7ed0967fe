"""What axe-core finds on a page that stands in the way of those who hear it or use a keyboard."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.browser_types import PROGRAMS, install
from tests.support.running import wait_for

SERIOUS = ("serious", "critical")


AT_REST = """() => !document.querySelector(".stale")
  && document.getAnimations().every((each) => each.playState !== "running" || each.effect?.getTiming().iterations === Infinity)"""


def serious(page: Page, selector: str = "html") -> list[str]:
    """A sentence for each serious finding below the selector."""
    install()
    wait_for(
        lambda: page.evaluate(AT_REST),
        because="the page does not come to rest: what is read again is fainter meanwhile",
    )
    page.evaluate(
        (PROGRAMS / "axe-core" / "axe.min.js").read_text()
    )  # no script tag: the page's policy takes inline ones of ours only
    found = page.evaluate("(selector) => axe.run(selector, {resultTypes: ['violations']})", selector)
    return [
        f"{violation['id']}: {violation['help']} at {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
