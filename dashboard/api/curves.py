"""Curves of several runs on one axis, series names, export, and expressions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from typing_extensions import TypedDict

from access.roles import EXPORTS, Role, needs
from analysis.directions import direction_of
from analysis.expressions.language import ExpressionError, NoSeries
from collectors import catalog
from collectors.arrays import Floats
from collectors.store.store import Axis, Buckets, QueryAborted

from ..admission import GONE
from ..queries import BadRequest, NotFound, Queries
from ..series.axis import (
    RELATIVE,
    STEP,
    TIME,
    Curve,
    CurveQuery,
    NoPlace,
    Overlay,
    RankChoice,
    SharedTag,
    Spread,
    UnknownSeries,
)
from ..series.export import MEDIA_TYPES, NO_PYARROW, RowFormat, can_write, written
from ..series.expressions import ExpressionQuery, ExpressionResult, ExpressionSeries, NoSuchRun
from ..series.smoothing import Smoothing, smoothing_of
from ..user_files.directions import Direction
from ..visitors import check_key
from .answers import Answer, Column, Counts, Gaps, Logged, encode, number, numbers, of_media
from .parameters import MAX_BUCKETS, MAX_CHARACTERS, OpenRange, RunNames, SeriesNames

# Buckets of a curve as columns on its axis.


class BucketColumns(TypedDict):
    x: Column
    x_end: Column
    segment: Counts
    min: Gaps
    max: Gaps
    mean: Gaps
    count: Counts
    non_finite: Counts
    points_total: int


def bucket_columns(buckets: Buckets) -> BucketColumns:
    return {
        "x": buckets.t,
        "x_end": buckets.t_end,
        "segment": buckets.segment,
        "min": buckets.min,
        "max": buckets.max,
        "mean": buckets.mean,
        "count": buckets.count,
        "non_finite": buckets.non_finite,
        "points_total": buckets.points_total,
    }


# Several series of several runs on one axis.


class CurveAxisRow(TypedDict):
    name: str
    unit: str
    lo: float | None
    hi: float | None


class OverlaidRow(BucketColumns):
    """Columns of buckets (docs/http-api.md, Curves)."""

    run: str
    group: str
    runs: list[str]
    series: str
    labels: dict[str, str]
    unit: str
    step: Gaps
    last: Logged
    smooth: Gaps | None
    superseded: list[bool]
    points_read: int


class NoCurveRow(TypedDict):
    run: str
    series: str
    reason: str
    absent: bool


class OverlayAnswer(TypedDict):
    cursor: int
    x: CurveAxisRow
    curves: list[OverlaidRow]
    left_out: list[NoCurveRow]


def _add_curves(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/curves", response_model=None, summary="Series of several runs on one axis, in buckets that never hide a spike"
    )
    @needs(Role.VIEWER)
    def curves(
        run: RunNames,
        series: SeriesNames,
        between: OpenRange,
        x: Annotated[
            str, Query(max_length=MAX_CHARACTERS, description="step, relative, time, or the name of a series")
        ] = STEP,
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS, description="of a curve")] = 600,
        smooth: Annotated[
            str, Query(max_length=MAX_CHARACTERS, description="none, ema:<half-life> or gauss:<sigma>")
        ] = "none",
        group: Annotated[
            str | None, Query(max_length=MAX_CHARACTERS, description="a key of the runs' configuration")
        ] = None,
        spread: Spread = "minmax",
        baseline: Annotated[
            str | None, Query(max_length=MAX_CHARACTERS, description="a run: values as per cent of it")
        ] = None,
        ranks: RankChoice = "mean",
    ) -> Answer[OverlayAnswer]:
        check_key(group or "")
        asked = CurveQuery(
            run, series, x, *between, buckets, _smoothing(smooth), group or None, spread, baseline or None, ranks
        )
        return _answer(queries.overlays.overlay(asked))


def _smoothing(text: str) -> Smoothing | None:
    """Raises BadRequest."""
    try:
        return smoothing_of(text)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _answer(overlay: Overlay) -> Answer[OverlayAnswer]:
    """Written curve by curve: no other thread runs while a part is encoded, so parts are short."""
    curves = b",".join(encode(overlaid_row(curve)) for curve in overlay.curves)
    x, left_out = encode(overlay.x._asdict()), encode([missing._asdict() for missing in overlay.left_out])
    answer = b'{"cursor":%d,"x":%b,"curves":[%b],"left_out":%b}' % (overlay.cursor, x, curves, left_out)
    return Answer(answer)  # type: ignore[arg-type]


def overlaid_row(curve: Curve) -> OverlaidRow:
    buckets = curve.buckets
    return {
        "run": curve.run,
        "group": curve.group,
        "runs": curve.runs,
        "series": curve.series,
        "labels": dict(curve.labels),
        "unit": catalog.unit_of(curve.series),
        **bucket_columns(buckets),
        "step": buckets.step,
        "last": numbers(buckets.last),
        "smooth": curve.smooth,
        "superseded": curve.superseded,  # type: ignore[typeddict-item]  # numpy writes itself
        "points_total": curve.points_total,
        "points_read": curve.points_read,
    }


# Raw points of several runs as a file.

PLACES = {STEP: None, TIME: "time_s", RELATIVE: "relative_s"}  # the name of the column of places; of a series it is "x"
ExportAxis = Annotated[
    str, Query(max_length=MAX_CHARACTERS, description="time, step, relative, or the name of a series")
]


def _add_export(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/export",
        response_model=None,
        response_class=Response,
        responses=of_media(*MEDIA_TYPES.values()),
        summary="Raw points of series of several runs, as CSV, JSON lines or Parquet",
    )
    @needs(Role.VIEWER, EXPORTS)
    def export(
        run: RunNames,
        series: SeriesNames,
        between: OpenRange,
        format: RowFormat = "csv",
        x: ExportAxis = TIME,
    ) -> StreamingResponse:
        if not can_write(format):
            raise BadRequest(NO_PYARROW)
        try:
            rows = queries.overlays.rows(CurveQuery(run, series, x, *between))
        except UnknownSeries as error:
            raise NotFound(str(error)) from None
        except NoPlace as error:
            raise BadRequest(str(error)) from None
        headers = {"Content-Disposition": f'attachment; filename="points.{format}"', "Cache-Control": "no-store"}
        pieces = _until_gone(written(format, PLACES.get(x, "x"), rows))
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[format], headers=headers)


def _until_gone(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Any other end leaves the file unfinished, which the client notices."""
    try:
        yield from pieces
    except QueryAborted as error:
        if str(error) != GONE:
            raise


# The values of an expression over series.

ExpressionText = Annotated[
    str,
    Query(
        max_length=MAX_CHARACTERS, description="such as rate(gpu/energy_j) / train/tokens_per_s (docs/expressions.md)"
    ),
]


class ExpressionRow(BucketColumns):
    """Columns of buckets (docs/http-api.md, Expressions). `last` is null where there is nothing, and a word where it is infinite."""

    run: str
    labels: dict[str, str]
    unit: str
    step: Gaps
    last: Gaps | list[float | str | None]


class ExpressionAnswer(TypedDict):
    cursor: int
    x: CurveAxisRow
    unit: str
    curves: list[ExpressionRow]


def _add_expression(router: APIRouter, queries: Queries) -> None:
    @router.get("/expression", response_model=None, summary="Arithmetic over series, in buckets with a unit")
    @needs(Role.VIEWER)
    def expression(
        expr: ExpressionText,
        between: OpenRange,
        run: RunNames = [],  # noqa: B006  # the framework copies it
        x: Axis = "time",
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS, description="of each series of the result")] = 600,
    ) -> Answer[ExpressionAnswer]:
        try:
            return _answer_of_expression(
                queries.expressions.evaluate(ExpressionQuery(expr, run, x, *between, buckets)), x
            )
        except (NoSeries, NoSuchRun) as error:
            raise NotFound(str(error)) from None
        except ExpressionError as error:
            raise BadRequest(str(error)) from None


def _answer_of_expression(found: ExpressionResult, axis: Axis) -> Answer[ExpressionAnswer]:
    """Written series by series: no other thread runs while a part is encoded, so parts are short."""
    curves = b",".join(encode(expression_row(series, found.unit)) for series in found.series)
    x = encode(CurveAxisRow(name=axis, unit="s" if axis == "time" else "", lo=found.lo, hi=found.hi))
    answer = b'{"cursor":%d,"x":%b,"unit":%b,"curves":[%b]}' % (found.cursor, x, encode(found.unit), curves)
    return Answer(answer)  # type: ignore[arg-type]


def expression_row(series: ExpressionSeries, unit: str) -> ExpressionRow:
    buckets = series.buckets
    return {
        "run": series.run,
        "labels": dict(series.labels),
        "unit": unit,
        **bucket_columns(buckets),
        "step": buckets.step,
        "last": _last(buckets.last),
    }


def _last(values: Floats) -> Floats | list[float | str | None]:
    if not np.isinf(values).any():
        return values
    return [None if value != value else number(value) for value in values.tolist()]


# The names of the series of several runs.


class TagRow(TypedDict):
    """`points` of all runs together, `runs` that have it, `ranks` of the run that has the most, `direction`: which values are better.

    `progress`: it only counts how far a run is whose text was read, which the axis shows.
    """

    name: str
    unit: str
    label: str
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
        return Answer({"tags": [tag_row(tag, direction_of(tag.name, chosen)) for tag in queries.overlays.tags(run)]})


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


def add_routes(router: APIRouter, queries: Queries) -> None:
    for add in (_add_curves, _add_tags, _add_export, _add_expression):
        add(router, queries)
