"""The frame around all pages: the HTML that the browser gets first, and how Dash comes to know the pages.

The bar and the status line are in the HTML itself. `assets/shell.js` starts the view of the page, whose charts stand in `#ahead` at first.
Dash waits in a template until they are drawn; its components then take the view's parts into the layout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from html import escape
from typing import Any
from urllib.parse import urlsplit

from dash import Dash, Input, Output, html, no_update
from dash.backends._fastapi import get_current_request, reset_current_request, set_current_request
from starlette.requests import Request

from access.roles import Role
from collectors.store.store import StoreError

from ..auth import policy_of, script_hash
from ..components import Address, Selection
from ..network import path_to, strip_base_path
from ..queries import NotFound, Queries
from ..static_files import versioned
from ..visitors import visitor
from . import pages
from .page import DCC, Page, PageRequest, query_of

STYLES, MODULES, COMPONENTS = "built/modules.css", "built/modules.js", "components.js"
SOURCE = re.compile(r'<script[^>]* src="([^"]+)"')
SUITE = re.compile(r"_dash-component-suites/(\w+)/")
PARTS = {"/polyfill": DCC, "/dcc/": DCC, "/dash_table/": "dash_table"}  # of the package `dash`
LATER = (DCC, "dash_ag_grid")
ADDRESS, CONTENT, SELECTION = "address", "content", "selection"  # ids in the outermost layout
OWNERS_ONLY = "This page is the owner's."

EARLY = """
const asked = new URLSearchParams(location.search).get("theme") || localStorage.getItem("theme");
const system = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
document.documentElement.dataset.theme = ["dark", "light"].includes(asked) ? asked : system;
"""

LOGO = """<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
<path d="M0 4h5v3h-1.5v5h9v-5H11V4h5" fill="none" stroke="var(--accent)" stroke-width="1.6"/></svg>"""


_shown: ContextVar[Page] = ContextVar("shown", default=pages()[0])


def index(page: Page, time_zone: str = "") -> str:
    """Dash's index string for one page; the places in {%...%} are Dash's to fill. `time_zone` is that of shown times, "" for the browser's."""
    assets, asking = path_to(versioned()), visitor()
    is_owner = asking.role is Role.OWNER
    links = "".join(
        f'<a href="{path_to(other.path)}" title="{escape(other.name)} ({other.key})"><i>{other.key}</i>{escape(other.name)}</a>'
        for other in pages()
        if not other.owners or is_owner
    )
    return f"""<!doctype html>
<html lang="en" data-time-zone="{escape(time_zone)}" data-base="{path_to("/")}" data-role="{asking.role}" data-grants="{" ".join(sorted(asking.grants))}">
<head>
{{%metas%}}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.name)} - DeepSeek Dashboard</title>
<script>{EARLY}</script>
<link rel="stylesheet" href="{assets}/{STYLES}">
<link rel="modulepreload" href="{assets}/{MODULES}">
{{%early%}}
<link rel="icon" href="{assets}/icon.svg">
{{%css%}}
</head>
<body>
<header id="bar" class="bar">
<div class="brand">{LOGO}<span>DeepSeek Dashboard</span></div>
<nav class="nav" aria-label="Pages">{links}</nav>
<a class="firing" href="{path_to("/alerts")}" hidden></a>
<div class="controls"><div id="controls"></div></div>
</header>
<div id="ahead" class="page"></div>
{{%app_entry%}}
<footer id="status" class="status"></footer>
<script type="module" src="{assets}/{MODULES}"></script>
{{%config%}}
<template id="dash">
{{%scripts%}}
{{%renderer%}}
</template>
</body>
</html>"""


class DashboardApp(Dash):  # type: ignore[misc]  # Dash has no types
    """Dash with the frame as its index, which loads at first only the browser code of the packages that the page names."""

    time_zone: Callable[[], str] = staticmethod(lambda: "")
    questions: Callable[[Page, Request], list[str]] = staticmethod(lambda page, request: [])

    @cached_property
    def policy(self) -> str:
        """The Content-Security-Policy of a page. Its inline scripts are known beforehand: of what else stands in a page nothing runs."""
        return policy_of([script_hash(EARLY), *self.csp_hashes()])

    def page_index(self, page: Page, request: object) -> str:
        shown, asked = _shown.set(page), set_current_request(request)
        try:
            return str(self.index())
        finally:
            reset_current_request(asked)
            _shown.reset(shown)

    def interpolate_index(self, **parts: str) -> str:
        page = _shown.get()
        now, later = _sorted_out(parts["scripts"], page)
        parts |= {"scripts": "\n".join([_components(later), *now]), "css": ""}
        text = index(page, self.time_zone())
        for name, part in parts.items():
            text = text.replace(f"{{%{name}%}}", part)
        scripts = [
            *SOURCE.findall("\n".join(now)),
            *(path_to(f"/_dash-component-suites/{chunk}") for chunk in page.chunks),
        ]
        early = [
            *map(_preload, self.questions(page, get_current_request())),
            *(f'<link rel="preload" as="script" href="{name}" fetchpriority="low">' for name in scripts),
        ]
        return text.replace("{%early%}", "\n".join(early))


def _sorted_out(tags: str, page: Page) -> tuple[list[str], dict[str, list[str]]]:
    """Script tags that the page needs at first, and the addresses of the others by package.

    Of Dash's own, `dcc` alone needs the polyfill.
    """
    now, later = list[str](), dict[str, list[str]]()
    for tag in tags.split("\n"):
        suite, source = SUITE.search(tag), SOURCE.search(tag)
        package = next((name for part, name in PARTS.items() if part in tag), suite[1] if suite else "")
        if suite is None or package in ("dash", *page.packages):
            now.append(tag)
        elif source and package in LATER:
            later.setdefault(package, []).append(source[1])
    return now, later


def _components(later: dict[str, list[str]]) -> str:
    source = path_to(f"{versioned()}/{COMPONENTS}")
    return f'<script src="{source}" data-later="{escape(json.dumps(later))}"></script>'


def _preload(address: str) -> str:
    """Of an answer that `fetch` takes without asking again."""
    return f'<link rel="preload" as="fetch" crossorigin href="{escape(path_to(address))}">'


def early_questions(page: Page, request: Request, queries: Queries) -> list[str]:
    """None where the store cannot be read: the page itself says why."""
    try:
        return list(page.early(PageRequest(request.query_params, queries)))
    except (StoreError, NotFound):
        return []


def register(app: DashboardApp, queries: Queries) -> frozenset[str]:
    """The pages' layouts, behind one callback that follows the address, and their callbacks; returns the outputs of those of the owner's pages."""
    app.questions = lambda page, request: early_questions(page, request, queries)
    app.time_zone = lambda: str(queries.settings().values["time_zone"])
    by_path = {page.path: page for page in pages()}

    @app.callback(
        Output(CONTENT, "children"), Input(ADDRESS, "pathname"), Input(ADDRESS, "search"), prevent_initial_call=True
    )  # type: ignore[untyped-decorator]
    def show(pathname: object, search: object) -> object:
        page = by_path.get(strip_base_path(pathname)) if isinstance(pathname, str) else None
        return no_update if page is None else layout_of(page, search if isinstance(search, str) else "")

    def layout() -> html.Main:
        """Of the document that asks, so that its first picture waits for no callback."""
        shown = urlsplit(get_current_request().headers.get("referer", ""))
        page = by_path.get(strip_base_path(shown.path))
        search = f"?{shown.query}" if shown.query else ""
        content = None if page is None else layout_of(page, search)
        address = Address(ADDRESS) if page is None else Address(ADDRESS, shown.path, search)
        return html.Main([address, Selection(SELECTION), html.Div(content, id=CONTENT)], id="page")

    app.layout = layout

    owners: set[str] = set()
    for page in pages():
        before = set(app.callback_map)
        page.callbacks(app, queries)
        if page.owners:
            owners |= set(app.callback_map) - before
    return frozenset(owners)


def layout_of(page: Page, search: str) -> Any:
    if page.owners and visitor().role is not Role.OWNER:
        return html.P(OWNERS_ONLY, className="page-part")
    return html.Div(page.layout(**query_of(search)), className="page", key=page.path)
