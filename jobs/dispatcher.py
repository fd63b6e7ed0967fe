"""One turn of the daemon: what became of the attempts, what the host has, what is to be done now, and doing it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from collectors.machine.proc import TICKS_PER_S, boot_id, printable
from collectors.queue_events import (
    CANCELLED,
    FAILED,
    PLACED,
    PREEMPTED,
    REQUEUED,
    SHARED,
    SHARES,
    STOPPING,
    write_queue_event,
)
from deepseek.log.endings import NOTHING_SAVED, SAVED

from .attempt import LaunchSpec
from .host import JobsHost, SlotStatus, to_remember
from .local_executor import AttemptEnd, AttemptStatus, LocalExecutor, NotNow
from .measure import MeasuredAttempt, out_of_memory
from .plan import Job, JobPlan, QueueState, StartJob, StopJob, each_in_words, plan, slots_in_words
from .queue import SLOTS, JobQueue, OpenAttempt, is_of_the_file
from .request import LOCAL, JobRequest
from .run import StuckJobs
from .settings import DaemonRules
from .state_folder import ATTEMPTS, QueueError

logger = logging.getLogger("deepseek-jobs")

CHECKPOINT_WRITTEN = (0, SAVED)  # what these exit codes of a job that was asked to end mean
CANNOT_EXECUTE = 127
JUMP_S = 60.0  # by which the clocks of the wall and the boot differ on how long an attempt ran that was seen to end


class Dispatcher:
    """Keeps in memory only what it can measure or look up again."""

    def __init__(
        self, folder: Path, queue: JobQueue, host: JobsHost, executor: LocalExecutor, rules: DaemonRules
    ) -> None:
        self._folder, self._queue, self._host, self._executor, self._rules = folder, queue, host, executor, rules
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
        open_attempts = self._open_attempts()
        self._pids = self._executor.processes(open_attempts)
        for attempt in open_attempts:
            if measured := self._measured.get((attempt.job, attempt.number)):
                for slot in attempt.slots:
                    used_mib[slot] = used_mib.get(slot, 0.0) + measured.rss_mib / len(attempt.slots)
        ours = frozenset(pid for pids in self._pids.values() for pid in pids)
        self.seen = {slot.slot.id: slot for slot in self._host.look(ours, used_mib)}
        self._queue.keep(SLOTS, to_remember(self.seen.values(), time.time()))

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
        for attempt in self._open_attempts():
            with self._costs_only(attempt.job, "cannot be looked at"):
                self._look_at(attempt, now_s)

    def _open_attempts(self) -> list[OpenAttempt]:
        """Of this host."""
        return [attempt for attempt in self._queue.intended() if attempt.place == LOCAL]

    def _look_at(self, attempt: OpenAttempt, now_s: float) -> None:
        seen = self._executor.look(attempt)
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
        saved = bool(why) and end.code in CHECKPOINT_WRITTEN
        checkpoint_s = measured.lines.checkpoint_s
        work_s = before.ran_s
        if saved or (end.code is not None and not why):
            work_s += ran_s
        elif checkpoint_s:
            work_s += min(ran_s, max(0.0, checkpoint_s - (attempt.started_s or now_s)))
        if end.code == 0 or ran_s >= self._rules.measured_s:
            self._remember(before, measured, key)
        self._remembered.discard(key)
        limit_mib = min(
            (slot.slot.memory_mib for id_, slot in self.seen.items() if id_ in attempt.slots and slot.slot.memory_mib),
            default=None,
        )
        process = (seen.process.pid, seen.process.ticks) if seen.process else None
        output = self._folder_of(attempt) / "output.log"
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
        run, text = self._queue.run_of(job.id), f"waited for {wanted}"
        write_queue_event(run, PLACED, now_s, text, seconds=now_s - job.queued_s, job=job.id, slots=list(action.slots))
        self._execute(job, action.slots, now_s)
        self.unsettled = True
        logger.info("job %d starts on %s%s", job.id, names, f" beside {list(action.beside)}" if action.beside else "")

    def _execute(self, job: Job, slots: tuple[str, ...], now_s: float) -> None:
        (attempt,) = (attempt for attempt in self._queue.intended() if attempt.job == job.id)
        try:
            request, run = self._queue.request(job.id), self._queue.run_of(job.id)
            spec = LaunchSpec(
                job.id, attempt.number, self._queue.command(job.id), request.cwd, dict(request.environment), slots,
                self._host.gpus(slots), self._host.cores_of(slots), str(run or ""), request.log_dir,
            )  # fmt: skip
            self._executor.start(spec)
        except NotNow as error:
            self._never_began(attempt, AttemptEnd(None, None, str(error), begun=False), now_s)
        except (QueueError, ValueError, TypeError) as error:  # of what its row holds
            self._queue.ended(job.id, CANNOT_EXECUTE, job.ran_s, now_s, said=printable(str(error)))
            text = f"job {job.id} has failed: {printable(str(error))}"
            write_queue_event(self._queue.run_of(job.id), FAILED, now_s, text, job=job.id)
            logger.info("job %d: %s", job.id, error)

    def _say_why_it_stops(self, action: StopJob, now_s: float) -> None:
        makes_room, leaves = f"makes room for job {action.because}", f"slowed beside job {action.because}: leaves"
        text = makes_room if action.why == PREEMPTED else leaves
        write_queue_event(
            self._queue.run_of(action.job), action.why, now_s, text, job=action.job, because=action.because
        )
        logger.info("job %d is asked to end: %s", action.job, text)

    def _end_those_that_stop(self, now_s: float) -> None:
        """SIGTERM once of each daemon, SIGKILL when the time is over. That it is asked is written before: the next daemon then asks, too."""
        for attempt in self._open_attempts():
            if self._queue.state_of(attempt.job) == "stopping":
                with self._costs_only(attempt.job, "cannot be ended"):
                    self._end(attempt, now_s)

    def _end(self, attempt: OpenAttempt, now_s: float) -> None:
        key = attempt.job, attempt.number
        self.unsettled |= not self._stops.is_asked(key) or self._stops.is_over(key)
        self._stops.begin(key, 0.0 if attempt.stop_s is None else now_s - attempt.stop_s)
        if attempt.pid is None:
            self._executor.withdraw(attempt)
        elif self._stops.is_over(key):
            self._executor.kill(attempt)
        if attempt.pid is None or self._stops.is_asked(key):
            return
        self._queue.asked_to_end(attempt.job, attempt.stop_s or now_s)
        if self._executor.ask_to_end(attempt):
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
        cores = len(self._host.cores_of(attempt.slots))
        return MeasuredAttempt(self._folder_of(attempt), attempt.started_s or attempt.intended_s, attempt.slots, cores)

    def _folder_of(self, attempt: OpenAttempt) -> Path:
        """With what it prints."""
        own = self._folder / ATTEMPTS / f"{attempt.job}.{attempt.number}"
        return Path(attempt.log_dir) / attempt.run if attempt.run else own


def _said(end: AttemptEnd, why: str | None, memory: tuple[float, float] | None, slots: int) -> str:
    """`out of memory at 21.3 GiB`, else how it ended, in words."""
    if memory:
        peak_gib = memory[0] / 1024  # not known of a program that ended before it was looked at
        return f"out of memory{f' at {peak_gib:.1f} GiB' if peak_gib >= 0.05 else ''}{' on each slot' if slots > 1 else ''}"
    if why == "cancelled":
        return why
    if why:
        return f"{why}, {'its checkpoint is written' if end.code in CHECKPOINT_WRITTEN else f'it ended with {_coded(end.code)}'}"
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
