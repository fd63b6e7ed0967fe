"""What axe-core finds on a page that stands in the way of those who hear it or use a keyboard."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.browser_types import PROGRAMS, install

SERIOUS = ("serious", "critical")


def serious(page: Page, selector: str = "html") -> list[str]:
    """A sentence for each serious finding below the selector."""
    install()
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
