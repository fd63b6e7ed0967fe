"""70 and 30 %: what each class had of the slots lately."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from .job import Job

HALF_LIFE_S = 3600.0
HIGH_WEIGHT, NORMAL_WEIGHT = 0.7, 0.3


class Usage(NamedTuple):
    """Slot-seconds of each class, of which half are forgotten in an hour; a slot with two jobs counts half to each."""

    high_s: float = 0.0
    normal_s: float = 0.0
    at_s: float | None = None
    high_slots: float = 0.0  # in use since then
    normal_slots: float = 0.0

    def at(self, now_s: float) -> Usage:
        """As long as no plan changed it since `at_s`."""
        kept = 0.5 ** (max(0.0, now_s - (now_s if self.at_s is None else self.at_s)) / HALF_LIFE_S)
        more_s = HALF_LIFE_S / math.log(2) * (1 - kept)  # the integral of what is kept of each second
        return Usage(
            self.high_s * kept + self.high_slots * more_s, self.normal_s * kept + self.normal_slots * more_s, now_s, self.high_slots, self.normal_slots
        )  # fmt: skip

    def using(self, placed: Iterable[Job]) -> Usage:
        """With these jobs on the slots from `at_s` on."""
        high, normal = shares(placed)
        return self._replace(high_slots=high, normal_slots=normal)

    def of(self, high: bool) -> float:
        """Of its weight: the class with less is served first while both wait."""
        return self.high_s / HIGH_WEIGHT if high else self.normal_s / NORMAL_WEIGHT

    def plus(self, job: Job, seconds: float) -> Usage:
        """With a job that is about to run so long, or half-life if that is longer."""
        more = job.slots * min(seconds, HALF_LIFE_S)
        return self._replace(high_s=self.high_s + more) if job.high else self._replace(normal_s=self.normal_s + more)


NOTHING_USED = Usage()


def shares(placed: Iterable[Job]) -> tuple[float, float]:
    """Slots in use by the high and by the normal class."""
    jobs = list(placed)
    neighbours = Counter(slot for job in jobs for slot in job.on)
    sums = [0.0, 0.0]
    for job in jobs:
        sums[not job.high] += sum(1 / neighbours[slot] for slot in job.on)
    return sums[0], sums[1]


def high_slots(slots: int) -> int:
    """How many slots the high class may take back from others: 70 %, at least one."""
    return max(1, int(HIGH_WEIGHT * slots + 1e-9))
