"""The queue of jobs: rows, orders, and the daemon."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from typing_extensions import TypedDict

from access.roles import Role, needs
from jobs.client import SubmittedJob
from jobs.fifo import FifoComparison
from jobs.queue import OVER
from jobs.request import MAX_NAME, JobRequest, request_of
from jobs.state_folder import NoSuchJob, QueueError
from jobs.view import JobAttemptRow, JobRow, SlotRow

from ..jobs import ASSUMED, JobsReader, sentences_of
from ..mutations import Changes
from ..queries import NotFound, Queries
from .answers import Answer
from .parameters import MAX_CHARACTERS

# Jobs, attempts and slots as answers: each with its type.


class JobAnswer(TypedDict):
    """Seconds, Unix seconds, MiB a slot. `run` is the run's name here, null where the job has none that this dashboard shows; `name` is the
    queue's. `command` is `argv` quoted as for a shell; `on` are names of slots, `beside` numbers of jobs that share one."""

    job: int
    state: str
    reason: str
    run: str | None
    name: str
    command: str
    argv: list[str]
    cwd: str
    log_dir: str
    priority: str
    share: bool
    resumes: bool
    place: str
    slots: int
    memory_mib: float | None
    submitted: float
    waited: float
    waits: bool
    on: list[str]
    beside: list[int]
    shared_since: float | None
    speed: float | None
    started: float | None
    ended: float | None
    work: float | None
    kept: float
    attempts: int
    stops: int
    out_of_memory: int
    exit_code: int | None


class JobAttemptAnswer(TypedDict):
    """`slots` are ids; `because` is the job that got them, or the neighbour; `why` is "" where it ended by itself."""

    job: int
    number: int
    slots: list[str]
    start: float
    started: float | None
    end: float | None
    exit_code: int | None
    why: str
    because: int | None
    said: str
    peak_mib: float | None
    run: str | None
    name: str


class SlotAnswer(TypedDict):
    """`foreign`: others use it, `why` in words. `seen` is when the daemon looked last."""

    id: str
    name: str
    memory_mib: float | None
    free_mib: float | None
    foreign: bool
    why: str
    seen: float


class WaitingFigures(TypedDict):
    mean_wait: float
    longest_wait: float
    busy: float


class FifoAnswer(TypedDict):
    """Mean and longest wait in seconds, and the share of slot-time in use, of `jobs` submitted since `since`: as it was (`queue`), and as strict
    first-in-first-out would have been (`fifo`)."""

    jobs: int
    since: float
    queue: WaitingFigures
    fifo: WaitingFigures
    sentences: list[str]


def job_answer(row: JobRow, reader: JobsReader, names: Mapping[str, str], now_s: float) -> JobAnswer:
    """`names` of slots by id."""
    waits = row.queued_s is not None
    return {
        "job": row.id,
        "state": row.state,
        "reason": row.reason,
        "run": reader.run_of(row),
        "name": row.run,
        "command": shlex.join(row.argv),
        "argv": list(row.argv),
        "cwd": row.cwd,
        "log_dir": row.log_dir,
        "priority": "high" if row.high else "normal",
        "share": row.shares,
        "resumes": row.resumes,
        "place": row.place,
        "slots": row.slots,
        "memory_mib": row.memory_mib,
        "submitted": row.submitted_s,
        "waited": row.waited_s + (max(0.0, now_s - row.queued_s) if row.queued_s is not None else 0.0),
        "waits": waits,
        "on": [names.get(slot, slot) for slot in row.on],
        "beside": list(row.beside),
        "shared_since": row.shared_s,
        "speed": row.speed,
        "started": row.started_s,
        "ended": row.ended_s,
        "work": row.work_s,
        "kept": row.kept_s,
        "attempts": row.attempts,
        "stops": row.stops,
        "out_of_memory": row.out_of_memory,
        "exit_code": row.exit_code,
    }


def attempt_answer(row: JobAttemptRow, reader: JobsReader) -> JobAttemptAnswer:
    return {
        "job": row.job,
        "number": row.number,
        "slots": list(row.slots),
        "start": row.intended_s,
        "started": row.started_s,
        "end": row.ended_s,
        "exit_code": row.exit_code,
        "why": row.why,
        "because": row.because,
        "said": row.said,
        "peak_mib": row.peak_mib,
        "run": reader.run_of(row),
        "name": row.run,
    }


def slot_answer(row: SlotRow) -> SlotAnswer:
    return {
        "id": row.id,
        "name": row.name,
        "memory_mib": row.memory_mib,
        "free_mib": row.free_mib,
        "foreign": row.foreign,
        "why": row.why,
        "seen": row.seen_s,
    }


def fifo_answer(found: FifoComparison) -> FifoAnswer:
    return {
        "jobs": found.jobs,
        "since": found.from_s,
        "queue": {"mean_wait": found.mean_s, "longest_wait": found.longest_s, "busy": found.busy},
        "fifo": {"mean_wait": found.fifo_mean_s, "longest_wait": found.fifo_longest_s, "busy": found.fifo_busy},
        "sentences": [*sentences_of(found), ASSUMED],
    }


# What stands in the user's queue: jobs, history, slots, attempts, and first-in-first-out beside it.

MAX_ROWS = 500
MAX_NUMBER = 2**62
Number = Annotated[int, Query(alias="id", ge=1, le=MAX_NUMBER, description="the number of a job")]
Since = Annotated[float, Query(alias="from", allow_inf_nan=False, description="Unix seconds")]
Ended = Literal["finished", "failed", "cancelled"]


class JobList(TypedDict):
    """Jobs that are not over, oldest first. `daemon` is its pid, null where none runs: then nothing starts. `log_dir` is where this dashboard finds new runs;
    `over` counts jobs that are over; `trouble` says why the queue cannot be read, "" where it can. `signature` changes whenever any of it may have."""

    signature: str
    now: float
    folder: str
    log_dir: str
    daemon: int | None
    jobs: list[JobAnswer]
    slots: list[SlotAnswer]
    over: int
    trouble: str


class QueueSignature(TypedDict):
    signature: str


class JobHistory(TypedDict):
    """Newest first. `before` is where the next page begins, null on the last."""

    jobs: list[JobAnswer]
    before: int | None


class JobWithAttempts(TypedDict):
    job: JobAnswer
    attempts: list[JobAttemptAnswer]


class SlotList(TypedDict):
    slots: list[SlotAnswer]


class JobAttempts(TypedDict):
    """In the order in which they were intended; `left_out`: there are older ones."""

    now: float
    slots: list[SlotAnswer]
    attempts: list[JobAttemptAnswer]
    left_out: bool


class FifoBeside(TypedDict):
    """null where no job was submitted in the time, or no slot is known yet."""

    found: FifoAnswer | None


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/jobs", response_model=None, summary="The queue of this user's jobs: all that are not over, and the slots"
    )
    @needs(Role.OWNER)
    def listed() -> Answer[JobList]:
        found = queries.jobs.now()
        names = {slot.id: slot.name for slot in found.slots}
        return Answer(
            {
                "signature": found.signature,
                "now": found.now_s,
                "folder": str(queries.jobs.view.folder),
                "log_dir": str(queries.log_dir),
                "daemon": found.daemon,
                "jobs": [job_answer(row, queries.jobs, names, found.now_s) for row in found.jobs],
                "slots": [slot_answer(slot) for slot in found.slots],
                "over": found.over,
                "trouble": found.trouble,
            }
        )

    @router.get("/jobs/signature", response_model=None, summary="Whether anything of the queue may have changed")
    @needs(Role.OWNER)
    def signature() -> Answer[QueueSignature]:
        return Answer({"signature": queries.jobs.view.signature()})

    @router.get("/jobs/history", response_model=None, summary="Jobs that are over, newest first")
    @needs(Role.OWNER)
    def history(
        q: Annotated[
            str, Query(max_length=MAX_CHARACTERS, description="a part of the run's name or the command, in any case")
        ] = "",
        state: Annotated[
            list[Ended] | None, Query(max_length=len(OVER), description="repeatable; without it, all")
        ] = None,
        before: Annotated[int | None, Query(ge=0, le=MAX_NUMBER, description="jobs with smaller numbers only")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 50,
    ) -> Answer[JobHistory]:
        now_s = time.time()
        found = queries.jobs.history(limit, q, tuple(state or OVER), before)
        return Answer(
            {"jobs": [job_answer(row, queries.jobs, {}, now_s) for row in found.jobs], "before": found.before}
        )

    @router.get("/job", response_model=None, summary="One job with its attempts")
    @needs(Role.OWNER)
    def job(number: Number) -> Answer[JobWithAttempts]:
        try:
            row, attempts = queries.jobs.view.job(number), queries.jobs.view.attempts(job=number)
        except NoSuchJob as error:
            raise NotFound(str(error)) from None
        names = {slot.id: slot.name for slot in queries.jobs.view.slots()}
        return Answer(
            {
                "job": job_answer(row, queries.jobs, names, time.time()),
                "attempts": [attempt_answer(each, queries.jobs) for each in attempts],
            }
        )

    @router.get(
        "/jobs/slots", response_model=None, summary="The slots of the host, as the queue's daemon last saw them"
    )
    @needs(Role.OWNER)
    def slots() -> Answer[SlotList]:
        return Answer({"slots": [slot_answer(slot) for slot in queries.jobs.view.slots()]})

    @router.get("/jobs/attempts", response_model=None, summary="Which job was on which slot since a time")
    @needs(Role.OWNER)
    def attempts(since: Since) -> Answer[JobAttempts]:
        found, left_out = queries.jobs.attempts(since)
        return Answer(
            {
                "now": time.time(),
                "slots": [slot_answer(slot) for slot in queries.jobs.view.slots()],
                "attempts": [attempt_answer(each, queries.jobs) for each in found],
                "left_out": left_out,
            }
        )

    @router.get(
        "/jobs/fifo", response_model=None, summary="Waiting and use of the slots beside first-in-first-out, replayed"
    )
    @needs(Role.OWNER)
    def fifo(
        span: Annotated[float, Query(gt=0, le=3.2e9, allow_inf_nan=False, description="seconds until now")] = 86400.0,
    ) -> Answer[FifoBeside]:
        found = queries.jobs.beside_fifo(span)
        return Answer({"found": fifo_answer(found) if found else None})


# What the owner asks of the queue's daemon: submit, hold, release and cancel jobs.

MAX_WORDS = 1000
MAX_COMMAND = 100_000  # characters
Word = Annotated[StrictStr, Field(max_length=MAX_COMMAND)]
Line = Annotated[StrictStr, Field(max_length=MAX_CHARACTERS)]


class NewJob(BaseModel):
    """`argv` is run as it is, without a shell; or `command`, one text that is split as a shell would and never given to one. `memory` is of a
    slot, as in `20GiB`. `env` has names of variables of the dashboard's environment, or `NAME=VALUE`. `force`: also where a word looks like a shell's, or a script is not there."""

    model_config = ConfigDict(extra="forbid")

    argv: Annotated[list[Word], Field(max_length=MAX_WORDS)] | None = None
    command: Annotated[StrictStr, Field(max_length=MAX_COMMAND)] | None = None
    cwd: Line
    log_dir: Line = "logs"
    slots: Annotated[StrictInt, Field(ge=1, le=10_000)] = 1
    memory: Line | None = None
    priority: Literal["normal", "high"] = "normal"
    share: StrictBool = False
    resume_with: Annotated[StrictStr, Field(max_length=MAX_COMMAND)] | None = None
    name: Annotated[StrictStr, Field(max_length=MAX_NAME)] = ""
    env: Annotated[list[Line], Field(max_length=200)] = []
    force: StrictBool = False

    def request(self, environment: Mapping[str, str] = os.environ) -> JobRequest:
        """Checked as `deepseek-jobs submit` checks it, with what of the dashboard's environment a job is given. Raises QueueError."""
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
        argv, cwd = self._words(), _place(self.cwd)
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


class NamedJob(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job: Annotated[StrictInt, Field(ge=1, le=MAX_NUMBER)]


class OrderedJob(TypedDict):
    """`ran`: it is asked to end, and cancelled when it has."""

    job: int
    ran: bool


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post("/jobs/submit", response_model=None, summary="Submit a job to the queue")
    @needs(Role.OWNER)
    def submit(given: NewJob) -> Answer[SubmittedJob]:
        return Answer(changes.submit_job(given.request))

    @router.post("/jobs/hold", response_model=None, summary="A queued job waits until it is released")
    @needs(Role.OWNER)
    def hold(given: NamedJob) -> Answer[OrderedJob]:
        changes.hold_job(given.job)
        return Answer({"job": given.job, "ran": False})

    @router.post("/jobs/release", response_model=None, summary="Release a job that is on hold")
    @needs(Role.OWNER)
    def release(given: NamedJob) -> Answer[OrderedJob]:
        changes.release_job(given.job)
        return Answer({"job": given.job, "ran": False})

    @router.post("/jobs/cancel", response_model=None, summary="Cancel a job; one that runs is asked to end")
    @needs(Role.OWNER)
    def cancel(given: NamedJob) -> Answer[OrderedJob]:
        return Answer({"job": given.job, "ran": changes.cancel_job(given.job)})
