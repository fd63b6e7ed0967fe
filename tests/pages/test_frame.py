"""The frame that the browser gets first, and whether `assets/` holds together."""

from __future__ import annotations

import graphlib
import posixpath
import re
from collections.abc import Iterable

import pytest

import assets
from dashboard.pages import Page, frame, pages

ASSETS = assets.FOLDER
MADE = {"vendor", "built"}
OWN_MODULES = sorted(str(path.relative_to(ASSETS)) for path in ASSETS.rglob("*.js") if not MADE & set(path.parts))
OWN_STYLES = sorted(str(path.relative_to(ASSETS)) for path in ASSETS.rglob("*.css") if not MADE & set(path.parts))
ALONE = {"modules.css", "docs.css", "login.css"}  # of the pages, of the API's page, of the log-in page
STARTS = ["modules.js", "components.js", "login.js"]
IMPORT = re.compile(r'^(?:import|export) [^"]* from "(\.[^"]+)";$', re.MULTILINE)
LATER = re.compile(r'\bimport\("(\.[^"]+)"\)(?!\.(?!then|catch))')
NAMED = re.compile(r'@import url\("([^"]+)"\)')


def imports(name: str, forms: Iterable[re.Pattern[str]] = (IMPORT,)) -> set[str]:
    """Paths below `assets/` of what a module imports."""
    text = (ASSETS / name).read_text()
    targets = (target for form in forms for target in form.findall(text))
    return {posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) for target in targets}


def test_every_module_and_style_is_needed_by_a_page() -> None:
    needed, waiting = set[str](), list(STARTS)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [] if name.startswith("vendor/") else imports(name, (IMPORT, LATER))
    assert {name for name in needed if not name.startswith("vendor/")} == set(OWN_MODULES)
    styles = set(NAMED.findall((ASSETS / "modules.css").read_text()))
    assert {name for name in styles if not name.startswith("vendor/")} | ALONE == set(OWN_STYLES)
    assert all((ASSETS / name).exists() for name in (*needed, *styles, "icon.svg"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_dash_finds_its_places_in_the_index(page: Page) -> None:
    assert not re.search(r"\{%(?!metas|title|css|early|app_entry|config|scripts|renderer)", frame.index(page))


def test_modules_import_what_exists_and_never_in_a_circle() -> None:
    graph = {name: imports(name) for name in OWN_MODULES}
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
