"""Tables, times and trees of the client, as pure functions of what an answer holds."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.client import Dashboard, DashboardError
from deepseek.client.client import FlameGraph, names_of, unix_s, utc_index, wide
from tests.support.odd_client import HI, LO
from tests.support.odd_client import client as client  # a fixture
from tests.support.odd_client import running as running  # a fixture

# -- times ---------------------------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(-12, 12))
def test_each_way_to_write_a_time_is_the_same_second(naive: datetime, hours: int) -> None:
    zoned = naive.replace(tzinfo=UTC)
    wanted = zoned.timestamp()
    elsewhere = zoned.astimezone(timezone(timedelta(hours=hours)))
    ways: list[Any] = [wanted, np.float64(wanted), zoned, elsewhere, pd.Timestamp(zoned), np.datetime64(naive, "us")]
    assert [unix_s(way, "to") for way in ways] == pytest.approx([wanted] * len(ways), abs=1e-5)
    assert unix_s(naive, "to") == unix_s(pd.Timestamp(naive), "to") == naive.timestamp(), "local time, both"
    assert utc_index([wanted])[0].timestamp() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    "wrong", [True, "yesterday", math.nan, math.inf, pd.NaT, np.datetime64("NaT"), 10**400, [1.0], datetime.min]
)
def test_what_is_no_time_gets_a_sentence(wrong: Any) -> None:
    with pytest.raises(DashboardError, match=r"from_ is .*; give Unix seconds, a datetime or a pandas Timestamp"):
        unix_s(wrong, "from_")


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=20))
def test_no_number_of_seconds_breaks_an_index(seconds: list[float | None]) -> None:
    assert len(utc_index(seconds)) == len(seconds)


def test_a_window_may_be_given_as_timestamps(client: Dashboard) -> None:
    lo, hi = pd.Timestamp(LO, unit="s", tz="UTC"), datetime.fromtimestamp(HI, UTC)
    assert client.flame("group/a", lo, hi).raw == client.flame("group/a", LO, HI).raw
    assert len(client.points("group/a", "other", lo, hi)) == (HI - LO) / 2 + 1


# -- tables --------------------------------------------------------------------------------------------------------------

VALUES = st.one_of(st.floats(), st.sampled_from(["NaN", "Infinity", "-Infinity"]))
PLACES = st.lists(st.integers(0, 5), max_size=8)


@given(st.lists(PLACES, min_size=1, max_size=4), st.data())
def test_a_wide_table_holds_each_point_once_whatever_comes_twice(places: list[list[int]], data: st.DataObject) -> None:
    curves = [
        {
            "name": "x",
            "labels": {"rank": str(rank)},
            "x": found,
            "last": [float(100 * rank + at) for at in range(len(found))],
        }
        for rank, found in enumerate(places)
    ]
    table = wide(curves, "step", "last")
    assert list(table.index) == sorted(table.index)
    for curve, name in zip(curves, names_of(curves), strict=True):
        own = table[name].dropna()
        assert Counter(zip(own.index.tolist(), own.tolist(), strict=True)) == Counter(
            zip(curve["x"], curve["last"], strict=True)
        )
    most = Counter[int]()
    for found in places:
        most |= Counter(found)
    assert len(table) == most.total(), "no row more than the series that has a place most often needs"


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.dictionaries(st.sampled_from("kl"), st.sampled_from("12"))),
        max_size=6,
        unique_by=lambda row: (row[0], frozenset(row[1].items())),
    )
)
def test_series_have_different_names(series: list[tuple[str, dict[str, str]]]) -> None:
    names = names_of([{"name": name, "labels": labels} for name, labels in series])
    assert len(set(names)) == len(names)


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=30), st.data())
def test_the_top_of_a_tree_has_all_its_own_seconds_once(parents: list[int], data: st.DataObject) -> None:
    """And no line has a longer total than the root."""
    order = preorder(parents)
    frames = [{"name": name, "file": "f.py", "line": 1} for name in "abc"]
    own = data.draw(st.lists(st.integers(0, 9), min_size=len(order), max_size=len(order)))
    totals = [float(seconds) for seconds in own]
    for node in reversed(range(1, len(order))):
        totals[order[node]] += totals[node]
    numbers = data.draw(st.lists(st.integers(0, 2), min_size=len(order), max_size=len(order)))
    nodes = {
        "frame": numbers, "parent": order, "self_s": own, "total_s": totals, "untrusted_s": own,
        "base_self_s": None, "base_total_s": None, "kind": ["own"] * len(order),
    }  # fmt: skip
    answer = {
        "frames": frames,
        "nodes": nodes,
        "units": None,
        "baseline_units": None,
        "seconds": 9.0,
        "baseline_seconds": 0.0,
    }
    top = FlameGraph({**answer, "per": "second", "samples": 1, "note": None}).top(10)
    assert top["self_s"].sum() == sum(own)
    assert (top["total_s"] <= totals[0]).all() and (top["total_s"] >= top["self_s"]).all()


def test_the_excess_of_several_ranks_is_that_of_one() -> None:
    """Each of two ranks spends 3 s in 2 steps where the baseline has 1 s a step; a run may be called like a rank."""
    names = [("rank 9 main thread", ""), ("rank 0", ""), ("f", "f.py"), ("rank 1", ""), ("f", "f.py")]
    frames = [{"name": name, "file": file, "line": 1} for name, file in names]
    nodes = {
        "frame": [0, 1, 2, 3, 4], "parent": [-1, 0, 1, 0, 3], "self_s": [0, 0, 3, 0, 3], "total_s": [6, 3, 3, 3, 3], "untrusted_s": [0] * 5,
        "base_self_s": [0, 0, 10, 0, 10], "base_total_s": [20, 10, 10, 10, 10], "kind": ["own"] * 5,
    }  # fmt: skip
    answer = {
        "frames": frames,
        "nodes": nodes,
        "units": 2.0,
        "baseline_units": 10.0,
        "seconds": 3.0,
        "baseline_seconds": 10.0,
    }
    top = FlameGraph({**answer, "per": "step", "samples": 6, "note": None}).top()
    assert top[["self_s", "self_excess_s", "excess_s"]].values.tolist() == [[6.0, 0.5, 0.5]]


def preorder(parents: list[int]) -> list[int]:
    """A tree in preorder from any numbers: the parent of each node is on the path to the one before it."""
    order, path = [-1], [0]
    for number in parents[1:]:
        depth = number % len(path)
        path = path[: depth + 1]
        order.append(path[-1])
        path.append(len(order) - 1)
    return order
