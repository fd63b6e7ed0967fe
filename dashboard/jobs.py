"""The queue of jobs as pages and routes see it: read from its file, changed through its daemon."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from collectors.folders import LogTree
from jobs.fifo import FifoComparison, Span, compare_with_fifo
from jobs.queue import OVER
from jobs.request import JobRequest, request_of
from jobs.state_folder import QUEUE, QueueError, state_folder
from jobs.view import JobAttemptRow, JobRow, QueueView, SlotRow

# The user's queue as the dashboard shows it: jobs, slots, attempts, and first-in-first-out beside it.

MAX_ATTEMPTS = 5000  # of an answer: the newest
FILES = (QUEUE, f"{QUEUE}-wal")


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

    def now(self) -> QueueSnapshot:
        """Never raises: what is wrong is its `trouble`."""
        signature, now_s, daemon = self.signature(), time.time(), self._view.daemon()
        try:
            return QueueSnapshot(
                signature, now_s, daemon, self._view.jobs(), self._view.slots(), self._view.count(), ""
            )
        except QueueError as error:
            return QueueSnapshot(signature, now_s, daemon, [], [], 0, str(error))

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
        found = self._view.attempts(since_s, limit=MAX_ATTEMPTS + 1)
        return found[-MAX_ATTEMPTS:], len(found) > MAX_ATTEMPTS

    def beside_fifo(self, span_s: float) -> FifoComparison | None:
        """Of the jobs that were submitted in the last `span_s`; made anew when the queue has changed, or after ten seconds."""
        now_s = time.time()
        key = self.signature(), span_s, int(now_s // 10)
        with self._lock:
            if self._compared[0] != key:
                slots = [slot.id for slot in self._view.slots()]
                found = compare_with_fifo(
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


# What the owner wants to submit from the page, checked as `deepseek-jobs submit` checks it.


class JobSubmission(NamedTuple):
    """Either `argv` or `command`; folders as they are written, `log_dir` relative to `cwd`."""

    argv: Sequence[str] | None
    command: str | None
    cwd: str
    log_dir: str
    slots: int
    memory: str | None
    priority: str
    share: bool
    resume_with: str | None
    name: str
    env: Sequence[str]
    force: bool = False

    def request(self, environment: Mapping[str, str] = os.environ) -> JobRequest:
        """With what of the dashboard's environment a job is given. Raises QueueError."""
        texts = [
            *(self.argv or ()),
            self.command or "",
            self.cwd,
            self.log_dir,
            self.name,
            *self.env,
            self.resume_with or "",
        ]
        if any("\0" in text for text in texts):
            raise QueueError("a field has a NUL byte, which no program can be given")
        argv = self._words()
        cwd = _place(self.cwd)
        try:
            if not cwd.is_absolute() or not cwd.is_dir():
                raise QueueError(
                    f"{self.cwd!r} is no folder of this host; write the whole path of the folder in which the command is to run"
                )
            return request_of(
                argv, cwd=cwd, environment=environment, gpus=self.slots, memory=self.memory or None, priority=self.priority, share=self.share,
                resume_with=self.resume_with or None, name=self.name, log_dir=_place(self.log_dir or "logs"), env=self.env,
                force=self.force, is_text=self.command is not None,
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            raise QueueError(f"a folder or the command cannot be used ({error}); check what is written") from None

    def _words(self) -> Sequence[str]:
        if (self.argv is None) == (self.command is None):
            raise QueueError("a job has either argv, a list, or command, one text")
        if self.argv is not None:
            return self.argv
        try:
            return shlex.split(self.command or "")
        except ValueError as error:
            raise QueueError(f"the command cannot be split into words ({error}); quote it as for a shell") from None


def _place(text: str) -> Path:
    """`~/project` -> `/home/me/project`. Raises QueueError."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise QueueError(f"there is no user whose home {text!r:.200} could be; write the whole path") from None


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
    return f"{100 * share:.0f} %"
