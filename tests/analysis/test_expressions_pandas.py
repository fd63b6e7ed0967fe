"""On raw points, expressions are what pandas computes, to 1e-9."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collectors.store.store import RawPoints
from tests.support.expressions import aligned, close, counted, evaluated, pandas_of, points, raw, series

FEW = settings(deadline=None, max_examples=12)
Made = pd.Series

EACH: dict[str, Callable[[Made], Made]] = {
    "x": lambda x: x,
    "-x": lambda x: -x,
    "x + 3": lambda x: x + 3,
    "7k - x": lambda x: 7000 - x,
    "x * -2.5": lambda x: x * -2.5,
    "x / 3": lambda x: x / 3,
    "1 / x": lambda x: 1 / x,
    "x / 0": lambda x: x / 0,
    "x ^ 2": lambda x: x**2,
    "x ^ 0.5": lambda x: x**0.5,
    "x ^ -1": lambda x: x**-1.0,
    "2 ^ (x / 1M)": lambda x: 2.0 ** (x / 1e6),
    "x > 0": lambda x: (x > 0).astype(float).where(x.notna()),
    "x <= 10": lambda x: (x <= 10).astype(float).where(x.notna()),
    "x == 0": lambda x: (x == 0).astype(float).where(x.notna()),
    "x != 0": lambda x: (x != 0).astype(float).where(x.notna()),
    "abs(x)": lambda x: x.abs(),
    "sqrt(x)": lambda x: x.map(np.sqrt),
    "exp(x)": lambda x: x.map(np.exp),
    "log(x)": lambda x: x.map(np.log),
    "log2(x)": lambda x: x.map(np.log2),
    "log10(x)": lambda x: x.map(np.log10),
    "clamp(x, -5, 100)": lambda x: x.clip(-5, 100),
    "if(x > 0, x, -1)": lambda x: x.where(x > 0, -1.0).where(x.notna()),
    "delta(x)": lambda x: x.diff(),
    "slope(x)": lambda x: x.diff() / x.index.to_series().diff(),
    "shift(x, 60 s)": lambda x: x.set_axis(x.index + 60),
    "shift(x, -2.5 s)": lambda x: x.set_axis(x.index - 2.5),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("text", EACH)
@settings(FEW, max_examples=12)
@given(points())
@example(raw([], []))
@example(raw([5.0], [np.nan]))
@example(raw([3.0, 1.0, 3.0, 1.0], [1.0, 2.0, np.inf, -1.0]))
def test_functions_of_each_value_and_of_neighbours(text: str, x: RawPoints) -> None:
    close(evaluated(text, series("x", x)), EACH[text](pandas_of(x)))


@FEW
@given(counted())
def test_counters_rise_by_their_new_value_after_a_reset(x: RawPoints) -> None:
    made = pandas_of(x)
    increase = made.diff().where(~(made.diff() < 0), made)
    close(evaluated("increase(x)", series("x", x)), increase)
    close(evaluated("rate(x)", series("x", x)), increase / made.index.to_series().diff())


BOTH: dict[str, Callable[[Made, Made], Made]] = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a / b": lambda a, b: a / b,
    "a ^ b": lambda a, b: a**b,
    "a >= b": lambda a, b: (a >= b).astype(float).where(a.notna() & b.notna()),
    "if(a > 0, a, b)": lambda a, b: a.where(a > 0, b).where(a.notna()),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("text", BOTH)
@settings(FEW, max_examples=8)
@given(points(), points())
@example(raw([1.0, 2.0], [1.0, 2.0]), raw([1.0, 2.0], [np.inf, 0.0]))
@example(raw([1.0], [1.0]), raw([], []))
def test_two_series_meet_at_all_places_and_hold_as_long_as_their_cadence(text: str, a: RawPoints, b: RawPoints) -> None:
    close(evaluated(text, series("a", a), series("b", b)), BOTH[text](*aligned(pandas_of(a), pandas_of(b))))


ACROSS = {
    "sum(x)": lambda frame: frame.sum(axis=1, min_count=1),
    "mean(x)": lambda frame: frame.mean(axis=1),
    "min(x)": lambda frame: frame.min(axis=1),
    "max(x)": lambda frame: frame.max(axis=1),
    "count(x)": lambda frame: frame.count(axis=1).astype(float),
    "stddev(x)": lambda frame: frame.std(axis=1),
    "quantile(0.3, x)": lambda frame: frame.quantile(0.3, axis=1),
    "quantile(1, x)": lambda frame: frame.quantile(1, axis=1),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("text", ACROSS)
@settings(FEW, max_examples=12)
@given(st.lists(points(st.floats(-1e6, 1e6) | st.just(np.nan)), min_size=1, max_size=4))
def test_functions_across_series(text: str, some: list[RawPoints]) -> None:
    found = evaluated(text, *(series("x", x, labels=(("gpu", str(i)),)) for i, x in enumerate(some)))
    frame = pd.DataFrame(dict(enumerate(aligned(*map(pandas_of, some)))))
    close(found, ACROSS[text](frame), scale=frame.abs().max(axis=1).fillna(0).to_numpy())


@FEW
@given(st.lists(points(), min_size=1, max_size=5), st.lists(st.sampled_from("ab"), min_size=5, max_size=5))
def test_by_makes_a_series_of_each_value_of_a_label(some: list[RawPoints], hosts: list[str]) -> None:
    from analysis.expressions.evaluation import compile
    from tests.support.expressions import WIDE

    labelled = [series("x", x, labels=(("gpu", str(i)), ("host", hosts[i]))) for i, x in enumerate(some)]
    found = {dict(row.labels)["host"]: row for row in compile("max(x) by host").over(labelled, WIDE)}
    assert found.keys() == {*hosts[: len(some)]}
    for host, row in found.items():
        members = [pandas_of(x) for x, other in zip(some, hosts, strict=False) if other == host]
        close(row, pd.DataFrame(dict(enumerate(aligned(*members)))).max(axis=1))


OVER: dict[str, Callable[[Made], float]] = {
    "mean(x)": lambda window: window.mean(),
    "sum(x)": lambda window: window.sum(min_count=1),
    "min(x)": lambda window: window.min(),
    "max(x)": lambda window: window.max(),
    "count(x)": lambda window: float(window.count()),
    "stddev(x)": lambda window: window.std(),
    "quantile(0.9, x)": lambda window: window.quantile(0.9),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("text", OVER)
@pytest.mark.parametrize("width", [0.125, 10.0, 1000.0])
@settings(FEW, max_examples=8)
@given(points())
@example(raw([0.0, 1.0, 2.0, 30.0, 31.0], [1.0, 1e150, 3.0, 4.0, 5.0]))
def test_functions_over_a_stretch_are_those_of_each_window(text: str, width: float, x: RawPoints) -> None:
    made = pandas_of(x).replace([np.inf, -np.inf], np.nan)
    windows = [made[(made.index > place - width) & (made.index <= place)] for place in made.index]
    scale = np.array([window.abs().max() for window in windows])
    expected = pd.Series([OVER[text](window) for window in windows], index=made.index, dtype=float)
    close(evaluated(f"{text} over {width} s", series("x", x)), expected, scale=np.nan_to_num(scale))


ROLLING = {
    "mean(x)": lambda windows: windows.mean(),
    "sum(x)": lambda windows: windows.sum(),
    "min(x)": lambda windows: windows.min(),
    "max(x)": lambda windows: windows.max(),
    "stddev(x)": lambda windows: windows.std(),
    "quantile(0.25, x)": lambda windows: windows.quantile(0.25),
}


@pytest.mark.parametrize("text", ROLLING)
@settings(FEW, max_examples=12)
@given(points(st.integers(-1000, 1000).map(float) | st.just(np.nan)))
def test_functions_over_a_stretch_are_those_of_rolling(text: str, x: RawPoints) -> None:
    made = pandas_of(x)
    timed = made.set_axis(pd.to_datetime(made.index, unit="s"))
    expected = ROLLING[text](timed.rolling("10s")).set_axis(made.index)
    # pandas takes away what leaves a window: a deviation of equal values is 0 to about 1e-6 of them only
    close(evaluated(f"{text} over 10 s", series("x", x)), expected, scale=1e3 * (1e3 if text == "stddev(x)" else 1))


@settings(FEW, max_examples=40)
@given(points(st.floats(-1e6, 1e6) | st.just(np.nan)), st.sampled_from([0.25, 3.0, 40.0]))
def test_an_exponential_average_is_that_of_pandas(x: RawPoints, half_life: float) -> None:
    made = pandas_of(x)
    times = pd.to_datetime(made.index.to_numpy(), unit="s")
    expected = made.ewm(halflife=pd.Timedelta(half_life, unit="s"), times=times).mean() if len(made) else made
    close(
        evaluated(f"ema(x, {half_life})", series("x", x)),
        expected,
        scale=float(made.abs().max()) if made.notna().any() else 0.0,
    )


def test_long_columns_equal_pandas_as_well() -> None:
    numbers = np.random.default_rng(1)
    place = np.cumsum(numbers.integers(1, 9, 20_000)) * 0.125
    x = raw(place, np.cumsum(numbers.normal(size=20_000)))
    made = pandas_of(x)
    timed = made.set_axis(pd.to_datetime(made.index, unit="s"))
    close(evaluated("mean(x) over 1 min", series("x", x)), timed.rolling("60s").mean().set_axis(made.index), scale=1.0)
    ema = made.ewm(halflife=pd.Timedelta(20, unit="s"), times=timed.index).mean()
    close(evaluated("ema(x, 20 s)", series("x", x)), ema, scale=1.0)
