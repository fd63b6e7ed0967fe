"""What a page is sure to ask of the API: its HTML says so, and the browser asks while it still fetches our modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlencode

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from ..queries import Queries

ROOT = "/api/v1/"


class Opening:
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


Early: TypeAlias = Callable[[Opening], Iterable[str]]


def question(noun: str, **parameters: str | int) -> str:
    """The address as `assets/lib/api.js` writes it: a question that is written otherwise is asked twice."""
    return f"{ROOT}{noun}?{urlencode(parameters, safe='*').replace('~', '%7E')}" if parameters else f"{ROOT}{noun}"


def nothing(_: Opening) -> Iterable[str]:
    return ()


def about_run(opening: Opening) -> Iterable[str]:
    """Of a page about one run, on an axis of time."""
    yield question("runs")
    yield question("series")
    if opening.run is not None:
        yield question("series", run=opening.run)
