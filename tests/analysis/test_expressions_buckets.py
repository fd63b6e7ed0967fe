"""In buckets: what an expression of one series gives of its ends, and what is an estimate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from analysis.expressions.evaluation import ExpressionColumns
from analysis.expressions.values import Raster
from collectors.store.store import RawPoints
from tests.support.expressions import bucketed, counted, evaluated, pandas_of, raw, series

FEW = settings(deadline=None, max_examples=30, phases=[Phase.explicit, Phase.generate])
values = st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1.0, -1.0, float("nan")])
RISING = (
    "x", "-x", "x + 3", "2 - x", "x * -2", "x / -4", "x ^ 3", "2 ^ (x / 100)", "x > 5", "x <= 5", "5 < x", "exp(x / 100)",
    "clamp(x, -5, 100)", "if(x > 0, 1, -1)", "shift(x, 3 s)",
)  # fmt: skip
OVER = ("min(x)", "max(x)", "mean(x)", "sum(x)", "count(x)", "stddev(x)", "quantile(0.3, x)")
ANY = (
    "1 / x",
    "x ^ 2",
    "abs(x)",
    "sqrt(x)",
    "log(x)",
    "x * x",
    "x / x",
    "if(x > 0, x, -x)",
    "delta(x)",
    "rate(x)",
    "ema(x, 5 s)",
)


@st.composite
def columns(draw: st.DrawFn, count: int = 1) -> list[RawPoints]:
    """Of series that share their places."""
    place = [tick / 8 for tick in draw(st.lists(st.integers(0, 400), min_size=1, max_size=60, unique=True).map(sorted))]
    return [raw(place, draw(st.lists(values, min_size=len(place), max_size=len(place)))) for _ in range(count)]


def same_ends(found: ExpressionColumns, points: ExpressionColumns) -> None:
    """The least and the greatest of the points of each bucket are its min and max."""
    buckets, value = found.buckets, points.buckets.last
    for row, (start, end) in enumerate(zip(buckets.t, buckets.t_end, strict=True)):
        inside = (points.buckets.t >= start) & (points.buckets.t <= end) & np.isfinite(value)
        if not inside.any():
            continue
        least, most = value[inside].min(), value[inside].max()
        slack = 1e-9 * max(abs(least), abs(most), 1.0)
        assert abs(buckets.min[row] - least) <= slack and abs(buckets.max[row] - most) <= slack


@pytest.mark.parametrize("text", RISING)
@settings(FEW, max_examples=12)
@given(columns(), st.integers(1, 9))
def test_one_series_under_what_only_rises_or_falls_keeps_its_ends(
    text: str, some: list[RawPoints], buckets: int
) -> None:
    (x,) = some
    same_ends(evaluated(text, series("x", bucketed(x, buckets))), evaluated(text, series("x", x)))


@pytest.mark.parametrize("text", [*ANY, *(f"{text} over {width}" for text in OVER for width in ("0.125 s", "100 s"))])
@settings(FEW, max_examples=8)
@given(columns(), st.integers(1, 9))
def test_an_estimate_has_its_mean_between_its_ends(text: str, some: list[RawPoints], buckets: int) -> None:
    (x,) = some
    found = evaluated(text, series("x", bucketed(x, buckets))).buckets
    finite = np.isfinite(found.mean)
    assert (found.min[finite] <= found.mean[finite]).all() and (found.mean[finite] <= found.max[finite]).all()
    assert not np.isinf(found.min).any() and not np.isinf(found.max).any()


@pytest.mark.parametrize("function", ["max", "min", "sum", "count"])
@settings(FEW, max_examples=12)
@given(columns(), st.integers(1, 9))
def test_a_stretch_over_everything_has_all_buckets_in_it(function: str, some: list[RawPoints], buckets: int) -> None:
    (x,) = some
    found = evaluated(f"{function}(x) over 1e6 s", series("x", bucketed(x, buckets))).buckets.last[-1]
    wanted = evaluated(f"{function}(x) over 1e6 s", series("x", x)).buckets.last[-1]
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True)


@settings(FEW, max_examples=12)
@given(columns(3), st.integers(1, 9))
def test_the_sum_of_series_is_that_of_their_means(some: list[RawPoints], buckets: int) -> None:
    known = [x._replace(value=np.nan_to_num(x.value)) for x in some]
    read = [bucketed(x, buckets) for x in known]
    if any(not np.array_equal(other.t, read[0].t) for other in read):
        return
    found = evaluated("sum(x)", *(series("x", data, labels=(("gpu", str(i)),)) for i, data in enumerate(read))).buckets
    np.testing.assert_allclose(found.mean, np.sum([data.mean for data in read], axis=0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("text", ["a + b", "a / b", "if(a > 0, b, a)"])
@settings(FEW, max_examples=12)
@given(columns(2), st.integers(1, 6), st.integers(1, 20))
def test_buckets_at_different_places_meet_in_as_many_cells_as_were_asked_for(
    text: str, some: list[RawPoints], buckets: int, cells: int
) -> None:
    a, b = some
    found = evaluated(
        text, series("a", bucketed(a, buckets)), series("b", bucketed(b, buckets)), raster=Raster(buckets=cells)
    )
    assert len(found.buckets.t) <= max(cells, len({*a.place.tolist(), *b.place.tolist()}))


@FEW
@given(counted(), st.integers(1, 9))
def test_the_increase_of_a_counter_without_resets_is_the_same_in_buckets(x: RawPoints, buckets: int) -> None:
    rising = x._replace(value=np.maximum.accumulate(x.value) if len(x.value) else x.value)
    found = evaluated("sum(increase(x)) over 1e9 s", series("x", bucketed(rising, buckets)))
    made = pandas_of(rising)
    first = bucketed(rising, buckets).last[:1]
    if len(found.buckets.last) > 1:
        assert found.buckets.last[-1] == pytest.approx(made.iloc[-1] - first[0], rel=1e-9, abs=1e-6)


def test_a_result_is_drawn_in_no_more_buckets_than_asked_for_and_keeps_its_spike() -> None:
    place = np.arange(100_000) / 8
    value = np.where(place == 5000.0, 234.5, 1.0)
    found = evaluated("x * 2", series("x", raw(place, value)), raster=Raster(buckets=300))
    assert len(found.buckets.t) <= 300 and found.buckets.max.max() == 469.0 and found.buckets.count.sum() == 100_000


def test_a_gap_is_longer_than_twice_the_cadence_and_nothing_is_invented_in_it() -> None:
    a = raw(np.arange(0, 100.0), np.ones(100))
    b = raw([*range(0, 30, 3), *range(60, 100, 3)], np.ones(24))
    found = evaluated("a + b", series("a", a), series("b", b))
    assert [place for place, value in zip(found.buckets.t, found.buckets.last, strict=True) if np.isnan(value)] == list(
        range(34, 60)
    )
    cells = evaluated("a + b", series("a", bucketed(a, 50)), series("b", bucketed(b, 12)), raster=Raster(buckets=100))
    gap = cells.buckets.mean[(cells.buckets.t > 38) & (cells.buckets.t_end < 59)]
    assert len(gap) > 10 and np.isnan(gap).all()
