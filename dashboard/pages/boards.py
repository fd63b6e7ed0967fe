"""The Boards page: one board, live, and its editor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from ..boards.overview import OVERVIEW
from ..components import BoardsView
from .page import Page, PageRequest, question


def early(opening: PageRequest) -> Iterable[str]:
    """The board, too: its charts are asked for by what it says."""
    name, run = str(opening.query.get("board") or OVERVIEW), opening.run
    yield question("runs")
    yield question("boards")
    if opening.queries.board(name, None) is not None:
        yield question("boards/" + quote(name, safe="!'()*"), **({} if run is None else {"run": run}))


def layout(**_: Any) -> BoardsView:
    return BoardsView()


PAGE = Page("6", "Boards", "/boards", layout, early=early)
