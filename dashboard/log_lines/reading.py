"""The tables of lines that were asked for lately, read from the store once and extended as lines arrive."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from collectors.records import LogLine
from collectors.store.lines import LineColumns, LineExtent, LineTemplate
from collectors.store.protocol import Store
from collectors.store.question import holding

from .filters import KeptRows, LineFilter, chosen
from .needle import Needle
from .searching import LineHits, ReadTexts
from .table import LINE_BYTES, LineTable

MOST_BYTES = 150_000_000  # of all tables
MOST_ROWS = MOST_BYTES // LINE_BYTES  # of a table: older lines are left out of it

Runs = tuple[str, ...] | None
"""By name and without repetition; None for all."""


class HeldTable:
    """A table with the masks that were asked for last: who scrolls asks for the same ones again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.table = LineTable(0, 0)
        self.is_read = False
        self.left_out = 0  # lines that are older than those of the table
        self._marked: tuple[object, NDArray[np.bool_] | None] = (None, None)
        self._rows: tuple[object, KeptRows | None] = (None, None)
        self.extents: dict[str, LineExtent] = {}
        self.after = 0  # lines with numbers up to this are left out

    def marked(self, needle: Needle | None, hits: LineHits | None) -> NDArray[np.bool_] | None:
        """Which rows are hits."""
        if hits is None:
            return None
        key = (needle, hits.base, hits.total, self.table.version)
        if self._marked[0] != key:
            self._marked = key, hit_rows(self.table, hits)
        return self._marked[1]

    def chosen(self, asked: LineFilter, marked: NDArray[np.bool_] | None = None) -> KeptRows:
        """Of the rows that are marked, or of all, those that the filter leaves."""
        key = (asked, None if marked is None else self._marked[0], self.table.version)
        if self._rows[0] != key or self._rows[1] is None:
            self._rows = key, chosen(self.table, asked, marked)
        assert self._rows[1] is not None
        return self._rows[1]

    def clear(self) -> None:
        """Make room for another table."""
        self.table, self.is_read, self.extents = LineTable(0, 0), False, {}
        self._marked = self._rows = (None, None)


def hit_rows(table: LineTable, hits: LineHits) -> NDArray[np.bool_]:
    """Which rows are hits."""
    if not table.rows or not hits.parts:
        return np.zeros(table.rows, np.bool_)
    span = int(table.number.max()) + 1
    shift = table.base - hits.base
    if span > 8 * table.rows + 1_000_000:
        return np.isin(table.number, np.concatenate([part.astype(np.int64) - shift for part in hits.parts]))
    is_hit = np.zeros(span, np.bool_)
    for part in hits.parts:
        places = part if shift == 0 else part.astype(np.int64) - shift
        is_hit[places if shift == 0 and int(places.max()) < span else places[(places >= 0) & (places < span)]] = True
    return is_hit[table.number]


class LineStore:
    """All that the Logs page asks the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[Runs, HeldTable] = OrderedDict()

    @property
    def read_texts(self) -> ReadTexts:
        return self._store.line_texts

    def extents(self, runs: Runs) -> dict[str, LineExtent]:
        """Of the runs that have lines."""
        return self._store.line_extents(runs)

    def lines(self, run: str, numbers: Sequence[int]) -> list[LogLine]:
        return self._store.lines(run, numbers)

    def templates(self, run: str) -> list[LineTemplate]:
        return self._store.templates(run)

    @contextmanager
    def held(self, runs: Runs) -> Iterator[HeldTable]:
        """The table with all lines that are stored by now; nothing extends it meanwhile."""
        with self._lock:
            kept = self._kept.pop(runs, None) or HeldTable()
            self._kept[runs] = kept
        with holding(kept.lock):
            extents = self._store.line_extents(runs)
            try:
                table = self._update(kept, extents)
            except BaseException:
                kept.clear()
                raise
            kept.left_out = max(0, sum(extent.lines for extent in extents.values()) - table.rows)
            self._make_room()
            yield kept

    def _update(self, kept: HeldTable, extents: Mapping[str, LineExtent]) -> LineTable:
        table = kept.table
        total = sum(extent.lines for extent in extents.values())
        if (
            not kept.is_read
            or _is_other(kept.extents, extents)
            or (table.rows + _new(kept.extents, extents) > MOST_ROWS)
        ):
            newest = max((extent.last for extent in extents.values()), default=0)
            del table
            kept.clear()  # goes before its successor comes
            kept.after = newest - int(MOST_ROWS * 0.9) if total > MOST_ROWS else 0
            base = max(kept.after + 1, min((extent.first for extent in extents.values()), default=0))
            table = LineTable(base, min(total, MOST_ROWS))
        before = table.rows
        for run, extent in extents.items():
            known = kept.extents.get(run)
            after = max(kept.after, known.last if known else 0)
            if extent.last > after:
                self._store.line_columns(run, after, partial(_add_upto, table, extent.last))
        table.sort(before)
        kept.table, kept.is_read, kept.extents = table, True, dict(extents)
        return table

    def _make_room(self) -> None:
        """The least recently used go; one that is in use goes with its last question."""
        with self._lock:
            sizes = {runs: kept.table.bytes for runs, kept in self._kept.items()}
            while len(self._kept) > 1 and (sum(sizes.values()) > MOST_BYTES * 1.05 or len(self._kept) > 64):
                runs, _ = self._kept.popitem(last=False)
                del sizes[runs]


def _add_upto(table: LineTable, last: int, block: LineColumns) -> None:
    """What has arrived since the extents were asked for comes with the next question: it would be read twice."""
    table.add(block if block.number[-1] <= last else block.where(block.number <= last))


def _is_other(before: Mapping[str, LineExtent], now: Mapping[str, LineExtent]) -> bool:
    """Whether lines that were read are gone, or have got their templates since."""
    return any(
        run not in now
        or now[run].first != extent.first
        or now[run].lines < extent.lines
        or (extent.ungrouped and not now[run].ungrouped)
        for run, extent in before.items()
    )


def _new(before: Mapping[str, LineExtent], now: Mapping[str, LineExtent]) -> int:
    return sum(extent.lines - (before[run].lines if run in before else 0) for run, extent in now.items())
