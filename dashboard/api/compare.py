"""Several runs: what differs between them, and figures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from access.roles import Role, needs
from collectors import catalog
from collectors.machine.run_state import StateName
from collectors.records import Public, Searched, UserData

from ..queries import BadRequest, Queries
from ..runs.comparison import MISSING, CommonValue, Difference, Pace, Section, shown
from ..runs.previous_run import PreviousRunComparison
from ..runs.run_values import Comparison, SectionKeys
from ..series.subscription import wanted
from ..viewing import hidden, hides
from .answers import Answer, number, subset
from .parameters import MAX_CHARACTERS, MAX_NAMES, RunParameter

# What differs between runs, and since the last run of a script.

MAX_RUNS = 200
MAX_CELLS, MAX_SHOWN = 40_000, 4_000_000  # of the differences: values, and characters of all of them

Names = Annotated[list[Annotated[str, Query(max_length=MAX_CHARACTERS)]], Query(min_length=1, max_length=MAX_NAMES)]
Patterns = Annotated[list[Annotated[str, Query(max_length=MAX_CHARACTERS)]], Query(max_length=MAX_NAMES)]
Number = float | Literal["NaN", "Infinity", "-Infinity"] | None


class ComparedRun(TypedDict):
    run: Public
    name: Searched  # as users call it, "" where they do not
    state: StateName


class DifferenceRow(TypedDict):
    """Each column has an item per run. Long texts, tables and lists are cut text."""

    section: Section
    key: Searched
    values: list[UserData]
    missing: list[bool]  # the run does not have the key
    odd: list[bool]  # its value is not that of most runs
    differs: bool


class CommonValueRow(TypedDict):
    series: Public
    label: Searched
    unit: Public
    values: list[Number]
    steps: list[int | None]  # where each was logged


class CompareAnswer(TypedDict):
    """`step` is the last one that all runs with steps have reached."""

    runs: list[ComparedRun]
    sections: list[SectionKeys]
    differences: list[DifferenceRow]
    differences_left_out: int
    step: int | None
    step_note: Searched
    values: list[CommonValueRow]
    values_left_out: int


class ChangedKey(TypedDict):
    section: Section
    key: Searched
    before: UserData
    now: UserData


class PaceRow(TypedDict):
    step_s: float
    steps: int


pace_row = subset(Pace, PaceRow)


class SinceLastAnswer(TypedDict):
    """`sentence` is "" where the difference is no more than noise, or nothing can be said; `reason` says which."""

    run: Public
    previous: Public | None
    sentence: Searched
    reason: Searched
    ratio: float | None  # 0.18: a step takes 18 % longer
    lo: float | None  # of the 95 % interval
    hi: float | None
    now: PaceRow | None
    before: PaceRow | None
    differs: list[ChangedKey]


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/compare",
        response_model=None,
        summary="What differs between runs, and their values at the last step that all have",
    )
    @needs(Role.VIEWER)
    def compare(
        run: Names,
        series: Patterns = ["*"],  # noqa: B006
        all: Annotated[bool, Query(description="also the keys that are equal")] = False,
    ) -> Answer[CompareAnswer]:
        if len(set(run)) > MAX_RUNS:
            raise BadRequest(f"{len(set(run))} runs; at most {MAX_RUNS} are compared at a time")
        found = queries.comparing.compare(run, everything=all, wanted=lambda name: wanted(name, series))
        return Answer(compare_answer(found))

    @router.get(
        "/since_last",
        response_model=None,
        summary="Whether a run is slower than the last one of its script on its card, and what differs",
    )
    @needs(Role.VIEWER)
    def since_last(run: RunParameter) -> Answer[SinceLastAnswer]:
        return Answer(since_last_answer(run, queries.comparing.since_last(run)))


def compare_answer(found: Comparison) -> CompareAnswer:
    rows = bounded([difference_row(row) for row in found.rows], len(found.runs))
    return {
        "runs": [{"run": view.stored.name, "name": view.about.name, "state": view.state} for view in found.runs],
        "sections": found.keys,
        "differences": rows,
        "differences_left_out": len(found.rows) - len(rows),
        "step": found.common.step,
        "step_note": found.common.note,
        "values": [value_row(row) for row in found.common.values],
        "values_left_out": found.common.left_out,
    }


def bounded(rows: list[DifferenceRow], runs: int) -> list[DifferenceRow]:
    """The first that fit into an answer."""
    kept: list[DifferenceRow] = []
    room = MAX_SHOWN
    for row in rows[: max(1, MAX_CELLS // max(1, runs))]:
        room -= sum(len(value) if isinstance(value, str) else 8 for value in (row["key"], *row["values"]))
        if room < 0:
            break
        kept.append(row)
    return kept


def difference_row(row: Difference) -> DifferenceRow:
    return {
        "section": row.section,
        "key": row.key,
        "values": [_value_of(row, value) for value in row.values],
        "missing": [value is MISSING for value in row.values],
        "odd": list(row.odd),
        "differs": row.differs,
    }


def _value_of(row: Difference, value: Any) -> Any:
    if value is MISSING:
        return None
    return hidden(shown(value)) if hides(row.section, row.key) else shown(value)


def value_row(row: CommonValue) -> CommonValueRow:
    return {
        "series": row.series,
        "label": catalog.label_of(row.series),
        "unit": catalog.unit_of(row.series),
        "values": [None if value is None else number(value) for value in row.values],
        "steps": list(row.steps),
    }


def since_last_answer(run: str, found: PreviousRunComparison) -> SinceLastAnswer:
    return {
        "run": run,
        "previous": found.previous,
        "sentence": found.sentence,
        "reason": found.reason,
        "ratio": found.change.ratio if found.change else None,
        "lo": found.change.lo if found.change else None,
        "hi": found.change.hi if found.change else None,
        "now": pace_row(found.now) if found.now else None,
        "before": pace_row(found.before) if found.before else None,
        "differs": [changed_key(row) for row in found.differs],
    }


def changed_key(row: Difference) -> ChangedKey:
    before, now = (_value_of(row, value) for value in row.values)
    return {"section": row.section, "key": row.key, "before": before, "now": now}
