"""A page: its entry in the navigation, its layout and callbacks, and what it is sure to ask of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlencode

if TYPE_CHECKING:
    from dash import Dash
    from starlette.datastructures import QueryParams

    from ..queries import Queries

# What a page is sure to ask of the API: its HTML says so, and the browser asks while it still fetches our modules.

ROOT = "/api/v1/"
DCC = "dash_core_components"  # Dash's controls, as one of the packages of a page
OF_DASH = (DCC, "dash_table")  # packages of components that the package `dash` has


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


def no_callbacks(dash: Dash, queries: Queries) -> None:
    """The callbacks of a page without any."""


def query_of(search: str) -> dict[str, Any]:
    """The parameters of an address, as Dash hands them to a layout: `?run=a&run=b&x=1 -> {"run": ["a", "b"], "x": "1"}`."""
    found = parse_qs(search.removeprefix("?"))
    return {name: values if values[1:] else values[0] for name, values in found.items()}


def several(query: Mapping[str, Any], name: str) -> list[str]:
    """All values of one of these parameters."""
    value = query.get(name, [])
    return [value] if isinstance(value, str) else list(value)


class Page(NamedTuple):
    """A file of this folder with `PAGE = Page(...)` is a page: the navigation, its key and the router follow.

    `entry` is the page's entry in the bar: its own name, or that of another page beside which it is a tab, named `tab`. A page of any
    other entry is in the menu.

    `layout` takes the parameters of the address, as the layout of any Dash page does. Callbacks only read; changes go through a route
    of our API. What our modules draw on it is a component of `dashboard/components.py`; the view behind those is named in
    `assets/shell.js`.
    """

    key: str
    name: str
    path: str
    layout: Callable[..., Any]
    callbacks: Callable[[Dash, Queries], None] = no_callbacks
    packages: tuple[str, ...] = ()  # of Dash components, beside Dash's own, that its first picture waits for
    owners: bool = False  # not for viewers: its data is the owner's alone
    chunks: tuple[str, ...] = ()  # of these, "package/file.js", that they load late and the first picture waits for
    early: Early = nothing
    entry: str = ""
    tab: str = ""

    @property
    def within(self) -> str:
        """The entry of the bar that leads to it."""
        return self.entry or self.name
