"""A page: its row in the navigation bar, its module, layout and callbacks, and what is sent ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import urlencode

if TYPE_CHECKING:
    from dash import Dash
    from dash.development.base_component import Component
    from starlette.datastructures import QueryParams

    from ..queries import Queries


# What a page is sure to ask of the API: its HTML says so, and the browser asks while it still fetches our modules.

ROOT = "/api/v1/"


class PageRequest:
    """A page as its address asks for it."""

    def __init__(self, query: QueryParams, queries: Queries) -> None:
        self.query, self.queries = query, queries

    @cached_property
    def run(self) -> str | None:
        """The run that the page shows, as `assets/data/runs.js` chooses it: the address's, else the newest that runs, else the newest."""
        views = self.queries.runs()
        named = self.query.get("run")
        if named is not None:
            return named if any(view.stored.name == named for view in views) else None
        chosen = next((view for view in views if view.state == "running"), next(iter(views), None))
        return chosen.stored.name if chosen else None


Early: TypeAlias = Callable[[PageRequest], Iterable[str]]


def question(noun: str, **parameters: str | int) -> str:
    """The address as `assets/lib/api.js` writes it: a question that is written otherwise is asked twice."""
    return f"{ROOT}{noun}?{urlencode(parameters, safe='*').replace('~', '%7E')}" if parameters else f"{ROOT}{noun}"


def nothing(_: PageRequest) -> Iterable[str]:
    return ()


def about_run(opening: PageRequest) -> Iterable[str]:
    """Of a page about one run, on an axis of time."""
    yield question("runs")
    yield question("series")
    if opening.run is not None:
        yield question("series", run=opening.run)


def empty() -> Component:
    """The layout of a page whose module draws everything itself."""
    from dash import html

    return html.Div()


def no_callbacks(dash: Dash, queries: Queries) -> None:
    """The callbacks of a page without any."""


class Page(NamedTuple):
    """A file of this folder with `PAGE = Page(...)` is a page: the bar, the keys and the preloads follow.

    `module` is the folder below `assets/pages/` whose `page.js` draws it and whose `page.css` is its own, "" for a page that is
    made of Dash components alone. A page with a module and a layout has both: its module draws before Dash is there. Callbacks only
    read; changes go through a route of our API.
    """

    key: str
    name: str
    path: str
    module: str = ""
    layout: Callable[[], Any] = empty
    layout_of: Callable[[str], Any] | None = None  # instead of `layout`: made from the address' query, "?run=a"
    callbacks: Callable[[Dash, Queries], None] = no_callbacks
    packages: tuple[str, ...] = ()  # of Dash components, beside Dash's own: only pages that name one load it
    owners: bool = False  # not for viewers: its data is the owner's alone
    chunks: tuple[str, ...] = ()  # of these, "package/file.js", that they load late and the first picture waits for
    early: Early = nothing  # what its module asks of the API as soon as it is there
