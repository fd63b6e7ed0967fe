"""What was recorded of a run, and of the machine at that time: every read of the store that the analysis makes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.arrays import Bools, Floats
from collectors.machine.run_state import SEEN
from collectors.records import Event, LogLine, SourceText
from collectors.rights import claims_count
from collectors.store.store import (
    LineColumns,
    LogQuery,
    Process,
    RawPoints,
    ResidentMemory,
    Run,
    Series,
    StackColumns,
    Store,
)

from .stacks.spans import Interval

SERVICE = "service"  # a kind of run, in run.json
MAX_LINES = 100_000  # of a log, the newest
MAX_STEPPED = 4  # series, by which steps are counted
LOOKED_BACK_S = 120.0  # for steps before a window, at first


class History:
    """One run, for one question: the run's own row is read once, everything else when it is asked for.

    Times are Unix seconds. Raises what the store raises: StoreError, QueryAborted, TooMuch.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._store, self.run = store, run

    # -- the run -------------------------------------------------------------------------------------------------------

    @property
    def unit_name(self) -> str:
        """What the run calls a unit of its work: "step" unless run.json names another."""
        return str((self._row.info.get("unit") if self._row else None) or "step")

    @property
    def info(self) -> Mapping[str, Any]:
        """What its run.json says, with the configuration in its other files."""
        return self._row.info if self._row else {}

    @property
    def last_step(self) -> int | None:
        """The last that it has logged, however long ago."""
        return self._row.last_step if self._row else None

    @cached_property
    def is_service(self) -> bool:
        """Whether its unit of work is a request: any of its threads may do it, and none has to be at work all the time."""
        return self.info.get("kind") == SERVICE

    def folder(self) -> str:
        """The working folder that run.json names, else that of the run's process; "" where neither is known. With `--as-root` the latter."""
        said = self.info.get("cwd") if claims_count() else None
        return said if isinstance(said, str) and said else self.seen_folder()

    def seen_folder(self) -> str:
        """That of the run's process, as the kernel said; "" where none was seen."""
        seen = [event.fields.get("cwd") for event in reversed(self._store.events(self.run, kinds=(SEEN,)))]
        return next((folder for folder in seen if isinstance(folder, str) and folder), "")

    def inside(self, window: Interval) -> Interval:
        """What of the window lies between the first and the last that is known of the run; a second of it where nothing does."""
        known = [self._row.first_time_s, self._row.last_time_s] if self._row else []
        ends = [end for end in [*known, self.profiled_from(), self.profiled_until()] if end is not None]
        lo, hi = max(window[0], min(ends, default=0.0)), min(window[1], max(ends, default=0.0))
        return (lo, hi) if lo < hi else (window[0], min(window[1], window[0] + 1.0))

    @cached_property
    def _row(self) -> Run | None:
        return self._store.run(self.run)

    # -- points and events ---------------------------------------------------------------------------------------------

    def series(self, rank: int | None = None) -> list[Series]:
        """Those of the run: of one rank, or of all."""
        found = self._store.series(self.run)
        return [series for series in found if rank is None or dict(series.labels).get("rank", "0") == str(rank)]

    def machine_series(self) -> list[Series]:
        return self._store.series(None)

    def points(self, series: Collection[Series], window: Interval) -> dict[int, RawPoints]:
        """By the id of each series, its points in the window, both ends included."""
        return self._store.points([row.id for row in series], *window) if series else {}

    def stepped_since(self, since_s: float) -> list[float]:
        """When each step was logged that was logged later than this, in order; [] of a run of several ranks, of which each may end alone."""
        mine = self.series()
        if len({dict(series.labels).get("rank", "0") for series in mine}) > 1:
            return []
        new = [series for series in mine if series.last_step is not None and (series.last_time_s or 0.0) > since_s]
        return [time_s for time_s in self._first_logged(new, (since_s, math.inf)) if time_s > since_s]

    def step_ends(self, rank: int, window: Interval, before: int) -> list[float]:
        """When the steps of a rank were logged, in order: those of the window, and at least so many before it, however long ago, where there are.

        Of a rank that logs none, those of the lowest that does: ranks step together.
        """
        stepped = [row for row in self.series() if row.last_step is not None and row.first_step != row.last_step]
        ranks = {int(dict(row.labels).get("rank", "0")) for row in stepped}
        chosen = rank if rank in ranks else min(ranks, default=0)
        mine = [row for row in stepped if int(dict(row.labels).get("rank", "0")) == chosen]
        first_s = min((row.first_time_s for row in mine if row.first_time_s is not None), default=window[0])
        back_s, found = LOOKED_BACK_S, list[float]()
        while mine:
            found = self._first_logged(mine, (window[0] - back_s, window[1]))
            if window[0] - back_s <= first_s or sum(time_s < window[0] for time_s in found) >= before:
                break
            back_s *= 4
        return found

    def _first_logged(self, series: Sequence[Series], window: Interval) -> list[float]:
        """When each step was logged first, in order."""
        first_s: dict[float, float] = {}
        longest = sorted(series, key=lambda row: row.points)[-MAX_STEPPED:]
        for points in self.points(longest, window).values():
            for step, time_s in zip(points.step.tolist(), points.place.tolist(), strict=True):
                if math.isfinite(step) and math.isfinite(time_s):
                    first_s[step] = min(time_s, first_s.get(step, time_s))
        return sorted(first_s.values())

    def values(self, series: Collection[Series], *sides: Sequence[Interval]) -> dict[str, list[Floats]]:
        """By name, for each side, the finite values of all these series of that name in its ranges. Reads from the first to the last range."""
        if not series or not any(sides):
            return {}
        hull = min(lo for side in sides for lo, _ in side), max(hi for side in sides for _, hi in side)
        found = self.points(series, hull)
        values: dict[str, list[list[Floats]]] = {}
        for row in series:
            points = found[row.id]
            for parts, side in zip(values.setdefault(row.name, [[] for _ in sides]), sides, strict=True):
                parts.append(points.value[_within(points.place, side) & np.isfinite(points.value)])
        return {name: [np.concatenate(parts) for parts in both] for name, both in values.items()}

    def line_times(self, window: Interval) -> Floats:
        """When those lines of its log were written that are most frequent in the window: lines that differ in their numbers only."""
        extent = self._store.line_extents([self.run]).get(self.run)
        if extent is None:
            return np.zeros(0)
        parts: list[tuple[Floats, NDArray[np.int64]]] = []

        def take(columns: LineColumns) -> None:
            inside = (columns.time_s >= window[0]) & (columns.time_s <= window[1])
            parts.append((columns.time_s[inside], columns.template[inside]))

        self._store.line_columns(self.run, max(0, extent.last - MAX_LINES), take)
        if not sum(len(time_s) for time_s, _ in parts):
            return np.zeros(0)
        time_s, template = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        kinds, counts = np.unique(template, return_counts=True)
        found: Floats = time_s[template == kinds[counts.argmax()]]
        return found

    def events(self, most: int, kinds: Sequence[str] = ()) -> list[Event]:
        """The newest, of these kinds or of any, in order of time."""
        return self._store.events(self.run, kinds=kinds, most=most)

    def during(self, kinds: Sequence[str], window: Interval) -> list[Interval]:
        """When events of these kinds were going on, of those that ended in the window: they are logged when they are over."""
        events = self._store.events(self.run, *window, kinds)
        return [(event.time_s - (event.seconds or 0.0), event.time_s) for event in events]

    def noted(self, most: int, kinds: Sequence[str]) -> list[tuple[str, float, float, str]]:
        """The newest events of these kinds, in order of time: kind, when, for how many seconds until then, text."""
        return [
            (event.kind, event.time_s, event.seconds or 0.0, event.text)
            for event in self._store.events(self.run, kinds=kinds, most=most)
        ]

    def last_lines(self, most: int) -> list[LogLine]:
        """The newest of its log, oldest first."""
        return self._store.logs(LogQuery(self.run, limit=most)).lines

    # -- stacks --------------------------------------------------------------------------------------------------------

    def stacks(self, window: Interval) -> StackColumns:
        """Of all processes of the run. Raises TooMuch for more than may be read at once."""
        return self._store.stacks(*window, self.run)._replace(serves=self.is_service)

    def stack_counts(self, window: Interval) -> list[tuple[float, float, int]]:
        """Stretches (from, to, spans) of the window: how much `stacks` would have to read of each."""
        return self._store.stack_counts(*window, self.run)

    def resident(self, window: Interval) -> dict[Process, ResidentMemory]:
        """The resident memory of its processes, as the sampler of their stacks saw it."""
        return self._store.resident(*window, self.run)

    def profiled_from(self) -> float | None:
        return self._store.profiled_from(self.run)

    def profiled_until(self) -> float | None:
        return self._store.profiled_until(self.run)

    def source_text(self, file: str) -> SourceText | None:
        """A file of the run as it was when a process of it loaded it; None where nothing is known of it."""
        return self._store.source_text(self.run, file)


def _within(time_s: Floats, ranges: Sequence[Interval]) -> Bools:
    within = np.zeros(len(time_s), bool)
    for lo, hi in ranges:
        within |= (time_s >= lo) & (time_s < hi)
    return within
