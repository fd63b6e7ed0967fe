"""Jobs at Slurm, which plans them: an attempt is written down, then submitted, then has its number, and is looked at from then on.

The programs of Slurm are called by a process beside the daemon (`slurm.py`), at most one at a time; its end wakes the daemon.
"""

from __future__ import annotations

import logging
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from collectors.queue_events import CANCELLED, FAILED, PLACED, REQUEUED, write_queue_event

from .queue import JobQueue, OpenAttempt
from .request import SLURM, JobRequest
from .run import StuckJobs, remove_if_empty
from .slurm import (
    REFUSED,
    UNMOVED,
    Slurm,
    SlurmAnswer,
    SlurmJob,
    SlurmOrder,
    SlurmSite,
    SlurmState,
    SlurmWish,
    answers_from,
    as_json,
    has_no_cluster,
)
from .state_folder import QueueError

MAIN = Path(__file__).with_name("__main__.py")
SOON_S = 1.0  # until the next look, after something was asked of Slurm
LONGEST_S = 600.0  # between two tries to submit what Slurm refuses
NEEDED = ("sbatch", "squeue", "scancel", "scontrol")
STATES: dict[SlurmState, str] = {"queued": "queued", "held": "held", "starting": "starting"}  # else it runs

logger = logging.getLogger("deepseek-jobs")


class _PendingCall(NamedTuple):
    process: subprocess.Popen[bytes]
    answers: IO[bytes]
    orders: list[SlurmOrder]


class SlurmDriver:
    """Keeps in memory only what it can ask again."""

    def __init__(
        self,
        folder: Path,
        queue: JobQueue,
        site: SlurmSite,
        look_s: float,
        forget_child: Callable[[int], None] = lambda pid: None,
        stuck_s: float = 1800.0,
    ) -> None:
        """`forget_child` gets the pid of each process of ours that has ended."""
        self._folder, self._queue, self._site, self._look_s, self._forget_child = (
            folder,
            queue,
            site,
            look_s,
            forget_child,
        )
        self._asking: _PendingCall | None = None
        self._fresh: set[tuple[int, int]] = set()  # attempts that nothing was submitted of yet
        # By job and wish: when it is tried again, CLOCK_MONOTONIC, and the pause after that.
        self._tries: dict[tuple[int, str | None], tuple[float, float]] = {}
        self._look_due_s = 0.0
        self._blocked: dict[int, str] = {}  # by job, why no end of another one helps it
        self._stuck = StuckJobs(queue.run_of, stuck_s)
        self.due_s = math.inf
        """When the next turn is needed at the latest, CLOCK_MONOTONIC."""

    def require_possible(self, request: JobRequest) -> None:
        """Raises QueueError where this host cannot hand the job to Slurm."""
        programs = self._site.programs
        missing = [name for name in NEEDED if not shutil.which(str(programs / name) if programs else name)]
        if missing:
            where = f"in {programs}" if programs else "in the PATH of the daemon"
            raise QueueError(
                f"there is no {missing[0]} {where}: install slurm-client, submit from a host of the cluster, or leave --place out"
            )
        if has_no_cluster(str(programs / "scontrol" if programs else "scontrol")):
            raise QueueError(
                "this host belongs to no cluster of Slurm (it has no slurm.conf): leave --place out, or submit from a host that does"
            )
        if request.shares:
            raise QueueError("--share is for the slots of this host; leave it out with --place slurm")
        if not request.log_dir:
            raise QueueError("a job at Slurm needs a log folder that its nodes have, too; give it with --log-dir")

    def turn(self, now_s: float) -> None:
        """Never waits for Slurm."""
        if self._asking and self._asking.process.poll() is not None:
            asking, self._asking = self._asking, None
            self._forget_child(asking.process.pid)
            self._take(asking, now_s)
        for job in self._queue.elsewhere():
            self._fresh.add((job.id, self._queue.hand_over(job.id, "is handed to Slurm", now_s)))
        orders, at_s = self._orders(), time.monotonic()
        if not self._asking and any(self._due_s(order) <= at_s for order in orders):
            self._ask([order for order in orders if order.number is not None or self._due_s(order) <= at_s])
        self.due_s = math.inf if self._asking else min(map(self._due_s, orders), default=math.inf)

    def _orders(self) -> list[SlurmOrder]:
        found = []
        for attempt in self._queue.intended():
            if attempt.place != SLURM or not (run := self._queue.run_of(attempt.job)):
                continue
            stops = self._queue.state_of(attempt.job) == "stopping" and attempt.stop_s is None
            wish: SlurmWish | None = "cancel" if stops else self._queue.asked(attempt.job)  # type: ignore[assignment]
            tried = (attempt.job, attempt.number) not in self._fresh
            request = self._request(attempt.job) if attempt.slurm_id is None else None
            number = attempt.slurm_id
            found.append(SlurmOrder(attempt.job, attempt.number, number, run, attempt.run, request, tried, wish))
        return found

    def _request(self, job: int) -> JobRequest:
        request = self._queue.request(job)
        return request._replace(environment={**request.environment, "DEEPSEEK_JOB": str(job)})

    def _due_s(self, order: SlurmOrder) -> float:
        """At once where more than a look is wanted, unless that has just failed."""
        if order.number is not None and order.wish is None:
            return self._look_due_s
        return self._tries.get((order.job, order.wish), (0.0, 0.0))[0]

    def _ask(self, orders: list[SlurmOrder]) -> None:
        asked, answers = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        asked.write(as_json(self._site.as_json(), orders).encode())
        asked.seek(0)
        command = [sys.executable, str(MAIN), "slurm", str(self._folder)]
        try:
            process = subprocess.Popen(command, stdin=asked, stdout=answers, start_new_session=True)
        except OSError as error:
            logger.warning("cannot ask Slurm: %s", error)
            return
        finally:
            asked.close()
            self._look_due_s = time.monotonic() + self._look_s
        self._fresh -= {(order.job, order.attempt) for order in orders}
        self._asking = _PendingCall(process, answers, orders)

    def _take(self, asking: _PendingCall, now_s: float) -> None:
        with asking.answers as file:
            file.seek(0)
            text = file.read()
        try:
            answers = answers_from(text)
        except (ValueError, TypeError, KeyError):
            said = "the process that asks Slurm was ended"
            answers = [SlurmAnswer(order.job, order.attempt, order.number, error=said) for order in asking.orders]
        there = {(attempt.job, attempt.number): attempt for attempt in self._queue.intended()}
        wishes = {(order.job, order.attempt): order.wish for order in asking.orders}
        for answer in answers:
            if attempt := there.get((answer.job, answer.attempt)):
                self._follow(attempt, answer, wishes[answer.job, answer.attempt], now_s)
        waiting = {attempt.job for attempt in self._queue.intended()}
        self._blocked = {job: why for job, why in self._blocked.items() if job in waiting}
        for job in self._stuck.look(self._blocked, now_s):
            logger.warning("job %d is stuck: %s", job, self._blocked[job])

    def _follow(self, attempt: OpenAttempt, answer: SlurmAnswer, wish: str | None, now_s: float) -> None:
        job = attempt.job
        self._blocked.pop(job, None)
        if answer.number is not None and attempt.slurm_id is None:
            self._queue.numbered(job, answer.number)
            logger.info("job %d is job %d of Slurm", job, answer.number)
        if answer.done == "cancel" and answer.number is None:  # it never came to Slurm
            self._forget(job)
            self._queue.ended(job, None, 0.0, now_s, elsewhere=True)
            self._note_cancelled(job, now_s, began=False)
            return
        if answer.done == "cancel":
            self._queue.asked_to_end(job, now_s)
        elif answer.done:
            self._queue.was_done(job, answer.done)
        if answer.done or (answer.number is not None and attempt.slurm_id is None):
            self._look_due_s = min(self._look_due_s, time.monotonic() + min(SOON_S, self._look_s))
        if answer.seen:
            self._see(attempt, answer.seen, now_s)
        if answer.error:
            self._explain(job, answer, wish)
        else:
            self._tries = {key: tried for key, tried in self._tries.items() if key[0] != job}

    def _explain(self, job: int, answer: SlurmAnswer, wish: str | None) -> None:
        """The job keeps its state, and what was asked for is tried again."""
        pause_s = self._tries.get((job, wish), (0.0, self._look_s))[1]
        longer = 2 if answer.error.startswith(REFUSED) else 1
        self._tries[job, wish] = time.monotonic() + pause_s, min(LONGEST_S, longer * pause_s)
        if self._queue.state_of(job) in ("finished", "failed", "cancelled"):
            return
        if answer.seen and wish in ("hold", "release"):
            self._queue.was_done(job, wish)  # Slurm does not do so: its own state holds
        self._blocked[job] = answer.error
        if self._queue.explain(job, answer.error):
            logger.warning("job %d: %s", job, answer.error)

    def _see(self, attempt: OpenAttempt, seen: SlurmJob, now_s: float) -> None:
        job, run = attempt.job, self._queue.run_of(attempt.job)
        if seen.restarts > attempt.slurm_restarts:
            said = "Slurm put it back into its queue"
            self._queue.restarted(job, seen.restarts, said, now_s)
            write_queue_event(run, REQUEUED, now_s, said, job=job)
            logger.info("job %d: %s", job, said)
        says_no_more = seen.state in ("stopping", "unknown") or (
            seen.is_over and seen.state not in ("finished", "failed")
        )
        state = self._queue.state_of(job) if says_no_more else STATES.get(seen.state, "running")
        waited_s = self._queue.seen_elsewhere(job, state, seen.reason, seen.nodes, seen.start_s, now_s)
        if waited_s is not None:
            write_queue_event(run, PLACED, seen.start_s or now_s, "waited for Slurm", seconds=waited_s, job=job)
            logger.info("job %d runs on %s", job, seen.nodes)
        if seen.is_over:
            self._end(attempt, seen, now_s)
        elif seen.state in ("queued", "held") and seen.reason in UNMOVED:
            self._blocked[job] = seen.reason

    def _end(self, attempt: OpenAttempt, seen: SlurmJob, now_s: float) -> None:
        job = attempt.job
        if seen.state == "cancelled" and self._queue.state_of(job) != "stopping":
            self._queue.cancel(job, now_s)  # by scancel, or by an administrator
        code = seen.exit_code if seen.state == "finished" or seen.exit_code else None
        code = 128 - code if code and code > 128 else code
        placed, _ = self._queue.placed(job)
        ran_s = max(0.0, (seen.end_s or now_s) - placed.started_s) if placed.started_s else 0.0
        self._forget(job)
        state = self._queue.ended(job, code, placed.ran_s + ran_s, now_s, said=seen.reason, elsewhere=True)
        logger.info("job %d of Slurm ended (%s), job %d is %s", seen.id, seen.reason or code, job, state)
        if state == "cancelled":
            self._note_cancelled(job, now_s, began=placed.started_s > 0)
        elif state == "failed":
            text = f"job {job} has failed: {seen.reason or 'its end is not known'}"
            write_queue_event(self._queue.run_of(job), FAILED, now_s, text, job=job)

    def _forget(self, job: int) -> None:
        """The environment that it was given."""
        if run := self._queue.run_of(job):
            Slurm(self._site).forget(run)

    def _note_cancelled(self, job: int, now_s: float, *, began: bool) -> None:
        if run := self._queue.run_of(job):
            write_queue_event(
                run, CANCELLED, now_s, f"job {job} was cancelled{'' if began else ' before it started'}", job=job
            )
            if not began:
                remove_if_empty(run)
