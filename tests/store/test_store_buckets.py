"""Whatever was appended, in whatever state of packing: buckets tell the truth about the raw points between their edges."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collectors.records import Points, labels_of
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import Axis, Buckets, Store, series_id

START_S = 1_764_000_000.0
HOST = labels_of(host="box")
LOSS = series_id("a", "loss", HOST)


class Raw(NamedTuple):
    """What was appended of one series."""

    time_s: np.ndarray
    step: np.ndarray
    segment: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, points: list[Points], name: str) -> Raw:
        mine = [one for one in points if name in one.names]
        columns = [(one.time_s, one.step, one.segment, one.values[one.names.index(name)]) for one in mine]
        return cls(*np.array(columns, np.float64).reshape(-1, 4).T)


def check_honest(raw: Raw, found: Buckets, lo: float, hi: float, axis: Axis, buckets: int) -> None:
    """The definition of an honest answer, by a naive reader."""
    place = raw.time_s if axis == "time" else raw.step
    inside = (place >= lo) & (place <= hi)
    segments = np.unique(raw.segment[inside])
    assert found.points_total == inside.sum() == found.count.sum()
    assert len(found.t) <= max(buckets, len(segments))
    if inside.sum() <= buckets:
        assert len(found.t) == inside.sum()
    for segment in segments:
        mine = inside & (raw.segment == segment)
        order = np.argsort(place[mine], kind="stable")
        places, values = place[mine][order], raw.value[mine][order]
        told = np.flatnonzero(found.segment == segment)
        assert found.t[told[0]] == places[0] and found.t_end[told[-1]] == places[-1]
        assert np.all(
            np.diff(np.stack([found.t[told], found.t_end[told]], axis=1).reshape(-1)) >= 0
        )  # in order, and apart
        starts, ends = (
            np.searchsorted(places, found.t[told], "left"),
            np.searchsorted(places, found.t_end[told], "right"),
        )
        check_buckets(found, told, values, starts, ends, alone=inside.sum() <= buckets)


def check_buckets(
    found: Buckets, told: np.ndarray, values: np.ndarray, starts: np.ndarray, ends: np.ndarray, alone: bool
) -> None:
    """`values[start:end]` are the raw ones between the edges; with `alone`, a point at the same place may have its own bucket."""
    for last, start, end in zip(found.last[told].tolist(), starts.tolist(), ends.tolist(), strict=True):
        assert last in values[start:end] or (math.isnan(last) and np.isnan(values[start:end]).any())
    if alone:
        return
    finite = np.isfinite(values)

    def each(reduce: np.ufunc, of: np.ndarray) -> np.ndarray:
        """Over the raw values of each bucket; the places between two of them are left out."""
        padded = np.append(of, of[-1])  # the last end is a place, too
        return reduce.reduceat(padded, np.stack([starts, ends], axis=1).reshape(-1))[::2]

    counts = each(np.add, finite.astype(int))
    np.testing.assert_array_equal(found.count[told], ends - starts)
    np.testing.assert_array_equal(found.non_finite[told], ends - starts - counts)
    some = counts > 0
    lowest, highest = (
        each(np.minimum, np.where(finite, values, math.inf)),
        each(np.maximum, np.where(finite, values, -math.inf)),
    )
    np.testing.assert_array_equal(found.min[told], np.where(some, lowest, math.nan))
    np.testing.assert_array_equal(found.max[told], np.where(some, highest, math.nan))
    mean = np.where(some, each(np.add, np.where(finite, values, 0.0)) / np.maximum(counts, 1), math.nan)
    largest = np.where(some, np.maximum(np.abs(lowest), np.abs(highest)), 0.0)
    assert np.array_equal(np.isnan(found.mean[told]), ~some)
    assert np.all(np.abs(found.mean[told] - mean)[some] <= (1e-7 * np.abs(mean) + 1e-9 * largest)[some])


class LongRun(NamedTuple):
    store: Store
    raw: Raw

    def __repr__(self) -> str:
        """Short: of a failing example hypothesis shows all arguments, and warns of long ones in the failure's place."""
        return "long_run"


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> LongRun:
    """200,000 points in pages, chunks, packs and head, with a spike, a resumed segment, a pause and a NaN."""
    rng = np.random.default_rng(7)
    count = 200_000
    values = np.round(rng.normal(2, 0.1, count), 3)
    values[123_456] = 99.0
    values[77] = math.nan
    time_s = START_S + np.cumsum(rng.exponential(1.0, count)) + np.where(np.arange(count) > 150_000, 86400.0, 0.0)
    step, segment = np.arange(count), np.zeros(count, int)
    step[170_000:] -= 5_000
    segment[170_000:] = 1
    points = [
        Points("a", HOST, ("loss",), (v,), t, s, g)
        for v, t, s, g in zip(values.tolist(), time_s.tolist(), step.tolist(), segment.tolist(), strict=True)
    ]
    store = SqliteStore(tmp_path_factory.mktemp("long"), write=True)
    for at in range(0, 199_000, 20_000):
        store.append(points[at : min(at + 20_000, 199_000)])
    while store.compact(1.0):
        pass
    for at in range(199_000, count, 100):
        store.append(points[at : at + 100])
        if at == 199_500:
            store.compact(1.0)
    return LongRun(store, Raw.of(points, "loss"))


@settings(max_examples=150, deadline=None)
@given(
    ends=st.tuples(st.floats(-0.1, 1.1), st.floats(-0.1, 1.1)),
    axis=st.sampled_from(["time", "step"]),
    buckets=st.integers(1, 5000),
    zoom=st.sampled_from([1.0, 0.1, 0.001]),
)
@example(ends=(0.0, 2.225073858507e-311), axis="step", buckets=1, zoom=1.0)
def test_buckets_of_a_long_run_are_honest(
    long_run: LongRun, ends: tuple[float, float], axis: Axis, buckets: int, zoom: float
) -> None:
    store, raw = long_run
    place = raw.time_s if axis == "time" else raw.step
    lo, hi = (place.min() + (place.max() - place.min()) * end * zoom for end in sorted(ends))
    found = store.range([LOSS], lo, hi, axis, buckets)[LOSS]
    check_honest(raw, found, lo, hi, axis, min(buckets, 5000))


def assert_spike(store: Store, axis: Axis, counts: Iterable[int]) -> None:
    for buckets in counts:
        found = store.range([LOSS], None, None, axis, buckets)[LOSS]
        assert np.nanmax(found.max) == 99.0 and len(found.t) <= max(2, buckets), buckets  # two segments


@pytest.mark.parametrize("axis", ["time", "step"])
def test_a_spike_of_one_step_is_in_every_answer(long_run: LongRun, axis: Axis) -> None:
    assert_spike(long_run.store, axis, [*range(1, 20), *range(20, 5000, 331), 5000])


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("axis", ["time", "step"])
def test_a_spike_of_one_step_is_in_the_answer_of_every_count_of_buckets(long_run: LongRun, axis: Axis) -> None:
    assert_spike(long_run.store, axis, range(1, 5001))


VALUES = st.one_of(st.floats(-1e200, 1e200), st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324]))
LINES = st.builds(
    lambda names, values, time_s, step, segment: Points(
        "a", HOST, tuple(names), tuple(values[: len(names)]), time_s, step, segment
    ),
    st.lists(st.sampled_from(["loss", "lr", "norm"]), min_size=1, max_size=3, unique=True),
    st.lists(VALUES, min_size=3, max_size=3),
    st.one_of(st.none(), st.integers(0, 50).map(lambda t: START_S + t / 4)),
    st.one_of(st.none(), st.integers(0, 40)),
    st.integers(0, 2),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    commits=st.lists(st.tuples(st.lists(LINES, max_size=30), st.booleans()), max_size=6),
    buckets=st.integers(1, 60),
    axis=st.sampled_from(["time", "step"]),
)
def test_points_in_any_order_are_told_honestly(
    tmp_path_factory: pytest.TempPathFactory, commits: list[tuple[list[Points], bool]], buckets: int, axis: Axis
) -> None:
    store = SqliteStore(tmp_path_factory.mktemp("any"), write=True)
    points: list[Points] = []
    for lines, settle in commits:
        store.append(lines)
        points += lines
        if settle:
            store.settle()
    for name in ("loss", "lr", "norm"):
        raw = Raw.of(points, name)
        one = series_id("a", name, HOST)
        found = store.range([one], None, None, axis, buckets)
        if len(raw.value):
            check_honest(raw, found[one], -math.inf, math.inf, axis, buckets)
            newest = np.array(store.last([one])[one], np.float64)
            np.testing.assert_array_equal(newest, [raw.time_s[-1], raw.step[-1], raw.value[-1]])
            assert store.series("a", name)[0].points == len(raw.value)
    store.close()
