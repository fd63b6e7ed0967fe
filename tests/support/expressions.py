"""Series for tests of expressions: points as they are logged, and what pandas makes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from analysis.expressions.evaluation import ExpressionColumns, compile
from analysis.expressions.language import unit_of_series
from analysis.expressions.values import HOLD, Raster, SeriesColumns
from collectors.arrays import Floats
from collectors.records import Labels
from collectors.store.buckets import bucket, join_points
from collectors.store.store import Buckets, RawPoints

WIDE = Raster(buckets=1_000_000)  # every place by itself
TICK = 0.125  # times are multiples: pandas' nanoseconds hold them exactly

usual = st.floats(-1e6, 1e6)
large = st.sampled_from([1e150, -1e150, 1e12, 1e-12, 0.0, -0.0])
odd = st.sampled_from([math.nan, math.inf, -math.inf])
values = st.one_of(usual, usual, usual, large, odd)
places = st.lists(st.integers(0, 400).map(lambda tick: tick * TICK), max_size=40)  # unsorted, some repeated
counters = st.lists(st.floats(0, 1e6) | st.just(-1.0), max_size=40)  # -1: a reset


@st.composite
def points(draw: st.DrawFn, of: st.SearchStrategy[float] = values) -> RawPoints:
    place = draw(places)
    value = draw(st.lists(of, min_size=len(place), max_size=len(place)))
    return raw(place, value)


@st.composite
def counted(draw: st.DrawFn) -> RawPoints:
    """A counter, with resets and gaps."""
    rises, total, value = draw(counters), 0.0, []
    for rise in rises:
        total = 0.0 if rise < 0 else total + rise
        value.append(total)
    place = draw(st.lists(st.integers(0, 4000), min_size=len(value), max_size=len(value), unique=True).map(sorted))
    return raw([tick * TICK for tick in place], value)


def raw(
    place: Sequence[float] | Floats, value: Sequence[float] | Floats, step: Sequence[float] | None = None
) -> RawPoints:
    steps = np.full(len(place), np.nan) if step is None else np.asarray(step, np.float64)
    return RawPoints(
        np.asarray(place, np.float64), steps, np.zeros(len(place), np.int64), np.asarray(value, np.float64)
    )


def bucketed(found: RawPoints, buckets: int) -> Buckets:
    """As the store answers."""
    return bucket(join_points([found]), [], buckets)


def series(name: str, data: RawPoints | Buckets, run: str = "", labels: Labels = ()) -> SeriesColumns:
    return SeriesColumns(run, name, labels, unit_of_series(name), data)


def pandas_of(found: RawPoints) -> pd.Series[float]:
    """The last of several points at a place, in order."""
    made = pd.Series(found.value, index=found.place)
    return made[~made.index.duplicated(keep="last")].sort_index()


def held(made: pd.Series[float], place: pd.Index[float]) -> pd.Series[float]:
    """At other places too, for twice the median distance of its own."""
    if made.empty:
        return pd.Series(np.nan, index=place)
    tolerance = HOLD * float(np.median(np.diff(made.index))) if len(made) > 1 else 0.0
    return made.reindex(place, method="ffill", tolerance=tolerance)


def aligned(*made: pd.Series[float]) -> list[pd.Series[float]]:
    """On the union of all places; series that share their places are left as they are."""
    place = made[0].index
    for other in made[1:]:
        place = place.union(other.index)
    return [other if other.index.equals(place) else held(other, place) for other in made]


def evaluated(text: str, *some: SeriesColumns, raster: Raster = WIDE) -> ExpressionColumns:
    (found,) = compile(text).over(some, raster)
    return found


def close(found: ExpressionColumns, expected: pd.Series[float], scale: Floats | float = 0.0) -> None:
    """Place by place, to 1e-9 of the expected value, or of the values that it was made of."""
    np.testing.assert_array_equal(found.buckets.t, expected.index.to_numpy())
    value, wanted = found.buckets.last, expected.to_numpy(np.float64)
    same = (value == wanted) | (np.isnan(value) & np.isnan(wanted))
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(value - wanted) <= 1e-9 * np.maximum(np.abs(wanted), scale)
    assert (same | near).all(), (value, wanted)
