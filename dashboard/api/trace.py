"""Steps that are traced on demand: which line launched which kernels."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from typing_extensions import TypedDict

from access.roles import Role, needs
from analysis.ledger.shares import TracedLine, kinds_of_kernels
from collectors.tracing import MOST_STEPS, KernelKind, StepsTraced

from ..mutations import Changes
from ..queries import Queries
from ..stacks.stacks import TraceFound, TraceState
from .answers import Answer
from .parameters import MOST_ID, Rank, RunInPath, known_run

MOST_LINES = 200  # of an answer, those that took longest


class TraceRequested(BaseModel):
    """`steps` of one rank."""

    model_config = ConfigDict(extra="forbid")

    steps: StrictInt = Field(default=3, ge=1, le=MOST_STEPS)
    rank: StrictInt = Field(default=0, ge=0, le=MOST_ID)


class TraceAsked(TypedDict):
    id: str


class KernelRow(TypedDict):
    name: str
    kind: KernelKind
    seconds: float
    calls: int


class TracedLineRow(TypedDict):
    """`function` is "" where no line of the script launched it."""

    function: str
    file: str
    line: int | None
    backward: bool
    seconds: float
    share: float
    calls: int
    kernels: list[KernelRow]


class KernelKindRow(TypedDict):
    kind: KernelKind
    seconds: float
    share: float


class BusyRow(TypedDict):
    """Seconds of a step; the first three add up to the time in which the GPU was busy."""

    compute: float
    communication: float
    copy: float
    hidden: float


class TraceRow(TypedDict):
    id: str
    rank: int
    device: Literal["GPU", "CPU"]
    torch: str
    window: tuple[float, float]
    first_step: int
    last_step: int
    with_stacks: bool
    step_s: float
    busy: BusyRow | None
    kinds: list[KernelKindRow]
    lines: list[TracedLineRow]
    left_out: int


class TraceAnswer(TypedDict):
    state: TraceState
    sentence: str
    trace: TraceRow | None


def add_routes(router: APIRouter, queries: Queries) -> None:
    known = known_run(queries)

    @router.get("/trace", response_model=None, summary="Traced steps of a run: kernels by the line that launched them")
    @needs(Role.VIEWER)
    def trace(
        run: str = known,
        name: Annotated[
            str | None, Query(alias="id", max_length=32, description="of one that was asked for; else the newest")
        ] = None,
        rank: Rank = None,
    ) -> Answer[TraceAnswer]:
        return Answer(trace_answer(queries.stacks.trace(run, name, rank)))


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post(
        "/runs/{run:any}/trace", response_model=None, summary="Trace some steps of a run that uses RunLog or an adapter"
    )
    @needs(Role.OWNER)
    def ask(run: RunInPath, given: TraceRequested) -> Answer[TraceAsked]:
        return Answer({"id": changes.trace(run, given.steps, given.rank)})


def trace_answer(found: TraceFound) -> TraceAnswer:
    return {
        "state": found.state,
        "sentence": found.sentence,
        "trace": _trace(found.trace, found.lines) if found.trace else None,
    }


def _trace(trace: StepsTraced, lines: list[TracedLine]) -> TraceRow:
    kinds = kinds_of_kernels(trace)
    total_s = max(sum(kinds.values()), 1e-12)
    busy = trace.busy
    return {
        "id": trace.id,
        "rank": trace.rank,
        "device": trace.device,
        "torch": trace.torch,
        "window": (trace.from_s, trace.to_s),
        "first_step": trace.first_step,
        "last_step": trace.last_step,
        "with_stacks": trace.with_stacks,
        "step_s": (trace.to_s - trace.from_s) / trace.steps,
        "busy": {
            "compute": busy.compute / trace.steps,
            "communication": busy.communication / trace.steps,
            "copy": busy.copy / trace.steps,
            "hidden": busy.hidden / trace.steps,
        }
        if busy
        else None,
        "kinds": [
            {"kind": kind, "seconds": seconds / trace.steps, "share": 100 * seconds / total_s}
            for kind, seconds in kinds.items()
            if seconds
        ],
        "lines": [_line(line, trace.steps, total_s) for line in lines[:MOST_LINES]],
        "left_out": trace.left_out,
    }


def _line(line: TracedLine, steps: int, total_s: float) -> TracedLineRow:
    frame = line.frame
    return {
        "function": frame.name if frame else "",
        "file": frame.file if frame else "",
        "line": frame.line or None if frame else None,
        "backward": line.backward,
        "seconds": line.seconds / steps,
        "share": 100 * line.seconds / total_s,
        "calls": line.calls,
        "kernels": [
            {"name": kernel.name, "kind": kernel.kind, "seconds": kernel.seconds / steps, "calls": kernel.calls}
            for kernel in line.kernels
        ],
    }
