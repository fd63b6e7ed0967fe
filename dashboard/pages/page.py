"""A page: its row in the bar, its module, and its Dash layout and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..opening.early import Early, nothing

if TYPE_CHECKING:
    from dash import Dash
    from dash.development.base_component import Component

    from ..queries import Queries


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
