"""The Boards page: one board, live, and its editor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from ..components import BoardsView
from .page import Page, PageRequest, question


def early(opening: PageRequest) -> Iterable[str]:
    """The board, too: its charts are asked for by what it says."""
    boards, name, run = opening.queries.boards.all(), opening.query.get("board"), opening.run
    yield question("runs")
    yield question("boards")
    if not name:
        yield question("boards", first="true", **({} if run is None else {"run": run}))
        name = opening.queries.first_board(boards, run)
    if any(board.name == name for board in boards):
        yield question("boards/" + quote(str(name), safe="!'()*"))


def layout(**_: Any) -> BoardsView:
    return BoardsView()


PAGE = Page("6", "Boards", "/boards", layout, early=early)
