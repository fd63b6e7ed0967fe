"""Read the series of runs, and ranges of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from collectors.store.protocol import Axis, Buckets, Series, Store
from collectors.store.question import TooMuch, check

from ..subscription import is_glob, split_names, wanted
from .asked import NoCurve, Tag

AT_ONCE = 20  # series of one question of the store
RANK, HOST = "rank", "host"  # labels in which the ranks of a run differ


class Chosen(NamedTuple):
    """Series of a run that were asked for, and where the run begins, Unix seconds; None where nothing in it has a time."""

    run: str
    series: list[Series]
    first_s: float | None


class CurveReader:
    """Every read of the store for curves. Raises what the store raises: StoreError, Ended."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cursor(self) -> int:
        return self._store.seq()

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
            left_out += [NoCurve(run, part, _absent(part)) for part in absent]
            found = [series for series in known if wanted(series.name, parts)]
            first_s = min((series.first_time_s for series in known if series.first_time_s is not None), default=None)
            chosen.append(Chosen(run, found, first_s))
        return chosen

    def ranges(
        self, series: Sequence[Series], lo: float | None, hi: float | None, axis: Axis, buckets: int
    ) -> Iterator[tuple[Series, Buckets | str]]:
        """Of each series its buckets, or why there are none. A series that is too much costs only itself."""
        for start in range(0, len(series), AT_ONCE):
            some = series[start : start + AT_ONCE]
            try:
                found = self._store.range([part.id for part in some], lo, hi, axis, buckets)
            except TooMuch as error:
                if len(some) == 1:
                    yield some[0], str(error)
                    continue
                for part in some:
                    yield from self.ranges([part], lo, hi, axis, buckets)
            else:
                for part in some:
                    yield part, found[part.id]

    def tags(self, runs: Sequence[str]) -> list[Tag]:
        """By name."""
        points: dict[str, int] = {}
        places: dict[str, dict[str, set[str]]] = {}
        for run in dict.fromkeys(runs):
            check()
            for series in self._store.series(run):
                points[series.name] = points.get(series.name, 0) + series.points
                places.setdefault(series.name, {}).setdefault(run, set()).add(dict(series.labels).get(RANK, ""))
        return [Tag(name, points[name], len(of_runs), max(map(len, of_runs.values()))) for name, of_runs in sorted(places.items())]


def _absent(name: str) -> str:
    return f"no series of this run matches {name!r}" if is_glob(name) else f"this run has no series {name!r}"
