"""A change of a board's text, at a place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

EditKind: TypeAlias = Literal["set", "remove", "insert", "move"]
EditPlace: TypeAlias = Sequence[str | int]

MOST_EDITS, MOST_PLACE = 100, 8


class BoardEdit(NamedTuple):
    """`BoardEdit("set", ("rows", 0, "charts", 1, "width"), value=6)`. `insert` puts a value before an item of a list, or at its end.

    `move` takes an item away first: `to` counts without it.
    """

    kind: EditKind
    place: EditPlace
    value: Any = None
    to: EditPlace = ()
