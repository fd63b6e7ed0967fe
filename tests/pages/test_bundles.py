"""What a page loads: only the components that it names, inside its budget, and Plotly behind everything else.

Sizes are compressed, as the server sends them. `python -m pytest -s tests/pages/test_bundles.py` prints them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route

from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.extra_pages import extra_pages
from tests.support.serving import Web, served

T0 = 1_764_000_000.0
GRID, PLOTLY = "dash_ag_grid", "plotly"
OURS = dict.fromkeys(
    ("/", "/hosts", "/flame", "/samples", "/boards", "/training", "/logs", "/alerts", "/settings"), 500
)  # kB
BUDGET_KB = {**OURS, "/runs": 1100, "/jobs": 1100, "/grid": 1100, "/figure": 2600}
WITH_GRID = {"/runs", "/jobs", "/grid", "/figure"}
DRAWN = {
    "/": "() => globalThis.dash_clientside !== undefined",
    "/hosts": "() => globalThis.dash_clientside !== undefined",
    "/flame": "() => globalThis.dash_clientside !== undefined",
    "/samples": "() => globalThis.dash_clientside !== undefined",
    "/boards": "() => globalThis.dash_clientside !== undefined && document.querySelector('.board-chart') !== null",
    "/training": "() => document.querySelector('#training-runs .dash-dropdown-trigger') !== null && deepseekPainted.curves['train/loss'] !== undefined",
    "/logs": "() => document.querySelector('#logs-files .dash-dropdown-trigger') !== null && document.querySelector('.log-notice:not([hidden])') !== null",
    "/settings": "() => document.querySelector('#setting-currency') !== null",
    "/runs": "() => document.querySelector('#runs-grid .run-cell') !== null",
    "/alerts": "() => globalThis.dash_clientside !== undefined && document.querySelector('.alerts-left .none') !== null",
    "/jobs": "() => document.querySelector('#jobs-history .ag-root') !== null",
    "/grid": "() => document.querySelector('#grid .ag-row') !== null",
    "/figure": "() => document.querySelector('#settings .ag-row') !== null && document.querySelector('#figure .main-svg') !== null",
}
SIZES = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .map(({ name, encodedBodySize }) => [name, encodedBodySize])"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    data_dir = tmp_path_factory.mktemp("bundles")
    writer = open_store(data_dir, write=True)
    writer.append([Points("a", labels_of(host="box"), ("train/loss",), (1.0,), T0 + step, step) for step in range(99)])
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    with extra_pages(), served(queries) as web:
        yield web
    queries.close()
    writer.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    yield page
    page.close()


def loaded(web: Web, page: Page, path: str) -> dict[str, int]:
    """Bytes by path, of all that the browser fetches until the page is complete."""
    page.goto(f"http://127.0.0.1:{web.port}{path}")
    wait_for(lambda: page.evaluate(DRAWN[path]), 60, f"{path} is not complete")
    page.wait_for_load_state("networkidle")
    sizes = {urlsplit(name).path: size for name, size in page.evaluate(SIZES)}
    return {
        name: size
        for name, size in sizes.items()
        if not name.startswith(("/api/", "/_dash-update", "/_dash-layout", "/_dash-dep"))
    }


@pytest.mark.parametrize("path", BUDGET_KB)
def test_a_page_loads_what_it_names_inside_its_budget(web: Web, page: Page, path: str) -> None:
    files = loaded(web, page, path)
    total_kb = sum(files.values()) / 1000
    dear = sorted(files.items(), key=lambda item: -item[1])[:4]
    print(
        f"\n{path}: {total_kb:.0f} kB in {len(files)} files, most of it {[(Path(name).name, size // 1000) for name, size in dear]}"
    )
    assert min(files.values()) >= 0 and len(files) > 8
    assert (any(GRID in name for name in files), any(PLOTLY in name for name in files)) == (
        path in WITH_GRID,
        path == "/figure",
    )
    assert total_kb <= BUDGET_KB[path]


@pytest.mark.parametrize("path", BUDGET_KB)
def test_the_html_lists_no_components_that_the_page_does_not_name(web: Web, path: str) -> None:
    listed = re.findall(r'(?:src|href)="/_dash-component-suites/(\w+)/', web.ask(path).body.decode())
    assert set(listed) == {"dash", GRID} - ({GRID} if path in OURS else set())


def test_a_page_can_be_used_before_plotly_is_there(web: Web, page: Page) -> None:
    held: list[Route] = []
    page.route("**/plotly*.js", lambda route: held.append(route))
    page.goto(f"http://127.0.0.1:{web.port}/figure")
    wait_for(lambda: page.locator("#settings .ag-row").count() > 0, 60, "no grid")
    wait_for(lambda: page.title() and held, because="Plotly was not asked for")
    page.locator("#press").click()
    wait_for(lambda: page.locator("#pressed").inner_text() == "pressed 1", because="the button does not answer")
    assert page.locator("#figure .main-svg").count() == 0
    for route in held:
        route.continue_()
    wait_for(lambda: page.locator("#figure .main-svg").count() > 0, because="no figure")
