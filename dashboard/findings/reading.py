"""Read findings from the store."""

from __future__ import annotations

from collectors.records import Finding
from collectors.store.protocol import Store

MOST = 5000  # of an answer, the newest
MACHINE = ""  # the run of what was found on the machine


class FoundFindings:
    """May be asked from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def findings(
        self, run: str | None, lo: float | None = None, hi: float | None = None, *, holding: bool = False, most: int = MOST
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
        others = self._store.findings(MACHINE, *window, holding=holding, most=most)
        return sorted([*mine, *others], key=lambda found: (found.from_s, found.id))[-most:]

    def finding(self, id_: str) -> Finding | None:
        """By its id, whatever its run."""
        return next((found for found in self._store.findings() if found.id == id_), None)
