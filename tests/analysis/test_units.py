"""A line may stand for many units of work: n lines and one line of n tell the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import step_log
from analysis.baseline import baseline_of
from analysis.history import History
from analysis.step_log import StepLog
from analysis.units import Units
from collectors.logs.formats.jsonl import MetricsParser
from collectors.records import Labels, Points, labels_of
from collectors.store.engines import ENGINES, open_store
from deepseek.log import RunLog

T0 = 1_764_000_000.0
HOST = labels_of(host="box")


def parsed(line: dict[str, object]) -> tuple[MetricsParser, list[Points]]:
    metrics = MetricsParser("a", HOST, list)
    return metrics, [
        record for record in metrics.parse([json.dumps(line).encode()], None) if isinstance(record, Points)
    ]


@pytest.mark.parametrize(("units", "names"), [(1, ("x",)), (1.0, ("x",)), (7, ("x", "units")), (12.0, ("x", "units"))])
def test_a_point_is_kept_only_where_a_line_stands_for_more_than_one(units: float, names: tuple[str, ...]) -> None:
    metrics, (points,) = parsed({"step": 3, "x": 0.5, "units": units})
    assert points.names == names and metrics.tally.fields_skipped == 0


def test_lines_of_one_shape_may_stand_for_one_or_for_many() -> None:
    metrics, many = MetricsParser("a", HOST, list), [7.0, 1.0, 3.0, 1.0, 1.0]
    lines = [json.dumps({"step": step, "x": 0.5, "units": units}).encode() for step, units in enumerate(many)]
    kept = [
        dict(zip(record.names, record.values, strict=True))
        for record in metrics.parse(lines, None)
        if isinstance(record, Points)
    ]
    assert [fields.get("units", 1.0) for fields in kept] == many and sum("units" in fields for fields in kept) == 2


@pytest.mark.parametrize("units", [0, -3, 2.5, "many", None, [1], 2**70])
def test_what_is_no_count_is_left_out_and_counted(units: object) -> None:
    metrics, (points,) = parsed({"step": 3, "x": 0.5, "units": units})
    assert points.names == ("x",) and metrics.tally.first_skip == "line 1: units is not a whole number from 1 on"


def logged(lines: Sequence[tuple[float, int, float]]) -> StepLog:
    """Lines of time, units and seconds of a phase."""
    place = f"units-{np.random.default_rng().integers(2**62)}"
    ENGINES["memory"] = "tests.memory_engine"
    try:
        store = open_store(f"memory://{place}", write=True)
    finally:
        del ENGINES["memory"]
    for step, (time_s, units, phase_s) in enumerate(lines):
        many = {} if units == 1 else {"units": float(units)}
        values = {"loss": 1.0, "phase/data_s": phase_s, **many}
        store.append([Points("a", HOST, tuple(values), tuple(values.values()), time_s, step)])
    return step_log.read(History(store, "a"), (T0, T0 + 600.0))


@settings(max_examples=50, deadline=None)
@given(
    many=st.integers(2, 20),
    unit_ms=st.lists(st.integers(10, 400), min_size=20, max_size=60),
    cut=st.lists(st.integers(0, 19), min_size=2, max_size=2, unique=True),
)
def test_n_lines_and_one_line_of_n_have_the_same_rate_and_phases(many: int, unit_ms: list[int], cut: list[int]) -> None:
    """Each stretch of `many` equal units is logged unit by unit, or at once."""
    each, once = [(T0, 1, 0.0)], [(T0, 1, 0.0)]
    for length_ms in unit_ms:
        unit_s = length_ms / 1000
        begun_s = once[-1][0]
        each += [(begun_s + unit_s * (i + 1), 1, unit_s / 4) for i in range(many)]
        once.append((begun_s + unit_s * many, many, many * unit_s / 4))
    logs = logged(each), logged(once)
    lo, hi = sorted(once[place][0] for place in cut)
    for log in logs:
        assert log.steps is not None
    counts = [log.steps.within([(lo, hi)]) for log in logs if log.steps]
    assert counts[0] == pytest.approx(counts[1], rel=1e-4)
    phases = [
        log.phases.seconds_within([(lo, hi + 1e-9)])[0] / max(log.phases.steps_within([(lo, hi + 1e-9)]), 1)
        for log in logs
    ]
    assert phases[0] == pytest.approx(phases[1], rel=1e-4)
    usual = [log.steps.usual_s() for log in logs if log.steps]
    assert usual[0] == pytest.approx(usual[1], rel=1e-3)


def test_a_steady_run_has_the_same_baseline_however_it_is_logged() -> None:
    each = logged([(T0 + 0.1 * i, 1, 0.02) for i in range(3000)])
    once = logged([(T0 + 1.0 * i, 10, 0.2) for i in range(300)])
    window = (T0 + 200.0, T0 + 210.0)
    found = [baseline_of(window, log.units) for log in (each, once)]
    assert [sum(hi - lo for lo, hi in ranges) for ranges in found] == pytest.approx([190.0] * 2, rel=0.1)


@pytest.mark.parametrize(("labels", "unit"), [(HOST, "step"), (labels_of(host="box", source="text"), "item")])
def test_a_counter_of_text_counts_the_units_and_a_users_series_of_its_name_does_not(
    tmp_path: Path, labels: Labels, unit: str
) -> None:
    store = open_store(tmp_path, write=True)
    for step in range(60):
        counted = Points("a", labels, ("progress/item",), (64.0 * step,), T0 + step, None)
        store.append([Points("a", HOST, ("loss",), (1.0,), T0 + step, step), counted])
    assert step_log.read(History(store, "a"), (T0, T0 + 60)).unit_name == unit
    store.close()


def test_run_log_writes_how_many_a_line_stands_for(tmp_path: Path) -> None:
    with RunLog(str(tmp_path), "a") as log:
        log.scalars(3, {"loss": 1.0}, units=37)
    (line,) = [json.loads(text) for text in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert line["units"] == 37 and line["step"] == 3


@given(st.lists(st.tuples(st.sampled_from([0.25, 0.5, 1.0, 3.0]), st.integers(1, 4)), min_size=1, max_size=40))
def test_how_long_a_unit_usually_takes_is_that_of_units_one_by_one(lines: list[tuple[float, int]]) -> None:
    def units(rows: Sequence[tuple[float, int]]) -> Units:
        seconds, counts = (
            np.array([unit_s * count for unit_s, count in rows]),
            np.array([count for _, count in rows], float),
        )
        ends = np.cumsum(seconds)
        return Units(ends - seconds, ends, counts, np.cumsum(counts))

    each = sorted(unit_s for unit_s, count in lines for _ in range(count))
    expected = each[-(-len(each) // 4) - 1]
    assert units(lines).usual_s() == pytest.approx(expected)
    assert units([(unit_s, 1) for unit_s in each]).usual_s() == pytest.approx(expected)
