"""What is measured of one attempt while it runs, and what its family's record becomes by it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..host.host import SeenSlot
from ..planning.family import FamilyRecord
from .process_tree import used_by
from .step_lines import StepLines, StepPace

LEAST_ALONE = 20  # units alone, from which on a job has a baseline of its own
NEW, OLD = 0.3, 0.7  # of an activity: the mean moves slowly


class MeasuredAttempt:
    """`look` on every turn of the daemon."""

    def __init__(self, folder: Path, started_s: float, slots: Sequence[str], cores: int) -> None:
        """`cores` that it has for itself, where its slots are shares of the host's; 0 on GPUs."""
        self.lines = StepLines(folder, started_s)
        self.started_s = started_s
        self.peak_mib = 0.0  # of a slot
        self.rss_mib = 0.0
        self._slots, self._cores = slots, cores
        self._activities: list[float] = []  # alone
        self._loader_cores = 0.0
        self._cpu: tuple[float, float] | None = None  # CLOCK_MONOTONIC, and CPU time then
        self._alone: StepPace | None = None
        self._alone_since_s: float | None = started_s

    def look(self, pids: Iterable[int], seen: Mapping[str, SeenSlot], shared_s: float | None) -> None:
        """`pids` are its processes; `shared_s` since when it has neighbours."""
        self.lines.look()
        pids = list(pids)
        used = used_by(pids)
        mine = [seen[slot] for slot in self._slots if slot in seen]
        self.rss_mib = used.rss_mib
        a_slot = [sum(slot.used_mib.get(pid, 0.0) for pid in pids) for slot in mine] if not self._cores else []
        self.peak_mib = max(
            [self.peak_mib, *(a_slot or [used.rss_mib / max(1, len(self._slots)) if self._cores else 0.0])]
        )
        cores_busy = self._cores_busy(used.cpu_s)
        if shared_s is not None:
            self._alone_since_s = None
        else:
            self._alone_since_s = self._alone_since_s or time.time()
            self._note_alone(mine, cores_busy, self._alone_since_s)

    def _note_alone(self, mine: Sequence[SeenSlot], cores_busy: float | None, since_s: float) -> None:
        if self._cores and cores_busy is not None:
            self._activities.append(min(1.0, cores_busy / self._cores))
        on_gpus = [slot.activity for slot in mine if slot.activity is not None]
        if not self._cores and on_gpus:
            self._activities.append(sum(on_gpus) / len(on_gpus))
            if cores_busy is not None:
                self._loader_cores = max(0.0, cores_busy - 1.0)  # the process that computes has one
        pace = self.lines.pace(since_s)
        if pace.units_per_s is not None and pace.units >= LEAST_ALONE:
            self._alone = pace

    def speed(self, shared_s: float, record: FamilyRecord) -> tuple[float | None, int]:
        """Its units/s since it has neighbours, of its own alone, and over how many units: by its own time alone, else its family's."""
        now = self.lines.pace(shared_s)
        alone = self._alone.units_per_s if self._alone else record.units_per_s
        if now.units_per_s is None or not alone:
            return None, now.units
        return now.units_per_s / alone, now.units

    def known(self, record: FamilyRecord) -> FamilyRecord:
        """The family's record with what was measured: the highest peak, the others moved towards the new.

        Activity, without which no neighbour is placed beside it, is known only where its pace is: else what they do to it could not be checked.
        """
        alone = self._alone
        activity = (
            sum(self._activities) / len(self._activities)
            if self._activities and (alone or record.units_per_s)
            else None
        )
        return record._replace(
            peak_mib=max(record.peak_mib or 0.0, self.peak_mib) or None,
            activity=_moved(record.activity, activity),
            units_per_s=_moved(record.units_per_s, alone.units_per_s if alone else None),
            data_bound=_moved(
                None if record.units_per_s is None else record.data_bound, alone.data_bound if alone else None
            )
            or 0.0,
            loader_cores=self._loader_cores or record.loader_cores,
        )

    def _cores_busy(self, cpu_s: float) -> float | None:
        now_s, before = time.monotonic(), self._cpu
        self._cpu = now_s, cpu_s
        if before is None or now_s - before[0] < 0.2:
            self._cpu = before or self._cpu
            return None
        return max(0.0, cpu_s - before[1]) / (now_s - before[0])


def _moved(known: float | None, new: float | None) -> float | None:
    return known if new is None else new if known is None else OLD * known + NEW * new
