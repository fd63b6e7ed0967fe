"""Query the file of runs for what became of many series at once, and for how many runs were configured."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from ...records import Labels
from ..protocol import Outcomes
from .columns.extremes import Extremes

MOST_KEYS, MOST_TEXT, MOST_DEPTH = 1000, 500, 8  # of a configuration: entries, characters of one, tables inside tables

_STREAMS = "SELECT id, run, labels, packed_seq FROM stream WHERE run IS NOT NULL"
_SERIES = """SELECT id, stream, name, points, first_time_s, first_step, newest_time_s, newest_step, newest_value,
  least, least_step, most, most_step FROM series"""
_NAMES = "SELECT series.name, count(*) FROM stream JOIN series ON series.stream = stream.id"
_IN = "IN (SELECT value FROM json_each(?))"


class OutcomeRow(NamedTuple):
    """One series, by what is packed of it."""

    id: int
    run: str
    name: str
    labels: str  # JSON
    packed_seq: int
    points: int
    first_time_s: float | None
    first_step: int | None
    last_time_s: float | None
    last_step: int | None
    last: float | None
    least: float | None
    least_step: int | None
    most: float | None
    most_step: int | None

    @property
    def extremes(self) -> Extremes:
        return Extremes(*self[-4:])


def read(db: sqlite3.Connection, runs: Collection[str] | None, names: Collection[str] | None) -> list[OutcomeRow]:
    """In no order. Streams are few beside series: they are joined here, in half the time."""
    wanted, among = ("", ()) if runs is None else (f" AND run {_IN}", (_json(runs),))
    streams = {stream: about for stream, *about in db.execute(f"{_STREAMS}{wanted}", among)}
    asked = [] if runs is None else [(f"stream {_IN}", orjson.dumps([*streams]).decode())]
    asked += [] if names is None else [(f"name {_IN}", _json(names))]
    where = " AND ".join(["1", *(term for term, _ in asked)])
    rows = db.execute(f"{_SERIES} WHERE {where}", [given for _, given in asked])
    return [
        OutcomeRow(series, about[0], name, about[1], about[2], *numbers)
        for series, stream, name, *numbers in rows
        if (about := streams.get(stream)) is not None
    ]


def columns(rows: Sequence[OutcomeRow]) -> Outcomes:
    listed: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(OutcomeRow._fields)
    series, run, name, labels, _, points, *numbers = listed
    counts = np.array(series, np.int64), np.array(points, np.int64)
    return Outcomes(
        list(run),
        list(name),
        [_labels(text) for text in labels],
        *counts,
        *(np.array(column, np.float64) for column in numbers),
    )


def read_names(db: sqlite3.Connection, runs: Collection[str] | None) -> Iterator[tuple[str, int]]:
    if runs is None:
        yield from db.execute(f"{_NAMES} WHERE stream.run IS NOT NULL GROUP BY series.name ORDER BY min(born)")
    else:
        yield from db.execute(
            f"{_NAMES} WHERE stream.run {_IN} GROUP BY series.name ORDER BY min(born)", (_json(runs),)
        )


def read_configs(db: sqlite3.Connection, runs: Collection[str] | None) -> Iterator[tuple[str, dict[str, object]]]:
    if runs is None:
        rows = db.execute("SELECT name, info FROM run WHERE info != '{}'")
    else:
        rows = db.execute(f"SELECT name, info FROM run WHERE info != '{{}}' AND name {_IN}", (_json(runs),))
    for run, info in rows:
        config = orjson.loads(info).get("config")
        if isinstance(config, dict) and config:
            yield run, flat(config)


def flat(config: dict[str, Any]) -> dict[str, object]:
    """`{"lr": 1, "model": {"depth": 2}, "xs": [3, 4]} -> {"lr": 1, "xs": "[3,4]", "model.depth": 2}`; longer texts are left out."""
    found: dict[str, object] = {}
    waiting = [("", config, 0)]
    while waiting:
        before, table, depth = waiting.pop(0)
        for key, value in table.items():
            if len(found) >= MOST_KEYS or len(before) + len(key) > MOST_TEXT:
                break
            if isinstance(value, dict) and depth < MOST_DEPTH:
                waiting.append((f"{before}{key}.", value, depth + 1))
                continue
            if isinstance(value, list):
                value = orjson.dumps(value).decode()
            if (
                value is None
                or isinstance(value, bool | int | float)
                or (isinstance(value, str) and len(value) <= MOST_TEXT)
            ):
                found.setdefault(before + key, value)
    return found


@lru_cache(4096)
def _labels(text: str) -> Labels:
    return tuple((key, value) for key, value in orjson.loads(text))


def _json(values: Collection[str]) -> str:
    return orjson.dumps([value for value in values if not _is_half(value)]).decode()


def _is_half(text: str) -> bool:
    """Whether it holds half a character, which no file of ours has and JSON cannot say."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)
