"""The values of an expression over series."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from collectors.analysis.expressions.errors import ExpressionError, NoSeries
from collectors.analysis.stacks.traces import Floats
from collectors.store.protocol import Axis

from ...auth.roles import Role, needs
from ...expressions.asked import ExpressionQuery, ExpressionResult, ExpressionSeries, NoSuchRun
from ...queries import BadRequest, NotFound, Queries
from ..answer import Answer, Gaps, number
from ..encoding import encode
from ..parameters import MAX_BUCKETS, MOST_CHARACTERS, OpenRange, RunNames
from .buckets import BucketColumns, bucket_columns
from .curves import CurveAxisRow

ExpressionText = Annotated[
    str,
    Query(
        max_length=MOST_CHARACTERS, description="such as rate(gpu/energy_j) / train/tokens_per_s (docs/expressions.md)"
    ),
]


class ExpressionRow(BucketColumns):
    """Columns of buckets (docs/http-api.md, Expressions). `last` is null where there is nothing, and a word where it is infinite."""

    run: str
    labels: dict[str, str]
    unit: str
    exact: bool
    reason: str
    step: Gaps
    last: Gaps | list[float | str | None]


class ExpressionAnswer(TypedDict):
    cursor: int
    x: CurveAxisRow
    unit: str
    curves: list[ExpressionRow]


def add_routes(router: APIRouter, queries: Queries) -> None:
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
            return _answer(queries.expressions.evaluate(ExpressionQuery(expr, run, x, *between, buckets)), x)
        except (NoSeries, NoSuchRun) as error:
            raise NotFound(str(error)) from None
        except ExpressionError as error:
            raise BadRequest(str(error)) from None


def _answer(found: ExpressionResult, axis: Axis) -> Answer[ExpressionAnswer]:
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
        "exact": series.exact,
        "reason": series.reason,
        **bucket_columns(buckets),
        "step": buckets.step,
        "last": _last(buckets.last),
    }


def _last(values: Floats) -> Floats | list[float | str | None]:
    if not np.isinf(values).any():
        return values
    return [None if value != value else number(value) for value in values.tolist()]
