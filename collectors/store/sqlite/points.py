"""Query one file for its points, in head, packs, chunks and pages."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import orjson

from ...records import Labels
from ..protocol import Axis, Last, LivePoints, Series
from . import outcomes, schema, search
from .columns import chunks, groups
from .columns.chunks import TimeSpan
from .columns.extremes import Extremes, extremes_of, wider
from .columns.groups import NO_STEP, Group
from .columns.head import Head, Packs
from .search import SPAN, Found, Wanted

N = TypeVar("N", int, float)

_LISTED = """series.id, stream.run, series.name, stream.labels, series.points, series.first_time_s, series.last_time_s,
  series.first_step, series.last_step, stream.packed_seq"""
_NEWEST = "series.id, packed_seq, points, newest_time_s, newest_step, newest_value"
_FROM = "FROM series JOIN stream ON stream.id = series.stream"
_AMONG = "WHERE series.id IN (SELECT value FROM json_each(?))"


class _Place(NamedTuple):
    """Where to look for a series."""

    stream: int
    packed_seq: int
    paged: int  # points in pages


class FileReader:
    """Every question is one transaction on the calling thread's connection."""

    def __init__(self) -> None:
        self._head = Head()
        self._packs = Packs()
        self._names: dict[int, tuple[str | None, str, Labels]] = {}
        self._machine: tuple[int, list[Series]] = (-1, [])  # the newest commit when it was listed, and its series

    def series(self, db: sqlite3.Connection, run: str | None) -> list[Series]:
        """In order of appearance."""
        with schema.transaction(db, "DEFERRED"):
            if run is not None:
                return self._listed(db, run)
            seq, (known, listed) = schema.meta(db, "seq"), self._machine
            if seq != known:  # a file of weeks ago has no commits any more
                listed = self._listed(db, None)
                self._machine = seq, listed
            return listed

    def last(self, db: sqlite3.Connection, ids: Collection[int]) -> dict[int, Last]:
        with schema.transaction(db, "DEFERRED"):
            rows = db.execute(f"SELECT {_NEWEST} {_FROM} {_AMONG}", (_json(ids),)).fetchall()
            fresh = self._unpacked(db, {row[0]: row[1] for row in rows})
        newest = {
            series: Last(time_s, step, _number(value)) for series, _, points, time_s, step, value in rows if points
        }
        for part in groups.partition(fresh, set(ids)):
            time_s, step = chunks.number(part.time_s[-1]), chunks.whole(part.step[-1])
            pairs = zip(part.ids.tolist(), part.values[:, -1].tolist(), strict=True)
            newest |= {series: Last(time_s, step, value) for series, value in pairs}
        return newest

    def outcomes(
        self, db: sqlite3.Connection, runs: Collection[str] | None, names: Collection[str] | None
    ) -> list[outcomes.OutcomeRow]:
        """In no order."""
        with schema.transaction(db, "DEFERRED"):
            rows = outcomes.read(db, runs, names)
            fresh = self._unpacked(db, {row.id: row.packed_seq for row in rows})
        if not fresh:
            return rows
        gained: dict[int, tuple[_Gained, float, Extremes]] = {}
        for part in groups.partition(fresh, {row.id for row in rows}):
            alike = _Gained.of(part)
            of_part = zip(part.ids.tolist(), part.values[:, -1].tolist(), extremes_of(part), strict=True)
            gained |= {series: (alike, last, ends) for series, last, ends in of_part}
        return [_outcome(row, *gained[row.id]) if row.id in gained else row for row in rows]

    def extents(self, db: sqlite3.Connection, ids: Collection[int], axis: Axis) -> dict[int, tuple[float, float]]:
        """From where to where each series that the file has reaches on the axis, by what is packed; from inf to -inf where nothing is."""
        wanted = f"SELECT series.id, {SPAN[axis]} FROM series {_AMONG}"
        rows = db.execute(wanted, (_json(ids),))
        return {
            series: (math.inf, -math.inf) if low is None or high is None else (low, high) for series, low, high in rows
        }

    def find(self, db: sqlite3.Connection, windows: Mapping[int, Wanted]) -> dict[int, Found]:
        """For each series the points and summaries in its window."""
        if not windows:
            return {}
        with schema.transaction(db, "DEFERRED"):
            known = self._places(db, windows.keys())
            if not known:
                return {}
            found = search.find(db, {series: about.paged for series, about in known.items()}, windows)
            packs = [
                group for stream in {about.stream for about in known.values()} for group in self._packs.load(db, stream)
            ]
            fresh = self._unpacked(db, {series: about.packed_seq for series, about in known.items()})
        for part in groups.partition([*packs, *fresh], known.keys()):
            for series, values in zip(part.ids.tolist(), part.values, strict=True):
                found[series].points.append(windows[series].points(part.time_s, part.step, part.segment, values))
        return found

    def since(self, db: sqlite3.Connection, seq: int, upto: int) -> tuple[bool, list[LivePoints]]:
        """The points of later commits by series, and whether all of them are still available."""
        with schema.transaction(db, "DEFERRED"):
            complete = seq >= schema.meta(db, "live_from")
            parts = groups.partition(self._head.between(db, seq, upto))
            self._learn(db, [series for part in parts for series in part.ids.tolist()])
        return complete, [points for part in parts for points in self._live(part)]

    def _listed(self, db: sqlite3.Connection, run: str | None) -> list[Series]:
        rows = db.execute(f"SELECT {_LISTED} {_FROM} WHERE stream.run IS ? ORDER BY born", (run,)).fetchall()
        fresh = self._unpacked(db, {row[0]: row[-1] for row in rows})
        gained = {series: part for part in groups.partition(fresh) for series in part.ids.tolist()}
        listed = (Series._make([*row[:3], labels_from(row[3]), *row[4:9]]) for row in rows)
        return [_grown(series, gained[series.id]) if series.id in gained else series for series in listed]

    def _places(self, db: sqlite3.Connection, ids: Collection[int]) -> dict[int, _Place]:
        wanted = f"SELECT series.id, stream, packed_seq, paged {_FROM} {_AMONG}"
        return {series: _Place(*about) for series, *about in db.execute(wanted, (_json(ids),))}

    def _unpacked(self, db: sqlite3.Connection, packed_seq: Mapping[int, int]) -> list[Group]:
        """The rows of these series that stand in head only; other series of the same rows come along."""
        found = [group.after(packed_seq[number]) for number, group in self._head.of(db, packed_seq)]
        return [group for group in found if len(group.arrival)]

    def _learn(self, db: sqlite3.Connection, ids: Iterable[int]) -> None:
        missing = [number for number in ids if number not in self._names]
        if missing:
            rows = db.execute(f"SELECT {_LISTED} {_FROM} {_AMONG}", (_json(missing),))
            self._names |= {row[0]: (row[1], row[2], labels_from(row[3])) for row in rows}

    def _live(self, part: Group) -> Iterator[LivePoints]:
        step = np.where(part.step == NO_STEP, np.nan, part.step)
        for series, values in zip(part.ids.tolist(), part.values, strict=True):
            if series in self._names:  # else its run was removed meanwhile
                yield LivePoints(*self._names[series], part.time_s, step, part.segment, values)


def joined(parts: Sequence[Series]) -> Series:
    """One series of several files, oldest first."""
    if len(parts) == 1:
        return parts[0]
    *_, points, first_time_s, last_time_s, first_step, last_step = zip(*parts, strict=True)
    extent = _least(*first_time_s), _most(*last_time_s), _least(*first_step), _most(*last_step)
    return Series(*parts[0][:4], sum(points), *extent)


def labels_from(text: str) -> Labels:
    return tuple((key, value) for key, value in orjson.loads(text))


class _Gained(NamedTuple):
    """What series that share their lines have in common of what is not packed yet."""

    rows: int
    span: TimeSpan
    time_s: float | None
    step: int | None

    @classmethod
    def of(cls, part: Group) -> _Gained:
        span = TimeSpan.of(part.time_s, part.step)
        return cls(len(part.arrival), span, chunks.number(part.time_s[-1]), chunks.whole(part.step[-1]))


def _outcome(row: outcomes.OutcomeRow, gained: _Gained, last: float, ends: Extremes) -> outcomes.OutcomeRow:
    rows, span, *newest = gained
    first = _least(row.first_time_s, span.first_time_s), _least(row.first_step, span.first_step)
    return outcomes.OutcomeRow._make([*row[:5], row.points + rows, *first, *newest, last, *wider(row.extremes, ends)])


def _grown(series: Series, part: Group) -> Series:
    span = TimeSpan.of(part.time_s, part.step)
    return joined([series, series._replace(points=len(part.arrival), **span._asdict())])


def _least(*bounds: N | None) -> N | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _most(*bounds: N | None) -> N | None:
    return max((bound for bound in bounds if bound is not None), default=None)


def _json(ids: Collection[int]) -> str:
    return orjson.dumps(list(ids)).decode()


def _number(value: float | None) -> float:
    return np.nan if value is None else value
