"""Every page for everybody: axe-core finds nothing serious, in the dark and in the light, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from dashboard.pages import pages
from tests.conftest import Dashboard, dashboard, script, wait_for
from tests.support.axe import serious

TRAINER = """
import sys, time
from deepseek.log import RunLog

with RunLog(sys.argv[1], run="accessible", config={"lr": 0.1, "model": "vit"}) as log:
    for step in range(300):
        with log.phase("data"):
            pass
        log.scalars(step, {"train/loss": 1 / (step + 1), "val/loss": 2 / (step + 1), "train/lr": 0.1})
    log.text("all is well")
    log.event("checkpoint", step=299, seconds=0.1, text="step 299")
    time.sleep(600)
"""
ANSWERED = """[...document.querySelectorAll('.waiting')].every((chart) => {
  const { top, bottom } = chart.getBoundingClientRect();
  return bottom <= 0 || top >= innerHeight;
})"""
CELLS = """() => {
  const rows = [...document.querySelectorAll('.ag-row, .ag-header-row')];
  return rows.every((row) => row.children.length) ? rows.reduce((sum, row) => sum + row.children.length, 0) : -1;
}"""

NAMELESS = """() => {
  window.nameless = new Set();
  const look = () => {
    for (const shown of document.querySelectorAll("button, a[href]"))
      if (shown.checkVisibility() && !["textContent", "ariaLabel", "title"].some((name) => shown[name]?.trim())) nameless.add(shown.outerHTML);
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true, attributes: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("accessible") / "logs"
    log_dir.mkdir()
    with script(TRAINER, str(log_dir)), dashboard(log_dir, "--no-profile") as running:
        wait_for(lambda: any(row["last_step"] == 299 for row in running.get("/api/v1/runs")["runs"]))
        yield running


@pytest.mark.parametrize(
    ("size", "themes"),
    [
        ((1440, 900), ("dark", "light")),
        ((390, 844), ("light",)),
        pytest.param((390, 844), ("dark",), marks=pytest.mark.long),
    ],
    ids=["desktop", "phone", "phone in the dark"],
)
@pytest.mark.parametrize("shown", pages(), ids=lambda shown: shown.name)
def test_axe_finds_nothing_serious(
    served: Dashboard, page: Page, shown: Any, size: tuple[int, int], themes: tuple[str, ...]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(f"{served.address}{shown.path}?run=accessible&theme={themes[0]}")
    wait_for(lambda: page.evaluate("document.querySelector('#content')?.textContent.length > 20"))
    wait_for(lambda: page.evaluate(ANSWERED), because="a chart in view waits for its first answer")
    for theme in themes:
        if theme != themes[0]:
            page.keyboard.press("t")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        wait_for(lambda: has_settled(page), because="a table still changes")
        said = serious(page)
        assert not said, "\n".join(said)


def has_settled(page: Page) -> bool:
    """Whether the tables have all their cells, and as many as half a second before: AG Grid makes rows first, and cells once it is idle."""
    before = page.evaluate(CELLS)
    page.wait_for_timeout(500)
    return before >= 0 and before == page.evaluate(CELLS)


@pytest.mark.parametrize("shown", pages(), ids=lambda shown: shown.name)
def test_what_can_be_pressed_has_a_name_from_the_first_moment(served: Dashboard, page: Page, shown: Any) -> None:
    page.add_init_script(f"({NAMELESS})()")
    page.goto(f"{served.address}{shown.path}?run=accessible")
    wait_for(lambda: page.evaluate("document.querySelector('#content')?.textContent.length > 20"))
    wait_for(lambda: page.evaluate(ANSWERED), because="a chart in view waits for its first answer")
    page.wait_for_timeout(1500)  # what comes once the page is complete: its findings
    assert page.evaluate("[...nameless]") == []
