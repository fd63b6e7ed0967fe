"""The benchmark of what instruments cost runs, and its smallest figure holds on any machine."""

from __future__ import annotations

import pytest

from benchmarks import overhead


def test_the_loop_is_measured_bare_and_instrumented_and_its_calls_stay_within_their_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overhead, "STEPS", 6)
    rows = {row.name: row for row in overhead.measure(rounds=2)}
    assert 0.3 < rows["instrumented / bare"].value < 3
    assert 5 < rows["step, p50"].value < 200
    inside = rows["time inside log and instruments, a step, p50"]
    assert 0 < inside.value < 0.2, "ms of a step of 20 ms"
    assert inside.ok


def test_an_interval_that_holds_1_is_no_failure_and_one_wholly_above_is() -> None:
    middle, low, high = overhead.paired([0.97, 0.99, 1.0, 1.02, 1.05] * 4)
    assert low < middle == 1.0 < high
    assert overhead.paired([1.03, 1.04, 1.05] * 5)[1] > overhead.RATIO
