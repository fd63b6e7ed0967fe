"""The frame around all pages: the HTML that the browser gets first, and Dash's outermost layout.

The bar, the status line and a place for the first picture are in the HTML itself, so that the page draws before Dash is
loaded: `assets/main.js` takes Dash's bundles out of their template when the first picture is drawn, and moves the drawn page
into its container when Dash has laid that out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from html import escape
from urllib.parse import urlencode

from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.backends._fastapi import get_current_request, reset_current_request, set_current_request
from starlette.requests import Request

from access.roles import Role
from collectors.store.store import StoreError

from .. import static_files
from ..auth import policy_of, script_hash
from ..network import path_to, strip_base_path
from ..queries import NotFound, Queries
from ..static_files import ASSETS, versioned
from ..visitors import visitor
from . import pages
from .page import Page, PageRequest, empty

STYLES = ("tokens.css", "vendor/uPlot.min.css", "app.css", "flame/flame.css")  # of every page; its own page.css follows
WITHOUT_MODULE = "pages/dash_page.js"  # draws what a page of Dash components holds of ours
SOURCE = re.compile(r'<script[^>]* src="([^"]+)"')
SUITE = re.compile(r"_dash-component-suites/(\w+)/")
CONTAINER, SELECTION, ADDRESS = "content", "selection", "address"  # ids in the outermost layout

THEME = """
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
    styles = "\n".join(f'<link rel="stylesheet" href="{assets}/{name}">' for name in styles_of(page))
    modules = f"{assets}-{pack_name(page)}"
    preloads = "\n".join(f'<link rel="modulepreload" href="{modules}/{name}">' for name in modules_of(page))
    links = "".join(
        f'<a href="{path_to(other.path)}"><i>{other.key}</i>{escape(other.name)}</a>'
        for other in pages()
        if not other.owners or is_owner
    )
    return f"""<!doctype html>
<html lang="en" data-time-zone="{escape(time_zone)}" data-base="{path_to("/")}" data-role="{asking.role}" data-grants="{" ".join(sorted(asking.grants))}">
<head>
{{%metas%}}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(page.name)} - DeepSeek Dashboard</title>
<script>{THEME}</script>
{styles}
{preloads}
{{%early%}}
<link rel="icon" href="{assets}/icon.svg">
{{%css%}}
</head>
<body data-module="./{static_files.PACK}">
<header id="bar" class="bar">
<div class="brand">{LOGO}<span>DeepSeek Dashboard</span></div>
<nav class="nav" aria-label="Pages">{links}</nav>
<a class="firing" href="{path_to("/alerts")}" hidden></a>
<div id="controls" class="controls"></div>
</header>
<main id="first"></main>
<script type="module" async src="{modules}/{static_files.MAIN}"></script>
{{%app_entry%}}
<footer id="status" class="status"></footer>
{{%config%}}
<template id="dash">
{{%scripts%}}
{{%renderer%}}
</template>
</body>
</html>"""


class DashboardApp(Dash):  # type: ignore[misc]  # Dash has no types
    """Dash with an index for each page, which loads only the browser code of the packages that the page names."""

    time_zone: Callable[[], str] = staticmethod(lambda: "")
    questions: Callable[[Page, Request], list[str]] = staticmethod(lambda page, request: [])
    owners_callbacks: frozenset[str] = frozenset()  # outputs of those of pages that are the owner's

    @cached_property
    def policy(self) -> str:
        """The Content-Security-Policy of a page. Its inline scripts are known beforehand: of what else stands in a page nothing runs."""
        return policy_of([script_hash(THEME), *self.csp_hashes()])

    def page_index(self, page: Page, request: object) -> str:
        shown, asked = _shown.set(page), set_current_request(request)
        try:
            return str(self.index())
        finally:
            reset_current_request(asked)
            _shown.reset(shown)

    def interpolate_index(self, **parts: str) -> str:
        page = _shown.get()
        text = index(page, self.time_zone())
        for name, part in parts.items():
            text = text.replace(f"{{%{name}%}}", _without_others(part, page) if name in ("scripts", "css") else part)
        request = get_current_request()
        early = [
            _early(_without_others(parts["scripts"], page), page, request),
            *map(_preload, self.questions(page, request)),
        ]
        return text.replace("{%early%}", "\n".join(early))


def _without_others(tags: str, page: Page) -> str:
    """Script and style tags without those of packages that the page does not name."""
    kept = {"dash", *page.packages}
    return "\n".join(tag for tag in tags.split("\n") if (suite := SUITE.search(tag)) is None or suite[1] in kept)


def _early(scripts: str, page: Page, request: Request) -> str:
    """The first picture of a page that names packages waits for Dash: its bundles are fetched beside our modules, and its first answers."""
    if not page.packages:
        return ""
    names = [*SOURCE.findall(scripts), *(path_to(f"/_dash-component-suites/{chunk}") for chunk in page.chunks)]
    bundles = [f'<link rel="preload" as="script" href="{name}">' for name in names]
    search = f"?{request.url.query}" if request.url.query else ""
    asked = [layout_question(page.path, search), "/_dash-dependencies"]
    return "\n".join([*bundles, *(_preload(address, " data-dash") for address in asked)])


def _preload(address: str, more: str = "") -> str:
    """Of an answer that `fetch` takes without asking again."""
    return f'<link rel="preload" as="fetch" crossorigin{more} href="{escape(path_to(address))}">'


def module_of(page: Page) -> str:
    return f"pages/{page.module}/page.js" if page.module else WITHOUT_MODULE


def styles_of(page: Page) -> list[str]:
    own = f"pages/{page.module}/page.css"
    return [*STYLES, own] if page.module and (ASSETS / own).exists() else [*STYLES]


def modules_of(page: Page) -> list[str]:
    """What is asked for as the HTML comes: the page's modules in a pack, what starts them, and libraries."""
    pack = static_files.pack_of(pack_name(page))
    return [] if pack is None else [static_files.PACK, static_files.MAIN, *pack.vendored]


def pack_name(page: Page) -> str:
    """`flame`; of a page without a module of its own, that of the module that stands in for it."""
    return page.module or WITHOUT_MODULE.removeprefix("pages/").removesuffix(".js")


def layout(path: str | None = None, content: object = None) -> html.Main:
    """The selection, which our modules write and callbacks read, and the place of the page, filled where the page is known."""
    address = dcc.Location(ADDRESS) if content is None else dcc.Location(ADDRESS, pathname=path and path_to(path))
    return html.Main(
        id="page", children=[address, dcc.Store(SELECTION), html.Div(content, id=CONTAINER, className="page")]
    )


def layout_question(path: str, search: str) -> str:
    """Dash's question for the layout, with the page that it is for."""
    return f"/_dash-layout?{urlencode({'at': path, 'search': search})}"


def early_questions(page: Page, request: Request, queries: Queries) -> list[str]:
    """None where the store cannot be read: the page itself says why."""
    try:
        return list(page.early(PageRequest(request.query_params, queries)))
    except (StoreError, NotFound):
        return []


def register(dash: DashboardApp, queries: Queries) -> None:
    """The layouts and callbacks of all pages. What a page's module draws is in the container before Dash is loaded."""
    dash.questions = lambda page, request: early_questions(page, request, queries)
    dash.time_zone = lambda: str(queries.settings().values["time_zone"])
    made = {page.path: page for page in pages() if page.layout_of or page.layout is not empty}
    dash.layout = layout
    if not made:
        return
    owners: set[str] = set()

    def content(path: object, search: object) -> object:
        """None: Dash lays out nothing on this page."""
        page = made.get(path) if isinstance(path, str) else None
        if page is None or (page.owners and visitor().role is not Role.OWNER):
            return None
        return page.layout_of(search if isinstance(search, str) else "") if page.layout_of else page.layout()

    def whole() -> html.Main:
        query = get_current_request().query_params
        path = query.get("at")
        return layout(path, content(path, query.get("search")))

    dash.layout = whole

    @dash.callback(
        Output(CONTAINER, "children"), Input(ADDRESS, "pathname"), State(ADDRESS, "search"), prevent_initial_call=True
    )  # type: ignore[untyped-decorator]
    def show(path: object, search: object) -> object:
        found = content(strip_base_path(path) if isinstance(path, str) else None, search)
        return no_update if found is None else found

    for page in pages():
        before = set(dash.callback_map)
        page.callbacks(dash, queries)
        if page.owners:
            owners |= set(dash.callback_map) - before
    dash.owners_callbacks = frozenset(owners)
