"""Which lines of a table are wanted: filters on its columns, with exact counts, and any stretch of what is left."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .table import LineSource, LineTable

CHUNK = 65_536  # rows that are counted together


class LineFilter(NamedTuple):
    """Empty collections filter nothing."""

    from_s: float | None = None
    to_s: float | None = None  # inclusive
    level: int = 0  # at least
    files: Collection[str] = ()
    ranks: Collection[int] = ()
    shown: Collection[int] = ()  # templates: only these,
    hidden: Collection[int] = ()  # and not these


class KeptRows:
    """Rows of a table that a filter leaves, in the table's order."""

    def __init__(self, start: int, stop: int, mask: NDArray[np.bool_] | None) -> None:
        """Of the rows from `start` to before `stop` those whose mask is set, or all."""
        self.start, self.stop, self.mask = start, stop, mask
        self._before = None if mask is None else _before(mask)

    @property
    def total(self) -> int:
        return self.stop - self.start if self._before is None else int(self._before[-1])

    def rows(self, offset: int, limit: int) -> NDArray[np.int64]:
        """The rows of this stretch."""
        offset, end = max(0, offset), min(offset + limit, self.total)
        if end <= offset:
            return np.zeros(0, np.int64)
        if self.mask is None or self._before is None:
            return np.arange(self.start + offset, self.start + end)
        first = int(np.searchsorted(self._before, offset, "right")) - 1
        last = int(np.searchsorted(self._before, end, "left"))
        found = np.flatnonzero(self.mask[first * CHUNK : last * CHUNK]) + first * CHUNK + self.start
        return found[offset - int(self._before[first]) : end - int(self._before[first])]

    def evenly(self, most: int) -> NDArray[np.int64]:
        """So many of them at the most, from the first one on."""
        if self.total <= most:
            return self.rows(0, self.total)
        offsets = np.linspace(0, self.total - 1, most).astype(np.int64)
        if self.mask is None or self._before is None:
            return self.start + offsets
        chunks = np.searchsorted(self._before, offsets, "right") - 1
        found = [
            np.flatnonzero(self.mask[chunk * CHUNK : (chunk + 1) * CHUNK])[
                offsets[chunks == chunk] - self._before[chunk]
            ]
            + chunk * CHUNK
            for chunk in np.unique(chunks).tolist()
        ]
        return self.start + np.concatenate(found)

    def offset_of(self, row: int) -> int:
        """How many of them stand before a row of the table."""
        at = min(max(row, self.start), self.stop) - self.start
        if self.mask is None or self._before is None:
            return at
        chunk = at // CHUNK
        return int(self._before[chunk]) + int(np.count_nonzero(self.mask[chunk * CHUNK : at]))

    def part(self, start: int, stop: int) -> NDArray[np.bool_] | slice:
        """Which of the table's rows from `start` to before `stop` are chosen; both lie inside."""
        return slice(None) if self.mask is None else self.mask[start - self.start : stop - self.start]


def chosen(table: LineTable, asked: LineFilter, hits: NDArray[np.bool_] | None = None) -> KeptRows:
    """`hits`: only rows where this is set, one entry per row of the table."""
    start = 0 if asked.from_s is None else int(np.searchsorted(table.time_s, asked.from_s, "left"))
    stop = table.rows if asked.to_s is None else int(np.searchsorted(table.time_s, asked.to_s, "right"))
    stop = max(start, stop)
    inside = slice(start, stop)
    masks: list[NDArray[np.bool_]] = []
    if asked.level > 0:
        masks.append(table.level[inside] >= min(asked.level, 255))
    if asked.files or asked.ranks:
        masks.append(_of_sources(table.sources, asked)[table.source[inside]])
    if asked.shown or asked.hidden:
        masks.append(_of_templates(asked)[table.template[inside]])
    if hits is not None:
        masks.append(hits[inside])
    if not masks:
        return KeptRows(start, stop, None)
    mask = masks[0]
    for more in masks[1:]:
        mask = mask & more
    return KeptRows(start, stop, mask)


def _of_sources(sources: list[LineSource], asked: LineFilter) -> NDArray[np.bool_]:
    wanted = [
        (not asked.files or source.file in asked.files) and (not asked.ranks or source.rank in asked.ranks)
        for source in sources
    ]
    return np.array(wanted, np.bool_)


def _of_templates(asked: LineFilter) -> NDArray[np.bool_]:
    wanted = np.full(1 << 16, not asked.shown, np.bool_)
    for numbers, value in ((asked.shown, True), (asked.hidden, False)):
        wanted[[number for number in numbers if 0 <= number < len(wanted)]] = value
    return wanted


def _before(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many are set before each chunk, and in all."""
    whole = len(mask) // CHUNK
    counts: list[Any] = [
        np.count_nonzero(mask[: whole * CHUNK].reshape(whole, CHUNK), axis=1),
        np.count_nonzero(mask[whole * CHUNK :]),
    ]
    return np.concatenate([[0], np.cumsum(np.hstack(counts))]).astype(np.int64)
