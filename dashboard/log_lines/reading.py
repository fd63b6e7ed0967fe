"""The tables of lines that were asked for lately, read from the store once and extended as lines arrive."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from collectors.records import LogLine
from collectors.store.lines import LineExtent, LineTemplate
from collectors.store.protocol import Store
from collectors.store.question import holding

from .searching import ReadTexts
from .table import LINE_BYTES, LineTable

MOST_BYTES = 150_000_000  # of all tables
MOST_ROWS = MOST_BYTES // LINE_BYTES  # of a table: older lines are left out of it

Runs = tuple[str, ...] | None
"""By name and without repetition; None for all."""


class Held(NamedTuple):
    """A table with what it was read from."""

    table: LineTable
    left_out: int  # lines that are older than those of the table


class _HeldTable:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.table: LineTable | None = None
        self.extents: dict[str, LineExtent] = {}
        self.after = 0  # lines with numbers up to this are left out


class LineStore:
    """All that the Logs page asks the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[Runs, _HeldTable] = OrderedDict()

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
    def held(self, runs: Runs) -> Iterator[Held]:
        """The table with all lines that are stored by now; nothing extends it meanwhile."""
        with self._lock:
            kept = self._kept.pop(runs, None) or _HeldTable()
            self._kept[runs] = kept
        with holding(kept.lock):
            extents = self._store.line_extents(runs)
            try:
                table = self._update(kept, extents)
            except BaseException:
                kept.table = None
                raise
            self._make_room()
            yield Held(table, max(0, sum(extent.lines for extent in extents.values()) - table.rows))

    def _update(self, kept: _HeldTable, extents: Mapping[str, LineExtent]) -> LineTable:
        table = kept.table
        total = sum(extent.lines for extent in extents.values())
        if table is None or _is_other(kept.extents, extents) or (table.rows + _new(kept.extents, extents) > MOST_ROWS):
            newest = max((extent.last for extent in extents.values()), default=0)
            kept.table = None  # goes before its successor comes
            table = None
            kept.after = newest - int(MOST_ROWS * 0.9) if total > MOST_ROWS else 0
            base = max(kept.after + 1, min((extent.first for extent in extents.values()), default=0))
            kept.extents = {}
            table = LineTable(base, min(total, MOST_ROWS))
        before = table.rows
        for run, extent in extents.items():
            known = kept.extents.get(run)
            after = max(kept.after, known.last if known else 0)
            if extent.last > after:
                self._store.line_columns(run, after, table.add)
        table.sort(before)
        kept.table, kept.extents = table, dict(extents)
        return table

    def _make_room(self) -> None:
        """The least recently used go; one that is in use goes with its last question."""
        with self._lock:
            sizes = {runs: kept.table.bytes if kept.table else 0 for runs, kept in self._kept.items()}
            while len(self._kept) > 1 and (sum(sizes.values()) > MOST_BYTES * 1.05 or len(self._kept) > 64):
                runs, _ = self._kept.popitem(last=False)
                del sizes[runs]


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
