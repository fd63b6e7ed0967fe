"""Queries one file for points, series and outcomes."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from ...records import Labels
from .. import store
from ..buckets import PointSummaries
from ..store import Axis, LastPoint, LivePoints, Outcomes, RawPoints, Series, TooMuch
from . import chunks, rollups, schema
from .chunks import NO_STEP, Extremes, Head, Packs, RowGroup, TimeSpan, extremes_of, wider
from .codec import decoded

# Find the part of a series that lies in a window: pages and chunks that may stand for their points, else the points.

SPAN: dict[Axis, str] = {"time": "first_time_s, last_time_s", "step": "first_step, last_step"}
_OVERLAP: dict[Axis, str] = {
    "time": "last_time_s >= :lo AND first_time_s <= :hi",
    "step": "last_step >= :lo AND first_step <= :hi",
}
_SUMMARY = "end_step, segment, rows, non_finite, least, most, total, last"  # with the span before them, the fields of PointSummaries
MAX_OPENED = 4_000_000  # points of one question that are read one by one: 50 bytes each
SEGMENT, ROWS, ID, START, UNITS = 3, 4, 10, 11, 12  # places in a selected row


class SeriesQuery(NamedTuple):
    """A query for a series. A summary may stand for its points if it lies inside and is at most `widest` wide."""

    axis: Axis
    lo: float
    hi: float
    widest: float
    untimed: bool = False  # only points that have no time, one by one

    def points(
        self,
        time_s: NDArray[np.float64],
        step: NDArray[np.int64],
        segment: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> RawPoints:
        """Those with a place in the window."""
        steps = step.astype(np.float64)
        steps[step == NO_STEP] = np.nan
        place = time_s if self.axis == "time" else steps
        points = RawPoints(place, steps, segment, value)
        inside = (place >= self.lo) & (place <= self.hi)  # false for NaN
        if self.untimed:
            inside &= np.isnan(time_s)
        return points if inside.all() else RawPoints._make(column[inside] for column in points)


class SeriesHits(NamedTuple):
    points: list[RawPoints]
    units: list[PointSummaries]

    def rows(self) -> int:
        return sum(len(part.place) for part in self.points) + sum(int(part.rows.sum()) for part in self.units)


def find(db: sqlite3.Connection, paged: Mapping[int, int], windows: Mapping[int, SeriesQuery]) -> dict[int, SeriesHits]:
    """What pages and chunks of one file hold, within the caller's transaction. `paged`: how many points of each series stand in pages."""
    search = _FileSearch(db)
    return {series: search.find(series, count, windows[series]) for series, count in paged.items()}


class _FileSearch:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._opened = 0  # rows of chunks
        self._axes: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]] | None] = {}

    def find(self, series: int, paged: int, window: SeriesQuery) -> SeriesHits:
        store.check()
        found = SeriesHits([], [])
        for start, stop in [*self._pages(series, window, found), (paged, None)]:
            self._chunks(series, window, found, start, stop)
        return found

    def _pages(self, series: int, window: SeriesQuery, found: SeriesHits) -> list[tuple[int, int]]:
        """A page stands for its points as one unit, or by its smaller units; the others are returned as ranges of places."""
        wanted = f"{SPAN[window.axis]}, {_SUMMARY}, id, start, coarse_units, fine_units"
        rows = self._select("page", wanted, series, window, 0, None)
        if not rows:
            return []
        units, inside, width = _table(rows, window)
        single = inside & (width <= window.widest) & np.array([row[SEGMENT] is not None for row in rows])
        _take(found, units, single)
        sizes = np.array([row[-2:] for row in rows])  # how many units, coarse and fine
        with np.errstate(over="ignore"):  # a window of almost no width needs infinitely many
            enough = (
                np.where(inside, width / window.widest, math.inf) if window.widest > 0 else np.full(len(rows), math.inf)
            )
        coarse = ~single & (enough <= sizes[:, 0])
        fine = ~single & ~coarse & (enough <= sizes[:, 1])
        opened = {rows[i][ID] for i in np.flatnonzero(~single & ~coarse & ~fine).tolist()}
        for level, which in (("coarse", coarse), ("fine", fine)):
            opened |= self._units([rows[i][ID] for i in np.flatnonzero(which).tolist()], level, window, found)
        return [(row[START], row[START] + row[ROWS]) for row in rows if row[ID] in opened]

    def _units(self, wanted: Sequence[int], level: str, window: SeriesQuery, found: SeriesHits) -> set[int]:
        """Take the smaller units of these pages; the pages whose units are damaged."""
        blobs = dict(self._blobs("page", level, wanted))
        units, damaged = rollups.units([(page, blobs[page]) for page in wanted], level, window.axis)
        found.units.extend(units)
        return damaged

    def _chunks(self, series: int, window: SeriesQuery, found: SeriesHits, start: int, stop: int | None) -> None:
        """A chunk stands for its points, or is opened."""
        rows = self._select("chunk", f"{SPAN[window.axis]}, {_SUMMARY}, id, axis, units", series, window, start, stop)
        if not rows:
            return
        units, inside, width = _table(rows, window)
        single = inside & (width <= window.widest)
        _take(found, units, single)
        opened = [rows[i] for i in np.flatnonzero(~single).tolist()]
        self._opened += sum(row[UNITS] or row[ROWS] for row in opened)
        if self._opened > MAX_OPENED:
            raise TooMuch(
                f"the range holds more than {MAX_OPENED:,} points that must be read one by one; choose a shorter one"
            )
        data = dict(self._blobs("chunk", "data", [row[ID] for row in opened]))
        thinned = [part for row in opened if row[UNITS] and (part := self._thinned(row, data[row[ID]])) is not None]
        for part in thinned:
            _take(found, part, (part.low >= window.lo) & (part.low <= window.hi))
        points = [row for row in opened if not row[UNITS]]
        parts = [(row[SEGMENT], *read) for row in points if (read := self._open(row, data[row[ID]])) is not None]
        if parts:
            segments, *columns = zip(*parts, strict=True)
            time_s, step, value = (np.concatenate(column) for column in columns)
            segment = np.repeat(segments, [len(part[-1]) for part in parts])
            found.points.append(window.points(time_s, step, segment, value))

    def _open(
        self, row: tuple[Any, ...], data: bytes
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]] | None:
        """Its times, steps and values."""
        store.check()
        chunk, axis, _ = row[-3:]
        if axis not in self._axes:
            ((_, coded),) = self._blobs("axis", "data", [axis])
            self._axes[axis] = decoded("axis", axis, chunks.read_axis, coded)
        place, value = self._axes[axis], decoded("chunk", chunk, chunks.read_values, data)
        return None if place is None or value is None else (*place, value)

    def _thinned(self, row: tuple[Any, ...], data: bytes) -> PointSummaries | None:
        """Its cells, as units: of those across an edge of the window it has those that begin inside."""
        store.check()
        chunk, axis, _ = row[-3:]
        ((_, coded),) = self._blobs("axis", "data", [axis])
        return decoded("chunk", chunk, lambda blob: chunks.read_summaries(coded, blob, row[SEGMENT]), data)

    def _blobs(self, table: str, column: str, ids: Sequence[int]) -> list[tuple[int, bytes]]:
        wanted = f"SELECT id, {column} FROM {table} WHERE id IN (SELECT value FROM json_each(?))"
        return self._db.execute(wanted, (orjson.dumps(ids).decode(),)).fetchall() if ids else []

    def _select(
        self, table: str, wanted: str, series: int, window: SeriesQuery, start: int, stop: int | None
    ) -> list[tuple[Any, ...]]:
        until = "" if stop is None else "AND start < :stop"
        kind = (
            "AND first_time_s IS NULL" if window.untimed and table == "chunk" else ""
        )  # all rows of a chunk have a time, or none
        where = f"series = :series AND start >= :start {until} AND {_OVERLAP[window.axis]} {kind}"
        about = {"series": series, "start": start, "stop": stop, "lo": window.lo, "hi": window.hi}
        return self._db.execute(f"SELECT {wanted} FROM {table} WHERE {where} ORDER BY start", about).fetchall()


def _table(
    rows: Sequence[tuple[Any, ...]], window: SeriesQuery
) -> tuple[PointSummaries, NDArray[np.bool_], NDArray[np.float64]]:
    """Rows as units; which of them lie inside the window; how wide they are."""
    low, high, step, segment, count, non_finite, *values = np.array(
        [row[:10] for row in rows], np.float64
    ).T  # None becomes NaN
    known = np.where(np.isnan(segment), 0, segment).astype(np.int64)
    units = PointSummaries(low, high, step, known, count.astype(np.int64), non_finite.astype(np.int64), *values)
    return units, (low >= window.lo) & (high <= window.hi), high - low


def _take(found: SeriesHits, units: PointSummaries, which: NDArray[np.bool_]) -> None:
    if which.any():
        found.units.append(PointSummaries._make(column[which] for column in units))


# Query the file of runs for what became of many series at once, and for how many runs were configured.

MAX_KEYS, MAX_TEXT, MAX_DEPTH = 1000, 500, 8  # of a configuration: entries, characters of one, tables inside tables

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


def read_outcomes(
    db: sqlite3.Connection, runs: Collection[str] | None, names: Collection[str] | None
) -> list[OutcomeRow]:
    """In no order. Streams are few beside series: they are joined here, in half the time."""
    wanted, among = ("", ()) if runs is None else (f" AND run {_IN}", (_json_of(runs),))
    streams = {stream: about for stream, *about in db.execute(f"{_STREAMS}{wanted}", among)}
    asked = [] if runs is None else [(f"stream {_IN}", orjson.dumps([*streams]).decode())]
    asked += [] if names is None else [(f"name {_IN}", _json_of(names))]
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


def read_series_names(db: sqlite3.Connection, runs: Collection[str] | None) -> Iterator[tuple[str, int]]:
    if runs is None:
        yield from db.execute(f"{_NAMES} WHERE stream.run IS NOT NULL GROUP BY series.name ORDER BY min(born)")
    else:
        yield from db.execute(
            f"{_NAMES} WHERE stream.run {_IN} GROUP BY series.name ORDER BY min(born)", (_json_of(runs),)
        )


def read_configs(db: sqlite3.Connection, runs: Collection[str] | None) -> Iterator[tuple[str, dict[str, object]]]:
    if runs is None:
        rows = db.execute("SELECT name, info FROM run WHERE info != '{}'")
    else:
        rows = db.execute(f"SELECT name, info FROM run WHERE info != '{{}}' AND name {_IN}", (_json_of(runs),))
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
            if len(found) >= MAX_KEYS or len(before) + len(key) > MAX_TEXT:
                break
            if isinstance(value, dict) and depth < MAX_DEPTH:
                waiting.append((f"{before}{key}.", value, depth + 1))
                continue
            if isinstance(value, list):
                value = orjson.dumps(value).decode()
            if (
                value is None
                or isinstance(value, bool | int | float)
                or (isinstance(value, str) and len(value) <= MAX_TEXT)
            ):
                found.setdefault(before + key, value)
    return found


@lru_cache(4096)
def _labels(text: str) -> Labels:
    return tuple((key, value) for key, value in orjson.loads(text))


def _json_of(values: Collection[str]) -> str:
    return orjson.dumps([value for value in values if not _is_half(value)]).decode()


def _is_half(text: str) -> bool:
    """Whether it holds half a character, which no file of ours has and JSON cannot say."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


N = TypeVar("N", int, float)

_LISTED = """series.id, stream.run, series.name, stream.labels, series.points, series.first_time_s, series.last_time_s,
  series.first_step, series.last_step, stream.packed_seq"""
_NEWEST = "series.id, packed_seq, points, newest_time_s, newest_step, newest_value"
_FROM = "FROM series JOIN stream ON stream.id = series.stream"
_AMONG = "WHERE series.id IN (SELECT value FROM json_each(?))"


class _SeriesLocation(NamedTuple):
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

    def last(self, db: sqlite3.Connection, ids: Collection[int]) -> dict[int, LastPoint]:
        with schema.transaction(db, "DEFERRED"):
            rows = db.execute(f"SELECT {_NEWEST} {_FROM} {_AMONG}", (_json(ids),)).fetchall()
            fresh = self._unpacked(db, {row[0]: row[1] for row in rows})
        newest = {
            series: LastPoint(time_s, step, _number(value)) for series, _, points, time_s, step, value in rows if points
        }
        for part in chunks.partition(fresh, set(ids)):
            time_s, step = chunks.number(part.time_s[-1]), chunks.whole(part.step[-1])
            pairs = zip(part.ids.tolist(), part.values[:, -1].tolist(), strict=True)
            newest |= {series: LastPoint(time_s, step, value) for series, value in pairs}
        return newest

    def outcomes(
        self, db: sqlite3.Connection, runs: Collection[str] | None, names: Collection[str] | None
    ) -> list[OutcomeRow]:
        """In no order."""
        with schema.transaction(db, "DEFERRED"):
            rows = read_outcomes(db, runs, names)
            fresh = self._unpacked(db, {row.id: row.packed_seq for row in rows})
        if not fresh:
            return rows
        gained: dict[int, tuple[_UnpackedRows, float, Extremes]] = {}
        for part in chunks.partition(fresh, {row.id for row in rows}):
            alike = _UnpackedRows.of(part)
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

    def find(self, db: sqlite3.Connection, windows: Mapping[int, SeriesQuery]) -> dict[int, SeriesHits]:
        """For each series the points and summaries in its window."""
        if not windows:
            return {}
        with schema.transaction(db, "DEFERRED"):
            known = self._places(db, windows.keys())
            if not known:
                return {}
            found = find(db, {series: about.paged for series, about in known.items()}, windows)
            packs = [
                group for stream in {about.stream for about in known.values()} for group in self._packs.load(db, stream)
            ]
            fresh = self._unpacked(db, {series: about.packed_seq for series, about in known.items()})
        for part in chunks.partition([*packs, *fresh], known.keys()):
            for series, values in zip(part.ids.tolist(), part.values, strict=True):
                found[series].points.append(windows[series].points(part.time_s, part.step, part.segment, values))
        return found

    def since(self, db: sqlite3.Connection, seq: int, upto: int) -> tuple[bool, list[LivePoints]]:
        """The points of later commits by series, and whether all of them are still available."""
        with schema.transaction(db, "DEFERRED"):
            complete = seq >= schema.meta(db, "live_from")
            parts = chunks.partition(self._head.between(db, seq, upto))
            self._learn(db, [series for part in parts for series in part.ids.tolist()])
        return complete, [points for part in parts for points in self._live(part)]

    def _listed(self, db: sqlite3.Connection, run: str | None) -> list[Series]:
        rows = db.execute(f"SELECT {_LISTED} {_FROM} WHERE stream.run IS ? ORDER BY born", (run,)).fetchall()
        fresh = self._unpacked(db, {row[0]: row[-1] for row in rows})
        gained = {series: part for part in chunks.partition(fresh) for series in part.ids.tolist()}
        listed = (Series._make([*row[:3], labels_from(row[3]), *row[4:9]]) for row in rows)
        return [_grown(series, gained[series.id]) if series.id in gained else series for series in listed]

    def _places(self, db: sqlite3.Connection, ids: Collection[int]) -> dict[int, _SeriesLocation]:
        wanted = f"SELECT series.id, stream, packed_seq, paged {_FROM} {_AMONG}"
        return {series: _SeriesLocation(*about) for series, *about in db.execute(wanted, (_json(ids),))}

    def _unpacked(self, db: sqlite3.Connection, packed_seq: Mapping[int, int]) -> list[RowGroup]:
        """The rows of these series that stand in head only; other series of the same rows come along."""
        found = [group.after(packed_seq[number]) for number, group in self._head.of(db, packed_seq)]
        return [group for group in found if len(group.arrival)]

    def _learn(self, db: sqlite3.Connection, ids: Iterable[int]) -> None:
        missing = [number for number in ids if number not in self._names]
        if missing:
            rows = db.execute(f"SELECT {_LISTED} {_FROM} {_AMONG}", (_json(missing),))
            self._names |= {row[0]: (row[1], row[2], labels_from(row[3])) for row in rows}

    def _live(self, part: RowGroup) -> Iterator[LivePoints]:
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


class _UnpackedRows(NamedTuple):
    """What series that share their lines have in common of what is not packed yet."""

    rows: int
    span: TimeSpan
    time_s: float | None
    step: int | None

    @classmethod
    def of(cls, part: RowGroup) -> _UnpackedRows:
        span = TimeSpan.of(part.time_s, part.step)
        return cls(len(part.arrival), span, chunks.number(part.time_s[-1]), chunks.whole(part.step[-1]))


def _outcome(row: OutcomeRow, gained: _UnpackedRows, last: float, ends: Extremes) -> OutcomeRow:
    rows, span, *newest = gained
    first = _least(row.first_time_s, span.first_time_s), _least(row.first_step, span.first_step)
    return OutcomeRow._make([*row[:5], row.points + rows, *first, *newest, last, *wider(row.extremes, ends)])


def _grown(series: Series, part: RowGroup) -> Series:
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
