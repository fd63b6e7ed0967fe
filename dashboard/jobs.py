"""The queue of jobs for pages and routes.

`jobs.view` reads it and knows no dashboard. Here is what a web page adds: answers that never raise, pages of limited length, a comparison that is
kept for a while, the names by which this dashboard knows the runs, and words.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from collectors.folders import LogTree
from collectors.message import percent
from jobs.fifo import FifoComparison, compare_with_fifo
from jobs.queue import OVER
from jobs.state_folder import QueueError, state_folder
from jobs.view import JobAttemptRow, JobRow, QueueView, SlotRow

MAX_ATTEMPTS = 5000  # of an answer: the newest


class QueueSnapshot(NamedTuple):
    """`trouble` says why the queue cannot be read, "" where it can."""

    signature: str
    now_s: float
    daemon: int | None
    jobs: list[JobRow]
    slots: list[SlotRow]
    over: int
    trouble: str


class HistoryPage(NamedTuple):
    """Jobs that are over, newest first; `before` is where the next page begins, None on the last."""

    jobs: list[JobRow]
    before: int | None


class JobsReader:
    """May be asked from many threads. Raises QueueError where the queue is another user's, or cannot be read; `view` answers what needs nothing of ours."""

    def __init__(self, logs: Path | LogTree, folder: Path | None = None) -> None:
        self._tree, self.view = LogTree.of(logs), QueueView(folder or state_folder())
        self._lock = Lock()
        self._compared: tuple[object, FifoComparison | None] = ("", None)

    def now(self) -> QueueSnapshot:
        """Never raises: what is wrong is its `trouble`."""
        signature, now_s, daemon = self.view.signature(), time.time(), self.view.daemon()
        try:
            return QueueSnapshot(signature, now_s, daemon, self.view.jobs(), self.view.slots(), self.view.count(), "")
        except QueueError as error:
            return QueueSnapshot(signature, now_s, daemon, [], [], 0, str(error))

    def history(
        self, limit: int, matching: str = "", states: Sequence[str] = OVER, before: int | None = None
    ) -> HistoryPage:
        found = self.view.history(limit + 1, matching, states, before)
        return HistoryPage(found[:limit], found[limit - 1].id if len(found) > limit else None)

    def attempts(self, since_s: float) -> tuple[list[JobAttemptRow], bool]:
        """Those that ended after `since_s`, or have not; whether older ones are left out."""
        found = self.view.attempts(since_s, limit=MAX_ATTEMPTS + 1)
        return found[-MAX_ATTEMPTS:], len(found) > MAX_ATTEMPTS

    def beside_fifo(self, span_s: float) -> FifoComparison | None:
        """Of the jobs that were submitted in the last `span_s`; made anew when the queue has changed, or after ten seconds."""
        now_s = time.time()
        key = self.view.signature(), span_s, int(now_s // 10)
        with self._lock:
            if self._compared[0] != key:
                slots = [slot.id for slot in self.view.slots()]
                found = compare_with_fifo(
                    self.view.submissions(now_s), slots, self.view.used(now_s - span_s, now_s), now_s - span_s, now_s
                )
                self._compared = key, found
            return self._compared[1]

    def run_of(self, job: JobRow | JobAttemptRow) -> str | None:
        """The name by which the dashboard knows its run; None where it has none, or elsewhere."""
        if not job.run or not job.log_dir:
            return None
        folder = Path(job.log_dir) / job.run
        return self._tree.name_of(folder) if any(folder.is_relative_to(top) for top in self._tree.tops) else None


# The comparison with first-in-first-out in words.

ASSUMED = (
    "Assumed: the same jobs come at the same times, each runs as long as it did here, no two share a slot, and the slots that there are now were there "
    "all the time, for this queue alone. Jobs that run or wait take as long as jobs of the same script and arguments did. Time on hold counts for "
    "neither; jobs that were cancelled before they ran, and Slurm's, are left out."
)
SAME = 0.02  # a smaller difference, of a wait or of a share, is none


def sentences_of(found: FifoComparison) -> list[str]:
    """`The 38 jobs waited 12 min on average, the longest 1 h 40 min. First in, first out they would have waited 48 min, the longest 3 h.`"""
    whose = (
        f"The {found.jobs:,} jobs that were submitted waited"
        if found.jobs > 1
        else "The one job that was submitted waited"
    )
    waits = f"{whose} {lasting(found.mean_s)} on average, the longest {lasting(found.longest_s)}."
    there = f", replayed on {found.slots} slot{'s' if found.slots > 1 else ''}," if found.slots else ""
    fifo = f"First in, first out{there} it would have been {lasting(found.fifo_mean_s)} and {lasting(found.fifo_longest_s)}: {_difference(found)}."
    busy = f"The slots were in use {_percent(found.busy)} of the time; first in, first out {_percent(found.fifo_busy)}."
    return [f"{waits} {fifo}", busy]


def lasting(seconds: float) -> str:
    """`42 -> "42 s"`, `103 -> "1 min 43 s"`, `754 -> "13 min"`, `9240 -> "2 h 34 min"`, `200000 -> "2 days 8 h"`"""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 599.5 and round(seconds) % 60:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    if seconds < 3570:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def _difference(found: FifoComparison) -> str:
    less = found.fifo_mean_s - found.mean_s
    if abs(less) < 1.0 or abs(less) <= SAME * found.fifo_mean_s:
        return "the same mean wait"
    if found.fifo_mean_s < 1.0:
        return f"{lasting(-less)} less than here"
    if found.mean_s >= 2 * found.fifo_mean_s:
        return f"this queue's mean wait is {found.mean_s / found.fifo_mean_s:.1f} times as long"
    return f"this queue's mean wait is {_percent(abs(less) / found.fifo_mean_s)} {'shorter' if less > 0 else 'longer'}"


def _percent(share: float) -> str:
    return percent(100 * share)
