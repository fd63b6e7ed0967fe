"""Many lines at once: how many there are, their columns without opening a text, and texts by number or newest first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from ....records import LogLine
from ... import question
from ...lines import LineColumns, LineExtent, LineTexts
from .. import logs, schema
from ..columns import codec
from ..columns.damage import decoded

_EXTENTS = (
    "SELECT run, sum(lines), min(first_line), max(last_line), sum(CASE mined WHEN 0 THEN lines ELSE 0 END) FROM log"
)
_COLUMNS = "SELECT id, files, columns FROM log WHERE run = ? AND last_line > ? ORDER BY last_line"
_TEXTS = "SELECT id, first_line, last_line, lines, columns, texts FROM log WHERE run = ? AND last_line >= ? AND last_line <= ? ORDER BY last_line DESC"
_NEXT = "SELECT min(last_line) FROM log WHERE run = ? AND last_line >= ?"
_HOLDING = f"SELECT {logs.BLOCK} FROM log WHERE run = ? AND last_line >= ? ORDER BY last_line LIMIT 1"


def extents(db: sqlite3.Connection, runs: Collection[str] | None) -> dict[str, LineExtent]:
    """Of the runs that have lines; from an index alone, 50 ns a line's block."""
    if runs is None:
        rows = db.execute(f"{_EXTENTS} GROUP BY run").fetchall()
    else:
        rows = [row for run in runs for row in db.execute(f"{_EXTENTS} WHERE run = ? GROUP BY run", (run,))]
    return {run: LineExtent._make(found) for run, *found in rows}


def columns(db: sqlite3.Connection, run: str, after: int, take: Callable[[LineColumns], None]) -> None:
    """By arrival, block by block: all lines of a run behind a number, as of one moment."""
    with schema.transaction(db, "DEFERRED"):
        for row, files, blob in db.execute(_COLUMNS, (run, after)):
            question.check()
            found = decoded("log", row, codec.decode, blob)
            if found is None:
                continue
            block = LineColumns(run, orjson.loads(files), *logs.full(found))
            take(block if block.number[0] > after else block.where(block.number > after))


def texts(db: sqlite3.Connection, run: str, lo: int, hi: int, take: Callable[[LineTexts], bool]) -> None:
    """The newest first, block by block, those that hold lines with these numbers, until `take` returns False."""
    with schema.transaction(db, "DEFERRED"):
        (last,) = db.execute(_NEXT, (run, hi)).fetchone()
        for row, first, end, count, blob, sealed in db.execute(_TEXTS, (run, lo, hi if last is None else last)):
            question.check()
            numbers = np.arange(first, end + 1) if end - first + 1 == count else _numbers(row, blob)
            data = decoded("log", row, codec.unseal, sealed)
            if numbers is not None and data is not None and not take(LineTexts(numbers, data)):
                return


def lines(db: sqlite3.Connection, run: str, numbers: Sequence[int]) -> list[LogLine]:
    """Of these numbers, those that are stored, by number. Each block is opened once: about 0.5 ms."""
    found: list[LogLine] = []
    waiting = np.unique(np.asarray(numbers, np.int64))
    with schema.transaction(db, "DEFERRED"):
        while len(waiting):
            question.check()
            row = db.execute(_HOLDING, (run, int(waiting[0]))).fetchone()
            if row is None:
                break
            block = logs.BlockRow._make(row)
            count = int(np.searchsorted(waiting, block.last_line, "right"))
            found += _chosen(block, waiting[:count])
            waiting = waiting[count:]
    return found


def _chosen(row: logs.BlockRow, numbers: NDArray[np.int64]) -> list[LogLine]:
    columns, data = decoded("log", row.id, codec.decode, row.columns), decoded("log", row.id, codec.unseal, row.texts)
    if columns is None or data is None:
        return []
    places = np.minimum(np.searchsorted(columns[0], numbers), len(columns[0]) - 1)  # numbers rise in a block
    at = places[columns[0][places] == numbers]
    ends = [-1, *np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).tolist(), len(data)]
    texts = [data[ends[place] + 1 : ends[place + 1]].decode("utf-8", "surrogatepass") for place in at.tolist()]
    names = orjson.loads(row.files)
    number, time_s, level, file, rank, template = (column[at].tolist() for column in logs.full(columns))
    block = logs.LineBlock(row.run, number, time_s, level, [names[place] for place in file], rank, texts, template)
    return [block.line(place) for place in range(len(at))]


def _numbers(row: int, blob: bytes) -> NDArray[np.int64] | None:
    columns = decoded("log", row, codec.decode, blob)
    return None if columns is None else columns[0].astype(np.int64)
