"""Which line a window was lost to."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from typing_extensions import TypedDict

from access.roles import Role, needs
from analysis.blame.suspect import Suspect
from analysis.blame.verdict import Confidence, Verdict
from analysis.blame.verdict import VerdictKind as VerdictKind
from analysis.stacks.spans import Interval
from collectors.message import text_of
from collectors.records import Frame, Public, Searched

from ..queries import BadRequest, Queries
from ..stacks.stacks import Baseline
from .answers import Answer
from .parameters import Rank, Window, known_baseline, known_run


class EvidenceRow(TypedDict):
    name: Searched
    unit: Public
    window: float | None
    normal: float | None


class Cause(TypedDict):
    function: Searched
    file: Searched
    line: int | None
    excess_s: float


class VerdictAnswer(TypedDict):
    verdict: VerdictKind
    sentence: Searched
    lead: Searched
    place: Searched
    reason: Searched
    rank: int | None
    excess_s: float | None
    excess_share: float | None
    slowdown_s: float | None
    unexplained_s: float | None
    window_unit_s: float | None
    normal_unit_s: float | None
    answer_s: tuple[float, float] | None
    per: Searched
    units: float | None
    normal_units: float | None
    samples: int
    normal_samples: int
    unresolved_share: float
    confidence: Confidence | None
    rank_among_normal: float | None
    size: Public
    longer: float | None
    basis: Literal["stacks", "steps"]
    contradiction: Searched
    judged: Interval | None
    normal: list[Interval]
    profile_until: float | None
    function: Searched | None
    file: Searched | None
    line: int | None
    leaf: Searched
    caller: Searched
    path: list[Frame]
    second: Cause | None
    common_s: float
    taken_s: float
    pace: float
    evidence: list[EvidenceRow]


def add_routes(router: APIRouter, queries: Queries) -> None:
    known, compared = known_run(queries), known_baseline(queries)

    @router.get("/blame", response_model=None, summary="Which line a window was lost to, beside the run's normal")
    @needs(Role.VIEWER)
    def blame(
        window: Window, run: str = known, rank: Rank = None, baseline: Baseline | None = compared
    ) -> Answer[VerdictAnswer]:
        if baseline is not None and baseline.run is not None:
            raise BadRequest("a run is blamed beside itself: leave the run out of baseline, or see /flame")
        return Answer(verdict_answer(queries.stacks.blame(run, window, rank, baseline.window if baseline else None)))


def verdict_answer(verdict: Verdict) -> VerdictAnswer:
    """The line's fields beside the others."""
    suspect = verdict.suspect
    frame = suspect.frame if suspect else None
    return {
        "verdict": verdict.verdict,
        "sentence": verdict.sentence,
        "lead": verdict.lead,
        "place": verdict.place,
        "reason": text_of(verdict.reason),
        "rank": verdict.rank,
        "excess_s": verdict.excess_s,
        "excess_share": verdict.excess_share,
        "slowdown_s": verdict.slowdown_s,
        "unexplained_s": verdict.unexplained_s,
        "window_unit_s": verdict.window_unit_s,
        "normal_unit_s": verdict.baseline_unit_s,
        "answer_s": verdict.answer_s,
        "per": verdict.unit_name,
        "units": verdict.units,
        "normal_units": verdict.baseline_units,
        "samples": verdict.samples,
        "normal_samples": verdict.baseline_samples,
        "unresolved_share": 1 - verdict.trusted_share,
        "confidence": verdict.confidence,
        "rank_among_normal": verdict.rank_among_baseline,
        "size": verdict.size,
        "longer": verdict.longer,
        "basis": verdict.basis,
        "contradiction": text_of(verdict.contradiction),
        "judged": verdict.judged,
        "normal": verdict.baseline,
        "profile_until": verdict.profile_until,
        "function": frame.name if frame else None,
        "file": frame.file if frame else None,
        "line": (frame.line or None) if frame else None,
        "leaf": suspect.leaf if suspect else "",
        "caller": suspect.caller if suspect else "",
        "path": list(suspect.path) if suspect else [],
        "second": _cause(verdict.second),
        "common_s": verdict.common_s,
        "taken_s": verdict.taken_s,
        "pace": verdict.pace,
        "evidence": [
            {"name": row.name, "unit": row.unit, "window": row.window, "normal": row.baseline}
            for row in verdict.evidence
        ],
    }


def _cause(found: Suspect | None) -> Cause | None:
    if found is None:
        return None
    name, file, line = found.frame
    return {"function": name, "file": file, "line": line or None, "excess_s": found.excess_s}
