"""The daemon of a user's queue: starts, stops and follows jobs."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from collectors.machine.proc import TICKS_PER_S, boot_id, printable, start_ticks
from collectors.queue_events import (
    CANCELLED,
    FAILED,
    PLACED,
    PREEMPTED,
    REQUEUED,
    SHARED,
    SHARES,
    STOPPING,
    SUBMITTED,
    write_queue_event,
)
from deepseek.log.redaction import without_secrets

from . import state_folder
from .client import MAX_BYTES, peer_uid
from .host import NOT_NAMED, CoreHost, GpuHost, JobsHost, SlotStatus, remembered_from
from .lease import make_folder, owner_trouble
from .local_executor import AttemptEnd, AttemptSpec, AttemptStatus, Executor, LocalExecutor, NotNow
from .measure import MeasuredAttempt, out_of_memory
from .plan import Job, JobPlan, QueueState, StartJob, StopJob, each_in_words, plan, slots_in_words
from .processes import DAEMON
from .queue import SLOTS, FileError, JobQueue, OpenAttempt, cannot_keep, is_of_the_file
from .request import LOCAL, SLURM, JobRequest, request_from
from .run import StuckJobs, make_run, remove_if_empty
from .settings import DaemonRules
from .slurm_driver import SlurmDriver
from .state_folder import ATTEMPTS, LOCK, SOCKET, NoDaemon, QueueError, daemon_of

# The daemon of a queue: on each event, and at most every ten seconds, a turn (`Dispatcher`).
#
# It may be killed at any time. What runs has a keeper of its own; what it intended stands in the queue's file; its successor looks at both.

CLEAN_S = 3600.0
MAX_S = 86400.0  # that the kernel is asked to wait at once: it has a limit
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class JobsDaemon:
    """Of one queue, and one user. Raises QueueError where it may not be."""

    def __init__(
        self,
        folder: Path,
        rules: DaemonRules,
        *,
        cores_a_slot: int | None = None,
        idle_limit_mib: float = 0.0,
        leases: Path,
    ) -> None:
        """`cores_a_slot` makes core slots also on a host with GPUs."""
        state_folder.make(folder)
        try:
            self._open(folder.resolve(), rules, cores_a_slot, idle_limit_mib, leases)
        except (OSError, FileError) as error:
            raise QueueError(cannot_keep(error)) from None

    def _open(
        self, folder: Path, rules: DaemonRules, cores_a_slot: int | None, idle_limit_mib: float, leases: Path
    ) -> None:
        os.environ[DAEMON] = str(folder)  # so that keepers are known to be no job's processes
        self._lock = DaemonLock(folder)
        self._folder, self._rules = folder, rules
        self._queue = JobQueue(folder / state_folder.QUEUE)
        host: JobsHost = CoreHost(cores_a_slot)
        lent: Path | None = None
        if cores_a_slot is None:
            make_folder(leases)
            if trouble := owner_trouble(leases):
                logger.warning(trouble)
            gpus = GpuHost(leases, idle_limit_mib, remembered=remembered_from(self._queue.kept(SLOTS)))
            if gpus.there:
                host, lent = gpus, leases
            else:
                gpus.close()
        self._host = host
        self._local = LocalExecutor(folder, lent)
        executors: dict[str, Executor] = {LOCAL: self._local}
        self._selector = selectors.DefaultSelector()
        self._dispatcher = Dispatcher(folder, self._queue, host, executors, rules)
        self._slurm = SlurmDriver(folder, self._queue, rules.slurm, rules.look_s, self._local.forget, rules.stuck_s)
        self._requests = RequestSocket(folder, self._selector, self._answer)
        self._ended_pids: dict[int, int] = {}  # pid -> descriptor that is readable once it has ended
        self._stops, self._clean_due_s = False, 0.0
        self._failure = ""  # of the last turn, as it was logged

    def run(self) -> None:
        """Until SIGTERM, SIGINT or `stop`."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in END_SIGNALS:
            signal.signal(number, lambda *_: self._stop())
        self._selector.register(woken, selectors.EVENT_READ, lambda: self._signalled(woken))
        logger.info("looks after %s: %s", self._folder, ", ".join(slot.name for slot in self._dispatcher.seen.values()))
        if all(slot.why == NOT_NAMED for slot in self._dispatcher.seen.values()):
            logger.warning("jobs wait for the GPUs: %s", NOT_NAMED)
        turns = TickSchedule(self._rules.look_s, time.monotonic())
        while not self._stops:
            ready = self._selector.select(min(MAX_S, max(0.0, turns.due_s - time.monotonic())))
            news = [self._heard(key.data) for key, _ in ready]  # of all, also after the first that brings news
            if any(news):
                turns.hear()
            if self._stops or time.monotonic() < turns.due_s:
                continue
            if why := self._removed():
                logger.error("%s", why)
                break
            began_s = time.monotonic()
            self._take_a_turn()
            by_s = min(self._slurm.due_s, self._dispatcher.due_s)
            turns.turned(began_s, time.monotonic(), unsettled=self._dispatcher.unsettled, by_s=by_s)
        logger.info("ends; jobs run on")

    def close(self) -> None:
        self._requests.close()
        for descriptor in self._ended_pids.values():
            os.close(descriptor)
        self._selector.close()
        self._host.close()
        self._queue.close()
        self._lock.close()

    def _removed(self) -> str:
        """What this daemon cannot be without, as a sentence; "" where all of it is there."""
        if not self._lock.is_there:
            return f"{self._folder} was removed, or its lock"
        if removed := self._queue.removed:
            return f"{removed} was removed, or replaced"
        return ""

    def _heard(self, call: Callable[[], bool]) -> bool:
        """Whether a turn is to follow. What fails costs itself, not the daemon."""
        try:
            return call()
        except Exception:
            logger.exception("an event was lost")
            return True

    def _take_a_turn(self) -> None:
        try:
            self._dispatcher.turn()
            self._slurm.turn(time.time())
            self._failure = ""
        except Exception as error:  # the next turn begins from what the file and the kernel say
            if repr(error) != self._failure:
                why = cannot_keep(error) if isinstance(error, FileError) else repr(error)
                logger.warning("a turn failed and is tried again: %s", why, exc_info=True)
            self._failure = repr(error)
            self._dispatcher.unsettled = True
        self._wait_for(self._dispatcher.pids)
        self._clean()

    def _clean(self) -> None:
        if time.monotonic() < self._clean_due_s:
            return
        self._clean_due_s = time.monotonic() + CLEAN_S
        try:
            self._local.clean({(attempt.job, attempt.number) for attempt in self._queue.intended()}, time.time())
        except (OSError, FileError) as error:
            logger.warning("cannot remove what attempts have left: %s", error)

    def _wait_for(self, pids: set[int]) -> None:
        for pid in self._ended_pids.keys() - pids:
            self._forget(pid)
        for pid in pids - self._ended_pids.keys():
            if start_ticks(pid) is None:  # how it ended is about to be written
                continue
            with suppress(OSError):  # it has ended meanwhile
                descriptor = self._ended_pids[pid] = os.pidfd_open(pid)
                self._selector.register(descriptor, selectors.EVENT_READ, lambda pid=pid: self._has_ended(pid))
        if pids - self._ended_pids.keys():
            self._dispatcher.unsettled = True

    def _has_ended(self, pid: int) -> bool:
        self._forget(pid)
        return True

    def _forget(self, pid: int) -> None:
        descriptor = self._ended_pids.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def _signalled(self, woken: int) -> bool:
        """A child has ended, or we are to end."""
        with suppress(BlockingIOError):
            os.read(woken, 4096)
        self._local.reap()
        return True

    def _stop(self) -> None:
        self._stops = True

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Raises QueueError."""
        what, now_s = asked.get("do"), time.time()
        if what != "stop" and (why := self._removed()):
            logger.error("%s", why)
            self._stop()
            raise NoDaemon(f"{why} while the daemon ran, so it ends; ask again, and a new one begins")
        if what == "submit":
            return self._submit(asked.get("request"), now_s)
        if what == "about":
            return {"pid": os.getpid()}
        if what == "stop":
            self._stop()
            return {"pid": os.getpid()}
        changes: dict[str, Callable[[int, float], object]] = {
            "cancel": self._cancel, "hold": self._queue.hold, "release": self._queue.release,
        }  # fmt: skip
        job = asked.get("job")
        if not isinstance(what, str) or what not in changes:
            raise QueueError(
                f"the daemon cannot {what!r:.100}; it is of another version: end it with deepseek-jobs stop, and start it again"
            )
        if not isinstance(job, int) or isinstance(job, bool):
            raise QueueError(f"the number of a job is a whole number, not {job!r:.100}")
        return {"ran": bool(changes[what](job, now_s))}

    def _submit(self, fields: object, now_s: float) -> dict[str, Any]:
        request = request_from(fields if isinstance(fields, dict) else {})
        (self._slurm if request.place == SLURM else self._dispatcher).require_possible(request)
        made = list[str]()

        def make(number: int) -> str:
            made.append(make_run(request, number))
            return made[-1]

        try:
            job = self._queue.submit(request, now_s, make)
        except Exception:
            for name in filter(None, made):
                remove_if_empty(Path(request.log_dir) / name)
            raise
        run = self._queue.run_of(job)
        write_queue_event(run, SUBMITTED, now_s, f"queued as job {job}", job=job)
        logger.info("job %d is queued: %s", job, " ".join(without_secrets(request.argv))[:200])
        return {"job": job, "run": str(run.relative_to(request.log_dir)) if run else ""}

    def _cancel(self, job: int, now_s: float) -> bool:
        ran = self._queue.cancel(job, now_s)
        if not ran and (run := self._queue.run_of(job)):
            write_queue_event(run, CANCELLED, now_s, f"job {job} was cancelled before it started", job=job)
            remove_if_empty(run)
        return ran


# One turn of the daemon: what has become of the attempts, what the host has, what is to be done now, and doing it.

SAVED = (0, 75)  # exit codes after a stop that say: the checkpoint is written (75 is EX_TEMPFAIL)
NOTHING_SAVED = 66  # of --resume-with: there is no checkpoint yet (EX_NOINPUT); the job begins anew
CANNOT_EXECUTE = 127
JUMP_S = (
    60.0  # by which the wall's clock and the boot's differ on the length of an attempt that was seen to run and to end
)


class Dispatcher:
    """Keeps in memory only what it can measure or look up again."""

    def __init__(
        self, folder: Path, queue: JobQueue, host: JobsHost, executors: Mapping[str, Executor], rules: DaemonRules
    ) -> None:
        self._folder, self._queue, self._host, self._executors, self._rules = folder, queue, host, executors, rules
        self._measured: dict[tuple[int, int], MeasuredAttempt] = {}
        self._remembered: set[tuple[int, int]] = set()
        self._stops = StopRequests(rules.stop_s)
        self._false_starts = FalseStarts()
        self._ages: dict[tuple[int, int], float] = {}  # of attempts when they were last seen to run
        self._pids: dict[tuple[int, int], list[int]] = {}  # of all processes of each attempt
        self._failures: dict[tuple[int, str], str] = {}  # by job and what could not be done, as it was logged
        self._shared: dict[int, tuple[float, str]] = {}  # by job, since when and with whom
        self._stuck = StuckJobs(queue.run_of, rules.stuck_s)
        self.seen: dict[str, SlotStatus] = {}
        self.pids: set[int] = set()  # programs that run
        self.unsettled = False  # whether something is about to change without an event
        self.look_at_host()

    @property
    def due_s(self) -> float:
        """When the next turn is needed at the latest, CLOCK_MONOTONIC."""
        return self._false_starts.due_s

    def look_at_host(self) -> None:
        used_mib = dict[str, float]()
        open_attempts = [attempt for attempt in self._queue.intended() if attempt.place in self._executors]
        self._pids = {}
        for place in {attempt.place for attempt in open_attempts}:
            self._pids |= self._executors[place].processes(
                [attempt for attempt in open_attempts if attempt.place == place]
            )
        for attempt in open_attempts:
            if measured := self._measured.get((attempt.job, attempt.number)):
                for slot in attempt.slots:
                    used_mib[slot] = used_mib.get(slot, 0.0) + measured.rss_mib / len(attempt.slots)
        ours = frozenset(pid for pids in self._pids.values() for pid in pids)
        self.seen = {slot.slot.id: slot for slot in self._host.look(ours, used_mib)}
        rows = [
            {
                "id": slot.slot.id, "name": slot.name, "memory_mib": slot.slot.memory_mib, "free_mib": slot.slot.free_mib,
                "foreign": slot.slot.foreign, "why": slot.why,
            }
            for slot in self.seen.values()
        ]  # fmt: skip
        self._queue.keep(SLOTS, {"seen_s": time.time(), "slots": rows})

    def turn(self) -> None:
        """One job that cannot be looked after costs only itself. Raises FileError where the file cannot be written: nothing can be done then."""
        now_s = time.time()
        self.unsettled = False
        self._look_at_attempts(now_s)
        self.look_at_host()
        state = self._state()
        self._measure(state)
        state = self._state()
        self._note_sharing(state, now_s)
        made = self._planned(state, now_s)
        made = replace(made, reasons={**made.reasons, **self._false_starts.reasons()})
        for action in self._queue.intend(made, now_s):
            if isinstance(action, StartJob):
                with self._costs_only(action.job, "cannot be started"):
                    self._start(action, state, now_s)
            elif isinstance(action, StopJob):
                self._say_why_it_stops(action, now_s)
        self._end_those_that_stop(now_s)
        self._say_what_is_stuck(made, now_s)

    def require_possible(self, request: JobRequest) -> None:
        """Raises QueueError where no waiting would help."""
        slots = tuple(slot.slot for slot in self.seen.values())
        if request.slots > len(slots):
            raise QueueError(
                f"the job asks for {slots_in_words(request.slots, slots)}, and this host has {len(slots)}: ask for at most {len(slots)} with --gpus"
            )
        if sum(slot.holds(request.declared_mib) for slot in slots) < request.slots:
            largest = max((slot.memory_mib or 0.0) for slot in slots) / 1024
            noun = "GPU" if not slots[0].cores else "core slot"
            raise QueueError(
                f"the job asks for {(request.declared_mib or 0) / 1024:.1f} GiB on {each_in_words(request.slots, slots)}, and the largest "
                f"{noun} has {largest:.1f} GiB: ask for less with --memory, or leave it out"
            )

    def _state(self) -> QueueState:
        """What the plan is made from: jobs that could not be started a moment ago are as if held."""
        state = self._queue.state([slot.slot for slot in self.seen.values()], self._host.cores, self._rules.plan)
        self._false_starts.keep({id_ for id_, job in state.jobs.items() if job.state != "held"})
        waits = self._false_starts.reasons()
        jobs = {
            id_: replace(job, state="held", promised=()) if id_ in waits and job.waiting else job
            for id_, job in state.jobs.items()
        }
        return replace(state, jobs=jobs)

    def _planned(self, state: QueueState, now_s: float) -> JobPlan:
        """The plan; where none can be made, that without the jobs that cannot be planned each by itself."""
        try:
            return plan(state, now_s)
        except Exception:
            placed = {id_: job for id_, job in state.jobs.items() if job.placed}
            odd = dict[int, str]()
            for job in (job for job in state.jobs.values() if not job.placed):
                try:
                    plan(replace(state, jobs={**placed, job.id: job}), now_s)
                except Exception as error:
                    odd[job.id] = f"no plan can be made with it ({error!r:.200}): cancel it, and submit it anew"
            made = plan(replace(state, jobs={id_: job for id_, job in state.jobs.items() if id_ not in odd}), now_s)
            return replace(made, reasons={**made.reasons, **odd})

    @contextmanager
    def _costs_only(self, job: int, what: str) -> Iterator[None]:
        """What fails here is logged once; a file of the queue that cannot be used is no job's fault."""
        try:
            yield
            self._failures.pop((job, what), None)
        except Exception as error:
            if is_of_the_file(error):
                raise
            if self._failures.get((job, what)) != repr(error):
                logger.exception("job %d %s", job, what)
            self._failures[job, what] = repr(error)

    def _look_at_attempts(self, now_s: float) -> None:
        self.pids = set[int]()
        for attempt in self._queue.intended():
            if executor := self._executors.get(attempt.place):
                with self._costs_only(attempt.job, "cannot be looked at"):
                    self._look_at(attempt, executor, now_s)

    def _look_at(self, attempt: OpenAttempt, executor: Executor, now_s: float) -> None:
        seen = executor.look(attempt)
        if seen.process and attempt.pid is None:
            attempt = attempt._replace(
                pid=seen.process.pid, start_ticks=seen.process.ticks, boot_id=seen.process.boot_id
            )
            started_s = began_s(attempt, now_s)
            self._queue.started(attempt.job, seen.process.pid, seen.process.ticks, seen.process.boot_id, started_s)
            attempt = attempt._replace(started_s=started_s)
            logger.info("job %d runs as process %d", attempt.job, seen.process.pid)
        if seen.state == "ended":
            try:
                self._ended(attempt, seen, now_s)
            except Exception as error:
                if is_of_the_file(error):
                    raise
                logger.exception("job %d has ended, and what it did cannot be known", attempt.job)
                end = seen.end or AttemptEnd(None)
                self._queue.ended(attempt.job, end.code if end.begun else None, 0.0, now_s, said=end.said)
        else:
            self._ages[attempt.job, attempt.number] = age_s(attempt) or 0.0
            self.pids |= {seen.process.pid} if seen.process else set()
            self.unsettled |= seen.process is None

    def _ended(self, attempt: OpenAttempt, seen: AttemptStatus, now_s: float) -> None:
        job, end = attempt.job, seen.end or AttemptEnd(None)
        key = job, attempt.number
        self._stops.forget(key)
        if not end.begun:
            self._never_began(attempt, end, now_s)
            return
        self._false_starts.forget(job)
        if end.code == 0 and attempt.stop_s is None:
            self._queue.ended_before(job)
        before, why = self._queue.placed(job)
        run, measured = self._queue.run_of(job), self._measured.pop(key, None) or self._new_measured(attempt)
        with self._costs_only(job, "cannot be measured"):
            measured.lines.look()
        seen_s = self._ages.pop(key, None)
        ran_s, ended_s = ran(attempt, end.ended_s or now_s, seen_s or 0.0), min(now_s, end.ended_s or now_s)
        if attempt.started_s and abs(ended_s - attempt.started_s - ran_s) > JUMP_S:
            ended_s = now_s
            self._queue.began(job, now_s - ran_s)
        kept_s = before.ran_s
        saved = bool(why) and end.code in SAVED
        checkpoint_s = measured.lines.checkpoint_s
        if saved or (end.code is not None and not why):
            work_s = kept_s + ran_s
        else:
            work_s = (
                kept_s + min(ran_s, max(0.0, checkpoint_s - (attempt.started_s or now_s))) if checkpoint_s else kept_s
            )
        if end.code == 0 or ran_s >= self._rules.measured_s:
            self._remember(before, measured, key)
        self._remembered.discard(key)
        limit_mib = min(
            (slot.slot.memory_mib for id_, slot in self.seen.items() if id_ in attempt.slots and slot.slot.memory_mib),
            default=None,
        )
        process = (seen.process.pid, seen.process.ticks) if seen.process else None
        output = (run or self._folder / ATTEMPTS / f"{job}.{attempt.number}") / "output.log"
        memory = None
        if not why and out_of_memory(end.code, output, process, measured.peak_mib, limit_mib):
            memory = (measured.peak_mib, max(slot.slot.memory_mib or 0.0 for slot in self.seen.values()))
        said, anew = _said(end, why, memory, before.slots), end.code == NOTHING_SAVED and self._queue.goes_on(job)
        saved = saved or checkpoint_s is not None
        state = self._queue.ended(
            job, end.code, work_s, now_s, memory, saved=saved, anew=anew, said=said, ended_s=ended_s
        )
        logger.info("job %d: attempt %d ended (%s), now %s", job, attempt.number, said or end.code, state)
        if why and attempt.stop_s:
            took_s = max(0.0, now_s - attempt.stop_s)
            text = f"{'saved and stopped' if saved else 'stopped'} after {took_s:.0f} s"
            write_queue_event(run, STOPPING, now_s, text, seconds=took_s, job=job)
        if state == "queued":
            write_queue_event(run, REQUEUED, now_s, f"queued again: {said or why or 'its end was not seen'}", job=job)
        elif state == "failed":
            write_queue_event(run, FAILED, now_s, f"job {job} has failed: {said or 'its end was not seen'}", job=job)
        elif state == "cancelled":
            write_queue_event(run, CANCELLED, now_s, f"job {job} was cancelled", job=job)

    def _never_began(self, attempt: OpenAttempt, end: AttemptEnd, now_s: float) -> None:
        """That is never the job's fault: it is tried again, ever more rarely, and says why."""
        before, _ = self._queue.placed(attempt.job)
        state = self._queue.ended(attempt.job, None, before.ran_s, now_s, said=end.said, begun=False)
        logger.info("job %d: attempt %d never began (%s), now %s", attempt.job, attempt.number, end.said, state)
        if state != "queued":
            self._false_starts.forget(attempt.job)
            return
        self._queue.explain(attempt.job, self._false_starts.note(attempt.job, end.said))

    def _measure(self, state: QueueState) -> None:
        for attempt in self._queue.intended():
            if (job := state.jobs.get(attempt.job)) and attempt.started_s is not None:
                with self._costs_only(job.id, "cannot be measured"):
                    self._measure_one(attempt, job)

    def _measure_one(self, attempt: OpenAttempt, job: Job) -> None:
        key = attempt.job, attempt.number
        if key not in self._measured:
            self._measured[key] = self._new_measured(attempt)
        measured = self._measured[key]
        before_mib = measured.peak_mib
        measured.look(self._pids.get(key, ()), self.seen, job.shared_s)
        if measured.peak_mib > 1.01 * before_mib:
            self._queue.peaked(job.id, measured.peak_mib)
        if self._ages.get(key, 0.0) >= self._rules.measured_s and key not in self._remembered and job.shared_s is None:
            self._remember(job, measured, key)
        if job.shared_s is not None and job.state == "running":
            speed, units = measured.speed(job.shared_s, self._queue.family(job.family))
            if speed is not None:
                self._queue.measured(job.id, speed, units)

    def _remember(self, job: Job, measured: MeasuredAttempt, key: tuple[int, int]) -> None:
        self._queue.remember(job.family, measured.known(self._queue.family(job.family)))
        self._remembered.add(key)

    def _start(self, action: StartJob, state: QueueState, now_s: float) -> None:
        job = state.jobs[action.job]
        names, wanted = ", ".join(self.seen[slot].name for slot in action.slots), slots_in_words(job.slots, state.slots)
        seconds = now_s - job.queued_s
        write_queue_event(
            self._queue.run_of(job.id),
            PLACED,
            now_s,
            f"waited for {wanted}",
            seconds=seconds,
            job=job.id,
            slots=list(action.slots),
        )
        self._execute(job, LOCAL, action.slots, now_s)
        self.unsettled = True
        logger.info("job %d starts on %s%s", job.id, names, f" beside {list(action.beside)}" if action.beside else "")

    def _execute(self, job: Job, place: str, slots: tuple[str, ...], now_s: float) -> None:
        (attempt,) = (attempt for attempt in self._queue.intended() if attempt.job == job.id)
        try:
            request, run = self._queue.request(job.id), self._queue.run_of(job.id)
            wanted = AttemptSpec(
                job.id, attempt.number, self._queue.command(job.id), request.cwd, request.environment, slots,
                self._host.gpus(slots), self._host.cores_of(slots), run, Path(request.log_dir) if request.log_dir else None,
            )  # fmt: skip
            self._executors[place].start(wanted)
        except NotNow as error:
            self._never_began(attempt, AttemptEnd(None, None, str(error), begun=False), now_s)
        except (QueueError, ValueError, TypeError) as error:  # of what its row holds
            self._queue.ended(job.id, CANNOT_EXECUTE, job.ran_s, now_s, said=printable(str(error)))
            text = f"job {job.id} has failed: {printable(str(error))}"
            write_queue_event(self._queue.run_of(job.id), FAILED, now_s, text, job=job.id)
            logger.info("job %d: %s", job.id, error)

    def _say_why_it_stops(self, action: StopJob, now_s: float) -> None:
        text = (
            f"makes room for job {action.because}"
            if action.why == PREEMPTED
            else f"slowed beside job {action.because}: leaves"
        )
        write_queue_event(
            self._queue.run_of(action.job), action.why, now_s, text, job=action.job, because=action.because
        )
        logger.info("job %d is asked to end: %s", action.job, text)

    def _end_those_that_stop(self, now_s: float) -> None:
        """SIGTERM once of each daemon, SIGKILL when the time is over. That it is asked is written before: the next daemon then asks, too."""
        for attempt in self._queue.intended():
            if self._queue.state_of(attempt.job) == "stopping" and (executor := self._executors.get(attempt.place)):
                with self._costs_only(attempt.job, "cannot be ended"):
                    self._end(attempt, executor, now_s)

    def _end(self, attempt: OpenAttempt, executor: Executor, now_s: float) -> None:
        key = attempt.job, attempt.number
        self.unsettled |= not self._stops.is_asked(key) or self._stops.is_over(key)
        self._stops.begin(key, 0.0 if attempt.stop_s is None else now_s - attempt.stop_s)
        if attempt.pid is None:
            executor.withdraw(attempt)
        elif self._stops.is_over(key):
            executor.kill(attempt)
        if attempt.pid is None or self._stops.is_asked(key):
            return
        self._queue.asked_to_end(attempt.job, attempt.stop_s or now_s)
        if executor.ask_to_end(attempt):
            self._stops.asked(key)
        elif attempt.stop_s is None:
            self._queue.asked_to_end(attempt.job, None)

    def _say_what_is_stuck(self, made: JobPlan, now_s: float) -> None:
        """With what others have of the host, each slot once."""
        taken = "; ".join(f"{slot.name}: {slot.why}" for slot in self.seen.values() if slot.slot.foreign and slot.why)
        blocked = {
            job: f"{made.reasons[job]}{f' ({taken})' if taken else ''}" for job in made.blocked if job in made.reasons
        }
        blocked |= self._false_starts.all_reasons()
        for job in self._stuck.look(blocked, now_s):
            logger.warning("job %d is stuck: %s", job, blocked[job])

    def _note_sharing(self, state: QueueState, now_s: float) -> None:
        """Spans in which a job has a neighbour."""
        running = [job for job in state.jobs.values() if job.placed]
        now = dict[int, tuple[float, str]]()
        for job in running:
            others = [str(other.id) for other in running if other.id != job.id and set(other.on) & set(job.on)]
            if job.shared_s is not None and others:
                now[job.id] = job.shared_s, " and ".join(others)
        for job_id in self._shared.keys() | now.keys():
            before, after = self._shared.get(job_id), now.get(job_id)
            if before == after:
                continue
            run = self._queue.run_of(job_id)
            if before:
                write_queue_event(run, SHARED, now_s, f"beside job {before[1]}", seconds=now_s - before[0], job=job_id)
            if after:
                write_queue_event(run, SHARES, after[0], f"shares its slot with job {after[1]}", job=job_id)
        self._shared = now

    def _new_measured(self, attempt: OpenAttempt) -> MeasuredAttempt:
        folder = (
            Path(attempt.log_dir) / attempt.run
            if attempt.run
            else self._folder / ATTEMPTS / f"{attempt.job}.{attempt.number}"
        )
        return MeasuredAttempt(
            folder, attempt.started_s or attempt.intended_s, attempt.slots, len(self._host.cores_of(attempt.slots))
        )


def _said(end: AttemptEnd, why: str | None, memory: tuple[float, float] | None, slots: int) -> str:
    """`out of memory at 21.3 GiB`, else how it ended, in words."""
    if memory:
        peak_gib = memory[0] / 1024  # not known of a program that ended before it was looked at
        return f"out of memory{f' at {peak_gib:.1f} GiB' if peak_gib >= 0.05 else ''}{' on each slot' if slots > 1 else ''}"
    if why:
        return (
            f"{why}, {'its checkpoint is written' if end.code in SAVED else f'it ended with {_coded(end.code)}'}"
            if why != "cancelled"
            else why
        )
    if end.code == 0:
        return ""
    return f"{end.said} ({_coded(end.code)})" if end.said else f"ended with {_coded(end.code)}"


def _coded(code: int | None) -> str:
    return "an unknown code" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"


# How long an attempt ran, whatever the wall's clock does: bounded by the boot's clock, which has the start of its process.


def age_s(attempt: OpenAttempt) -> float | None:
    """Seconds since its program was started; None where that was in another boot, or is not known."""
    if attempt.start_ticks is None or attempt.boot_id != boot_id():
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - attempt.start_ticks / TICKS_PER_S)


def began_s(attempt: OpenAttempt, now_s: float) -> float:
    """When its program was started, by the wall's clock as it is now, and not before that was intended."""
    return min(now_s, max(attempt.intended_s, now_s - (age_s(attempt) or 0.0)))


def ran(attempt: OpenAttempt, ended_s: float, seen_s: float) -> float:
    """Seconds until `ended_s` of the wall's clock; it was seen to run for `seen_s`."""
    by_wall_s = max(0.0, ended_s - (attempt.started_s or ended_s))
    most_s = age_s(attempt)
    return by_wall_s if most_s is None else min(max(by_wall_s, seen_s), most_s)


# Attempts that never began, as where a log folder cannot be written: their jobs wait, ever longer, and say why.

FIRST_S, LONGEST_S = 1.0, 600.0  # between two tries


class _Pause(NamedTuple):
    until_s: float  # CLOCK_MONOTONIC
    length_s: float
    reason: str


class FalseStarts:
    """Keeps in memory only how long to wait: the next daemon tries at once."""

    def __init__(self) -> None:
        self._pauses: dict[int, _Pause] = {}

    def note(self, job: int, why: str) -> str:
        """The reason for which it waits now."""
        before = self._pauses.get(job)
        length_s = min(LONGEST_S, 2 * before.length_s) if before else FIRST_S
        reason = f"{why}; it is tried again, at least every {LONGEST_S / 60:.0f} min"
        self._pauses[job] = _Pause(time.monotonic() + length_s, length_s, reason)
        return reason

    def reasons(self) -> dict[int, str]:
        """Of the jobs that are to wait still."""
        now_s = time.monotonic()
        return {job: pause.reason for job, pause in self._pauses.items() if pause.until_s > now_s}

    def all_reasons(self) -> dict[int, str]:
        """Of all that have not begun since."""
        return {job: pause.reason for job, pause in self._pauses.items()}

    def keep(self, jobs: Collection[int]) -> None:
        """The others are over, or on hold."""
        self._pauses = {job: pause for job, pause in self._pauses.items() if job in jobs}

    def forget(self, job: int) -> None:
        """It has begun, or is over."""
        self._pauses.pop(job, None)

    @property
    def due_s(self) -> float:
        """When the next is to be tried, CLOCK_MONOTONIC."""
        now_s = time.monotonic()
        return min((pause.until_s for pause in self._pauses.values() if pause.until_s > now_s), default=math.inf)


# One daemon a queue: a lock that the kernel gives back when the process ends.


class DaemonLock:
    """Held from construction on. Raises QueueError where another daemon has it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            pid = daemon_of(folder)
            raise QueueError(
                f"a daemon runs already{f' (pid {pid})' if pid else ''}; end it with: deepseek-jobs stop"
            ) from None
        os.ftruncate(self._descriptor, 0)
        name = {"boot_id": boot_id(), "pid": os.getpid(), "ticks": start_ticks(os.getpid())}
        os.pwrite(self._descriptor, json.dumps(name).encode(), 0)

    @property
    def is_there(self) -> bool:
        """Whether it can keep others away: not where its file, or the folder, was removed."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


# Attempts that are asked to end: since when, by a clock that does not jump.


class StopRequests:
    """By job and number of the attempt."""

    def __init__(self, stop_s: float) -> None:
        self._stop_s = stop_s
        self._since_s: dict[tuple[int, int], float] = {}  # CLOCK_MONOTONIC
        self._asked = set[tuple[int, int]]()

    def begin(self, key: tuple[int, int], before_s: float) -> None:
        """It is to end, from now on if that is new. `before_s`: how long ago a daemon before this one asked, by the wall's clock; all of the time is given again at most."""
        self._since_s.setdefault(key, time.monotonic() - min(max(0.0, before_s), self._stop_s))

    def asked(self, key: tuple[int, int]) -> None:
        """SIGTERM was sent."""
        self._asked.add(key)

    def is_asked(self, key: tuple[int, int]) -> bool:
        """Whether this daemon has asked it."""
        return key in self._asked

    def is_over(self, key: tuple[int, int]) -> bool:
        """True once the grace period is over."""
        return key in self._since_s and time.monotonic() - self._since_s[key] >= self._stop_s

    def forget(self, key: tuple[int, int]) -> None:
        self._since_s.pop(key, None)
        self._asked.discard(key)


# When the daemon of a queue takes its next turn.

BETWEEN_S = 0.3  # between two turns, at least, where there is more news
SETTLE_S = 0.1  # until the next look, where something is about to change
SLOW_S, LONG_S = 1.0, 15.0  # the same, where that has not changed for so long


class TickSchedule:
    """Runs immediately, then every `look_s`; sooner after an event or while state is settling. Monotonic times, in seconds."""

    def __init__(self, look_s: float, now_s: float) -> None:
        self._look_s, self._settled_s = look_s, now_s
        self._turned_s = self.due_s = 0.0

    def hear(self) -> None:
        """There is news: many submissions at once make one turn."""
        self.due_s = min(self.due_s, self._turned_s + BETWEEN_S)

    def turned(self, began_s: float, now_s: float, *, unsettled: bool, by_s: float) -> None:
        """A turn that began at `began_s` is over, and what it looked after wants the next one by `by_s`."""
        self._turned_s = began_s
        if not unsettled:
            self._settled_s = now_s
        soon_s = SETTLE_S if now_s - self._settled_s < LONG_S else SLOW_S
        self.due_s = min(now_s + (min(soon_s, self._look_s) if unsettled else self._look_s), by_s)


# The daemon's socket: one JSON object a question, one an answer, for processes of its own user only.
#
# Nothing that a question holds ends the daemon: what cannot be done is a sentence to the one who asked.

SEND_S = 1.0
MAX_CLIENTS = 64  # that are about to ask; of more, the one that has been silent for longest is dropped
BACKLOG = 1024  # that are not accepted yet; the kernel's own limit may be lower
FULL_S = 0.05  # until the next try, where no more files can be opened

logger = logging.getLogger("deepseek-jobs")

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class RequestSocket:
    """`answer` gets what was asked; a QueueError that it raises is the answer."""

    def __init__(self, folder: Path, selector: selectors.BaseSelector, answer: Answer) -> None:
        self._selector, self._answer, self._path = selector, answer, folder / SOCKET
        self._waiting: dict[
            socket.socket, bytes
        ] = {}  # what each has said so far; the one that was silent for longest first
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        inside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)  # of a daemon that was killed: the lock is ours
            self._listener.bind(f"/proc/self/fd/{inside}/{SOCKET}")
        finally:
            os.umask(before)
            os.close(inside)
        self._inode = self._path.stat().st_ino
        self._listener.listen(BACKLOG)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        for client in [*self._waiting]:
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        with suppress(OSError):  # the folder was removed
            if self._path.stat().st_ino == self._inode:  # else the next daemon's
                self._path.unlink()

    def _accept(self) -> bool:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:  # too many open files
            logger.warning("cannot hear who asks: %s", error)
            time.sleep(FULL_S)
            return False
        if peer_uid(client) != os.geteuid():
            self._send(client, {"error": "this queue is another user's; each user has a queue of their own"})
            client.close()
            return False
        if len(self._waiting) >= MAX_CLIENTS:
            self._drop(next(iter(self._waiting)))
        client.setblocking(False)
        self._waiting[client] = b""
        self._selector.register(client, selectors.EVENT_READ, lambda: self._read(client))
        return False

    def _read(self, client: socket.socket) -> bool:
        """Whether something was asked."""
        if client not in self._waiting:  # dropped since the selector looked
            return False
        try:
            part = client.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        data = self._waiting.pop(client) + part
        self._waiting[client] = data
        if part and not data.endswith(b"\n") and len(data) <= MAX_BYTES:
            return False
        if data.endswith(b"\n"):
            self._send(client, self._answered(data))
        self._drop(client)
        return data.endswith(b"\n")

    def _answered(self, data: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(data)
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            return {"error": "that is no JSON object"}
        try:
            return self._answer(asked)
        except QueueError as error:
            return {"error": str(error)}
        except (FileError, OSError) as error:
            logger.warning("cannot %.100s: %s", asked.get("do"), error)
            return {"error": cannot_keep(error)}
        except Exception as error:
            logger.exception("cannot do what was asked: %.300s", asked)
            return {"error": f"the daemon cannot do that ({type(error).__name__}: {error}); see its log"}

    def _send(self, client: socket.socket, answer: dict[str, Any]) -> None:
        client.settimeout(SEND_S)
        with suppress(OSError):  # it has gone
            client.sendall(json.dumps(answer).encode() + b"\n")

    def _drop(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        del self._waiting[client]
        client.close()
