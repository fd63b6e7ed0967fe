"""The modules of a page in one file: what they export stays the same, and each of them is there once, whoever imports it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from collectors.store.engines import open_store
from dashboard import static_files
from dashboard.pages import frame, pages
from dashboard.queries import Queries
from tests.serving import Web, served
from tests.test_frame import LATER, OWN_MODULES

NAMES = sorted({frame.pack_name(page) for page in pages()})
FORMS = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)
EXPORTED = """async (names) => Object.fromEntries(await Promise.all(names.map(async (name) => [name, Object.keys(await import(name)).sort()])))"""
PACKED = """async ([root, numbers]) => { const pack = await import(`${root}/pack.js`);
  return Object.fromEntries(numbers.map(([name, number]) => [name, Object.keys(pack[`m${number}`]).sort()])); }"""
ONCE = """async ([root, late]) => {
  for (const name of late) await import(`${root}/${name}`);
  const pack = await import(`${root}/pack.js`), dom = await import(`${root}/lib/dom.js`);
  return [dom.el === Object.values(pack).find((module) => module.setText === dom.setText).el, performance.getEntriesByType("resource").map(({ name }) => new URL(name).pathname)];
}"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("packs")
    open_store(folder, write=True).close()
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web
    queries.close()


@pytest.fixture
def blank(web: Web, browser: Browser) -> Iterator[Page]:
    """A page of the dashboard's origin without any of its code."""
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{web.port}/healthz")
    yield page
    page.close()


def test_modules_import_and_export_in_forms_that_a_pack_knows() -> None:
    assert {
        name: lines for name in OWN_MODULES if (lines := unknown_forms((static_files.ASSETS / name).read_text()))
    } == {}


def unknown_forms(text: str) -> list[str]:
    known = {found.start() for form in (static_files.IMPORT, static_files.EXPORT) for found in form.finditer(text)}
    return [line[0] for line in FORMS.finditer(text) if line.start() not in known]


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_has_what_its_modules_export(web: Web, blank: Page, browser: Browser, name: str) -> None:
    pack = static_files.pack_of(name)
    assert pack is not None
    pure = [module for module in pack.numbers if module.startswith(("lib/", "data/", "flame/", "timeline/", "curves/"))]
    plain = blank.evaluate(EXPORTED, [f"/assets/{module}" for module in pure])
    other = browser.new_page()  # a module that defines something of the page does so once
    other.goto(blank.url)
    packed = other.evaluate(
        PACKED, [f"{static_files.versioned()}-{name}", [[module, pack.numbers[module]] for module in pure]]
    )
    other.close()
    assert packed == {module: plain[f"/assets/{module}"] for module in pure} and len(pure) > 5


def test_modules_that_are_loaded_late_take_what_the_pack_has_from_there(web: Web, blank: Page) -> None:
    root = f"{static_files.versioned()}-live"
    pack = static_files.pack_of("live")
    assert pack is not None
    late = [name for name in LATER if static_files.imports(name) & set(pack.numbers)]
    same, fetched = blank.evaluate(ONCE, [root, late])
    inside = [path.removeprefix(f"{root}/") for path in fetched if path.startswith(f"{root}/")]
    assert same and set(late) <= set(inside) and not set(inside) & (set(pack.numbers) - {"lib/dom.js"})


@pytest.mark.parametrize(
    "path", ["-nothing/pack.js", "-live/no.js", "-live/../../README.md", "-live/pages/nothing.js", "-/pack.js"]
)
def test_what_is_no_module_of_a_page_is_not_found(web: Web, path: str) -> None:
    assert web.ask(f"{static_files.versioned()}{path}").status == 404
