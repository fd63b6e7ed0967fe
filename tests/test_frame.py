"""The frame that the browser gets first, and whether `assets/` holds together."""

from __future__ import annotations

import graphlib
import re

import pytest

from dashboard import static_files
from dashboard.pages import Page, frame, pages

ASSETS = frame.ASSETS
OWN_MODULES = sorted(str(path.relative_to(ASSETS)) for path in ASSETS.rglob("*.js") if "vendor" not in path.parts)
OWN_STYLES = sorted(str(path.relative_to(ASSETS)) for path in ASSETS.rglob("*.css") if "vendor" not in path.parts)
ALONE = {"docs.css", "login.css"}  # of the API's page, of the log-in page
LATER = [
    "login.js",
    "pages/share.js",
    "pages/palette.js",
    "boards/editor.js",
    "ledger/ledger_view.js",
    "findings/findings_view.js",
    "findings/desktop.js",
    "timeline/notes.js",
    "pages/live/cause.js",
]  # modules that are loaded when they are asked for,
NAMED = {
    "pages/palette.css",
    "findings/findings.css",
    "pages/runs/comparison.css",
}  # and styles that a module or another style names


def test_every_module_and_style_is_needed_by_a_page() -> None:
    needed = static_files.needed([static_files.MAIN, *LATER, frame.WITHOUT_MODULE, *map(frame.module_of, pages())])
    assert {name for name in needed if not name.startswith("vendor/")} == set(OWN_MODULES)
    assert {
        *ALONE,
        *NAMED,
        *(name for page in pages() for name in frame.styles_of(page) if "vendor" not in name),
    } == set(OWN_STYLES)
    assert all((ASSETS / name).exists() for name in (*needed, *frame.STYLES, "icon.svg"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_preloads_what_it_needs_and_nothing_of_another_one(page: Page) -> None:
    pack = static_files.pack_of(frame.pack_name(page))
    others = {frame.module_of(other) for other in pages()} - {frame.module_of(page)}
    preloaded = re.findall(r'modulepreload" href="/assets/v[0-9a-f]{12}-(\w+)/([^"]+)"', frame.index(page))
    assert pack is not None and pack.entry == frame.module_of(page) and not others & set(pack.numbers)
    assert preloaded == [(pack.page, name) for name in (static_files.PACK, static_files.MAIN, *pack.vendored)]
    assert {static_files.MAIN, *pack.numbers, *pack.vendored} == set(
        static_files.needed([static_files.MAIN, pack.entry])
    )


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_dash_finds_its_places_in_the_index(page: Page) -> None:
    assert not re.search(r"\{%(?!metas|title|css|early|app_entry|config|scripts|renderer)", frame.index(page))
    assert frame.CONTAINER in (ASSETS / "main.js").read_text()


def test_modules_import_what_exists_and_never_in_a_circle() -> None:
    graph = {name: static_files.imports(name) for name in OWN_MODULES}
    assert all((ASSETS / target).exists() for targets in graph.values() for target in targets)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_colour_that_is_used_is_a_token_of_both_themes() -> None:
    tokens = (ASSETS / "tokens.css").read_text()
    known = set(re.findall(r"--([\w-]+):", tokens))
    styles = "".join((ASSETS / name).read_text() for name in OWN_STYLES if name != "tokens.css")
    used = set(re.findall(r"var\(--([\w-]+)\)", styles))
    drawn = {
        name for module in OWN_MODULES for name in re.findall(r'token\("([\w-]+)"\)', (ASSETS / module).read_text())
    }
    local = {"gutter", "grow", "h", "row-height"}  # set where a lane, or a row of a board, is made
    assert (used | drawn) - known == local & used
    dark, light = (set(re.findall(r"--([\w-]+): *#", block)) for block in themes(tokens))
    assert dark == light


def themes(tokens: str) -> tuple[str, str]:
    """The text of all blocks of the dark theme, and of the light one."""
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", tokens)
    dark = "".join(text for selector, text in blocks if '"dark"' in selector)
    return dark, "".join(text for selector, text in blocks if '"light"' in selector)
