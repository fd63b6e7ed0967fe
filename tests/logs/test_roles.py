"""A program's own JSON lines say time, step and part by names of its own."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.logs.formats.fields import PART_OF, PARTS, STEPS, TIMES, moment
from collectors.logs.formats.jsonl import MetricsParser
from collectors.records import Points

START_S = 1_764_000_000.25
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def read(*lines: dict[str, Any], state: dict[str, Any] | None = None) -> tuple[list[Points], dict[str, Any]]:
    metrics = MetricsParser("run", {}, list, state)
    found = metrics.parse([json.dumps(line).encode() for line in lines], None)
    return [points for points in found if isinstance(points, Points)], json.loads(json.dumps(metrics.state()))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", TIMES[1:])
def test_a_time_is_found_by_its_name_and_its_size(name: str, unit: str) -> None:
    points, _ = read(*({name: (START_S + i) * UNITS[unit], "loss": 0.5} for i in range(3)))
    assert [one.time_s for one in points] == pytest.approx([START_S + i for i in range(3)], abs=1e-3)
    assert {one.names for one in points} == {("loss",)}


@pytest.mark.parametrize("zone", [datetime.UTC, None, datetime.timezone(datetime.timedelta(hours=5.5))])
def test_a_time_may_be_text(zone: datetime.tzinfo | None) -> None:
    then = datetime.datetime.fromtimestamp(START_S, zone)
    for text in (then.isoformat(), str(then)):
        points, _ = read(
            {"timestamp": text, "loss": 0.5}, {"timestamp": "soon", "loss": 0.5}, {"timestamp": text, "loss": 1}
        )
        assert [one.time_s for one in points] == [START_S, None, START_S]


@pytest.mark.parametrize("value", [0.35, 12, -1.0, True, "2026-11-25", "fast", None, float("nan"), float("inf"), 1e300])
def test_what_is_no_time_of_day_does_not_become_one(value: object) -> None:
    points, _ = read(*({"step": i, "time": value, "loss": 0.5} for i in range(3)))
    assert [one.time_s for one in points] == [None] * 3
    is_number = isinstance(value, (int, float))
    assert {one.names for one in points} == {("time", "loss") if is_number else ("loss",)}


@pytest.mark.parametrize("name", STEPS[1:])
@pytest.mark.parametrize("kind", [int, float])
def test_a_step_is_found_by_its_name(name: str, kind: type) -> None:
    points, _ = read(*({name: kind(5 * i), "loss": 0.5} for i in range(4)))
    assert [one.step for one in points] == [0, 5, 10, 15]
    assert {one.names for one in points} == {("loss",)}


@pytest.mark.parametrize("value", [0.1, True, "7", None, float("nan"), 1e300])
def test_what_is_no_step_does_not_become_one(value: object) -> None:
    points, _ = read(*({"epoch": value, "loss": 0.5} for _ in range(3)))
    assert [one.step for one in points] == [1, 2, 3], "the number of the line"


def test_the_projects_own_names_come_first() -> None:
    points, _ = read({"time_s": 1.5, "step": 7, "timestamp": START_S, "global_step": 9, "epoch": 1, "loss": 0.5})
    assert points[0].time_s == 1.5 and points[0].step == 7
    assert points[0].names == ("timestamp", "global_step", "epoch", "loss")


@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=6),
    cut=st.integers(0, 2000),
    first=st.integers(0, 1),
)
def test_steps_of_an_epoch_go_on_where_the_last_ended_also_after_a_restart(
    lengths: list[int], cut: int, first: int
) -> None:
    """As mmcv's `{"mode": "train", "epoch": 2, "iter": 50}`."""
    lines: list[dict[str, Any]] = [
        {"epoch": epoch, "iter": i, "loss": 0.5}
        for epoch, length in enumerate(lengths)
        for i in range(first, first + length)
    ]
    whole, _ = read(*lines)
    steps = [one.step for one in whole]
    assert steps == sorted(steps) and {one.segment for one in whole} == {0}
    before, state = read(*lines[:cut])
    after, _ = read(*lines[cut:], state=state)
    assert [one.step for one in before + after] == steps


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("value", PART_OF)
def test_lines_of_two_parts_are_two_series(name: str, value: str) -> None:
    points, _ = read({"step": 1, name: value.upper(), "loss": 0.5, f"{PART_OF[value]}_acc": 0.25})
    assert points[0].names == (f"{PART_OF[value]}/loss", f"{PART_OF[value]}_acc")


def test_another_word_is_no_part() -> None:
    points, _ = read({"step": 1, "mode": "fast", "loss": 0.5})
    assert points[0].names == ("loss",)


def test_a_role_is_taken_early_or_never() -> None:
    """A field that turns up late keeps its series."""
    lines: list[dict[str, Any]] = [{"loss": 0.5} for _ in range(300)]
    points, _ = read(*lines, {"loss": 0.5, "epoch": 7})
    assert points[-1].step == 301 and points[-1].names == ("loss", "epoch")


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_none(text: str) -> None:
    found = moment(text)
    assert found is None or found >= 0
