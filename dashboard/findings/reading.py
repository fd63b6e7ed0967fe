"""Read findings from the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from collectors.analysis.findings.rules import is_tracked
from collectors.analysis.stacks.traces import Floats
from collectors.judging.known import MACHINE, RUNS_OWN
from collectors.records import Finding
from collectors.store.protocol import Store

MOST = 5000  # of an answer, the newest
OF_MACHINE = ""  # the run of what was found on the machine
BEFORE_S, AFTER_S = 1800.0, 60.0  # of a case
MOST_CASE_SERIES, MOST_EVENTS = 200, 500


class FoundFindings:
    """May be asked from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def findings(
        self,
        run: str | None,
        lo: float | None = None,
        hi: float | None = None,
        *,
        holding: bool = False,
        most: int = MOST,
    ) -> list[Finding]:
        """Of a run and of the machine meanwhile; of all runs and the machine without one. In order of their start."""
        if run is None:
            return self._store.findings(None, lo, hi, holding=holding, most=most)
        mine = self._store.findings(run, lo, hi, holding=holding, most=most)
        stored = self._store.run(run)
        first_s, last_s = (stored.first_time_s, stored.last_time_s) if stored else (None, None)
        if first_s is None or last_s is None:
            return mine
        window = max(first_s, lo if lo is not None else first_s), min(last_s, hi if hi is not None else last_s)
        others = self._store.findings(OF_MACHINE, *window, holding=holding, most=most)
        return sorted([*mine, *others], key=lambda found: (found.from_s, found.id))[-most:]

    def case(self, id_: str) -> dict[str, Any] | None:
        """What a finding was judged from: the series that rules look at, from half an hour before it to a minute after, and events.

        `{"finding": {...}, "series": [{name, labels, run, time_s, step, value}], "events": [...]}`; non-finite numbers are null.
        """
        found = self.finding(id_)
        if found is None:
            return None
        window = found.from_s - BEFORE_S, found.to_s + AFTER_S
        own = [row for row in self._store.series(found.run) if is_tracked(row.name)] if found.run is not None else []
        own += [row for row in self._store.series(None) if row.name in MACHINE or row.name in RUNS_OWN]
        rows = own[:MOST_CASE_SERIES]
        points = self._store.points([row.id for row in rows], *window)
        series = [
            {
                "name": row.name,
                "labels": dict(row.labels),
                "run": row.run is not None,
                "time_s": _plain(points[row.id].place),
                "step": _plain(points[row.id].step),
                "value": _plain(points[row.id].value),
            }
            for row in rows
            if len(points[row.id].place)
        ]
        events = (
            [event._asdict() for event in self._store.events(found.run, *window, most=MOST_EVENTS)]
            if found.run is not None
            else []
        )
        return {"finding": found._asdict(), "series": series, "events": events}

    def finding(self, id_: str) -> Finding | None:
        """By its id, whatever its run."""
        return self._store.finding(id_)


def _plain(column: Floats) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in column.tolist()]
