"""Where the time of a window or of a whole run went."""

from __future__ import annotations

from fastapi import APIRouter
from typing_extensions import TypedDict

from access.roles import Role, needs
from analysis.findings.rule import CodeLocation
from analysis.ledger.attempts import EndedBy, StartedBy
from analysis.ledger.contrast import LedgerContrast
from analysis.ledger.device import Signal as Signal
from analysis.ledger.kinds import KINDS, RUN_KINDS, ChargeTarget, TimeKind
from analysis.ledger.prediction import Fix, Prediction, spoken
from analysis.ledger.run_ledger import AttemptRow, RunLedger
from analysis.ledger.shares import (
    BusyPart,
    KindRow,
    Ledger,
    LedgerDevice,
    LineShare,
    RunCost,
    Sureness,
    Tier,
    TracedLine,
    lane_of,
)
from analysis.ledger.text import basis_of, label_of, run_basis_of, sentence_of, short_of
from collectors.message import Message, text_of
from collectors.records import Public, Searched

from ..colours import TIME
from ..queries import BadRequest, Queries
from ..runs.run_ledgers import RunAccount
from ..stacks.stacks import compare_windows
from .answers import Answer
from .parameters import OptionalWindow, Rank, RunParameter, known_run

MAX_TRACED_LINES = 5
MAX_BLOCKS = 240  # of an answer: longer windows have wider ones


class LedgerLine(TypedDict):
    function: Searched
    file: Searched
    line: int | None
    leaf: Searched
    share: float
    samples: int
    prediction: LedgerPrediction | None


class LedgerPrediction(TypedDict):
    """What the obvious fix saves, in percent of the window's time; `least` to `most` is meant to hold nine in ten measured savings."""

    fix: Fix
    saves: float
    least: float
    most: float
    times_as_fast: float
    limit: Searched
    sentence: Searched


class LedgerRow(TypedDict):
    """`colour`: 1 to 16, the tokens c1 to c16 of `assets/tokens.css`."""

    kind: TimeKind
    label: Searched
    colour: int
    share: float
    seconds: float
    least: float
    most: float
    prediction: LedgerPrediction | None
    confidence: Sureness
    exposed_by: CodeLocation | None
    lines: list[LedgerLine]


class LedgerTracedLine(TypedDict):
    """`share` is percent of all that was traced; `kernel` took longest of what the line launched. `function` is "" without a line."""

    function: Searched
    file: Searched
    line: int | None
    backward: bool
    share: float
    kernel: Searched


class LedgerTrace(TypedDict):
    """Which steps of the window were traced; GET /trace has their kernels."""

    id: Public
    window: tuple[float, float]
    first_step: int
    last_step: int
    parts: list[BusyPart]
    lines: list[LedgerTracedLine]


class LedgerBlocks(TypedDict):
    """`seconds[k]` are those of kind `kinds[k]`, one entry a block; `labels` and `colours` are those of its row, `short` names it in a word or two."""

    start: list[float]
    end: list[float]
    kinds: list[TimeKind]
    labels: list[Searched]
    short: list[Searched]
    colours: list[int]
    seconds: list[list[float]]


class LedgerChange(TypedDict):
    kind: TimeKind
    label: Searched
    share: float
    other_share: float
    seconds: float | None
    other_seconds: float | None
    place: CodeLocation | None
    sure: bool


class LedgerContrastAnswer(TypedDict):
    """`seconds` are those of a unit, `unit_s` and `other_unit_s` all of it."""

    sentence: Searched
    unit: Public
    unit_s: float | None
    other_unit_s: float | None
    changes: list[LedgerChange]


class LedgerAnswer(TypedDict):
    """`queued_s`: in a queue of jobs, of the window that was asked for; no part of the rows, which are of the device's time."""

    sentence: Searched
    basis: Searched
    device: LedgerDevice
    tier: Tier
    busy_signal: Signal
    rank: int
    ranks: int
    window: tuple[float, float]
    covered_share: float
    queued_s: float
    communication: tuple[float, float] | None
    traced: LedgerTrace | None
    rows: list[LedgerRow]
    blocks: LedgerBlocks


# The wall time of a whole run.

MAX_ATTEMPTS = 200  # of an answer, the newest


class RunLedgerRow(LedgerRow):
    """`basis`: what its seconds were computed from. What it cost is null where unknown."""

    basis: Searched
    gpu_hours: float | None
    energy_j: float | None
    cost: float | None


class LedgerAttempt(TypedDict):
    run: Public
    start_s: float
    end_s: float
    started_by: StartedBy
    ended_by: EndedBy
    steps: int
    redone_steps: int
    seconds: dict[TimeKind, float]


class RunLedgerAnswer(TypedDict):
    """`goodput` and `at_most` are percent of the wall time; `window` is null where fewer than two moments of the run are known. `cost` is in the currency of the settings."""

    runs: list[Public]
    sentence: Searched
    window: tuple[float, float] | None
    seconds: float
    goodput: float | None
    at_most: float | None
    steps: int
    redone_steps: int
    gpus: int | None
    price_per_gpu_hour: float
    currency: Public
    paid: RunCost
    lost: RunCost
    rows: list[RunLedgerRow]
    attempts: list[LedgerAttempt]
    attempts_left_out: int
    missing: list[Searched]


def add_routes(router: APIRouter, queries: Queries) -> None:
    known = known_run(queries)

    @router.get("/ledger", response_model=None, summary="Where the time of a window, or of a whole run, went")
    @needs(Role.VIEWER)
    def ledger(window: OptionalWindow, run: str = known, rank: Rank = None) -> Answer[LedgerAnswer | RunLedgerAnswer]:
        if window is not None:
            return Answer(ledger_answer(queries.stacks.ledger(run, window, rank)))
        if rank is not None:
            raise BadRequest("rank belongs to a window: give from and to, or leave it out for the whole run")
        return Answer(run_ledger_answer(queries.run_ledgers.account(run)))

    @router.get("/ledger/compare", response_model=None, summary="What a run spends its time on otherwise than another")
    @needs(Role.VIEWER)
    def ledger_compare(
        ends: OptionalWindow, against: RunParameter, run: str = known, rank: Rank = None
    ) -> Answer[LedgerContrastAnswer]:
        queries.check_run(against)
        return Answer(contrast_answer(compare_windows(queries.stacks, run, ends, rank, against)))


def contrast_answer(found: LedgerContrast) -> LedgerContrastAnswer:
    return {
        "sentence": found.sentence,
        "unit": found.mine.unit_name,
        "unit_s": found.mine.unit_s,
        "other_unit_s": found.other.unit_s,
        "changes": [
            {
                "kind": change.kind,
                "label": text_of(change.label),
                "share": change.share,
                "other_share": change.other_share,
                "seconds": change.seconds,
                "other_seconds": change.other_seconds,
                "place": _place(change.place) if change.place else None,
                "sure": change.sure,
            }
            for change in found.changes
        ],
    }


def ledger_answer(ledger: Ledger) -> LedgerAnswer:
    return {
        "sentence": text_of(sentence_of(ledger)),
        "basis": text_of(basis_of(ledger)) if ledger.rows else "",
        "device": ledger.device,
        "tier": ledger.tier,
        "busy_signal": ledger.signal,
        "rank": ledger.rank,
        "ranks": ledger.ranks,
        "window": ledger.window,
        "covered_share": ledger.covered_share,
        "queued_s": ledger.queued_s,
        "communication": ledger.communication,
        "traced": _traced(ledger),
        "rows": [_row(row, label_of(row.kind, ledger)) for row in ledger.rows],
        "blocks": _blocks(ledger),
    }


def _traced(ledger: Ledger) -> LedgerTrace | None:
    if ledger.traced is None:
        return None
    trace, lines = ledger.traced
    total_s = max(sum(line.seconds for line in lines), 1e-12)
    return {
        "id": trace.id,
        "window": (trace.from_s, trace.to_s),
        "first_step": trace.first_step,
        "last_step": trace.last_step,
        "parts": ledger.busy_parts,
        "lines": [_traced_line(line, total_s) for line in lines[:MAX_TRACED_LINES]],
    }


def _traced_line(line: TracedLine, total_s: float) -> LedgerTracedLine:
    frame = line.frame
    return {
        "function": frame.name if frame else "",
        "file": frame.file if frame else "",
        "line": frame.line or None if frame else None,
        "backward": line.backward,
        "share": 100 * line.seconds / total_s,
        "kernel": line.kernels[0].name if line.kernels else "",
    }


def _row(row: KindRow, label: Message) -> LedgerRow:
    return {
        "kind": row.kind,
        "label": text_of(label),
        "colour": TIME[row.kind],
        "share": row.share,
        "seconds": row.seconds,
        "least": row.least,
        "most": row.most,
        "prediction": _prediction(row.prediction),
        "confidence": row.confidence,
        "exposed_by": _place(row.exposed_by) if row.exposed_by else None,
        "lines": [found for line in row.lines if (found := _line(line))],
    }


def _prediction(found: Prediction | None) -> LedgerPrediction | None:
    if found is None:
        return None
    return {
        "fix": found.fix,
        "saves": found.saves,
        "least": found.least,
        "most": found.most,
        "times_as_fast": found.times_as_fast,
        "limit": text_of(found.limit),
        "sentence": text_of(spoken(found)),
    }


def _line(line: LineShare) -> LedgerLine | None:
    place = _place(line.place)
    if place is None:
        return None
    function, file, number = place
    return {
        "function": function,
        "file": file,
        "line": number,
        "leaf": line.place.leaf,
        "share": line.share,
        "samples": line.samples,
        "prediction": _prediction(line.prediction),
    }


def _place(place: ChargeTarget) -> CodeLocation | None:
    frame = place.frame
    return CodeLocation(frame.name, frame.file, frame.line or None) if frame else None


def _blocks(ledger: Ledger) -> LedgerBlocks:
    """Kinds that have no second are left out."""
    lane = lane_of(ledger.account, MAX_BLOCKS)
    there = [number for number in range(len(KINDS)) if lane.seconds[:, number].any()]
    kinds = [KINDS[number] for number in there]
    return {
        "start": lane.start_s.tolist(),
        "end": lane.end_s.tolist(),
        "kinds": kinds,
        "labels": [text_of(label_of(kind, ledger)) for kind in kinds],
        "short": [text_of(short_of(kind, ledger)) for kind in kinds],
        "colours": [TIME[kind] for kind in kinds],
        "seconds": [lane.seconds[:, number].round(4).tolist() for number in there],
    }


def run_ledger_answer(account: RunAccount) -> RunLedgerAnswer:
    ledger = account.ledger
    attempts = ledger.attempts if ledger else []
    return {
        "runs": list(account.runs),
        "sentence": text_of(account.message),
        "window": ledger.window if ledger else None,
        "seconds": ledger.seconds if ledger else 0.0,
        "goodput": ledger.goodput if ledger else None,
        "at_most": ledger.at_most if ledger else None,
        "steps": ledger.steps if ledger else 0,
        "redone_steps": ledger.redone_steps if ledger else 0,
        "gpus": account.gpus,
        "price_per_gpu_hour": account.price.per_gpu_hour,
        "currency": account.price.currency,
        "paid": ledger.paid if ledger else RunCost(),
        "lost": ledger.lost if ledger else RunCost(),
        "rows": [_run_row(row, ledger) for row in ledger.rows] if ledger else [],
        "attempts": [_attempt(row) for row in attempts[-MAX_ATTEMPTS:]],
        "attempts_left_out": max(0, len(attempts) - MAX_ATTEMPTS),
        "missing": [text_of(said) for said in account.missing],
    }


def _run_row(row: KindRow, ledger: RunLedger) -> RunLedgerRow:
    return {
        **_row(row, label_of(row.kind, ledger)),
        "basis": text_of(run_basis_of(row.kind, ledger)),
        "gpu_hours": row.paid.gpu_hours,
        "energy_j": row.paid.energy_j,
        "cost": row.paid.cost,
    }


def _attempt(row: AttemptRow) -> LedgerAttempt:
    return {
        "run": row.span.run,
        "start_s": row.span.start_s,
        "end_s": row.span.end_s,
        "started_by": row.span.started_by,
        "ended_by": row.span.ended_by,
        "steps": row.steps,
        "redone_steps": row.redone_steps,
        "seconds": {
            kind: seconds for kind, seconds in zip(RUN_KINDS, row.seconds.tolist(), strict=True) if seconds > 0
        },
    }
