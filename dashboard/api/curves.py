"""Curves of stored series and of expressions on one axis, the names of series, and export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from typing_extensions import TypedDict

from access.roles import EXPORTS, Role, needs
from analysis.directions import direction_of
from analysis.expressions.language import ExpressionError
from collectors import catalog
from collectors.arrays import Floats, Ints
from collectors.records import Public, Searched
from collectors.store.store import LivePoints, QueryAborted, Series

from ..admission import GONE
from ..queries import BadRequest, NotFound, Queries
from ..series.axis import RELATIVE, STEP, TIME, NoPlace
from ..series.curves import Band, Curve, CurveAnswer, CurveQuery, RankChoice, SharedTag, UnknownSeries
from ..series.export import MEDIA_TYPES, NO_PYARROW, RowFormat, can_write, written
from ..series.smoothing import Smoothing, smoothing_of
from ..user_files.directions import Direction
from ..viewing import check_key
from .answers import Answer, Column, Counts, Gaps, Logged, encode, number, numbers, of_media
from .parameters import MAX_BUCKETS, MAX_CHARACTERS, MAX_NAMES, MAX_RUNS, OpenRange, OptionalRun, RunNames, Text

# Curves on one axis.

Expressions = Annotated[
    list[Annotated[str, Field(max_length=MAX_CHARACTERS)]],
    Query(
        alias="expr",
        max_length=MAX_NAMES,
        description="a series' name, a glob such as train/*, or an expression (docs/expressions.md); repeatable",
    ),
]
SomeRuns = Annotated[
    list[Annotated[str, Field(max_length=MAX_CHARACTERS)]],
    Query(alias="run", max_length=MAX_RUNS, description="names or globs of runs; repeatable"),
]
AxisName = Annotated[str, Query(max_length=MAX_CHARACTERS, description="time, step, relative, or the name of a series")]


class CurveAxisRow(TypedDict):
    name: Public
    unit: Public
    lo: float | None
    hi: float | None


class CurveRow(TypedDict):
    """Columns of buckets (docs/http-api.md, Curves). `last` is null at a place without a value."""

    expr: int
    run: Public | None
    group: Searched
    runs: list[Public]
    name: Public
    labels: dict[Public, Public]
    unit: Public
    x: Column
    x_end: Column
    step: Gaps
    segment: Counts
    min: Gaps
    max: Gaps
    mean: Gaps
    last: Gaps | list[float | Public | None]
    count: Counts
    non_finite: Counts
    smooth: Gaps | None
    superseded: list[bool]
    points_total: int
    points_read: int


class LeftOutRow(TypedDict):
    expr: int | None
    run: Public | None
    reason: Searched
    absent: bool


class FollowedRow(TypedDict):
    run: Public | None
    name: Public


class CurveList(TypedDict):
    """`followed` are the stored series behind the answer, for the live socket."""

    cursor: int
    x: CurveAxisRow
    curves: list[CurveRow]
    left_out: list[LeftOutRow]
    followed: list[FollowedRow]


def _add_curves(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/curves",
        response_model=None,
        summary="Series and expressions on one axis, in buckets that never hide a spike",
    )
    @needs(Role.VIEWER)
    def curves(
        expr: Expressions,
        between: OpenRange,
        run: SomeRuns = [],  # noqa: B006  # the framework copies it
        x: AxisName = TIME,
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS, description="of a curve")] = 600,
        smooth: Annotated[
            str, Query(max_length=MAX_CHARACTERS, description="none, ema:<half-life> or gauss:<sigma>")
        ] = "none",
        group: Annotated[
            str | None, Query(max_length=MAX_CHARACTERS, description="a key of the runs' configuration")
        ] = None,
        band: Band = "minmax",
        baseline: Annotated[
            str | None, Query(max_length=MAX_CHARACTERS, description="a run: values as per cent of it")
        ] = None,
        ranks: RankChoice = "each",
    ) -> Answer[CurveList]:
        check_key(group or "")
        asked = CurveQuery(
            expr, run, x, *between, buckets, _smoothing(smooth), group or None, band, baseline or None, ranks
        )
        return curves_answer(answered(queries, asked))


def answered(queries: Queries, query: CurveQuery) -> CurveAnswer:
    """Raises NotFound and BadRequest."""
    try:
        return queries.curves.answer(query)
    except UnknownSeries as error:
        raise NotFound(str(error)) from None
    except ExpressionError as error:
        raise BadRequest(str(error)) from None


def _smoothing(text: str) -> Smoothing | None:
    """Raises BadRequest."""
    try:
        return smoothing_of(text)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def curves_answer(found: CurveAnswer) -> Answer[CurveList]:
    """Written curve by curve: no other thread runs while a part is encoded, so parts are short."""
    x, left_out, followed = (
        encode(found.x._asdict(), CurveAxisRow),
        encode([row._asdict() for row in found.left_out], list[LeftOutRow]),
        encode([row._asdict() for row in found.followed], list[FollowedRow]),
    )
    parts = [b'{"cursor":%d,"x":%b,"curves":[' % (found.cursor, x)]
    for place, curve in enumerate(found.curves):
        parts += [b"," if place else b"", encode(curve_row(curve), CurveRow)]
    parts.append(b'],"left_out":%b,"followed":%b}' % (left_out, followed))
    return Answer(b"".join(parts))  # type: ignore[arg-type]


def curve_row(curve: Curve) -> CurveRow:
    buckets = curve.buckets
    return {
        "expr": curve.expr,
        "run": curve.run,
        "group": curve.group,
        "runs": curve.runs,
        "name": curve.name,
        "labels": dict(curve.labels),
        "unit": curve.unit,
        "x": buckets.t,
        "x_end": buckets.t_end,
        "step": buckets.step,
        "segment": buckets.segment,
        "min": buckets.min,
        "max": buckets.max,
        "mean": buckets.mean,
        "last": last_values(buckets.last, buckets.count),
        "count": buckets.count,
        "non_finite": buckets.non_finite,
        "smooth": curve.smooth,
        "superseded": curve.superseded,  # type: ignore[typeddict-item]  # numpy writes itself
        "points_total": curve.points_total,
        "points_read": curve.points_read,
    }


def last_values(values: Floats, count: Ints) -> Floats | list[float | str | None]:
    """Words where they are not finite, null at a place without a point."""
    if np.isfinite(values).all():
        return values
    return [number(value) if points else None for value, points in zip(values.tolist(), count.tolist(), strict=True)]


# Raw points of several runs as a file.

PLACES = {STEP: None, TIME: "time_s", RELATIVE: "relative_s"}  # the name of the column of places; of a series it is "x"


def _add_export(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/export",
        response_model=None,
        response_class=Response,
        responses=of_media(*MEDIA_TYPES.values()),
        summary="Raw points of series and of expressions, as CSV, JSON lines or Parquet",
    )
    @needs(Role.VIEWER, EXPORTS)
    def export(
        expr: Expressions,
        between: OpenRange,
        run: SomeRuns = [],  # noqa: B006  # the framework copies it
        format: RowFormat = "csv",
        x: AxisName = TIME,
    ) -> StreamingResponse:
        if not can_write(format):
            raise BadRequest(NO_PYARROW)
        try:
            rows = queries.curves.rows(CurveQuery(expr, run, x, *between))
        except UnknownSeries as error:
            raise NotFound(str(error)) from None
        except (NoPlace, ExpressionError) as error:
            raise BadRequest(str(error)) from None
        headers = {"Content-Disposition": "attachment", "Cache-Control": "no-store"}  # a link names the file
        pieces = _until_gone(written(format, PLACES.get(x, "x"), rows))
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[format], headers=headers)


def _until_gone(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Any other end leaves the file unfinished, which the client notices."""
    try:
        yield from pieces
    except QueryAborted as error:
        if str(error) != GONE:
            raise


# The names of the series of several runs.


class TagRow(TypedDict):
    """`points` of all runs together, `runs` that have it, `ranks` of the run that has the most, `direction`: which values are better.

    `progress`: it only counts how far a run is whose text was read, which the axis shows.
    """

    name: Public
    unit: Public
    label: Searched
    points: int
    runs: int
    ranks: int
    direction: Direction | None
    progress: bool


class TagList(TypedDict):
    tags: list[TagRow]


def _add_tags(router: APIRouter, queries: Queries) -> None:
    @router.get("/tags", response_model=None, summary="The series that any of these runs has, by name")
    @needs(Role.VIEWER)
    def tags(run: RunNames) -> Answer[TagList]:
        chosen = queries.directions()
        return Answer({"tags": [tag_row(tag, direction_of(tag.name, chosen)) for tag in queries.curves.tags(run)]})


def tag_row(tag: SharedTag, direction: Direction | None) -> TagRow:
    return {
        "name": tag.name,
        "unit": catalog.unit_of(tag.name),
        "label": catalog.label_of(tag.name),
        "points": tag.points,
        "runs": tag.runs,
        "ranks": tag.ranks,
        "direction": direction,
        "progress": tag.progress,
    }


# The stored series of a run, or of the machine.


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


def _add_series(router: APIRouter, queries: Queries) -> None:
    @router.get("/series", response_model=None, summary="Names, labels, units and extents of series")
    @needs(Role.VIEWER)
    def series(run: OptionalRun = None, match: Text = "") -> Answer[SeriesList]:
        return Answer({"series": [series_row(row) for row in queries.series(run, match)]})


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


# New points of the live socket.


class LiveRow(TypedDict):
    """New points of one series, by arrival."""

    run: Public | None
    name: Public
    labels: dict[Public, Public]
    t: Gaps
    v: Logged
    step: Gaps
    segment: Counts


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


def add_routes(router: APIRouter, queries: Queries) -> None:
    for add in (_add_series, _add_curves, _add_tags, _add_export):
        add(router, queries)
