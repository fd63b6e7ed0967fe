"""Read the series of runs, and their points in parts that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from collectors.records import is_progress
from collectors.store.protocol import Axis, Buckets, RawPoints, Series, Store
from collectors.store.question import check

from ..subscription import is_glob, split_names, wanted
from .asked import NoCurve, SharedTag
from .attempts import Attempts, attempts_of
from .ranks import RANK

PART = 500_000  # raw points at a time: about 200 bytes each, with what is made of them
PLANNED = 8  # buckets a part, to find where parts end


class Chosen(NamedTuple):
    """A run, its series that were asked for, and all; `first_s` is where it begins, Unix seconds; None where nothing has a time."""

    run: str
    series: list[Series]
    known: list[Series]
    first_s: float | None


class CurveReader:
    """Every read of the store for curves. Raises what the store raises: StoreError, Ended, TooMuch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cursor(self) -> int:
        return self._store.seq()

    def info(self, run: str) -> Mapping[str, Any]:
        """All of run.json; {} where there is none."""
        stored = self._store.run(run)
        return stored.info if stored else {}

    def choose(self, runs: Sequence[str], names: Sequence[str], left_out: list[NoCurve]) -> list[Chosen]:
        """In the order of the runs; what is not there is left out."""
        chosen = []
        for run in dict.fromkeys(runs):
            check()
            known = self._store.series(run)
            if not known and self._store.run(run) is None:
                left_out.append(NoCurve(run, "", f"there is no run {run!r}; GET /api/v1/runs lists them"))
                continue
            parts = split_names(names, {series.name for series in known})
            absent = [part for part in parts if not any(wanted(series.name, [part]) for series in known)]
            left_out += [NoCurve(run, part, _absent(part), absent=True) for part in absent]
            found = [series for series in known if wanted(series.name, parts)]
            first_s = min((series.first_time_s for series in known if series.first_time_s is not None), default=None)
            chosen.append(Chosen(run, found, known, first_s))
        return chosen

    def buckets(self, series: Series, lo: float | None, hi: float | None, axis: Axis, most: int) -> Buckets:
        return self._store.range([series.id], lo, hi, axis, most)[series.id]

    def count(self, series: Series, lo: float | None, hi: float | None, axis: Axis) -> int:
        return self.buckets(series, lo, hi, axis, 1).points_total

    def attempts(self, series: Series) -> Attempts:
        """Of a series with one segment nothing need be read but a few summaries."""
        return attempts_of(self.buckets(series, None, None, "step", 1))

    def parts(self, series: Series, lo: float | None, hi: float | None, axis: Axis) -> Iterator[RawPoints]:
        """All points of a range, part by part along the axis; what shares its place comes together."""
        for start, end in self._cut(series, lo, hi, axis):
            check()
            points = self._store.points([series.id], start, end, axis)[series.id]
            if len(points.value):
                yield points

    def tags(self, runs: Sequence[str]) -> list[SharedTag]:
        """By name."""
        points: dict[str, int] = {}
        places: dict[str, dict[str, set[str]]] = {}
        told: set[str] = set()  # names of series that are no counters of text
        for run in dict.fromkeys(runs):
            check()
            for series in self._store.series(run):
                points[series.name] = points.get(series.name, 0) + series.points
                if not is_progress(series.name, series.labels):
                    told.add(series.name)
                places.setdefault(series.name, {}).setdefault(run, set()).add(dict(series.labels).get(RANK, ""))
        return [
            SharedTag(name, points[name], len(of_runs), max(map(len, of_runs.values())), name not in told)
            for name, of_runs in sorted(places.items())
        ]

    def _cut(
        self, series: Series, lo: float | None, hi: float | None, axis: Axis
    ) -> Iterator[tuple[float | None, float | None]]:
        """Ranges of about PART points each; none where there is nothing."""
        if series.points <= PART:
            yield lo, hi
            return
        found = self.buckets(series, lo, hi, axis, math.ceil(PLANNED * series.points / PART))
        order = np.argsort(found.t, kind="stable")
        starts, counts = found.t[order], np.cumsum(found.count[order])
        begin, done = lo, 0
        for place, count in zip(starts[1:].tolist(), counts[:-1].tolist(), strict=True):
            if count - done >= PART and (begin is None or place > begin):
                yield begin, math.nextafter(place, -math.inf)
                begin, done = place, count
        if len(starts):
            yield begin, hi


def _absent(name: str) -> str:
    return f"no series of this run matches {name!r}" if is_glob(name) else f"this run has no series {name!r}"
