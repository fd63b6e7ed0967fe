"""Groups, ranks, baselines and axes of other series are what pandas makes of the raw points."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from collectors.records import Points, Record, RunInfo, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.series.axis import finer
from dashboard.series.curves import Curve, CurveAnswer, CurveQuery, Curves, mean_of, standard_error
from dashboard.series.smoothing import Smoothing

T0 = 1_764_000_000.0
SEEDS = range(6)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def labels(rank: int, host: str = "box") -> tuple[tuple[str, str], ...]:
    return labels_of(host=host, rank=rank)


def series_of(seed: int, count: int = 200) -> pd.Series:  # type: ignore[type-arg]
    """Irregular steps, some twice, a tenth of the values NaN or infinite."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.choice([0, 1, 1, 2, 7], count)) + int(rng.integers(0, 20))
    values = rng.normal(5, 1, count)
    values[rng.random(count) < 0.1] = rng.choice([np.nan, np.inf])
    return pd.Series(values, index=steps)


def raw_records() -> Iterator[Record]:
    for seed in SEEDS:
        run = f"run {seed}"
        config = {"optimizer": {"lr": [0.1, 0.01][seed % 2]}, "seed": seed}
        yield RunInfo(run, {"config": config if seed < 5 else {}})
        for step, value in series_of(seed).items():
            yield Points(run, labels(0, f"host{seed}"), ("loss",), (value,), T0 + 2.0 * int(step) + seed, int(step))  # type: ignore[call-overload]
    for rank in range(3):
        for step, value in series_of(100 + rank).items():
            yield Points("ddp", labels(rank), ("loss",), (value,), T0 + int(step), int(step))  # type: ignore[call-overload]
    for step in range(300):
        yield Points("clocks", labels(0), ("loss", "copy"), (float(step),) * 2, T0 + step, step)
        if step % 10 == 0:
            clocks = (step * 4096.0, float(step % 100), float((step * 7919) % 1000))
            yield Points("clocks", labels(0), ("tokens", "in epoch", "noise"), clocks, T0 + step, step)
    for step in range(80):
        yield Points("resumed", labels(0), ("loss", "tokens"), (0.0, step * 10.0), T0 + step, step)
    for step in range(50, 120):
        yield Points("resumed", labels(0), ("loss", "tokens"), (1.0, step * 10.0), T0 + 200 + step, step, 1)
    for step in range(100):
        yield Points("negative", labels(0), ("loss",), (-2.0 if step else 0.0,), T0 + step, step)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(tmp_path_factory.mktemp("together"), write=True)
    store.append(raw_records())
    yield store
    store.close()


@pytest.fixture(scope="module")
def curves(store: Store) -> Curves:
    return Curves(store)


def runs(*seeds: int) -> list[str]:
    return [f"run {seed}" for seed in seeds]


def asked(runs: list[str], names: list[str], **more: Any) -> CurveQuery:
    """On the steps; the ranks of a run are one curve."""
    return CurveQuery(names, runs, **{"x": "step", "ranks": "mean", **more})


def only(found: CurveAnswer) -> Curve:
    assert len(found.curves) == 1, (found.curves, found.left_out)
    return found.curves[0]


def finite(values: pd.Series) -> pd.Series:  # type: ignore[type-arg]
    return values.where(np.isfinite(values))


def table(*series: pd.Series) -> pd.DataFrame:  # type: ignore[type-arg]
    """One column a curve on all steps: its own mean of a step, or the straight line between two of them."""
    index = np.unique(np.concatenate([part.index.to_numpy() for part in series]))
    columns = [finite(part).groupby(level=0).mean().reindex(index) for part in series]
    return pd.concat([part.interpolate(method="index", limit_area="inside") for part in columns], axis=1)


@pytest.mark.parametrize("spread", ["minmax", "stderr"])
def test_a_group_is_the_mean_of_its_runs_with_their_spread(curves: Curves, spread: str) -> None:
    query = asked(runs(0, 2, 4), ["loss"], group="optimizer.lr", band="stderr" if spread == "stderr" else "minmax")
    curve = only(curves.answer(query._replace(buckets=5000)))
    assert (curve.group, curve.runs, curve.run) == ("0.1", runs(0, 2, 4), None)
    series = [series_of(seed) for seed in (0, 2, 4)]
    expected = table(*series)
    np.testing.assert_array_equal(curve.buckets.t, expected.index)
    np.testing.assert_allclose(curve.buckets.mean, expected.mean(axis=1), **CLOSE)
    if spread == "stderr":
        error = expected.sem(axis=1)
        least, most = expected.mean(axis=1) - error, expected.mean(axis=1) + error
    else:
        raw = finite(pd.concat(series)).groupby(level=0)
        least, most = raw.min(), raw.max()
    np.testing.assert_allclose(curve.buckets.min, least, **CLOSE)
    np.testing.assert_allclose(curve.buckets.max, most, **CLOSE)


def test_every_run_is_in_a_group(curves: Curves) -> None:
    found = curves.answer(asked(runs(*SEEDS), ["loss"], group="optimizer.lr"))
    assert {curve.group: curve.runs for curve in found.curves} == {
        "0.1": runs(0, 2, 4), "0.01": runs(1, 3), "not set": runs(5),
    }  # fmt: skip


@pytest.mark.parametrize("buckets", [1, 3, 50])
def test_a_group_in_wide_cells_holds_the_means_of_all_its_points(curves: Curves, buckets: int) -> None:
    curve = only(curves.answer(asked(runs(0, 2), ["loss"], group="optimizer.lr", buckets=buckets)))
    assert len(curve.buckets.t) <= buckets
    for i, (lo, hi) in enumerate(zip(curve.buckets.t, curve.buckets.t_end, strict=True)):
        inside = [finite(part)[(part.index >= lo) & (part.index <= hi)] for part in (series_of(0), series_of(2))]
        if all(part.notna().any() for part in inside):
            assert curve.buckets.mean[i] == pytest.approx(np.mean([part.mean() for part in inside]), rel=1e-9)
        assert curve.buckets.max[i] == pd.concat(inside).max() and curve.buckets.min[i] == pd.concat(inside).min()
        assert curve.buckets.count[i] == sum(map(len, inside))


def test_ranks_are_one_mean_with_a_band_of_all_or_each_alone(curves: Curves) -> None:
    mean = only(curves.answer(asked(["ddp"], ["loss"], buckets=5000)))
    series = [series_of(100 + rank) for rank in range(3)]
    np.testing.assert_allclose(mean.buckets.mean, table(*series).mean(axis=1), **CLOSE)
    np.testing.assert_allclose(mean.buckets.max, finite(pd.concat(series)).groupby(level=0).max(), **CLOSE)
    assert mean.labels == () and mean.buckets.non_finite.sum() == sum((~np.isfinite(part)).sum() for part in series)
    each = curves.answer(asked(["ddp"], ["loss"], ranks="each")).curves
    assert [dict(curve.labels)["rank"] for curve in each] == ["0", "1", "2"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_difference_from_the_baseline_is_that_of_the_raw_points(curves: Curves, seed: int) -> None:
    found = curves.answer(asked(runs(0, seed), ["loss"], baseline="run 0", buckets=5000))
    same, other = found.curves
    assert np.nanmax(np.abs(same.buckets.mean - 0)) < 1000 and same.points_read <= same.points_total
    base, value = finite(series_of(0)).groupby(level=0).mean().dropna(), finite(series_of(seed)).dropna()
    value = value[(value.index >= base.index.min()) & (value.index <= base.index.max())]
    at = np.interp(value.index, base.index, base)
    known = np.isfinite(other.buckets.mean)
    np.testing.assert_array_equal(other.buckets.t[known], value.index)
    np.testing.assert_allclose(other.buckets.mean[known], 100 * (value - at) / np.abs(at), **CLOSE)


def test_a_difference_has_the_sign_of_what_is_larger(curves: Curves) -> None:
    curve = only(curves.answer(asked(["clocks"], ["loss"], baseline="negative")))
    assert curve.buckets.t[0] == 1.0  # at step 0 the baseline is 0
    assert curve.buckets.mean[0] == pytest.approx(150.0)  # 1 is 150 % of 2 above -2
    assert (curve.points_total, curve.points_read) == (300, 99)


def test_what_has_no_baseline_is_left_out(curves: Curves) -> None:
    found = curves.answer(asked(["clocks"], ["loss", "tokens"], baseline="run 1"))
    assert [missing.expr for missing in found.left_out] == [1] and "has no series 'tokens'" in found.left_out[0].reason
    missing = curves.answer(asked(["clocks"], ["loss"], baseline="nobody"))
    assert not missing.curves and "no run 'nobody'" in missing.left_out[0].reason


def test_any_series_is_an_axis(curves: Curves) -> None:
    curve = only(curves.answer(asked(["clocks"], ["loss"], x="tokens")))
    np.testing.assert_allclose(curve.buckets.t, np.arange(291) * 4096.0)  # behind step 290 no tokens are known
    np.testing.assert_array_equal(curve.buckets.last, np.arange(291))
    assert (curve.points_total, curve.points_read) == (300, 291)
    zoomed = only(curves.answer(asked(["clocks"], ["loss"], x="tokens", lo=4096 * 25.5, hi=4096 * 33)))
    np.testing.assert_array_equal(zoomed.buckets.last, np.arange(26, 34))


def test_where_the_axis_goes_back_a_segment_begins(curves: Curves) -> None:
    curve = only(curves.answer(asked(["clocks"], ["loss"], x="in epoch", buckets=1000)))
    assert sorted(set(curve.buckets.segment)) == [0, 1, 2] and curve.points_read == 291
    for segment in range(3):
        places = curve.buckets.t[curve.buckets.segment == segment]
        assert (np.diff(places) >= 0).all() and places[0] == 0.0
    zoomed = only(curves.answer(asked(["clocks"], ["loss"], x="in epoch", lo=10, hi=20, buckets=1000)))
    assert set(zoomed.buckets.last) == {*range(10, 21), *range(110, 121), *range(210, 221)}


def test_an_axis_that_is_no_clock_orders_the_points(curves: Curves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.series.axis.MAX_TURNS", 3)
    curve = only(curves.answer(asked(["clocks"], ["loss"], x="noise", buckets=1000)))
    assert set(curve.buckets.segment) == {0} and (np.diff(curve.buckets.t) >= 0).all() and curve.points_read == 291
    expected = np.interp(np.arange(291), np.arange(0, 300, 10), [(step * 7919) % 1000 for step in range(0, 300, 10)])
    np.testing.assert_allclose(curve.buckets.t, np.sort(expected))


def test_a_run_without_the_axis_is_left_out(curves: Curves) -> None:
    found = curves.answer(asked(["clocks", "run 0"], ["loss"], x="tokens"))
    assert [curve.run for curve in found.curves] == ["clocks"] and "has no series 'tokens'" in found.left_out[0].reason


@pytest.mark.parametrize("x", ["step", "relative", "time", "tokens"])
def test_what_a_newer_attempt_wrote_again_is_flagged_on_every_axis(curves: Curves, x: str) -> None:
    curve = only(curves.answer(asked(["resumed"], ["loss"], x=x)))
    assert curve.buckets.step[curve.superseded].tolist() == list(range(50, 80))
    assert (curve.buckets.last[curve.superseded] == 0).all()


def test_only_the_newest_attempt_counts_in_a_group(curves: Curves) -> None:
    curve = only(curves.answer(asked(["resumed"], ["loss"], group="x")))
    np.testing.assert_array_equal(curve.buckets.mean, [0.0] * 50 + [1.0] * 70)
    assert (curve.points_total, curve.points_read) == (150, 120) and not curve.superseded.any()


def test_a_smoothed_group_is_the_mean_of_its_smoothed_runs(curves: Curves) -> None:
    smooth = Smoothing("ema", 20.0)
    group = only(curves.answer(asked(runs(0, 2), ["loss"], group="optimizer.lr", smooth=smooth, buckets=5000)))
    alone = curves.answer(asked(runs(0, 2), ["loss"], smooth=smooth, buckets=5000)).curves
    index = group.buckets.t
    columns = []
    for curve in alone:
        assert curve.smooth is not None
        known = pd.Series(curve.smooth, index=curve.buckets.t).groupby(level=0).last().reindex(index).ffill()
        ends = curve.buckets.t[np.isfinite(curve.buckets.last)]
        columns.append(known.where((index >= ends[0]) & (index <= ends[-1])))
    np.testing.assert_allclose(group.smooth, pd.concat(columns, axis=1).mean(axis=1), **CLOSE)  # type: ignore[arg-type]


def test_a_zoom_does_not_change_what_is_smoothed(curves: Curves) -> None:
    for smooth in (Smoothing("ema", 15.0), Smoothing("gauss", 15.0)):
        query = asked(["run 1"], ["loss"], smooth=smooth, buckets=5000)
        whole, part = only(curves.answer(query)), only(curves.answer(query._replace(lo=100, hi=200)))
        inside = (whole.buckets.t >= 100) & (whole.buckets.t <= 200)
        assert whole.smooth is not None and part.smooth is not None
        np.testing.assert_allclose(part.smooth, whole.smooth[inside], **CLOSE)


@pytest.fixture
def few_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly all curves have more points than may be in memory at once."""
    monkeypatch.setattr("dashboard.series.axis.MAX_RAW", 50)
    monkeypatch.setattr("dashboard.series.axis.PART", 40)


@pytest.mark.usefixtures("few_raw")
@pytest.mark.parametrize("buckets", [1, 4, 30])
@pytest.mark.parametrize(
    "query",
    [
        asked(["ddp"], ["loss"]),
        asked(runs(0, 2, 4), ["loss"], group="optimizer.lr"),
        asked(["resumed"], ["loss"], x="tokens"),
        asked(["clocks"], ["loss"], x="in epoch"),
        asked(["clocks"], ["copy"], baseline="clocks"),
    ],
    ids=["ranks", "group", "axis", "epochs", "baseline"],
)
def test_curves_of_too_many_points_keep_every_extreme(curves: Curves, query: CurveQuery, buckets: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashboard.series.axis.MAX_RAW", 10**6)
        exact = only(curves.answer(query._replace(buckets=buckets)))
    coarse = only(curves.answer(query._replace(buckets=buckets)))
    assert np.nanmax(coarse.buckets.max) == pytest.approx(np.nanmax(exact.buckets.max), abs=1e-6)
    assert np.nanmin(coarse.buckets.min) == pytest.approx(np.nanmin(exact.buckets.min), abs=1e-6)
    assert coarse.buckets.non_finite.sum() == exact.buckets.non_finite.sum()


@pytest.mark.usefixtures("few_raw")
@pytest.mark.parametrize("x", ["step", "time", "tokens", "in epoch"])
@pytest.mark.parametrize("smooth", [Smoothing("ema", 9.0), Smoothing("gauss", 9.0)], ids=["ema", "gauss"])
def test_smoothing_in_parts_is_that_of_the_whole(curves: Curves, x: str, smooth: Smoothing) -> None:
    width = smooth._replace(width=9.0 * (4096 if x == "tokens" else 1))
    query = asked(["clocks"], ["loss"], x=x, smooth=width, buckets=7)
    coarse = only(curves.answer(query))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashboard.series.axis.MAX_RAW", 10**6)
        patch.setattr("dashboard.series.axis.PART", 10**6)
        exact = only(curves.answer(query._replace(buckets=5000)))
    assert exact.smooth is not None and coarse.smooth is not None
    expected = dict(zip(zip(exact.buckets.segment, exact.buckets.t_end, strict=True), exact.smooth, strict=True))
    found = [expected[key] for key in zip(coarse.buckets.segment, coarse.buckets.t_end, strict=True)]
    np.testing.assert_allclose(coarse.smooth, found, **CLOSE)


@pytest.mark.usefixtures("few_raw")
def test_an_axis_that_is_no_clock_is_refused_for_too_many_points(
    curves: Curves, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.series.axis.MAX_TURNS", 3)
    found = curves.answer(asked(["clocks"], ["loss"], x="noise"))
    assert not found.curves and "goes back and forth" in found.left_out[0].reason


def test_summaries_of_summaries_grow_no_finer_than_what_the_store_has() -> None:
    assert [finer(1), finer(600), finer(finer(20_000)), finer(30_000)] == [8, 4800, 20_000, 30_000]


def test_values_at_the_ends_of_floats_warn_of_nothing() -> None:
    values = np.array([[1e308, 1.0], [-1e308, np.nan], [1e308, np.inf]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(standard_error(values)).tolist() == [False, True]


def test_a_mean_that_a_float_holds_is_found_though_the_sum_is_too_large() -> None:
    values = np.array([[1e308, 1.0, -1e308], [1.5e308, np.nan, -1.5e308], [1.6e308, 3.0, 1e308]])
    assert np.allclose(mean_of(values), [1e308 / 3 + 0.5e308 + 1.6e308 / 3, 2.0, -0.5e308])
