"""The frame around all pages: the HTML that the browser gets first, and how Dash comes to know the pages.

The bar, the row of the scope and the status line are in the HTML itself, and none of their parts ever moves. `assets/shell.js` starts the view of the page, whose charts stand in `#ahead` at first.
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
from dash.development.base_component import ComponentRegistry
from starlette.requests import Request

from access.roles import Role
from collectors.store.store import StoreError

from ..auth import policy_of, script_hash
from ..components import Address, Selection
from ..network import path_to, strip_base_path
from ..queries import NotFound, Queries
from ..static_files import versioned
from ..visitors import visitor
from . import custom, pages
from .page import DCC, OF_DASH, Page, PageRequest, query_of

STYLES, MODULES, COMPONENTS = "built/modules.css", "built/modules.js", "components.js"
SOURCE = re.compile(r'<script[^>]* src="([^"]+)"')
SUITE = re.compile(r"_dash-component-suites/(\w+)/")
PARTS = {"/polyfill": DCC, "/dcc/": DCC, "/dash_table/": OF_DASH[1]}  # of the package `dash`
ALERTS = "/alerts"
VIEWER = '<span class="tag-viewer" title="Changes, settings, alerts and what was not granted belong to the owner.">View only</span>'
ADDRESS, CONTENT, SELECTION = "address", "content", "selection"  # ids in the outermost layout
OWNERS_ONLY = "This page is the owner's."

EARLY = """
const asked = new URLSearchParams(location.search).get("theme") || localStorage.getItem("theme");
const system = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
document.documentElement.dataset.theme = ["dark", "light"].includes(asked) ? asked : system;
"""

LOGO = """<svg class="logo" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
<path d="M0 4h5v3h-1.5v5h9v-5H11V4h5" fill="none" stroke="var(--accent)" stroke-width="1.6"/></svg>"""
ENTRIES = {  # of the bar, which never change, and the drawing of each on a phone
    "Live": "M1 9h3l2-5 3 8 2-4h4",
    "Training": "M2 2v12h12M4 11c3 0 4-6 9-7",
    "Flame": "M2 12h12v-3H2zM2 9h8V6H2zM2 6h5V3H2z",
    "Logs": "M2 4h12M2 7h8M2 10h11M2 13h6",
    "Runs": "M2 3h12v10H2zM2 6.5h12M6 6.5V13",
    "Boards": "M2 3h5v4H2zM9 3h5v7H9zM2 9h5v4H2zM9 12h5v1H9z",
    "Hosts": "M3 2h10v5H3zM3 9h10v5H3zM5.5 4.5h1M5.5 11.5h1",
}
DRAWINGS = {
    "search": "M10 10l4 4M6.5 2a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9z",
    "bell": "M3 12h10l-1.5-2V7a3.5 3.5 0 0 0-7 0v3zM6.5 14h3",
    "share": "M8 10V2M5 5l3-3 3 3M3 9v5h10V9",
    "menu": "M2 4h12M2 8h12M2 12h12",
}


_shown: ContextVar[Page] = ContextVar("shown", default=pages()[0])


def index(page: Page, time_zone: str = "") -> str:
    """Dash's index string for one page; the places in {%...%} are Dash's to fill. `time_zone` is that of shown times, "" for the browser's."""
    assets, asking = path_to(versioned()), visitor()
    shown = [other for other in pages() if not other.owners or asking.role is Role.OWNER]
    bar = {entry: [other for other in shown if other.within == entry] for entry in ENTRIES}
    menu = [other for other in shown if other.within not in ENTRIES and other.path != ALERTS]
    alerts = next(
        (_link(other, f"{_drawing(DRAWINGS['bell'])}<b></b>", "bell") for other in shown if other.path == ALERTS), ""
    )
    is_owner = asking.role is Role.OWNER
    sharing = _button("share", "Share: a link to this view", "bar-icon") if is_owner else ""
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
<a class="brand" href="{path_to("/")}" aria-label="DeepSeek Dashboard">{LOGO}<span>DeepSeek Dashboard</span></a>
<nav class="nav" aria-label="Pages">{"".join(_entry(entry, found) for entry, found in bar.items() if found)}</nav>
<div class="bar-tools">
<button id="search" class="bar-search" type="button" title="Search or jump to (Ctrl K)">{_drawing(DRAWINGS["search"])}<span>Search or jump to</span><kbd>Ctrl K</kbd></button>
{"" if is_owner else VIEWER}{alerts}{sharing}{_button("menu", "Menu", "bar-icon", 'popovertarget="menu"')}
</div>
<div id="menu" class="menu" popover>
<button id="turn" type="button" title="Dark or light (t)">Theme: <span id="theme-name"></span></button>
{'<button id="menu-share" type="button">Share</button>' if is_owner else ""}
<button id="all-keys" type="button" title="All keys (?)">All keys</button>
{"".join(_link(other, escape(other.name)) for other in menu)}
</div>
</header>
<div id="scope" class="scope">
<div id="picker" class="scope-run"></div>
<div class="scope-middle" role="group" aria-label="The shown run" tabindex="0">{"".join(_tabs(entry, found) for entry, found in bar.items() if found[1:])}<div id="state" class="state"></div><div id="actions" class="scope-actions"></div></div>
<div id="when" class="when"></div>
</div>
<div id="page-said" class="page-said" role="status" hidden></div>
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


def _link(page: Page, content: str, kind: str = "") -> str:
    key = f" ({page.key})" if page.key else ""
    known = f'data-page="{escape(page.name)}" data-key="{page.key}" data-entry="{escape(page.within)}"'
    return f'<a class="{kind}" href="{path_to(page.path)}" title="{escape(page.name)}{key}" {known}>{content}</a>'


def _entry(entry: str, found: list[Page]) -> str:
    """The bar's link to the first of these pages. The word keeps its width where it is bold."""
    return _link(found[0], f'{_drawing(ENTRIES[entry])}<span data-word="{entry}">{entry}</span>')


def _button(name: str, title: str, kind: str, more: str = "") -> str:
    known = more or f'id="{name}"'
    return f'<button class="{kind}" type="button" title="{title}" aria-label="{title.partition(":")[0]}" {known}>{_drawing(DRAWINGS[name])}</button>'


def _drawing(path: str) -> str:
    return f'<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path d="{path}" fill="none" stroke="currentColor" stroke-width="1.3" stroke-linejoin="round"/></svg>'


def _tabs(entry: str, found: list[Page]) -> str:
    links = "".join(_link(page, escape(page.tab or page.name)) for page in found)
    return f'<nav class="tabs" aria-label="{entry}" data-entry="{entry}" hidden>{links}</nav>'


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

    Of Dash's own, `dcc` and `dash_table` need the polyfill.
    """
    now, later = list[str](), dict[str, list[str]]()
    for tag in tags.split("\n"):
        suite, source = SUITE.search(tag), SOURCE.search(tag)
        package = next((name for part, name in PARTS.items() if part in tag), suite[1] if suite else "")
        is_needed = "/polyfill" in tag and set(OF_DASH).intersection(page.packages)
        if suite is None or is_needed or package in ("dash", *page.packages):
            now.append(tag)
        elif source and package in custom.served():
            later.setdefault(package, []).append(source[1])
    if table := later.get(OF_DASH[1]):
        table[:0] = [source for source in SOURCE.findall(tags) if "/polyfill" in source]  # the browser loads it once
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
    custom.serve(ComponentRegistry.registry)

    def page_at(path: str) -> Page | None:
        return by_path.get(path) or custom.missing(path)

    @app.callback(
        Output(CONTENT, "children"), Input(ADDRESS, "pathname"), Input(ADDRESS, "search"), prevent_initial_call=True
    )  # type: ignore[untyped-decorator]
    def show(pathname: object, search: object) -> object:
        page = page_at(strip_base_path(pathname)) if isinstance(pathname, str) else None
        return no_update if page is None else layout_of(page, search if isinstance(search, str) else "")

    def layout() -> html.Main:
        """Of the document that asks, so that its first picture waits for no callback."""
        shown = urlsplit(get_current_request().headers.get("referer", ""))
        page = page_at(strip_base_path(shown.path))
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
