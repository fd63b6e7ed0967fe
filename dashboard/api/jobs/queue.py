"""What stands in the user's queue: jobs, history, slots, attempts, and first-in-first-out beside it."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from jobs.errors import NoSuchJob
from jobs.queue import OVER

from ...auth.roles import Role, needs
from ...queries import NotFound, Queries
from ..answer import Answer
from ..parameters import MOST_CHARACTERS
from .rows import FifoAnswer, JobAnswer, JobAttemptAnswer, SlotAnswer, attempt_row, fifo_answer, job_answer, slot_answer

MOST_ROWS = 500
MOST_NUMBER = 2**62
Number = Annotated[int, Query(alias="id", ge=1, le=MOST_NUMBER, description="the number of a job")]
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
                "folder": str(queries.jobs.folder),
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
        return Answer({"signature": queries.jobs.signature()})

    @router.get("/jobs/history", response_model=None, summary="Jobs that are over, newest first")
    @needs(Role.OWNER)
    def history(
        q: Annotated[
            str, Query(max_length=MOST_CHARACTERS, description="a part of the run's name or the command, in any case")
        ] = "",
        state: Annotated[
            list[Ended] | None, Query(max_length=len(OVER), description="repeatable; without it, all")
        ] = None,
        before: Annotated[int | None, Query(ge=0, le=MOST_NUMBER, description="jobs with smaller numbers only")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 50,
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
            row, attempts = queries.jobs.job(number)
        except NoSuchJob as error:
            raise NotFound(str(error)) from None
        names = {slot.id: slot.name for slot in queries.jobs.slots()}
        return Answer(
            {
                "job": job_answer(row, queries.jobs, names, time.time()),
                "attempts": [attempt_row(each, queries.jobs) for each in attempts],
            }
        )

    @router.get(
        "/jobs/slots", response_model=None, summary="The slots of the host, as the queue's daemon last saw them"
    )
    @needs(Role.OWNER)
    def slots() -> Answer[SlotList]:
        return Answer({"slots": [slot_answer(slot) for slot in queries.jobs.slots()]})

    @router.get("/jobs/attempts", response_model=None, summary="Which job was on which slot since a time")
    @needs(Role.OWNER)
    def attempts(since: Since) -> Answer[JobAttempts]:
        found, left_out = queries.jobs.attempts(since)
        return Answer(
            {
                "now": time.time(),
                "slots": [slot_answer(slot) for slot in queries.jobs.slots()],
                "attempts": [attempt_row(each, queries.jobs) for each in found],
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
