"""What the owner asks of the queue's daemon: submit, hold, release and cancel jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from typing_extensions import TypedDict

from ...auth.roles import Role, needs
from ...changes import Changes
from ...jobs.wanted import WantedJob
from ...queries import Queries
from ..answer import Answer
from ..parameters import MOST_CHARACTERS
from .queue import MOST_NUMBER

MOST_WORDS = 1000
MOST_COMMAND = 100_000  # characters
Word = Annotated[StrictStr, Field(max_length=MOST_COMMAND)]
Line = Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)]


class NewJob(BaseModel):
    """`argv` is run as it is, without a shell; or `command`, one text that is split as a shell would and never given to one. `memory` is of a
    slot, as in `20GiB`. `env` has names of variables of the dashboard's environment, or `NAME=VALUE`. `force`: also where a word looks like a shell's, or a script is not there."""

    model_config = ConfigDict(extra="forbid")

    argv: Annotated[list[Word], Field(max_length=MOST_WORDS)] | None = None
    command: Annotated[StrictStr, Field(max_length=MOST_COMMAND)] | None = None
    cwd: Line
    log_dir: Line = "logs"
    slots: Annotated[StrictInt, Field(ge=1, le=10_000)] = 1
    memory: Line | None = None
    priority: Literal["normal", "high"] = "normal"
    share: StrictBool = False
    resume_with: Annotated[StrictStr, Field(max_length=MOST_COMMAND)] | None = None
    name: Annotated[StrictStr, Field(max_length=100)] = ""
    env: Annotated[list[Line], Field(max_length=200)] = []
    force: StrictBool = False


class NamedJob(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job: Annotated[StrictInt, Field(ge=1, le=MOST_NUMBER)]


class SubmittedJob(TypedDict):
    """`run` is the name of its run in its log folder."""

    job: int
    run: str


class OrderedJob(TypedDict):
    """`ran`: it is asked to end, and cancelled when it has."""

    job: int
    ran: bool


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post("/jobs/submit", response_model=None, summary="Submit a job to the queue")
    @needs(Role.OWNER)
    def submit(given: NewJob) -> Answer[SubmittedJob]:
        found = changes.submit_job(WantedJob(**given.model_dump()))
        return Answer({"job": found.job, "run": found.run})

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
