"""The table of models: `table.tsv`, a line a row, as `python -m models.zoo.build` writes it.

A line is two JSON objects with a tab between: what is listed, and what is known besides, which is three quarters of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ..errors import ModelsError
from .licences import UNSTATED, is_non_commercial
from .row import ZooRow, megabytes

TABLE = Path(__file__).parent / "table.tsv"
PREFIX = "deepseek/"
SIMILAR = 3
MOST_CHARS = 100  # of a name that is not there


@cache
def rows() -> tuple[ZooRow, ...]:
    """All of them, as they are listed: about 2 ms; sorted by task and name."""
    return tuple(ZooRow(**json.loads(line.partition("\t")[0])) for line in _lines())


@cache
def whole_rows() -> tuple[ZooRow, ...]:
    """All of them with everything, about 6 ms."""
    return tuple(map(_whole, _lines()))


def tasks() -> list[str]:
    return sorted({row.task for row in rows()})


def find(name: str) -> ZooRow:
    """By its name, with or without `deepseek/`. Raises ModelsError with similar names."""
    if not isinstance(name, str):
        raise ModelsError(
            f"a model is named by text, and this is {type(name).__name__}: deepseek-models list has the names"
        )
    whole = name if name.startswith(PREFIX) else PREFIX + name
    for row, line in zip(rows(), _lines(), strict=True):
        if row.name == whole:
            return _whole(line)
    from difflib import get_close_matches

    bare = whole.removeprefix(PREFIX)[:MOST_CHARS]
    close = [
        PREFIX + match
        for match in get_close_matches(bare, [row.name.removeprefix(PREFIX) for row in rows()], SIMILAR, 0.6)
    ]
    similar = f"similar: {', '.join(close)}; " if close else ""
    raise ModelsError(f"the zoo has no model {PREFIX + bare!r}; {similar}deepseek-models list names all of them")


def selected(
    task: str = "", max_mb: float | None = None, licence: str = "", source: str = "", non_commercial: bool = False
) -> list[ZooRow]:
    """The rows that pass; those that forbid commercial use only where they are asked for. Raises ModelsError for an unknown task."""
    if task and task not in tasks():
        raise ModelsError(f"the zoo has no task {task!r}; it has {', '.join(tasks())}")
    return [
        row
        for row in rows()
        if (not task or row.task == task)
        and (max_mb is None or ((size := megabytes(row)) is not None and size <= max_mb))
        and (not licence or (row.licence or UNSTATED).casefold() == licence.casefold())
        and (not source or row.source == source)
        and (non_commercial or not is_non_commercial(row.licence))
    ]


def nearest(row: ZooRow, others: Iterable[ZooRow]) -> ZooRow | None:
    """Of the same task, the one whose number of parameters is nearest by ratio; None where there is none."""
    same = [other for other in others if other.task == row.task and other.name != row.name]
    return min(same, key=lambda other: _distance(row.parameters, other.parameters), default=None)


@cache
def _lines() -> list[str]:
    return TABLE.read_text().splitlines()


def _whole(line: str) -> ZooRow:
    listed, _, rest = line.partition("\t")
    return ZooRow(**json.loads(listed), **json.loads(rest))


def _distance(wanted: int | None, found: int | None) -> float:
    if not wanted or not found:
        return float("inf")
    return max(wanted, found) / min(wanted, found)
