"""Series, and their points."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from typing_extensions import TypedDict

from access.roles import Role, needs
from collectors import catalog
from collectors.records import Public, Searched
from collectors.store.store import Axis, Buckets, LivePoints, Series

from ..queries import Curves, Queries
from .answers import Answer, Column, Counts, Gaps, Logged, encode, numbers
from .parameters import MAX_BUCKETS, MAX_CHARACTERS, MAX_NAMES, OpenRange, OptionalRun, Text


class SeriesRow(TypedDict):
    name: Public
    unit: Public
    label: Searched
    labels: dict[Public, Public]
    points: int
    first_time_s: float | None
    last_time_s: float | None
    first_step: int | None
    last_step: int | None


class SeriesList(TypedDict):
    series: list[SeriesRow]


class CurveRow(TypedDict):
    """Columns of buckets (docs/http-api.md, Points)."""

    name: Public
    labels: dict[Public, Public]
    unit: Public
    t: Column
    t_end: Column
    step: Gaps
    segment: Counts
    min: Gaps
    max: Gaps
    mean: Gaps
    last: Logged
    count: Counts
    non_finite: Counts
    points_total: int


class CurveList(TypedDict):
    cursor: int
    series: list[CurveRow]


class LiveRow(TypedDict):
    """New points of one series, by arrival."""

    run: Public | None
    name: Public
    labels: dict[Public, Public]
    t: Gaps
    v: Logged
    step: Gaps
    segment: Counts


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/series", response_model=None, summary="Names, labels, units and extents of series")
    @needs(Role.VIEWER)
    def series(run: OptionalRun = None, match: Text = "") -> Answer[SeriesList]:
        return Answer({"series": [series_row(row) for row in queries.series(run, match)]})

    @router.get("/points", response_model=None, summary="Ranges of series in buckets that never hide a spike")
    @needs(Role.VIEWER)
    def points(
        between: OpenRange,
        series: Annotated[
            list[Annotated[str, Field(max_length=MAX_CHARACTERS)]],
            Query(max_length=MAX_NAMES, description="names or globs; repeatable, or separated by commas"),
        ],
        run: OptionalRun = None,
        gpu: Annotated[str | None, Query(max_length=MAX_CHARACTERS, description="index or uuid")] = None,
        axis: Axis = "time",
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS)] = 2000,
    ) -> Answer[CurveList]:
        return _answer(queries.curves(run, series, gpu, *between, axis, buckets))


def _answer(curves: Curves) -> Answer[CurveList]:
    """Written curve by curve: no other thread runs while a part is encoded, so parts are short."""
    parts = b",".join(encode(curve_row(series, buckets), CurveRow) for series, buckets in curves.curves.items())
    return Answer(b'{"cursor":%d,"series":[%b]}' % (curves.cursor, parts))  # type: ignore[arg-type]


def series_row(series: Series) -> SeriesRow:
    return {
        "name": series.name,
        "unit": catalog.unit_of(series.name),
        "label": catalog.label_of(series.name),
        "labels": dict(series.labels),
        "points": series.points,
        "first_time_s": series.first_time_s,
        "last_time_s": series.last_time_s,
        "first_step": series.first_step,
        "last_step": series.last_step,
    }


def curve_row(series: Series, buckets: Buckets) -> CurveRow:
    return {
        "name": series.name,
        "labels": dict(series.labels),
        "unit": catalog.unit_of(series.name),
        "t": buckets.t,
        "t_end": buckets.t_end,
        "step": buckets.step,
        "segment": buckets.segment,
        "min": buckets.min,
        "max": buckets.max,
        "mean": buckets.mean,
        "last": numbers(buckets.last),
        "count": buckets.count,
        "non_finite": buckets.non_finite,
        "points_total": buckets.points_total,
    }


def live_row(points: LivePoints) -> LiveRow:
    return {
        "run": points.run,
        "name": points.name,
        "labels": dict(points.labels),
        "t": points.time_s,
        "v": numbers(points.value),
        "step": points.step,
        "segment": points.segment,
    }
