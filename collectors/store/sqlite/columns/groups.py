"""Rows of several series that share their time and step: the form of points on their way from a commit to the chunks.

`{"step":7,"train/loss":2.3,"train/lr":0.1}` is one row of a group with two series. A commit becomes one group for each set of
names; `partition` regroups, so that every series stands in one group with all of its rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import codec

NO_STEP = -(2**63)
PLACE_BITS = 24  # of `arrival`: rows that one commit may hold
FAST = 1  # zstd level of what is rewritten soon


class Group(NamedTuple):
    """All arrays but `ids` have one entry per row; `values` has one line per series."""

    ids: NDArray[np.int64]  # series, all of one stream
    arrival: NDArray[np.int64]  # seq << PLACE_BITS | place in the commit: identity and order of a row
    time_s: NDArray[np.float64]  # NaN where the row has none
    step: NDArray[np.int64]  # NO_STEP where the row has none
    segment: NDArray[np.int64]
    values: NDArray[np.float64]

    def rows(self, start: int, stop: int | None) -> Group:
        """A slice of the rows; views, no copies."""
        cut = slice(start, stop)
        return Group._make([self.ids, *(column[cut] for column in self[1:5]), self.values[:, cut]])

    def after(self, seq: int) -> Group:
        """The rows of later commits."""
        return self.rows(int(np.searchsorted(self.arrival, (seq + 1) << PLACE_BITS)), None)


def encode(groups: Sequence[Group]) -> bytes:
    """Numbers of 8 bytes throughout: the count of groups; for each its count of series and rows, then the columns."""
    counts = [len(groups), *(count for group in groups for count in (len(group.ids), len(group.arrival)))]
    numbers = np.array(counts, np.int64).tobytes()
    parts = [numbers[:8]]
    for i, group in enumerate(groups):
        parts.append(numbers[8 + 16 * i : 24 + 16 * i])
        parts += [column.tobytes() for column in group]
    return codec.seal(np.frombuffer(b"".join(parts), np.int64).astype("<i8", copy=False).tobytes(), FAST)


def decode(blob: bytes) -> list[Group]:
    """Raises CodecError."""
    data = np.frombuffer(codec.unseal(blob), "<i8").astype(np.int64, copy=False)
    groups, at = [], 1
    for _ in range(int(data[0])):
        series, rows = int(data[at]), int(data[at + 1])
        ends = list(itertools.accumulate([at + 2, series, rows, rows, rows, rows, series * rows]))
        ids, arrival, time_s, step, segment, values = (data[ends[i] : ends[i + 1]] for i in range(6))
        values_2d = values.view(np.float64).reshape(series, rows)
        groups.append(Group(ids, arrival, time_s.view(np.float64), step, segment, values_2d))
        at = ends[-1]
    return groups


def stack(groups: Iterable[Group]) -> list[Group]:
    """Join the groups of the same series; rows keep the order in which they are handed in."""
    same: dict[bytes, list[Group]] = {}
    for group in groups:
        same.setdefault(group.ids.tobytes(), []).append(group)
    return [_concatenate(parts) for parts in same.values()]


def partition(groups: Iterable[Group], wanted: Collection[int] | None = None) -> list[Group]:
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


def _select(groups: list[Group], series: list[int], places: dict[int, list[tuple[int, int]]]) -> Group:
    ids = np.array(series, np.int64)
    parts = [
        group._replace(ids=ids, values=group.values[[places[number][part][1] for number in series]])
        for part, group in enumerate(groups)
    ]
    joined = _concatenate(parts)
    if np.all(joined.arrival[1:] > joined.arrival[:-1]):
        return joined
    order = np.argsort(joined.arrival, kind="stable")
    return Group._make(
        [ids, *(column[order] for column in joined[1:5]), joined.values.take(order, axis=1)]
    )  # each line contiguous


def _concatenate(parts: list[Group]) -> Group:
    if len(parts) == 1:
        return parts[0]
    columns = [np.concatenate([part[i] for part in parts], axis=-1) for i in range(1, 6)]
    return Group(parts[0].ids, *columns)
