"""Chunks of 1,024 points: their columns, extremes and steps, and the rows of the newest points."""

from __future__ import annotations

import bisect
import itertools
import sqlite3
import threading
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..buckets import PointSummaries
from . import codec
from .codec import CodecError, decoded

# Rows of several series that share their time and step: the form of points on their way from a commit to the chunks.
#
# `{"step":7,"train/loss":2.3,"train/lr":0.1}` is one row of a group with two series. A commit becomes one group for each set of
# names; `partition` regroups, so that every series stands in one group with all of its rows.

NO_STEP = -(2**63)
PLACE_BITS = 24  # of `arrival`: rows that one commit may hold
FAST = 1  # zstd level of what is rewritten soon


class RowGroup(NamedTuple):
    """All arrays but `ids` have one entry per row; `values` has one line per series."""

    ids: NDArray[np.int64]  # series, all of one stream
    arrival: NDArray[np.int64]  # seq << PLACE_BITS | place in the commit: identity and order of a row
    time_s: NDArray[np.float64]  # NaN where the row has none
    step: NDArray[np.int64]  # NO_STEP where the row has none
    segment: NDArray[np.int64]
    values: NDArray[np.float64]

    def rows(self, start: int, stop: int | None) -> RowGroup:
        """A slice of the rows; views, no copies."""
        cut = slice(start, stop)
        return RowGroup._make([self.ids, *(column[cut] for column in self[1:5]), self.values[:, cut]])

    def after(self, seq: int) -> RowGroup:
        """The rows of later commits."""
        return self.rows(int(np.searchsorted(self.arrival, (seq + 1) << PLACE_BITS)), None)


def encode(groups: Sequence[RowGroup]) -> bytes:
    """Numbers of 8 bytes throughout: the count of groups; for each its count of series and rows, then the columns."""
    counts = [len(groups), *(count for group in groups for count in (len(group.ids), len(group.arrival)))]
    numbers = np.array(counts, np.int64).tobytes()
    parts = [numbers[:8]]
    for i, group in enumerate(groups):
        parts.append(numbers[8 + 16 * i : 24 + 16 * i])
        parts += [column.tobytes() for column in group]
    return codec.seal(np.frombuffer(b"".join(parts), np.int64).astype("<i8", copy=False).tobytes(), FAST)


def decode(blob: bytes) -> list[RowGroup]:
    """Raises CodecError."""
    data = np.frombuffer(codec.unseal(blob), "<i8").astype(np.int64, copy=False)
    groups, at = [], 1
    for _ in range(int(data[0])):
        series, rows = int(data[at]), int(data[at + 1])
        ends = list(itertools.accumulate([at + 2, series, rows, rows, rows, rows, series * rows]))
        ids, arrival, time_s, step, segment, values = (data[ends[i] : ends[i + 1]] for i in range(6))
        values_2d = values.view(np.float64).reshape(series, rows)
        groups.append(RowGroup(ids, arrival, time_s.view(np.float64), step, segment, values_2d))
        at = ends[-1]
    return groups


def stack(groups: Iterable[RowGroup]) -> list[RowGroup]:
    """Join the groups of the same series; rows keep the order in which they are handed in."""
    same: dict[bytes, list[RowGroup]] = {}
    for group in groups:
        same.setdefault(group.ids.tobytes(), []).append(group)
    return [_concatenate(parts) for parts in same.values()]


def partition(groups: Iterable[RowGroup], wanted: Collection[int] | None = None) -> list[RowGroup]:
    """Regroup so that each series stands in exactly one group, with all of its rows in order of arrival."""
    stacked = stack(groups)
    everyone = [series for group in stacked for series in group.ids.tolist()]
    if wanted is None and len(set(everyone)) == len(everyone):
        return stacked
    places: dict[int, list[tuple[int, int]]] = {}  # series -> (group, line)
    for index, group in enumerate(stacked):
        for line, series in enumerate(group.ids.tolist()):
            if wanted is None or series in wanted:
                places.setdefault(series, []).append((index, line))
    alike: dict[tuple[int, ...], list[int]] = {}
    for series, found in places.items():
        alike.setdefault(tuple(index for index, _ in found), []).append(series)
    return [_select([stacked[i] for i in key], series, places) for key, series in alike.items()]


def _select(groups: list[RowGroup], series: list[int], places: dict[int, list[tuple[int, int]]]) -> RowGroup:
    ids = np.array(series, np.int64)
    parts = [
        group._replace(ids=ids, values=group.values[[places[number][part][1] for number in series]])
        for part, group in enumerate(groups)
    ]
    joined = _concatenate(parts)
    if np.all(joined.arrival[1:] > joined.arrival[:-1]):
        return joined
    order = np.argsort(joined.arrival, kind="stable")
    return RowGroup._make(
        [ids, *(column[order] for column in joined[1:5]), joined.values.take(order, axis=1)]
    )  # each line contiguous


def _concatenate(parts: list[RowGroup]) -> RowGroup:
    if len(parts) == 1:
        return parts[0]
    columns = [np.concatenate([part[i] for part in parts], axis=-1) for i in range(1, 6)]
    return RowGroup(parts[0].ids, *columns)


class Extremes(NamedTuple):
    """Over finite values; the first to arrive of equal ones. All None where there are none, steps also where the points have none."""

    least: float | None
    least_step: int | None
    most: float | None
    most_step: int | None


NOTHING = Extremes(None, None, None, None)


def extremes_of(part: RowGroup) -> list[Extremes]:
    """One per series of the group."""
    finite = np.isfinite(part.values)
    low, high = (
        np.where(finite, part.values, np.inf).argmin(axis=1),
        np.where(finite, part.values, -np.inf).argmax(axis=1),
    )
    line = np.arange(len(part.ids))
    ends = zip(
        finite[line, low].tolist(),
        part.values[line, low].tolist(),
        part.step[low].tolist(),
        part.values[line, high].tolist(),
        part.step[high].tolist(),
        strict=True,
    )
    return [
        Extremes(least, None if at == NO_STEP else at, most, None if top == NO_STEP else top) if known else NOTHING
        for known, least, at, most, top in ends
    ]


def wider(old: Extremes, new: Extremes) -> Extremes:
    """Both together, `new` being of later points."""
    if old.least is None or old.most is None:
        return new
    if new.least is None or new.most is None:
        return old
    low, high = new if new.least < old.least else old, new if new.most > old.most else old
    return Extremes(low.least, low.least_step, high.most, high.most_step)


# Rows become chunks: at most 1,088 points of one series, with their summary beside them, and one axis for all that share it.

ROWS = 1088  # of a chunk: two of arbitrary float64 fill a page of the file, or five of what RunLog writes
MIN_ROWS = (
    ROWS // 2
)  # a series with this many is cut where its stream's longest is, so that they share one axis from there on

_INSERT_CHUNK = f"INSERT INTO chunk VALUES (NULL, {', '.join('?' * 17)}, 0)"
_WIDEN = """UPDATE series SET points = points + ?1,
  first_time_s = CASE WHEN ?2 >= first_time_s THEN first_time_s ELSE coalesce(?2, first_time_s) END,
  last_time_s = CASE WHEN ?3 <= last_time_s THEN last_time_s ELSE coalesce(?3, last_time_s) END,
  first_step = CASE WHEN ?4 >= first_step THEN first_step ELSE coalesce(?4, first_step) END,
  last_step = CASE WHEN ?5 <= last_step THEN last_step ELSE coalesce(?5, last_step) END,
  newest_time_s = ?6, newest_step = ?7, newest_value = ?8,
  least = CASE WHEN ?9 >= least THEN least ELSE coalesce(?9, least) END,
  least_step = CASE WHEN ?9 >= least OR ?9 IS NULL THEN least_step ELSE ?10 END,
  most = CASE WHEN ?11 <= most THEN most ELSE coalesce(?11, most) END,
  most_step = CASE WHEN ?11 <= most OR ?11 IS NULL THEN most_step ELSE ?12 END
  WHERE id = ?13"""


class TimeSpan(NamedTuple):
    """Where some rows lie on both axes; None where they have none."""

    first_time_s: float | None
    last_time_s: float | None
    first_step: int | None
    last_step: int | None

    @classmethod
    def of(cls, time_s: NDArray[np.float64], step: NDArray[np.int64]) -> TimeSpan:
        times, steps = time_s[~np.isnan(time_s)], step[step != NO_STEP]
        return cls(
            float(times.min()) if len(times) else None,
            float(times.max()) if len(times) else None,
            int(steps.min()) if len(steps) else None,
            int(steps.max()) if len(steps) else None,
        )


class _SealedChunks(NamedTuple):
    """Chunks that share their rows: the coded axis, then for each series its chunk row from `rows` on, and the coded values."""

    axis: bytes
    chunks: list[tuple[int, tuple[Any, ...], bytes]]
    rows: int


def pack(db: sqlite3.Connection, stream: int, parts: Sequence[RowGroup], upto_seq: int) -> None:
    """Move rows out of head: they stand together in one pack, and the catalogue counts them."""
    _insert_pack(db, stream, parts)
    note_packed(db, stream, parts, upto_seq)


def note_packed(db: sqlite3.Connection, stream: int, parts: Iterable[RowGroup], upto_seq: int) -> None:
    db.execute("UPDATE stream SET packed_seq = ? WHERE id = ?", (upto_seq, stream))
    for part in parts:
        newest = (number(part.time_s[-1]), whole(part.step[-1]))
        head = (len(part.arrival), *TimeSpan.of(part.time_s, part.step), *newest)
        values = part.values[:, -1].tolist()
        rows = zip(part.ids.tolist(), values, extremes_of(part), strict=True)
        db.executemany(_WIDEN, [(*head, value, *ends, series) for series, value, ends in rows])


def plan(parts: Sequence[RowGroup], everything: bool = False) -> tuple[list[_SealedChunks], list[RowGroup]]:
    """What can be sealed of a stream's rows, and what remains; `parts` is a partition."""
    longest = max(parts, key=lambda part: len(part.arrival))
    cuts = longest.arrival[ROWS - 1 :: ROWS]
    sealed, rest = [], []
    for part in parts:
        bounds = _bounds(part, cuts, everything)
        sealed += [_seal(part.rows(start, stop)) for start, stop in itertools.pairwise(bounds)]
        if bounds[-1] < len(part.arrival):
            rest.append(part.rows(bounds[-1], None))
    return sealed, rest


def store(db: sqlite3.Connection, stream: int, sealed: Iterable[_SealedChunks], rest: Sequence[RowGroup]) -> set[int]:
    """Replace the stream's packs by chunks and one pack of what remains; return the series that have new chunks."""
    places: dict[int, int] = {}
    for block in sealed:
        axis = db.execute("INSERT INTO axis VALUES (NULL, ?)", (block.axis,)).lastrowid
        for series, summary, data in block.chunks:
            if series not in places:
                places[series] = db.execute("SELECT sealed FROM series WHERE id = ?", (series,)).fetchone()[0]
            db.execute(_INSERT_CHUNK, (series, places[series], block.rows, *summary, axis, data))
            places[series] += block.rows
    db.executemany("UPDATE series SET sealed = ? WHERE id = ?", [(place, series) for series, place in places.items()])
    db.execute("DELETE FROM pack WHERE stream = ?", (stream,))
    if rest:
        _insert_pack(db, stream, rest)
    return set(places)


def packed(db: sqlite3.Connection, stream: int) -> list[RowGroup]:
    rows = db.execute("SELECT id, data FROM pack WHERE stream = ? ORDER BY id", (stream,)).fetchall()
    return [group for pack, data in rows for group in decoded("pack", pack, decode, data) or []]


def read_axis(blob: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times (NaN where the rows have none) and steps (NO_STEP)."""
    time_s, step = codec.decode(blob)
    return time_s.view(np.float64), step.view(np.int64)


def read_values(blob: bytes) -> NDArray[np.float64]:
    return codec.decode(blob)[0].view(np.float64)


def number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def whole(step: int) -> int | None:
    return None if step == NO_STEP else int(step)


def _insert_pack(db: sqlite3.Connection, stream: int, parts: Sequence[RowGroup]) -> None:
    rows = max(len(part.arrival) for part in parts)
    db.execute("INSERT INTO pack VALUES (NULL, ?, ?, ?)", (stream, rows, encode(parts)))


def _bounds(part: RowGroup, cuts: NDArray[np.int64], everything: bool) -> list[int]:
    """Where chunks begin and end: at the stream's cuts or its own, and wherever the segment or the kind of axis changes."""
    rows = len(part.arrival)
    ends = np.searchsorted(part.arrival, cuts, "right")
    if not len(ends) or ends[-1] < MIN_ROWS * len(cuts):
        ends = np.arange(ROWS, rows + 1, ROWS)
    if everything:
        ends = np.append(ends, rows)
    if not len(ends):
        return [0]
    kind = np.stack([part.segment, np.isnan(part.time_s), part.step == NO_STEP])
    breaks = np.flatnonzero(np.any(kind[:, 1:] != kind[:, :-1], axis=0)) + 1
    edges = np.unique(np.concatenate([[0], ends, breaks[breaks < ends[-1]]])).tolist()
    wide = [at for start, stop in itertools.pairwise(edges) for at in range(start + ROWS, stop, ROWS)]
    return sorted([*edges, *wide])


def _seal(part: RowGroup) -> _SealedChunks:
    span = TimeSpan.of(part.time_s, part.step)
    place = (*span, whole(part.step[-1]))
    segment = int(part.segment[0])
    finite = np.isfinite(part.values)
    known = np.where(finite, part.values, np.nan)
    with np.errstate(over="ignore"):
        summaries = zip(
            (len(part.arrival) - finite.sum(axis=1)).tolist(),
            np.fmin.reduce(known, axis=1).tolist(),
            np.fmax.reduce(known, axis=1).tolist(),
            np.where(finite, part.values, 0.0).sum(axis=1).tolist(),
            part.values[:, 0].tolist(),
            part.values[:, -1].tolist(),
            strict=True,
        )
    chunks = [
        (series, (segment, *summary, *place), codec.encode([values]))
        for series, summary, values in zip(part.ids.tolist(), summaries, part.values, strict=True)
    ]
    return _SealedChunks(codec.encode([part.time_s, part.step]), chunks, len(part.arrival))


# Thinned points: cells of 10 s of a chunk, each with the sum, least, greatest and last value of its points and their number.
#
# The row of the chunk stays as it was. Its axis holds when the first and the last point of each cell came, and how many there are;
# its data holds the columns of one series.

CELL_S = 10.0
MIN_SAVED = 2  # points of a cell on average: else nothing is gained


class CellEdges(NamedTuple):
    """Of the rows of an axis."""

    starts: NDArray[np.int64]  # place of each cell's first row
    rows: NDArray[np.int64]
    axis: bytes


def edges(time_s: NDArray[np.float64]) -> CellEdges | None:
    """Cells of these times, which are finite, in order of arrival; None where points are as far apart as cells."""
    cell = np.floor(time_s / CELL_S)
    starts = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
    if len(starts) * MIN_SAVED > len(time_s):
        return None
    rows = np.diff(np.append(starts, len(time_s)))
    axis = codec.encode([np.minimum.reduceat(time_s, starts), np.maximum.reduceat(time_s, starts), rows])
    return CellEdges(starts, rows, axis)


def encode_cells(values: NDArray[np.float64], found: CellEdges, *, counter: bool) -> bytes:
    """A counter has no mean: its sum is that of its last value, so that this is what stands for a cell."""
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    counts = np.add.reduceat(finite, found.starts, dtype=np.int64)
    least, most = np.fmin.reduceat(known, found.starts), np.fmax.reduceat(known, found.starts)
    last = values[found.starts + found.rows - 1]
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduceat(np.where(finite, values, 0.0), found.starts)
        if counter:
            total = np.where(np.isfinite(last), last * counts, total)
    return codec.encode([total, last, least, most, found.rows - counts])


def read_summaries(axis: bytes, data: bytes, segment: int) -> PointSummaries:
    """Raises CodecError."""
    (low, high, rows), (total, last, least, most, non_finite) = _columns(axis, 3), _columns(data, 5)
    if not len(low) == len(high) == len(rows) == len(total) == len(last):
        raise CodecError("its cells are not those of its axis")
    none, one = np.full(len(low), np.nan), np.full(len(low), segment, np.int64)
    floats = [column.view(np.float64) for column in (low, high, total, last, least, most)]
    return PointSummaries(
        floats[0],
        floats[1],
        none,
        one,
        rows.view(np.int64),
        non_finite.view(np.int64),
        floats[4],
        floats[5],
        floats[2],
        floats[3],
    )


def _columns(blob: bytes, count: int) -> list[NDArray[np.float64] | NDArray[np.int64]]:
    found = codec.decode(blob)
    if len(found) != count:
        raise CodecError(f"it has {len(found)} columns in place of {count}")
    return found


# The fresh rows of a file, which stand in head and in packs: decoded once and kept, since they never change.

CACHED_PACKS = 512
_Commit: TypeAlias = tuple[int, list[RowGroup]]  # its seq, and its rows


class Head:
    """The head rows of one file, by commit, and joined by series."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commits: list[_Commit] = []
        self._joined: list[RowGroup] = []
        self._joined_since, self._joined_seq = 0, 0  # of the oldest and the newest commit that are in it
        self._places: dict[int, list[int]] = {}  # in it, by series; empty until it is asked for

    def of(self, db: sqlite3.Connection, series: Collection[int]) -> list[tuple[int, RowGroup]]:
        """The rows of some series that the connection's transaction sees, perhaps with others: groups, each with one series that it holds."""
        with self._lock:
            commits = self._look(db)
            if commits is self._commits:
                self._join(commits)
                self._places = self._places or _places(self._joined)
                joined, places = self._joined, self._places
            else:
                joined = _joined(commits)
                places = _places(joined)
            held = {place: number for number in series for place in places.get(number, ())}
            return [(number, joined[place]) for place, number in held.items()]

    def _join(self, commits: list[_Commit]) -> None:
        new = _later(commits, self._joined_seq)
        if not new:
            return
        since, kept = commits[0][0], self._joined
        if since != self._joined_since:
            kept = [group for group in (group.after(since - 1) for group in kept) if len(group.arrival)]
        self._joined, self._places = stack([*kept, *_joined(new)]), {}
        self._joined_since, self._joined_seq = since, commits[-1][0]

    def between(self, db: sqlite3.Connection, after: int, upto: int) -> list[RowGroup]:
        """The rows of these commits, as committed; called ten times a second, so nothing else is read."""
        with self._lock:
            return [group for seq, made in _later(self._look(db), after) if seq <= upto for group in made]

    def _look(self, db: sqlite3.Connection) -> list[_Commit]:
        first, last = db.execute("SELECT min(seq), max(seq) FROM head").fetchone()
        if last is None:
            return []
        known = self._commits
        if (
            known and first < known[0][0]
        ):  # an older transaction than the one that filled this: it sees rows that are gone
            return self._read(db, 0)
        newest = known[-1][0] if known else 0
        if last > newest:
            self._commits = [*_later(known, first - 1), *self._read(db, newest)]
        return self._commits

    def _read(self, db: sqlite3.Connection, after: int) -> list[_Commit]:
        rows = db.execute("SELECT seq, data FROM head WHERE seq > ? ORDER BY seq", (after,)).fetchall()
        return [(seq, decoded("head", seq, decode, data) or []) for seq, data in rows]


def _later(commits: list[_Commit], seq: int) -> list[_Commit]:
    return commits[bisect.bisect_right(commits, seq, key=lambda commit: commit[0]) :]


def _places(joined: list[RowGroup]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for place, group in enumerate(joined):
        for series in group.ids.tolist():
            places.setdefault(series, []).append(place)
    return places


def _joined(commits: list[_Commit]) -> list[RowGroup]:
    return stack(group for _, made in commits for group in made)


class Packs:
    """The packs of one file."""

    def __init__(self) -> None:
        self._decoded: dict[int, list[RowGroup]] = {}

    def load(self, db: sqlite3.Connection, stream: int) -> list[RowGroup]:
        """The stream's packed rows, oldest first."""
        found: list[RowGroup] = []
        for (pack,) in db.execute("SELECT id FROM pack WHERE stream = ? ORDER BY id", (stream,)).fetchall():
            parts = self._decoded.get(pack)
            if parts is None:
                (data,) = db.execute("SELECT data FROM pack WHERE id = ?", (pack,)).fetchone()
                parts = decoded("pack", pack, decode, data) or []
                if len(self._decoded) >= CACHED_PACKS:
                    self._decoded = {}
                self._decoded[pack] = parts
            found += parts
        return found
