"""In buckets: what an expression gives of the points lies between min and max, and is them where the result says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from analysis.expressions.evaluation import ExpressionColumns
from analysis.expressions.values import Raster
from collectors.store.store import RawPoints
from tests.expressions import bucketed, counted, evaluated, pandas_of, raw, series

FEW = settings(deadline=None, max_examples=30, phases=[Phase.explicit, Phase.generate])
values = st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1.0, -1.0, float("nan")])
ALONE = (
    "x", "-x", "x + 3", "2 - x", "x * -2", "x / -4", "1 / x", "x ^ 2", "x ^ 3", "x ^ -1", "x ^ -2", "x ^ 0.5", "2 ^ (x / 100)", "x > 5",
    "x <= 5", "5 < x", "x == 1", "x != 1", "abs(x)", "sqrt(x)", "exp(x / 100)", "log(x)", "log2(x)", "log10(x)", "clamp(x, -5, 100)",
    "if(x > 0, 1, -1)", "shift(x, 3 s)", "x * x", "x / x", "if(x > 0, x, -x)", "abs(x) ^ (x / 100)",
)  # fmt: skip
OVER = ("mean(x)", "min(x)", "max(x)", "sum(x)", "count(x)", "stddev(x)", "quantile(0.3, x)")
BOTH = ("a + b", "a - b", "a * b", "a / b", "a > b", "a == b", "a ^ 2 + b ^ 2", "if(a > 0, b, a)")
ACROSS = ("sum(x)", "mean(x)", "min(x)", "max(x)", "stddev(x)", "quantile(0.7, x)", "count(x)")
MEANS = ("delta(x)", "rate(x)", "increase(x)", "slope(x)", "ema(x, 5 s)", "x * 0 + rate(x)")


@st.composite
def columns(draw: st.DrawFn, count: int = 1) -> list[RawPoints]:
    """Of series that share their places."""
    place = [tick / 8 for tick in draw(st.lists(st.integers(0, 400), min_size=1, max_size=60, unique=True).map(sorted))]
    return [raw(place, draw(st.lists(values, min_size=len(place), max_size=len(place)))) for _ in range(count)]


def holds(found: ExpressionColumns, points: ExpressionColumns) -> None:
    """Each point between min and max of the bucket that it lies in; one of them is min and one max, where the result is exact."""
    buckets, tolerance = found.buckets, 1e-9
    value = points.buckets.last
    for row, (start, end) in enumerate(zip(buckets.t, buckets.t_end, strict=True)):
        inside = (points.buckets.t >= start) & (points.buckets.t <= end) & np.isfinite(value)
        if not inside.any():
            continue
        least, most = value[inside].min(), value[inside].max()
        low, high = buckets.min[row], buckets.max[row]
        slack = tolerance * max(abs(least), abs(most), 1.0)
        assert not low > least + slack and not high < most - slack, (row, low, least, most, high)  # NaN: open
        if found.exact:
            assert abs(low - least) <= slack and abs(high - most) <= slack


@pytest.mark.parametrize("text", ALONE)
@settings(FEW, max_examples=12)
@given(columns(), st.integers(1, 9))
def test_one_series(text: str, some: list[RawPoints], buckets: int) -> None:
    (x,) = some
    found = evaluated(text, series("x", bucketed(x, buckets)))
    holds(found, evaluated(text, series("x", x)))
    assert found.exact == (found.reason == "")


@pytest.mark.parametrize("text", OVER)
@pytest.mark.parametrize("width", ["0.125 s", "4 s", "100 s"])
@settings(FEW, max_examples=12)
@given(columns(), st.integers(1, 9))
def test_stretches_of_time(text: str, width: str, some: list[RawPoints], buckets: int) -> None:
    (x,) = some
    holds(
        evaluated(f"{text} over {width}", series("x", bucketed(x, buckets))),
        evaluated(f"{text} over {width}", series("x", x)),
    )


@pytest.mark.parametrize("text", BOTH)
@settings(FEW, max_examples=12)
@given(columns(2), st.integers(1, 9))
def test_two_series_at_the_same_places(text: str, some: list[RawPoints], buckets: int) -> None:
    a, b = some
    found = evaluated(text, series("a", bucketed(a, buckets)), series("b", bucketed(b, buckets)))
    holds(found, evaluated(text, series("a", a), series("b", b)))


@st.composite
def steady(draw: st.DrawFn) -> RawPoints:
    """At one distance, which buckets then know as well as points."""
    value = draw(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40))
    place = draw(st.integers(0, 80)) / 8 + np.arange(len(value)) * draw(st.sampled_from([0.125, 0.5, 1.0, 7.0]))
    return raw(place, value)


@pytest.mark.parametrize("text", BOTH)
@settings(FEW, max_examples=12)
@given(steady(), steady(), st.integers(1, 6), st.integers(1, 20))
def test_two_series_at_different_places(text: str, a: RawPoints, b: RawPoints, buckets: int, cells: int) -> None:
    found = evaluated(
        text, series("a", bucketed(a, buckets)), series("b", bucketed(b, buckets)), raster=Raster(buckets=cells)
    )
    holds(found, evaluated(text, series("a", a), series("b", b)))
    assert len(found.buckets.t) <= max(cells, len({*a.place.tolist(), *b.place.tolist()}))


@pytest.mark.parametrize("text", ACROSS)
@settings(FEW, max_examples=12)
@given(columns(3), st.integers(1, 9))
def test_several_series(text: str, some: list[RawPoints], buckets: int) -> None:
    known = [
        x._replace(value=np.nan_to_num(x.value)) for x in some
    ]  # which series have a value may differ within a bucket
    labelled = [series("x", bucketed(x, buckets), labels=(("gpu", str(i)),)) for i, x in enumerate(known)]
    holds(
        evaluated(text, *labelled),
        evaluated(text, *(series("x", x, labels=(("gpu", str(i)),)) for i, x in enumerate(known))),
    )


@pytest.mark.parametrize("text", MEANS)
@settings(FEW, max_examples=12)
@given(columns(), st.integers(1, 9))
def test_differences_of_buckets_are_said_to_be_means(text: str, some: list[RawPoints], buckets: int) -> None:
    (x,) = some
    found = evaluated(text, series("x", bucketed(x, buckets)))
    assert found.exact == (len(x.place) <= buckets) or (bucketed(x, buckets).count == 1).all()


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
    assert (
        len(found.buckets.t) <= 300
        and found.buckets.max.max() == 469.0
        and found.exact
        and found.buckets.count.sum() == 100_000
    )


def test_a_gap_is_longer_than_twice_the_cadence_and_nothing_is_invented_in_it() -> None:
    a = raw(np.arange(0, 100.0), np.ones(100))
    b = raw([*range(0, 30, 3), *range(60, 100, 3)], np.ones(24))
    found = evaluated("a + b", series("a", a), series("b", b))
    assert [place for place, value in zip(found.buckets.t, found.buckets.last, strict=True) if np.isnan(value)] == list(
        range(34, 60)
    )
    cells = evaluated("a + b", series("a", bucketed(a, 50)), series("b", bucketed(b, 12)), raster=Raster(buckets=100))
    gap = cells.buckets.mean[(cells.buckets.t > 38) & (cells.buckets.t_end < 59)]
    assert len(gap) > 10 and np.isnan(gap).all() and "different places" in cells.reason
