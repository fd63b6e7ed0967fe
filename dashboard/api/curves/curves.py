"""Several series of several runs on one axis."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from collectors import catalog

from ...auth.roles import Role, needs
from ...auth.viewing import check_key
from ...curves.asked import STEP, Curve, CurveQuery, Overlay, Spread
from ...curves.ranks import RankChoice
from ...curves.smoothing import Smoothing, smoothing_of
from ...queries import BadRequest, Queries
from ..answer import Answer, Gaps, Logged, numbers
from ..encoding import encode
from ..parameters import MAX_BUCKETS, MOST_CHARACTERS, OpenRange, RunNames, SeriesNames
from .buckets import BucketColumns, bucket_columns


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


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/curves", response_model=None, summary="Series of several runs on one axis, in buckets that never hide a spike"
    )
    @needs(Role.VIEWER)
    def curves(
        run: RunNames,
        series: SeriesNames,
        between: OpenRange,
        x: Annotated[
            str, Query(max_length=MOST_CHARACTERS, description="step, relative, time, or the name of a series")
        ] = STEP,
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS, description="of a curve")] = 600,
        smooth: Annotated[
            str, Query(max_length=MOST_CHARACTERS, description="none, ema:<half-life> or gauss:<sigma>")
        ] = "none",
        group: Annotated[
            str | None, Query(max_length=MOST_CHARACTERS, description="a key of the runs' configuration")
        ] = None,
        spread: Spread = "minmax",
        baseline: Annotated[
            str | None, Query(max_length=MOST_CHARACTERS, description="a run: values as per cent of it")
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
