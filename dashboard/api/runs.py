"""Runs: the list and its search, progress in their files, notes, events, deleted runs, and a report to keep."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from typing_extensions import TypedDict

from access.roles import EXPORTS, SOURCE, Role, needs
from analysis.findings.life import Standing
from collectors import retention
from collectors.logs.tombstones import MAX_UNDO_S, UNDO_S
from collectors.machine.run_state import StateName
from collectors.records import Event, Offset, Privacy, Private, Public, Searched, UserFields

from ..mutations import Changes
from ..pages import pages
from ..queries import Queries
from ..report.contents import ReportQuery, gather
from ..report.page import html_of
from ..runs.previous_run import RunAttempts, RunDetail
from ..runs.runs import RankView, RunView
from ..runs.search import SearchHits
from ..user_files.deleted_runs import DeletedRun
from ..user_files.run_notes import RunNotes
from ..visitors import visitor
from .answers import Answer, of_media, subset
from .parameters import (
    MAX_CHARACTERS,
    MAX_NAMES,
    OpenRange,
    OptionalRun,
    OptionalWindow,
    Rank,
    RunInPath,
    RunParameter,
    Text,
    known_run,
)
from .table import Filtered, FirstRow, find


class RunRow(TypedDict):
    run: Public
    state: StateName
    state_reason: Searched
    doing: Standing | None  # of a run that lives and makes no steps, where the collector knows it
    doing_since_s: float | None
    pid: int | None
    started_s: float | None
    ended_s: float | None  # None while it lives, and where nothing says so
    cwd: Searched
    ranks_seen: list[int]
    world_size: int | None
    ranks_note: Searched
    last_time_s: float | None
    last_step: int | None
    series: int
    points: int
    timed: bool
    lines_read: int
    lines_skipped: int
    fields_skipped: int
    files_aside: int
    trouble: Searched
    info: UserFields  # as the user wrote it, else as its processes were seen
    about: RunNotes
    deleted: bool


class RunList(TypedDict):
    """`total` are the runs in all that the parameters keep."""

    runs: list[RunRow]
    total: int


class EventRow(TypedDict):
    """Plus the event's other fields: `EventJson`."""

    run: Public
    kind: Searched
    time_s: float
    rank: int
    step: int | None
    seconds: float | None
    text: Searched


EventJson: TypeAlias = Annotated[EventRow, Privacy.OPEN]


class EventList(TypedDict):
    cursor: int
    events: list[EventJson]


class RankRow(TypedDict):
    pid: int
    rank: int
    local_rank: int | None
    world_size: int | None
    job_id: Public | None
    restarts: int | None
    gpus: list[int]
    gpus_from: Searched


class AttemptRun(TypedDict):
    """A run that is an attempt of the same training; `rule` says why, "" for the first."""

    run: Public
    rule: Searched


class RunDetailRow(RunRow):
    attempts: list[EventJson]
    processes: list[RankRow]
    steps_per_s: float | None  # on average over the run, as the table of runs has it
    attempt_runs: list[AttemptRun]  # by their start, this one among them; [] where it is the only one


class FileRow(TypedDict):
    path: Searched
    offset: int
    lines_read: int
    lines_skipped: int
    fields_skipped: int
    first_skip: Searched
    trouble: Searched
    is_data: bool  # not read, because it looks like data


file_row = subset(Offset, FileRow)


class FileList(TypedDict):
    files: list[FileRow]


class DataToRead(BaseModel):
    """A file that is not read because it looks like data."""

    model_config = ConfigDict(extra="forbid")

    path: StrictStr


class Diff(TypedDict):
    """At most 1 MB; "" where nothing is known, or nothing differs."""

    diff: Searched


class AboutChange(BaseModel):
    """Only what is given changes."""

    model_config = ConfigDict(extra="forbid")

    name: StrictStr = ""
    tags: list[StrictStr] = []
    note: StrictStr = ""
    archived: StrictBool = False
    keep: StrictStr = ""


class NewEvent(BaseModel):
    """`time_s` is now where it is absent; `seconds` is how long it took, up to `time_s`."""

    model_config = ConfigDict(extra="forbid")

    run: StrictStr = Field(max_length=MAX_CHARACTERS)
    kind: StrictStr = "note"
    text: StrictStr = ""
    time_s: StrictFloat | None = None
    seconds: StrictFloat | None = None
    step: Annotated[StrictInt, Field(ge=-(2**53), le=2**53)] | None = None


# With one of these, archived and deleted runs are left out unless asked for.
FILTERS = {"q", "state", "sort", "desc", "archived", "deleted"}

# Deleted runs: which there are, how one is deleted, and how it is restored.


class DeletedRow(TypedDict):
    """`remove` is the line of a shell that removes its files, "" where it would be too long. Until `purge_s` it can be restored as it was; 0: its data has left."""

    run: str
    deleted_s: float
    files: int
    size_bytes: int
    remove: Private
    about: RunNotes
    purge_s: float


deleted_row = subset(DeletedRun, DeletedRow)


class DeletedList(TypedDict):
    deleted: list[DeletedRow]


class RestoredRun(TypedDict):
    run: str


class Deletion(BaseModel):
    """`undo_s`: how long the run can be restored as it was; 0: its data leaves the store at once."""

    model_config = ConfigDict(extra="forbid")

    undo_s: Annotated[StrictFloat, Field(ge=0, le=MAX_UNDO_S)] = UNDO_S


class Nothing(BaseModel):
    """No fields."""

    model_config = ConfigDict(extra="forbid")


MAX_HITS = 200


# A run, or a window of it, as one HTML file to keep.

NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9.-]+")
MAX_NAME = 80
NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
Against = Annotated[str | None, Query(max_length=MAX_CHARACTERS, description="another run, to compare ledgers with")]


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/runs",
        response_model=None,
        summary="All runs, the newest first; or those that a filter keeps, sorted, a page of them",
    )
    @needs(Role.VIEWER)
    def runs(
        request: Request,
        asked: Filtered,
        offset: FirstRow = 0,
        limit: Annotated[int | None, Query(ge=1, le=10**7)] = None,
    ) -> Answer[RunList]:
        chosen = FILTERS & request.query_params.keys()
        views = [row.facts.view for row in find(queries, asked).rows] if chosen else queries.runs()
        shown = views[offset : None if limit is None else offset + limit]
        return Answer({"runs": [run_row(view) for view in shown], "total": len(views)})

    @router.get("/run", response_model=None, summary="One run: config, attempts, processes")
    @needs(Role.VIEWER)
    def run(run: RunParameter) -> Answer[RunDetailRow]:
        rate = queries.table.cells("steps_per_s", [run]).get(run)
        return Answer(run_detail(queries.run(run), rate if isinstance(rate, float | int) else None))

    @router.get(
        "/files", response_model=None, summary="Reading progress of each file of a run, and the first reason for a skip"
    )
    @needs(Role.VIEWER)
    def files(run: RunParameter) -> Answer[FileList]:
        return Answer({"files": list(map(file_row, queries.files(run)))})

    @router.get(
        "/diff", response_model=None, summary="What differed from the git commit when a run began, without secrets"
    )
    @needs(Role.VIEWER, SOURCE)
    def diff(run: RunParameter) -> Answer[Diff]:
        return Answer({"diff": queries.diff(run)})

    @router.get(
        "/events", response_model=None, summary="Starts, ends, checkpoints, validations and other events of a run"
    )
    @needs(Role.VIEWER)
    def events(between: OpenRange, run: OptionalRun = None) -> Answer[EventList]:
        cursor = queries.cursor()
        return Answer({"cursor": cursor, "events": [event_row(event) for event in queries.events(run, *between)]})

    @router.get(
        "/deleted", response_model=None, summary="Deleted runs, the newest first, and how to remove their files"
    )
    @needs(Role.OWNER)
    def deleted() -> Answer[DeletedList]:
        return Answer({"deleted": list(map(deleted_row, queries.deleted()))})

    @router.get(
        "/search",
        response_model=None,
        summary="Runs, series, pages and notes that match what was typed, the best first",
    )
    @needs(Role.VIEWER)
    def search(
        q: Text = "",
        run: Annotated[
            list[Annotated[str, Query(max_length=MAX_CHARACTERS)]],
            Query(max_length=MAX_NAMES, description="the shown runs: their series are searched first"),
        ] = [],  # noqa: B006
        limit: Annotated[int, Query(ge=1, le=MAX_HITS)] = 40,
    ) -> Answer[SearchHits]:
        return Answer(queries.search(q, pages(), run, limit))

    known = known_run(queries)

    @router.get(
        "/report",
        response_model=None,
        response_class=Response,
        responses=of_media("text/html"),
        summary="A run, or a window of it, as one HTML file that needs no network",
    )
    @needs(Role.VIEWER, EXPORTS)
    def report(ends: OptionalWindow, run: str = known, rank: Rank = None, against: Against = None) -> Response:
        page = html_of(gather(queries, ReportQuery(run, ends, rank, against)))
        if (
            ends is not None and visitor().role is Role.OWNER
        ):  # a viewer decides nothing about what is kept; samples of the window are not thinned: who reads the report may come back to it
            retention.note(queries.data_dir, run, ends, "report")
        headers = {
            "Content-Disposition": f'attachment; filename="{file_name_of(run)}"',
            "Content-Security-Policy": NO_SCRIPT,
        }
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post("/runs/{run:any}/about", response_model=None, summary="Change some of what is said about a run")
    @needs(Role.OWNER)
    def about(run: RunInPath, given: AboutChange) -> Answer[RunNotes]:
        return Answer(changes.set_about(run, given.model_dump(exclude_unset=True)))

    @router.post(
        "/runs/{run:any}/files", response_model=None, summary="Read a file that was left because it looks like data"
    )
    @needs(Role.OWNER)
    def files(run: RunInPath, given: DataToRead) -> Answer[FileList]:
        changes.read_data(run, given.path)
        return Answer({"files": list(map(file_row, queries.files(run)))})

    @router.post(
        "/events", response_model=None, summary="Add an event to a run: a note, a deployment, a change by hand"
    )
    @needs(Role.OWNER)
    def add_event(given: NewEvent) -> Answer[EventJson]:
        return Answer(event_row(changes.add_event(given.run, given.model_dump(exclude={"run"}, exclude_none=True))))

    @router.post(
        "/runs/{run:any}/delete",
        response_model=None,
        summary="Delete a run that has ended from the dashboard; its files stay",
    )
    @needs(Role.OWNER)
    def delete(run: RunInPath, given: Deletion) -> Answer[DeletedRow]:
        return Answer(deleted_row(changes.delete(run, given.undo_s)))

    @router.post(
        "/runs/{run:any}/restore", response_model=None, summary="Bring a deleted run back: as it was, or from its files"
    )
    @needs(Role.OWNER)
    def restore(run: RunInPath, given: Nothing) -> Answer[RestoredRun]:
        changes.restore(run)
        return Answer({"run": run})


def run_row(view: RunView) -> RunRow:
    stored = view.stored
    return {
        "run": stored.name,
        "state": view.state,
        "state_reason": view.state_reason,
        "doing": view.doing.word if view.doing else None,
        "doing_since_s": view.doing.since_s if view.doing else None,
        "pid": view.pid,
        "started_s": view.started_s,
        "ended_s": view.ended_s,
        "cwd": view.cwd,
        "ranks_seen": view.ranks.seen,
        "world_size": view.ranks.world_size,
        "ranks_note": view.ranks.note,
        "last_time_s": stored.last_time_s,
        "last_step": stored.last_step,
        "series": stored.series,
        "points": stored.points,
        "timed": stored.timed,
        "lines_read": stored.lines_read,
        "lines_skipped": stored.lines_skipped,
        "fields_skipped": stored.fields_skipped,
        "files_aside": stored.files_aside,
        "trouble": stored.trouble,
        "info": stored.info,
        "about": view.about,
        "deleted": view.deleted,
    }


def run_detail(detail: RunDetail, steps_per_s: float | None) -> RunDetailRow:
    return {
        **run_row(detail.run),
        "attempts": [event_row(attempt) for attempt in detail.attempts],
        "processes": [rank_row(process) for process in detail.processes],
        "steps_per_s": steps_per_s,
        "attempt_runs": attempt_runs(detail.same),
    }


def attempt_runs(found: RunAttempts | None) -> list[AttemptRun]:
    return [{"run": run, "rule": rule} for run, rule in zip(found.runs, found.rules, strict=True)] if found else []


def rank_row(view: RankView) -> RankRow:
    identity = view.identity
    return {
        "pid": view.process.pid,
        "rank": view.process.rank,
        "local_rank": identity.local_rank,
        "world_size": identity.world_size,
        "job_id": identity.job_id,
        "restarts": identity.restarts,
        "gpus": view.gpus.indices,
        "gpus_from": view.gpus.source,
    }


def event_row(event: Event) -> EventRow:
    return {
        **event.fields,  # type: ignore[typeddict-item]  # whatever it carried
        "run": event.run,
        "kind": event.kind,
        "time_s": event.time_s,
        "rank": event.rank,
        "step": event.step,
        "seconds": event.seconds,
        "text": event.text,
    }


def file_name_of(run: str) -> str:
    """`exp/ä 1 -> "report-exp-1.html"`"""
    name = NOT_IN_A_NAME.sub("-", run).strip("-.")[:MAX_NAME]
    return f"report-{name or 'run'}.html"
