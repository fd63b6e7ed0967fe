"""Scores of lm-evaluation-harness: a point at the date of each evaluation, and other files of such a name are left alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.logs.formats.lm_eval import Scores, series_of
from collectors.logs.open_files import NotMetrics
from collectors.records import Points, RunInfo, labels_of
from tests.support.following import Follower, check_told, offset_of, points_of, unpacked, until
from tests.support.following import series_of as read_series

DATE_S = 1_764_000_000.0


def scores(value: object, date: object = DATE_S, **more: object) -> dict[str, Any]:
    tasks = {"arc": {"alias": "arc", "acc,none": value, "exact_match,strict-match": 0.25, "acc_stderr,none": "N/A"}}
    config = {"model": "hf", "model_args": "pretrained=gpt2", "limit": None}
    return {"results": tasks, "config": config, "versions": {"arc": 1}, "date": date, "n-shot": {"arc": 5}, **more}


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    (tmp_path / "logs" / "gpt2").mkdir(parents=True)
    follower = Follower(tmp_path / "logs")
    yield follower
    follower.tail.close()


def write(follower: Follower, name: str, what: object) -> None:
    (follower.root / "gpt2" / name).write_text(json.dumps(what) + "\n")


def test_what_the_harness_writes_is_read_as_it_says_it(follower: Follower) -> None:
    told = unpacked("lm_eval_scores", follower.root)
    until(follower, lambda: len(points_of(follower.records)) >= 2)
    check_told(follower.records, told)
    assert {name for point in points_of(follower.records) for name in point.names} == set(
        told["runs"]["scores/tiny"]
    ), "no other series"
    (info,) = [record.info for record in follower.records if isinstance(record, RunInfo)][-1:]
    assert (info["kind"], info["unit"], info["config"]["model"]) == ("evaluation", "task", "dummy")


def test_each_evaluation_is_a_point_at_its_date_and_a_restart_repeats_none(follower: Follower) -> None:
    write(follower, "results_2025-11-24T16-00-00.123456.json", scores(0.5))
    until(follower, lambda: points_of(follower.records))
    write(follower, "results_2025-11-25T16-00-00.123456.json", scores(0.75, DATE_S + 86_400))
    until(follower, lambda: len(points_of(follower.records)) >= 2)
    follower.restart()
    until(follower, lambda: True)
    assert [(point.time_s, point.step) for point in points_of(follower.records)] == [
        (DATE_S, None),
        (DATE_S + 86_400, None),
    ]
    assert read_series(follower.records) == {
        "arc/acc": [(None, 0.5), (None, 0.75)],
        "arc/exact_match/strict-match": [(None, 0.25), (None, 0.25)],
    }
    (config,) = [record.info["config"] for record in follower.records if isinstance(record, RunInfo)][-1:]
    assert config["model_args"] == "pretrained=gpt2" and config["n-shot"] == {"arc": 5}


@pytest.mark.parametrize("other", [{"accuracy": 0.5}, [1, 2], {"results": []}, {"results": {"a": {"acc": 1}}}])
def test_results_of_something_else_are_no_scores_and_trouble_nobody(follower: Follower, other: object) -> None:
    write(follower, "results.json", other)
    write(follower, "metrics.jsonl", {"step": 1, "loss": 0.5})
    until(follower, lambda: points_of(follower.records))
    assert read_series(follower.records) == {"loss": [(1, 0.5)]} and follower.tail.trouble() == ""
    assert not any(isinstance(record, RunInfo) for record in follower.records)
    assert offset_of(follower, "gpt2/results.json").trouble in ("", "is not what lm-evaluation-harness writes")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=12,
)


@given(
    tasks=st.dictionaries(st.text(max_size=9), JSON, max_size=4),
    groups=JSON,
    config=st.dictionaries(st.text(), JSON, max_size=3),
    date=JSON,
)
def test_whatever_stands_in_them_only_numbers_become_points(tasks: Any, groups: Any, config: Any, date: Any) -> None:
    file = {"results": tasks, "groups": groups, "config": config, "versions": {}, "date": date}
    format = Scores("a", labels_of(host="box"), lambda name: "", lambda config: {"config": config}, DATE_S)
    records = format.parse_whole(json.dumps(file).encode())
    found = [record for record in records if isinstance(record, Points)]
    assert len(found) <= 1 and all(isinstance(value, float) for point in found for value in point.values)
    assert all(point.time_s is not None and point.time_s > 0 for point in found)
    assert not [record for record in format.parse_whole(json.dumps(file).encode()) if isinstance(record, Points)]


@given(st.binary(max_size=40))
def test_bytes_that_are_no_scores_are_refused_as_such(data: bytes) -> None:
    format = Scores("a", (), lambda name: "", lambda config: None, DATE_S)
    with contextlib.suppress(NotMetrics):
        assert format.parse_whole(data) == []


def test_a_filter_that_is_none_is_not_said() -> None:
    assert series_of("arc", "acc,none") == "arc/acc" and series_of("arc", "acc") == "arc/acc"
    assert series_of("gsm8k", "exact_match_stderr,flexible-extract") == "gsm8k/exact_match_stderr/flexible-extract"
