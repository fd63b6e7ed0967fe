"""The frame that the browser gets first, and whether `assets/` holds together."""

from __future__ import annotations

import graphlib
import re
from pathlib import Path

from dash import Dash

from dashboard.pages import frame

ASSETS = Path(__file__).parents[1] / "assets"
OWN_MODULES = sorted(path.name for path in ASSETS.glob("*.js"))


def imports(module: str) -> set[str]:
    return set(re.findall(r'from "\./([^"]+)"', (ASSETS / module).read_text()))


def needed(module: str) -> set[str]:
    """The module itself, and what it imports, directly or not."""
    known, new = {module}, [module]
    while new:
        found = imports(new.pop()) - known
        known |= found
        new += [name for name in found if not name.startswith("vendor/")]
    return known


def test_what_every_page_needs_is_preloaded_and_no_module_is_left_over() -> None:
    script = (ASSETS / "main.js").read_text()
    pages = [needed(module) for module in re.findall(r'import\("\./([^"]+)"\)', script)]
    assert len(pages) == len(frame.PAGES)
    assert sorted(frame.MODULES) == sorted(needed("main.js") | set.intersection(*pages))
    assert set(OWN_MODULES) <= set.union(needed("main.js"), *pages)
    assert all((ASSETS / name).exists() for name in (*set.union(*pages), *frame.STYLES, "icon.svg"))


def test_dash_takes_the_index_and_finds_its_places_in_it() -> None:
    dash = Dash("deepseek", index_string=frame.INDEX, assets_ignore=".*")
    assert dash.index_string == frame.INDEX
    assert not re.search(r"\{%(?!metas|title|css|app_entry|config|scripts|renderer)", frame.INDEX)


def test_the_script_mounts_in_the_containers_that_the_layout_offers() -> None:
    script = (ASSETS / "main.js").read_text()
    assert [(path, container) for path, container, _ in re.findall(r'\["(/\w*)", "(\w+)", (\(\) => import)', script)] == [
        (path, page.CONTAINER_ID) for _, _, path, page in frame.PAGES
    ]
    assert [container.id for container in frame.layout().children] == [page.CONTAINER_ID for *_, page in frame.PAGES]


def test_modules_import_what_exists_and_never_in_a_circle() -> None:
    graph = {name: imports(name) for name in OWN_MODULES}
    assert all((ASSETS / target).exists() for targets in graph.values() for target in targets)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_colour_that_is_used_is_a_token_of_both_themes() -> None:
    tokens = (ASSETS / "tokens.css").read_text()
    known = set(re.findall(r"--([\w-]+):", tokens))
    styles = "".join((ASSETS / name).read_text() for name in frame.STYLES if "/" not in name and name != "tokens.css")
    used = set(re.findall(r"var\(--([\w-]+)\)", styles))
    drawn = {name for module in OWN_MODULES for name in re.findall(r'token\("([\w-]+)"\)', (ASSETS / module).read_text())}
    local = {"gutter", "grow", "h"}  # set where a lane is made
    assert (used | drawn) - known == local & used
    dark, light = (set(re.findall(r"--([\w-]+): *#", block)) for block in themes(tokens))
    assert dark == light


def themes(tokens: str) -> tuple[str, str]:
    """The text of all blocks of the dark theme, and of the light one."""
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", tokens)
    dark = "".join(text for selector, text in blocks if '"dark"' in selector)
    return dark, "".join(text for selector, text in blocks if '"light"' in selector)
