"""Every read of the store for boards."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from collectors.store.protocol import Axis, Buckets, Series, Store
from collectors.store.question import check

from ..curves.attempts import attempts_of, superseded
from ..subscription import is_glob

MOST_RUNS = 50  # of a question


class BoardReader:
    """Raises what the store raises: StoreError, Ended, TooMuch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cursor(self) -> int:
        return self._store.seq()

    def series(self, run: str | None) -> list[Series]:
        check()
        return list(self._store.series(run))

    def runs(self, globs: Sequence[str]) -> list[str]:
        """Those that exist, the newest first where a glob has several; at most MOST_RUNS."""
        patterns = [glob for glob in globs if is_glob(glob)]
        found = dict.fromkeys(name for name in globs if self._store.run(name) is not None)
        if patterns:
            newest = sorted(self._store.runs(), key=lambda run: run.last_time_s or 0.0, reverse=True)
            found |= dict.fromkeys(run.name for run in newest if any(matches(glob, run.name) for glob in patterns))
        return list(found)[:MOST_RUNS]

    def buckets(
        self, series: Sequence[Series], lo: float | None, hi: float | None, axis: Axis, most: int
    ) -> dict[int, Buckets]:
        """By id. On the step axis, what a newer attempt wrote again is left out."""
        found = self._store.range([chosen.id for chosen in series], lo, hi, axis, most)
        return {number: _newest(data) for number, data in found.items()} if axis == "step" else found


def matches(glob: str, text: str) -> bool:
    """`*` and `?`, in any case."""
    return fnmatch.fnmatchcase(text.lower(), glob.lower().replace("[", "[[]"))


def _newest(data: Buckets) -> Buckets:
    kept = ~superseded(data.step, data.segment, attempts_of(data))
    return data if kept.all() else Buckets._make([*(column[kept] for column in data[:-1]), data.points_total])
