"""Which of a run's seconds were training that counted, and what the others went to."""

from __future__ import annotations

from fastapi import APIRouter
from typing_extensions import TypedDict

from access.roles import Role, needs
from analysis.goodput import (
    LABEL,
    ORDER,
    AttemptRow,
    EndedBy,
    Goodput,
    GoodputKind,
    GoodputRow,
    Paid,
    StartedBy,
    basis_of,
)
from collectors.message import text_of

from ..queries import Queries
from ..runs.goodput import RunGoodput
from .answers import Answer
from .parameters import known_run

MOST_ATTEMPTS = 200  # of an answer, the newest


class PaidAnswer(TypedDict):
    """null where unknown; `cost` is in the currency of the settings."""

    gpu_hours: float | None
    energy_j: float | None
    cost: float | None


class GoodputKindRow(PaidAnswer):
    kind: GoodputKind
    label: str
    seconds: float
    share: float
    basis: str  # what its seconds were computed from


class GoodputAttempt(TypedDict):
    run: str
    start_s: float
    end_s: float
    started_by: StartedBy
    ended_by: EndedBy
    steps: int
    redone_steps: int
    seconds: dict[GoodputKind, float]


class GoodputAnswer(TypedDict):
    """`goodput` and `at_most` are percent of the wall time; `window` is null where fewer than two moments of the run are known."""

    runs: list[str]
    sentence: str
    window: tuple[float, float] | None
    seconds: float
    goodput: float | None
    at_most: float | None
    steps: int
    redone_steps: int
    gpus: int | None
    price_per_gpu_hour: float
    currency: str
    paid: PaidAnswer
    lost: PaidAnswer
    rows: list[GoodputKindRow]
    attempts: list[GoodputAttempt]
    attempts_left_out: int
    missing: list[str]


def add_routes(router: APIRouter, queries: Queries) -> None:
    known = known_run(queries)

    @router.get(
        "/goodput", response_model=None, summary="Goodput of a whole run: training, and what the other seconds went to"
    )
    @needs(Role.VIEWER)
    def goodput(run: str = known) -> Answer[GoodputAnswer]:
        return Answer(goodput_answer(queries.goodputs.goodput(run)))


def goodput_answer(answer: RunGoodput) -> GoodputAnswer:
    found = answer.found
    attempts = found.attempts if found else []
    nothing = Paid(None, None, None)
    return {
        "runs": list(answer.runs),
        "sentence": text_of(answer.message),
        "window": found.window if found else None,
        "seconds": found.seconds if found else 0.0,
        "goodput": found.goodput if found else None,
        "at_most": found.at_most if found else None,
        "steps": found.steps if found else 0,
        "redone_steps": found.redone_steps if found else 0,
        "gpus": answer.gpus,
        "price_per_gpu_hour": answer.price.per_gpu_hour,
        "currency": answer.price.currency,
        "paid": _paid(found.paid if found else nothing),
        "lost": _paid(found.lost if found else nothing),
        "rows": [_row(row, found) for row in found.rows] if found else [],
        "attempts": [_attempt(row) for row in attempts[-MOST_ATTEMPTS:]],
        "attempts_left_out": max(0, len(attempts) - MOST_ATTEMPTS),
        "missing": [text_of(said) for said in answer.missing],
    }


def _paid(paid: Paid) -> PaidAnswer:
    return {"gpu_hours": paid.gpu_hours, "energy_j": paid.energy_j, "cost": paid.cost}


def _row(row: GoodputRow, found: Goodput) -> GoodputKindRow:
    return {
        "kind": row.kind,
        "label": LABEL[row.kind],
        "seconds": row.seconds,
        "share": row.share,
        "basis": text_of(basis_of(row.kind, found)),
        **_paid(row.paid),
    }


def _attempt(row: AttemptRow) -> GoodputAttempt:
    return {
        "run": row.span.run,
        "start_s": row.span.start_s,
        "end_s": row.span.end_s,
        "started_by": row.span.started_by,
        "ended_by": row.span.ended_by,
        "steps": row.steps,
        "redone_steps": row.redone_steps,
        "seconds": {kind: seconds for kind, seconds in zip(ORDER, row.seconds.tolist(), strict=True) if seconds > 0},
    }
