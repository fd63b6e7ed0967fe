"""What a run's log says in a window, and why a run crashed."""

from __future__ import annotations

from fastapi import APIRouter
from typing_extensions import TypedDict

from access.roles import Role, needs
from analysis.logs.crash import Fault, FaultKind
from analysis.logs.difference import ChangeKind, LogChange, Surety
from collectors.lines.tracebacks import CrashFrame

from ..queries import Queries
from .answers import Answer
from .logs import LineRow, line_row
from .parameters import Window, known_run

MOST_LINES, MOST_FRAMES = 200, 100  # of a fault


class LogChangeRow(TypedDict):
    kind: ChangeKind
    text: str  # the template, with # in place of numbers; "" for any line at all
    example: str
    count: int
    expected: tuple[float, float]  # lines in most other windows
    since_s: float
    sure: Surety
    times: float  # how many times the limit of chance the excess is
    before: bool
    after: bool
    every_s: float | None
    pause_s: float | None
    field: int | None
    value: float | None
    usual: tuple[float, float] | None


class LogDifferenceAnswer(TypedDict):
    sentence: str  # "" where nothing differs
    reason: str  # why nothing could be compared, ""
    windows: int  # that it was compared with
    changes: list[LogChangeRow]


class CrashFrameRow(TypedDict):
    file: str
    line: int
    function: str
    text: str


class FaultRow(TypedDict):
    kind: FaultKind
    sentence: str
    time_s: float
    rank: int | None
    exception: str
    message: str
    frames: list[CrashFrameRow]
    lines: list[LineRow]


class CrashAnswer(TypedDict):
    cause: FaultRow | None  # None: the run goes on, has finished, or its lines do not say
    others: list[FaultRow]
    ranks: int


def add_routes(router: APIRouter, queries: Queries) -> None:
    known = known_run(queries)

    @router.get(
        "/logs/difference", response_model=None, summary="What the log says in a window that it does not say otherwise"
    )
    @needs(Role.VIEWER)
    def difference(window: Window, run: str = known) -> Answer[LogDifferenceAnswer]:
        found = queries.log_changes.difference(run, window)
        changes = [change_row(change) for change in found.changes]
        return Answer(
            {"sentence": found.sentence, "reason": found.reason, "windows": found.windows, "changes": changes}
        )

    @router.get(
        "/logs/crash", response_model=None, summary="Why a run ended that did not end by itself, by its last lines"
    )
    @needs(Role.VIEWER)
    def crash(run: str = known) -> Answer[CrashAnswer]:
        found = queries.log_changes.crash(run)
        if found is None:
            return Answer({"cause": None, "others": [], "ranks": 0})
        others = [fault_row(fault) for fault in found.others]
        return Answer({"cause": fault_row(found.cause), "others": others, "ranks": found.ranks})


def change_row(change: LogChange) -> LogChangeRow:
    return {
        "kind": change.kind,
        "text": change.text,
        "example": change.example,
        "count": change.count,
        "expected": change.expected,
        "since_s": change.since_s,
        "sure": change.sure,
        "times": change.times,
        "before": change.before,
        "after": change.after,
        "every_s": change.every_s,
        "pause_s": change.pause_s,
        "field": change.field,
        "value": change.value,
        "usual": change.usual,
    }


def fault_row(fault: Fault) -> FaultRow:
    return {
        "kind": fault.kind,
        "sentence": fault.sentence,
        "time_s": fault.time_s,
        "rank": fault.rank,
        "exception": fault.exception,
        "message": fault.message,
        "frames": [frame_row(frame) for frame in fault.frames[-MOST_FRAMES:]],
        "lines": [line_row(line) for line in fault.lines[-MOST_LINES:]],
    }


def frame_row(frame: CrashFrame) -> CrashFrameRow:
    return {"file": frame.file, "line": frame.line, "function": frame.function, "text": frame.text}
