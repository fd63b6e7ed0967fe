"""The user's queue as the dashboard shows it: jobs, slots, attempts, and first-in-first-out beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from collectors.log_tree import LogTree
from jobs.compared import FifoComparison, Span, compared
from jobs.errors import QueueError
from jobs.queue import OVER
from jobs.state_folder import QUEUE, state_folder
from jobs.view import JobAttemptRow, JobRow, QueueView, SlotRow

MOST_ATTEMPTS = 5000  # of an answer: the newest
FILES = (QUEUE, f"{QUEUE}-wal")


class QueueNow(NamedTuple):
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
    """May be asked from many threads. Raises QueueError where the queue is another user's, or cannot be read."""

    def __init__(self, logs: Path | LogTree, folder: Path | None = None) -> None:
        self._tree, self._view = LogTree.of(logs), QueueView(folder or state_folder())
        self._lock = Lock()
        self._compared: tuple[object, FifoComparison | None] = ("", None)

    @property
    def folder(self) -> Path:
        return self._view.folder

    def signature(self) -> str:
        """Changes with the queue's file, and when its daemon begins or ends; about 100 us."""
        parts = [str(self._view.daemon() or "")]
        for name in FILES:
            with suppress(OSError):
                found = (self.folder / name).stat()
                parts.append(f"{found.st_ino:x}.{found.st_mtime_ns:x}.{found.st_size:x}")
        return "-".join(parts)

    def now(self) -> QueueNow:
        """Never raises: what is wrong is its `trouble`."""
        signature, now_s, daemon = self.signature(), time.time(), self._view.daemon()
        try:
            return QueueNow(signature, now_s, daemon, self._view.jobs(), self._view.slots(), self._view.count(), "")
        except QueueError as error:
            return QueueNow(signature, now_s, daemon, [], [], 0, str(error))

    def job(self, number: int) -> tuple[JobRow, list[JobAttemptRow]]:
        """With its attempts, oldest first. Raises NoSuchJob."""
        return self._view.job(number), self._view.attempts(job=number)

    def over(self) -> int:
        """How many jobs are over."""
        return self._view.count()

    def slots(self) -> list[SlotRow]:
        return self._view.slots()

    def history(
        self, limit: int, matching: str = "", states: Sequence[str] = OVER, before: int | None = None
    ) -> HistoryPage:
        found = self._view.history(limit + 1, matching, states, before)
        return HistoryPage(found[:limit], found[limit - 1].id if len(found) > limit else None)

    def attempts(self, since_s: float) -> tuple[list[JobAttemptRow], bool]:
        """Those that ended after `since_s`, or have not; whether older ones are left out."""
        found = self._view.attempts(since_s, limit=MOST_ATTEMPTS + 1)
        return found[-MOST_ATTEMPTS:], len(found) > MOST_ATTEMPTS

    def beside_fifo(self, span_s: float) -> FifoComparison | None:
        """Of the jobs that were submitted in the last `span_s`; made anew when the queue has changed, or after ten seconds."""
        now_s = time.time()
        key = self.signature(), span_s, int(now_s // 10)
        with self._lock:
            if self._compared[0] != key:
                slots = [slot.id for slot in self._view.slots()]
                found = compared(
                    self._view.submissions(now_s), slots, self._used(now_s - span_s, now_s), now_s - span_s, now_s
                )
                self._compared = key, found
            return self._compared[1]

    def run_of(self, job: JobRow | JobAttemptRow) -> str | None:
        """The name by which the dashboard knows its run; None where it has none, or elsewhere."""
        if not job.run or not job.log_dir:
            return None
        folder = Path(job.log_dir) / job.run
        return self._tree.name_of(folder) if any(folder.is_relative_to(top) for top in self._tree.tops) else None

    def _used(self, since_s: float, now_s: float) -> list[Span]:
        rows = self._view.attempts(since_s)
        return [
            (slot, row.intended_s if row.started_s is None else row.started_s, row.ended_s or now_s)
            for row in rows
            for slot in row.slots
        ]
