"""Smoothing is what pandas and plain sums make of the raw points, however they come and wherever they are drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.arrays import Floats
from dashboard.series import smoothing
from dashboard.series.smoothing import REACH_GAUSS, Smoothing, smoother_of, smoothing_of

SEEDS = st.integers(0, 10_000)
WIDTHS = st.sampled_from([0.01, 0.5, 1.0, 7.3, 50.0, 1e4])
METHODS = ("ema", "gauss")


def curve(seed: int, count: int = 300) -> tuple[Floats, Floats]:
    """Irregular places, some of them repeated, with a tenth of the values NaN or infinite."""
    rng = np.random.default_rng(seed)
    gaps = rng.choice([0.0, 1.0, 1.0, 2.0, 0.25, 40.0], count) * rng.choice([1.0, rng.random()], count)
    value = rng.normal(rng.choice([0.0, 100.0, -1e6]), rng.choice([1.0, 1e-3]), count)
    value[rng.random(count) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    return np.cumsum(np.round(gaps * 2**20) / 2**20), value


def in_parts(method: Smoothing, x: Floats, value: Floats, at: Floats, cuts: list[int]) -> Floats:
    """Added part by part; what shares its place stays together."""
    smoother = smoother_of(method, at)
    starts = sorted({int(np.searchsorted(x, x[cut])) for cut in cuts if cut < len(x)} - {0})
    for part in np.split(np.arange(len(x)), starts):
        smoother.add(x[part], value[part])
    return smoother.values()


def by_pandas(x: Floats, value: Floats, half_life: float) -> Floats:
    """At each point; of those that share their place the last one stands for it."""
    nanoseconds = np.round(x * 2**20).astype(np.int64)  # the places of `curve` exactly
    finite = pd.Series(np.where(np.isfinite(value), value, np.nan))
    half = pd.Timedelta(round(half_life * 2**20), "ns")
    means = finite.ewm(halflife=half, times=pd.Series(pd.to_datetime(nanoseconds))).mean()
    return means.groupby(x).last().reindex(x).to_numpy()


def by_sums(x: Floats, value: Floats, at: Floats, sigma: float) -> Floats:
    found = []
    for place in at:
        near = (x >= place - REACH_GAUSS * sigma) & (x <= place + REACH_GAUSS * sigma) & np.isfinite(value)
        weight = np.exp(-((place - x[near]) ** 2) / (2 * sigma**2))
        found.append(np.dot(weight, value[near]) / weight.sum() if near.any() else np.nan)
    return np.array(found)


def places(x: Floats, seed: int) -> Floats:
    """Some of the points' own, as buckets end at points."""
    rng = np.random.default_rng(seed)
    return np.unique(rng.choice(x, min(len(x), int(rng.integers(1, 60)))))


@given(SEEDS, st.sampled_from([0.5, 1.0, 7.25, 50.0]), st.lists(st.integers(0, 299), max_size=4))
def test_an_ema_is_that_of_pandas_on_the_raw_points(seed: int, half_life: float, cuts: list[int]) -> None:
    x, value = curve(seed)
    at = places(x, seed)
    expected = by_pandas(x, value, half_life)[np.searchsorted(x, at)]
    found = in_parts(Smoothing("ema", half_life), x, value, at, cuts)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(SEEDS, WIDTHS, st.lists(st.integers(0, 299), max_size=4), st.booleans())
def test_a_gaussian_is_the_plain_weighted_mean(seed: int, sigma: float, cuts: list[int], cells: bool) -> None:
    x, value = curve(seed)
    at = places(x, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smoothing, "DEAR", -1 if cells else 10**9)
        found = in_parts(Smoothing("gauss", sigma), x, value, at, cuts)
    np.testing.assert_allclose(found, by_sums(x, value, at, sigma), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sigma", [3.0, 500.0, 20_000.0])
def test_a_gaussian_over_many_points_is_that_of_all_of_them(sigma: float) -> None:
    rng = np.random.default_rng(1)
    x = np.cumsum(rng.random(60_000))
    value = 2 + np.cumsum(rng.normal(0, 0.01, len(x)))
    at = x[::997]
    found = in_parts(Smoothing("gauss", sigma), x, value, at, [20_000, 40_000])
    np.testing.assert_allclose(found, by_sums(x, value, at, sigma), rtol=1e-12)


@given(SEEDS, st.sampled_from(METHODS), WIDTHS, st.sampled_from([0.1, 1 / 3, -1e300, 5e-324, 0.0]), st.booleans())
def test_a_constant_stays_exactly_that_constant(
    seed: int, method: str, width: float, constant: float, cells: bool
) -> None:
    x, value = curve(seed)
    value[np.isfinite(value)] = constant
    at = np.unique(x[np.isfinite(value)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smoothing, "DEAR", -1 if cells else 10**9)
        found = in_parts(Smoothing("ema" if method == "ema" else "gauss", width), x, value, at, [100])
    assert (found == constant).all()


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_is_finite_there_is_nothing_to_smooth(method: str) -> None:
    chosen = smoothing_of(f"{method}:3")
    assert chosen is not None
    x, none = np.arange(5.0), np.full(5, np.nan)
    assert np.isnan(in_parts(chosen, x, none, x, [2])).all()
    assert len(in_parts(chosen, x, none, np.empty(0), [])) == 0


@pytest.mark.parametrize(
    "text", ["", "ema", "ema:", "ema:0", "ema:-1", "gauss:nan", "gauss:inf", "mean:3", "ema:1e400", "none:1"]
)
def test_another_smoothing_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="smooth is none, ema:<half-life> or gauss:<sigma>"):
        smoothing_of(text)
