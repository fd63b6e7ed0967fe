"""The Python stacks of a window, as a tree and in time order, source lines, and steps traced on demand."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from typing_extensions import TypedDict

from access.roles import EXPORTS, SOURCE, Role, needs
from analysis.ledger.shares import KernelTime, TracedLine, TracedModule, kinds_of_kernels, late_lines, traced_modules
from analysis.stacks import fold
from analysis.stacks.fold import FlameTree
from analysis.stacks.frames import Excerpt, SourceRefused
from analysis.stacks.frames import FrameKind as FrameKind
from analysis.stacks.spans import Interval, LastStack
from analysis.stacks.threads import ThreadSelection, ThreadTime, View
from analysis.traces.device import DeviceShares, Work
from analysis.traces.idle import IdleCause, IdleCauseName, name_of_cause
from analysis.traces.ranks import Match, RankComparison, RankRow
from analysis.traces.steps import BusySeconds, CardStep, CardSummary, KernelKind, LateLaunch, StepTrace
from collectors.records import Frame, Public, Searched
from collectors.trace_requests import MAX_STEPS

from ..mutations import Changes
from ..queries import NotFound, Profiler, Queries, Remedy
from ..stacks.flame import Lane, to_folded, to_speedscope
from ..stacks.stacks import Baseline, ChartResult, FoldResult, NoStacks, PhaseTime
from ..stacks.step_traces import TraceResult, TraceState
from ..visitors import check_grant
from .answers import Answer, Column, Counts, dumps, of_media
from .parameters import (
    MAX_CHARACTERS,
    MAX_CONTEXT,
    MAX_ID,
    MAX_WIDTH,
    Pid,
    Rank,
    RunInPath,
    Thread,
    Window,
    known_baseline,
    known_run,
)

SPEEDSCOPE = "application/vnd.speedscope+json"


class Nodes(TypedDict):
    """Columns in preorder; the base columns are null without a baseline. `self_line` and `own_line` are where most of the time passed that
    a node took itself; the latter, for the user's own functions, with what libraries took that they call."""

    frame: Counts
    parent: Counts
    self_s: Column
    total_s: Column
    untrusted_s: Column
    base_self_s: Column | None
    base_total_s: Column | None
    kind: list[FrameKind]
    self_line: Counts
    own_line: Counts


class TreeAnswer(TypedDict):
    samples: int
    seconds: float
    hz: float
    baseline_samples: int
    baseline_seconds: float
    unresolved_share: float
    threads: list[ThreadTime]
    frames: list[Frame]
    nodes: Nodes


class FlameAnswer(TreeAnswer):
    units: float | None
    baseline_units: float | None
    per: Searched
    normal: list[Interval]
    profile_until: float | None
    ranks: list[int]
    phases: list[PhaseTime]
    sampler: Public
    note: Remedy | None


ChartAnswer = TypedDict(
    "ChartAnswer",
    {
        "from": float,
        "to": float,
        "frames": list[Frame],
        "lanes": list[Lane],
        "left_out": int,
        "profile_until": float | None,
    },
)


class LastStackRow(TypedDict):
    rank: int
    pid: int
    role: Public
    thread: Searched
    until_s: float
    frames: list[Frame]


class LastStacksAnswer(TypedDict):
    stacks: list[LastStackRow]


# Steps that are traced on demand: which line launched which kernels.

MAX_TRACED_LINES = 200  # of an answer, those that took longest


class TraceRequested(BaseModel):
    """`steps` of one rank."""

    model_config = ConfigDict(extra="forbid")

    steps: StrictInt = Field(default=3, ge=1, le=MAX_STEPS)
    rank: StrictInt = Field(default=0, ge=0, le=MAX_ID)


class TraceAsked(TypedDict):
    id: str


class TracedLineRow(TypedDict):
    """`function` is "" where no line of the script launched it."""

    function: Searched
    file: Searched
    line: int | None
    backward: bool
    seconds: float
    share: float
    calls: int
    kernels: list[KernelTime]


class TracedModuleRow(TypedDict):
    """What calls of an `nn.Module` launched, and the backward of them, without the modules that it calls. `path` from the outermost module
    to this one, `Linear_3` being the fourth `Linear` that the profiler saw; [] for what no module launched."""

    path: list[Searched]
    seconds: float
    share: float
    calls: int
    kernels: list[KernelTime]


class KernelKindRow(TypedDict):
    kind: KernelKind
    seconds: float
    share: float


class IdleRow(TypedDict):
    """`data`: the launching thread waited for a batch; `collective`, `sync`, `copy`: it was in such a call; `host`: anything else there; `launch`: the call was made, and its latency or the card's queue took the time; `unknown`: the trace has no call for what came next."""

    cause: IdleCauseName
    seconds: float
    share: float


class LateLineRow(TypedDict):
    """What launched next after idle time; `function` is "" where the trace does not say. `seconds` the card had been idle."""

    function: Searched
    file: Searched
    line: int | None
    kernel: Searched
    seconds: float
    share: float
    times: int
    cause: IdleCauseName


class CardShares(TypedDict):
    """What one card, or all of a rank's together, did in `seconds`. `idle` is the sum of its causes; `exposed`: communication without
    computation, both percent of `seconds`. `overlapped`: percent of the communication that ran beside computation."""

    seconds: float
    idle: float
    causes: list[IdleRow]
    compute: float
    exposed: float
    overlapped: float | None
    copies: float


class CardStepRow(CardShares):
    """A step as the card saw it, from the first that it started there to the first of the next one. `launch_lead_s`: the median time from a
    launch to the begin of its kernel. `tensor_cores`: percent of the computation."""

    step: int
    launch_lead_s: float | None
    tensor_cores: float | None


class CardRow(TypedDict):
    """Of the steps that count: shares are percent, by HolisticTraceAnalysis's definitions. Seconds are of one step."""

    device: int
    seconds: float
    idle: float
    compute: float
    communication: float
    exposed: float
    memory: float
    causes: list[IdleRow]
    late: list[LateLineRow]
    queued: float | None
    launch_lead_s: float | None
    tensor_cores: float | None
    steps: list[CardStepRow]


class TraceRow(TypedDict):
    id: Public
    rank: int
    device: Literal["GPU", "CPU"]
    torch: Public
    window: tuple[float, float]
    first_step: int
    last_step: int
    with_stacks: bool
    step_s: float
    busy: BusySeconds | None
    kinds: list[KernelKindRow]
    lines: list[TracedLineRow]
    modules: list[TracedModuleRow]
    left_out: int
    cards: list[CardRow]
    is_dated: bool


class TraceAnswer(TypedDict):
    state: TraceState
    sentence: Searched
    trace: TraceRow | None


class TracedRankRow(CardShares):
    """One rank, all of its cards together; `seconds` and `causes` are of one step. Of the `matched` collectives, those found on another rank
    too: `last`, at how many of them the others waited for this rank, `waited_for_s`, how long the one that waited longest did, in all, and
    `waited_s`, how long this rank waited for others."""

    rank: int
    id: Public
    collectives: int
    matched: int
    last: int
    waited_s: float
    waited_for_s: float


class TracedRanksAnswer(TypedDict):
    """`by`: how collectives of two ranks are known to be the same; null where none are. `rows` is empty where fewer than two ranks are."""

    by: Match | None
    matched: int
    sentences: list[Searched]
    rows: list[TracedRankRow]


def add_routes(router: APIRouter, queries: Queries) -> None:
    known, compared = known_run(queries), known_baseline(queries)

    @router.get(
        "/flame",
        response_model=None,
        responses=of_media("text/plain", SPEEDSCOPE),
        summary="The Python stacks of a window as a tree",
    )
    @needs(Role.VIEWER)
    def flame(
        window: Window,
        run: str = known,
        rank: Rank = None,
        pid: Pid = None,
        thread: Thread = None,
        view: View | Literal["kernels"] = "joined",
        phase: Annotated[
            str, Query(max_length=MAX_CHARACTERS, description="only what steps spent in this phase, as they log it")
        ] = "",
        baseline: Baseline | None = compared,
        waits: Annotated[bool, Query(description="false: without the time in which a thread only waits")] = True,
        focus: Annotated[
            str, Query(max_length=MAX_CHARACTERS, description="only stacks with such a frame, from it on")
        ] = "",
        hide: Annotated[str, Query(max_length=MAX_CHARACTERS, description="without such frames")] = "",
        roll: fold.Roll = "function",
        invert: Annotated[bool, Query(description="callees first")] = False,
        prune: Annotated[float, Query(ge=0, le=1, description="leave out what is below this share")] = fold.PRUNE,
        shape: Annotated[Literal["tree", "folded", "speedscope", "perfetto"], Query(alias="format")] = "tree",
    ) -> Answer[FlameAnswer] | Response:
        if shape != "tree":
            check_grant(EXPORTS)
        if shape == "perfetto":
            return Response(dumps(queries.stacks.perfetto(run, window, rank)), media_type="application/json")
        reshaped = fold.FoldOptions(waits, focus, hide, roll, invert)
        if view == "kernels":
            traced = queries.stacks.kernels(run, window, rank, reshaped, prune)
            if traced is None:
                raise NotFound(f"no steps of {run!r} were traced; deepseek-dashboard trace traces some")
            answer = traced
        else:
            try:
                answer = queries.stacks.fold(
                    run,
                    window,
                    ThreadSelection(view, thread, rank, pid),
                    shape=reshaped,
                    phase=phase,
                    baseline=baseline,
                    prune=prune,
                )
            except NoStacks as error:
                raise NotFound(str(error)) from error
            queries.ahead.want(run)
        match shape:
            case "folded":
                return PlainTextResponse(to_folded(answer.tree))
            case "speedscope":
                speedscope = to_speedscope(answer.tree, name=f"{run} {window[0]:.3f} to {window[1]:.3f}")
                return Response(dumps(speedscope), media_type=SPEEDSCOPE)
            case _:
                return Answer(flame_answer(answer, queries.profiler(run)))

    @router.get("/flamechart", response_model=None, summary="The Python stacks of a window in time order")
    @needs(Role.VIEWER)
    def flamechart(
        window: Window,
        run: str = known,
        width: Annotated[
            int, Query(ge=1, le=MAX_WIDTH, description="pixels: what is narrower than one is merged")
        ] = 1200,
        rank: Rank = None,
        pid: Pid = None,
        thread: Thread = None,
        view: View = "joined",
    ) -> Answer[ChartAnswer]:
        return Answer(chart_answer(queries.stacks.chart(run, window, width, ThreadSelection(view, thread, rank, pid))))

    @router.get(
        "/last_stacks",
        response_model=None,
        summary="Where each thread of a run was last: after a crash, what it was doing",
    )
    @needs(Role.VIEWER)
    def last_stacks(run: str = known) -> Answer[LastStacksAnswer]:
        return Answer({"stacks": [last_stack_row(last) for last in queries.stacks.last(run)]})

    @router.get(
        "/source", response_model=None, summary="Lines of a file of the run's own folder that its profile names"
    )
    @needs(Role.VIEWER, SOURCE)
    def source(
        file: Annotated[str, Query(min_length=1, max_length=MAX_CHARACTERS, description="as a frame names it")],
        run: str = known,
        line: Annotated[int, Query(ge=1, le=MAX_ID)] = 1,
        context: Annotated[int, Query(ge=0, le=MAX_CONTEXT, description="lines on each side")] = 8,
    ) -> Answer[Excerpt]:
        try:
            return Answer(queries.stacks.source(run, file, line, context))
        except SourceRefused as error:
            raise NotFound(str(error)) from error

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

    @router.get(
        "/trace/ranks",
        response_model=None,
        summary="Traces of several ranks of one run, and which the others waited for",
    )
    @needs(Role.VIEWER)
    def ranks(run: str = known) -> Answer[TracedRanksAnswer]:
        return Answer(_ranks(queries.stacks.ranks(run)))


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post(
        "/runs/{run:any}/trace", response_model=None, summary="Trace some steps of a run that uses RunLog or an adapter"
    )
    @needs(Role.OWNER)
    def ask(run: RunInPath, given: TraceRequested) -> Answer[TraceAsked]:
        return Answer({"id": changes.trace(run, given.steps, given.rank)})


def last_stack_row(last: LastStack) -> LastStackRow:
    return {
        "rank": last.process.rank,
        "pid": last.process.pid,
        "role": last.process.role,
        "thread": last.thread,
        "until_s": last.until_s,
        "frames": last.frames,
    }


def tree_answer(tree: FlameTree) -> TreeAnswer:
    return {
        "samples": tree.samples,
        "seconds": tree.seconds,
        "hz": tree.hz,
        "baseline_samples": tree.baseline_samples,
        "baseline_seconds": tree.baseline_seconds,
        "unresolved_share": 1 - tree.trusted_share,
        "threads": tree.threads,
        "frames": tree.frames,
        "nodes": {
            "frame": tree.frame,
            "parent": tree.parent,
            "self_s": tree.self_s,
            "total_s": tree.total_s,
            "untrusted_s": tree.total_s - tree.trusted_s,
            "base_self_s": tree.base_self_s,
            "base_total_s": tree.base_total_s,
            "kind": tree.kind,
            "self_line": tree.self_line,
            "own_line": tree.own_line,
        },
    }


def flame_answer(folded: FoldResult, profiler: Profiler) -> FlameAnswer:
    return {
        **tree_answer(folded.tree),
        "units": folded.units,
        "baseline_units": folded.baseline_units,
        "per": folded.unit_name,
        "normal": folded.baseline,
        "profile_until": folded.profile_until,
        "ranks": sorted({thread.rank for thread in folded.tree.threads}),
        "phases": folded.phases,
        "sampler": profiler.sampler,
        "note": profiler.note,
    }


def chart_answer(charted: ChartResult) -> ChartAnswer:
    chart = charted.chart
    return {
        "from": chart.window[0],
        "to": chart.window[1],
        "frames": chart.frames,
        "lanes": chart.lanes,
        "left_out": chart.left_out,
        "profile_until": charted.profile_until,
    }


def trace_answer(found: TraceResult) -> TraceAnswer:
    return {
        "state": found.state,
        "sentence": found.sentence,
        "trace": _trace(found.trace, found.lines, found.own_folder) if found.trace else None,
    }


def _trace(trace: StepTrace, lines: list[TracedLine], own_folder: str) -> TraceRow:
    kinds = kinds_of_kernels(trace)
    total_s = max(sum(kinds.values()), 1e-12)
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
        "busy": BusySeconds(*(seconds / trace.steps for seconds in trace.busy)) if trace.busy else None,
        "kinds": [
            {"kind": kind, "seconds": seconds / trace.steps, "share": 100 * seconds / total_s}
            for kind, seconds in kinds.items()
            if seconds
        ],
        "lines": [_line(line, trace.steps, total_s) for line in lines[:MAX_TRACED_LINES]],
        "modules": [_module(module, trace.steps, total_s) for module in traced_modules(trace)[:MAX_TRACED_LINES]],
        "left_out": trace.left_out,
        "cards": [_card(card, trace.steps, own_folder) for card in trace.cards],
        "is_dated": trace.is_dated,
    }


def _card(card: CardSummary, steps: int, own_folder: str) -> CardRow:
    shares = card.shares
    span_s = shares.span_us / 1e6
    return {
        "device": card.device,
        "seconds": span_s / steps,
        "idle": 100 * shares.idle,
        "compute": 100 * shares.compute,
        "communication": 100 * shares.of(Work.COMMUNICATION) / shares.span_us,
        "exposed": 100 * shares.exposed_communication,
        "memory": 100 * shares.of(Work.MEMORY) / shares.span_us,
        "causes": _causes(card.idle_s, steps, span_s),
        "late": [_late(line, steps, span_s) for line in late_lines(card, own_folder)[:MAX_TRACED_LINES]],
        "queued": card.queued,
        "launch_lead_s": card.launch_lead_s,
        "tensor_cores": _percent(card.tensor_cores),
        "steps": [_card_step(step) for step in card.steps],
    }


def _card_step(step: CardStep) -> CardStepRow:
    return {
        "step": step.number,
        **_shares(step.shares, step.idle_s, 1),
        "launch_lead_s": step.launch_lead_s,
        "tensor_cores": _percent(step.tensor_cores),
    }


def _shares(shares: DeviceShares, idle_s: tuple[float, ...], steps: int) -> CardShares:
    span_us = max(shares.span_us, 1e-3)
    return {
        "seconds": span_us / 1e6 / steps,
        "idle": 100 * shares.together_us[0] / span_us,
        "causes": _causes(idle_s, steps, span_us / 1e6),
        "compute": 100 * shares.of(Work.COMPUTE) / span_us,
        "exposed": 100 * shares.exposed_us / span_us,
        "overlapped": _percent(shares.overlap),
        "copies": 100 * shares.together_us[Work.MEMORY] / span_us,
    }


def _ranks(found: RankComparison | None) -> TracedRanksAnswer:
    if found is None:
        return {"by": None, "matched": 0, "sentences": [], "rows": []}
    rows = [_rank(row) for row in found.rows]
    return {"by": found.by, "matched": found.matched, "sentences": found.said, "rows": rows}


def _rank(row: RankRow) -> TracedRankRow:
    trace = row.trace
    shares = DeviceShares(
        tuple(map(sum, zip(*(card.shares.together_us for card in trace.cards), strict=True))) or (0.0,) * 8
    )
    idle_s = tuple(map(sum, zip(*(card.idle_s for card in trace.cards), strict=True))) or (0.0,) * len(IdleCause)
    return {
        "rank": trace.rank,
        "id": trace.id,
        **_shares(shares, idle_s, trace.steps),
        "collectives": len(trace.collectives),
        "matched": row.matched,
        "last": row.last,
        "waited_s": row.waited_s,
        "waited_for_s": row.waited_for_s,
    }


def _causes(idle_s: tuple[float, ...], steps: int, span_s: float) -> list[IdleRow]:
    """Of one step."""
    return [
        {"cause": name_of_cause(cause), "seconds": s / steps, "share": 100 * s / span_s}
        for cause, s in zip(IdleCause, idle_s, strict=True)
        if s > 0
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _late(line: LateLaunch, steps: int, span_s: float) -> LateLineRow:
    frame = line.stack[-1] if line.stack else None
    idle_s = sum(line.idle_s)
    return {
        "function": frame.name if frame else "",
        "file": frame.file if frame else "",
        "line": frame.line or None if frame else None,
        "kernel": line.name,
        "seconds": idle_s / steps,
        "share": 100 * idle_s / span_s,
        "times": line.times,
        "cause": name_of_cause(max(IdleCause, key=lambda cause: line.idle_s[cause])),
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
        "kernels": _kernels(line.kernels, steps),
    }


def _module(module: TracedModule, steps: int, total_s: float) -> TracedModuleRow:
    return {
        "path": list(module.path),
        "seconds": module.seconds / steps,
        "share": 100 * module.seconds / total_s,
        "calls": module.calls,
        "kernels": _kernels(module.kernels, steps),
    }


def _kernels(kernels: list[KernelTime], steps: int) -> list[KernelTime]:
    """With the seconds of a step."""
    return [kernel._replace(seconds=kernel.seconds / steps) for kernel in kernels]
