"""What was recorded of a run: no more than is asked for, and all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.history import History
from collectors.records import Event, Points, RunInfo, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from tests.memory_engine import MemoryStore, Shared

HOST = labels_of(host="box")
moments = st.integers(0, 20).map(float)
ranges = st.lists(st.tuples(moments, moments).map(sorted).map(tuple), max_size=3)
values = st.lists(st.floats(allow_infinity=True) | st.just(float("nan")), min_size=1, max_size=20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, write=True)
    yield store
    store.close()


@given(values, ranges, ranges)
def test_each_side_has_the_finite_values_in_its_ranges(
    logged: list[float], window: list[tuple[float, float]], baseline: list[tuple[float, float]]
) -> None:
    store = MemoryStore(Shared(), True)
    store.append([Points("a", HOST, ("loss",), (value,), float(i), i) for i, value in enumerate(logged)])
    history = History(store, "a")
    found = history.values(history.series(), window, baseline)
    if not window and not baseline:
        assert found == {}
        return
    for side, got in zip((window, baseline), found["loss"], strict=True):
        wanted = [
            value for i, value in enumerate(logged) if np.isfinite(value) and any(lo <= i < hi for lo, hi in side)
        ]
        assert got.tolist() == wanted


def test_a_rank_has_its_own_series(store: Store) -> None:
    store.append([Points("a", labels_of(host="box", rank=rank), ("loss",), (1.0,), 1.0, 1) for rank in (None, 1, 2)])
    history = History(store, "a")
    assert [len(history.series(rank)) for rank in (0, 1, 2, 3)] == [1, 1, 1, 0] and len(history.series()) == 3


def test_steps_since_a_time_are_counted_once_and_of_a_run_of_one_rank(store: Store) -> None:
    store.append(
        [Points("a", HOST, (name,), (1.0,), 100.0 + step, step) for step in range(10) for name in ("loss", "lr")]
    )
    store.append([Points("a", HOST, ("cpu",), (1.0,), 130.0, None), Points("a", HOST, ("loss",), (1.0,), 120.0, 9)])
    assert History(store, "a").stepped_since(106.0) == [107.0, 108.0, 109.0]
    assert History(store, "a").stepped_since(120.0) == [] == History(store, "none").stepped_since(0.0)
    store.append([Points("a", labels_of(host="box", rank=1), ("loss",), (1.0,), 108.0, 8)])
    assert History(store, "a").stepped_since(106.0) == []


def test_an_event_goes_on_until_it_is_logged(store: Store) -> None:
    store.append(
        [Event("a", "checkpoint", 10.0, seconds=2.5), Event("a", "validation", 11.0), Event("a", "start", 1.0)]
    )
    history = History(store, "a")
    assert history.during(("checkpoint", "validation"), (0.0, 20.0)) == [(7.5, 10.0), (11.0, 11.0)]
    assert history.during(("checkpoint",), (11.0, 20.0)) == []


def test_a_window_is_cut_to_what_is_known_of_the_run(store: Store) -> None:
    store.append([Points("a", HOST, ("loss",), (1.0,), time_s, 1) for time_s in (100.0, 200.0)])
    history = History(store, "a")
    assert history.inside((0.0, 1e10)) == (100.0, 200.0) and history.inside((120.0, 130.0)) == (120.0, 130.0)
    assert history.inside((300.0, 400.0)) == (300.0, 301.0), "a second of what was asked for"


def test_run_json_names_unit_and_folder(store: Store) -> None:
    store.append(
        [RunInfo("a", {"unit": "request", "cwd": "/job"}), Event("b", "process", 1.0, fields={"cwd": "/elsewhere"})]
    )
    assert (History(store, "a").unit_name, History(store, "a").folder()) == ("request", "/job")
    assert (History(store, "b").unit_name, History(store, "b").folder()) == ("step", "/elsewhere")
    assert (History(store, "none").unit_name, History(store, "none").folder()) == ("step", "")
