"""Jobs, attempts and slots as answers: each with its type."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from typing_extensions import TypedDict

from jobs.compared import FifoComparison
from jobs.view import JobAttemptRow, JobRow, SlotRow

from ...jobs.reading import JobsReader
from ...jobs.wording import ASSUMED, sentences_of


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


def attempt_row(row: JobAttemptRow, reader: JobsReader) -> JobAttemptAnswer:
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
