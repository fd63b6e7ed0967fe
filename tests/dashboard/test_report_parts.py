"""The parts of a report, each by itself: ledgers in words, the slowest stretch, boxes of a flame graph, curves, texts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.baseline import MIN_LOST_S, SLOWEST, slowest_stretch
from analysis.ledger.contrast import LedgerSide, contrast
from analysis.ledger.kinds import KINDS as ALL_KINDS
from analysis.ledger.kinds import SPENT, ChargeTarget, TimeKind
from analysis.ledger.prediction import Saving
from analysis.ledger.shares import Account, CostRange, Ledger, LedgerDevice, ledger_of
from analysis.stacks.fold import WindowStacks, tree_of
from analysis.stacks.tree import WeightedStacks
from analysis.units import Units
from collectors.records import Frame
from collectors.store.store import Buckets
from dashboard.report.contents import ReportLine, ReportPlot, pace_buckets
from dashboard.report.page import (
    MIN_PCT,
    PlotEnds,
    boxes_of,
    figure,
    ledger_picture,
    length_of,
    moment_of,
    picture_of,
    range_of,
    redacted_text,
    shortened,
    thinned,
    visible,
)
from dashboard.stacks.stacks import mean_unit_s

DATA = ChargeTarget("data", Frame("decode", "/job/data.py", 88))
KINDS: tuple[TimeKind, ...] = ("data", "python", "log", "checkpoint", "unexplained")


def ledger(busy_s: float, given: dict[ChargeTarget, float], device: LedgerDevice = "CPU") -> Ledger:
    covered_s = busy_s + sum(given.values())
    bounds = {place.kind: CostRange(s, s, Saving(s, s)) for place, s in given.items()}
    account = Account(covered_s=covered_s, busy_s=busy_s, given=given, bounds=bounds)
    return ledger_of(account, covered_s, "none", "B", device)


def test_two_ledgers_in_words() -> None:
    slow = LedgerSide("b", ledger(58, {DATA: 40, ChargeTarget("log"): 2}), 0.24)
    fast = LedgerSide("a", ledger(67, {DATA: 28, ChargeTarget("log"): 5}), 0.19)
    found = contrast(slow, fast)
    assert found.sentence == (
        "b spends 12 points more waiting for data (data.py:88 decode), 9 fewer computing and 3 fewer logging than a; "
        "steps take 240 ms in place of 190 ms."
    )
    assert [round(change.points, 6) for change in found.changes] == [12, -9, -3]
    assert sum((change.seconds or 0) - (change.other_seconds or 0) for change in found.changes) == pytest.approx(0.05)


def test_each_kind_can_be_what_two_runs_differ_in() -> None:
    for kind in sorted({*ALL_KINDS} - {"busy"}):
        found = contrast(LedgerSide("a", ledger(70, {ChargeTarget(kind): 30})), LedgerSide("b", ledger(100, {})))
        assert found.sentence.startswith("a spends 30 points ") and SPENT[kind] in found.sentence


def test_two_that_are_alike_say_so() -> None:
    side = LedgerSide("a", ledger(70, {DATA: 30}), 0.1)
    assert contrast(side, side._replace(run="b")).sentence == (
        "a spends its time as b does: no share differs by 2 points; steps take 100 ms in both."
    )


def test_other_devices_are_not_compared() -> None:
    cpu, gpu = LedgerSide("a", ledger(70, {DATA: 30}), 0.1), LedgerSide("b", ledger(70, {DATA: 30}, "GPU"), 0.2)
    found = contrast(cpu, gpu)
    assert (
        "cannot be compared" in found.sentence and "100 ms in place of 200 ms" in found.sentence and found.changes == []
    )


def test_an_empty_ledger_says_why() -> None:
    found = contrast(LedgerSide("a", ledger(0, {})), LedgerSide("b", ledger(70, {DATA: 30})))
    assert found.sentence.startswith("a: ") and found.changes == []


SHARES = st.lists(st.floats(0.01, 100), min_size=2, max_size=len(KINDS) + 1)


@settings(max_examples=50, deadline=None)
@given(SHARES, SHARES, st.one_of(st.none(), st.floats(1e-4, 1e3)), st.floats(1e-4, 1e3))
def test_points_and_seconds_add_up(one: list[float], other: list[float], unit_s: float | None, other_s: float) -> None:
    sides = [
        ledger(parts[0], {ChargeTarget(kind): s for kind, s in zip(KINDS, parts[1:], strict=False)})
        for parts in (one, other)
    ]
    found = contrast(LedgerSide("a", sides[0], unit_s), LedgerSide("b", sides[1], other_s))
    if not found.changes:
        assert min(sum(one), sum(other)) < 3
        return
    back = contrast(LedgerSide("b", sides[1], other_s), LedgerSide("a", sides[0], unit_s))
    assert sum(change.points for change in found.changes) == pytest.approx(0, abs=1e-6)
    assert {change.kind: change.points for change in found.changes} == pytest.approx(
        {change.kind: -change.points for change in back.changes}
    )
    if unit_s is not None:
        assert sum(change.seconds or 0 for change in found.changes) == pytest.approx(unit_s)
        assert sum(change.other_seconds or 0 for change in found.changes) == pytest.approx(other_s)


def units_of(seconds: list[float], gaps: list[float] | None = None) -> Units:
    ends = np.cumsum(np.array(seconds) + np.array(gaps or [0.0] * len(seconds)))
    return Units(ends - seconds, ends, np.ones(len(seconds)), np.arange(1.0, len(seconds) + 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 5), st.sampled_from([0.0, 0.0, 0.0, 3.0])), min_size=1, max_size=25))
def test_the_slowest_stretch_is_the_one_that_lost_most(steps: list[tuple[float, float]]) -> None:
    units = units_of([seconds for seconds, _ in steps], [gap for _, gap in steps])
    lost = (units.end_s - units.start_s) - SLOWEST * units.usual_s()
    found = slowest_stretch(units)
    whole = [
        (i, j)
        for i in range(len(lost))
        for j in range(i, len(lost))
        if all(units.start_s[k + 1] - units.end_s[k] <= 0 for k in range(i, j))
    ]
    best = max(float(lost[i : j + 1].sum()) for i, j in whole)
    if found is None:
        assert best < max(MIN_LOST_S, 0.005 * float((units.end_s - units.start_s).sum())) + 1e-9
        return
    inside = (units.start_s >= found[0]) & (units.end_s <= found[1])
    assert float(lost[inside].sum()) == pytest.approx(best)


def test_the_slowest_stretch_does_not_reach_over_a_checkpoint() -> None:
    units = units_of([0.1] * 50 + [2.0] + [0.1] * 40 + [1.0, 1.0] + [0.1] * 50)
    checkpoint = (float(units.start_s[50]), float(units.end_s[50]))
    assert slowest_stretch(units) == checkpoint
    assert slowest_stretch(units, [checkpoint]) == (units.start_s[91], units.end_s[92])
    assert slowest_stretch(units_of([0.1] * 50)) is None


def test_a_unit_takes_as_long_as_its_steps_without_the_time_in_which_the_run_was_down() -> None:
    units = units_of([0.1] * 10 + [0.1] * 10, [0.0] * 10 + [50.0] + [0.0] * 9)
    assert mean_unit_s(units, (0.0, 100.0)) == pytest.approx(0.1)
    assert mean_unit_s(units, (200.0, 300.0)) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 3), min_size=1, max_size=60), st.integers(1, 30))
def test_the_pace_keeps_the_slowest_and_the_fastest_step(seconds: list[float], most: int) -> None:
    units = units_of(seconds)
    found = pace_buckets(units, (-1.0, float(units.end_s[-1])), most)
    assert found is not None and len(found.t) <= most
    assert int(found.count.sum()) == len(seconds)
    assert (float(found.min.min()), float(found.max.max())) == pytest.approx(
        (1 / max(seconds), 1 / min(seconds)), rel=1e-6
    )
    assert (found.min <= found.mean + 1e-9).all() and (found.mean <= found.max + 1e-9).all()


STACKS = st.lists(
    st.tuples(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.floats(0.01, 10)), min_size=1, max_size=30
)


@settings(max_examples=40, deadline=None)
@given(STACKS, st.integers(1, 40))
def test_boxes_stand_below_their_callers_and_beside_each_other(
    stacks: list[tuple[list[int], float]], most: int
) -> None:
    frames = [Frame(f"f{i}", f"/job/{i}.py", i + 1) for i in range(6)]
    rows = [tuple(frames_of) for frames_of, _ in stacks]
    weighed = WeightedStacks(
        frames, rows, np.array([len(row) for row in rows]), np.array([seconds for _, seconds in stacks])
    )
    tree = tree_of(WindowStacks(weighed, "run", [], 1.0, 100.0), own_folder="/job")
    drawn = boxes_of(tree, most, 40)
    assert 0 < len(drawn.boxes) <= most and len(drawn.boxes) + drawn.left_out == len(tree.frame)
    for row in range(drawn.rows):
        there = sorted((box for box in drawn.boxes if box.row == row), key=lambda box: box.left)
        assert there, "no row is skipped"
        for left, right in pairwise(there):
            assert left.left + left.width <= right.left + 1e-6
        for box in there if row else []:
            assert any(
                above.row == row - 1
                and above.left - 1e-6 <= box.left
                and box.left + box.width <= above.left + above.width + 1e-6
                for above in drawn.boxes
            )
    assert all(box.width >= MIN_PCT for box in drawn.boxes)
    assert sum(hot.self_pct for hot in drawn.hottest) == pytest.approx(100, abs=1), "but for what is pruned"


def buckets_of(values: list[float], segment: list[int] | None = None) -> Buckets:
    column, zeros = np.array(values), np.zeros(len(values), np.int64)
    at = np.arange(float(len(values)))
    segments = np.array(segment, np.int64) if segment else zeros
    finite = np.where(np.isfinite(column), column, np.nan)
    ones = np.ones(len(values), np.int64)
    return Buckets(
        at, at, at, segments, finite, finite, finite, column, ones, (~np.isfinite(column)).astype(np.int64), len(values)
    )


VALUES = st.lists(st.floats(), min_size=1, max_size=60)


@settings(max_examples=80, deadline=None)
@given(VALUES, st.integers(1, 20))
def test_a_spike_stays_when_places_are_joined(values: list[float], most: int) -> None:
    whole = buckets_of(values)
    found = thinned(whole, most)
    assert len(found.t) <= max(most, 1) and int(found.count.sum()) == len(values)
    finite = [value for value in values if np.isfinite(value)]
    if finite:
        assert (float(np.nanmin(found.min)), float(np.nanmax(found.max))) == (min(finite), max(finite))
    assert int(found.non_finite.sum()) == len(values) - len(finite)


@settings(max_examples=80, deadline=None)
@given(VALUES, st.sampled_from(["", "%", "B", "1/s"]))
def test_any_values_are_drawn_inside_the_picture(values: list[float], unit: str) -> None:
    plot = ReportPlot("loss", unit, [ReportLine("a", buckets_of(values)), ReportLine("b", buckets_of(values[::-1]))])
    drawn = picture_of(plot, PlotEnds(0.0, max(1.0, len(values) - 1.0), "a", "b"), (0.2, 0.4), 30, 8, 40)
    if not any(np.isfinite(values)):
        assert drawn is None
        return
    assert drawn is not None and len(drawn.paths) == 2
    for path in drawn.paths:
        numbers = [
            float(word)
            for word in f"{path.line}{path.dots}".replace("M", " ").replace("L", " ").replace("h.01", "").split()
        ]
        assert all(0 <= number <= 1000 for number in numbers) and all(0 <= number <= 100 for number in numbers[1::2])


def test_another_attempt_is_another_line() -> None:
    plot = ReportPlot("loss", "", [ReportLine("", buckets_of([1.0, 2.0, 3.0, 1.0], [0, 0, 1, 1]))])
    drawn = picture_of(plot, PlotEnds(0.0, 3.0, "a", "b"), None, 30, 8, 40)
    assert drawn is not None and drawn.paths[0].line.count("M") == 2


@settings(max_examples=40, deadline=None)
@given(SHARES)
def test_the_bar_is_full(parts: list[float]) -> None:
    found = ledger(parts[0], {ChargeTarget(kind): s for kind, s in zip(KINDS, parts[1:], strict=False)})
    drawn = ledger_picture(found, 80)
    if found.rows:
        assert sum(part.width for part in drawn.parts) == pytest.approx(100)
        assert all(part.left + part.width <= 100 + 1e-6 for part in drawn.parts)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_texts_are_visible_short_and_can_be_stored(text: str) -> None:
    assert visible(text).encode() is not None
    assert len(shortened(text, 20)) <= 20 and "\n" not in shortened(text, 20)


def test_words_of_a_report() -> None:
    assert visible("a\u202etxt.exe") == "a[U+202E]txt.exe" and visible("\udc80") == "[U+DC80]"
    assert redacted_text("token=abcdefghijklmnop \x1b[31mred", 80) == "token=<left out> red"
    assert (
        redacted_text("run --api-key <left out> --lr 1 token=<left out>;", 80)
        == "run --api-key <left out> --lr 1 token=<left out>;"
    )
    assert "hf_" not in redacted_text("x" * 280 + " hf_" + "a" * 40, 300), "it is left out before the text is cut"
    assert [figure(value, "B") for value in (12.0, 8 * 2**30)] == ["12 B", "8 GiB"]
    assert [figure(value) for value in (float("nan"), float("inf"), 0.0, 1234567.0, 1e-9)] == [
        "NaN",
        "∞",
        "0",
        "1.23M",
        "1.00e-09",
    ]
    assert [length_of(s) for s in (0, 0.2, 93.4, 5400, 7300, 1e6)] == [
        "0",
        "200 ms",
        "93.4 s",
        "90 min",
        "2.0 h",
        "11.6 days",
    ]
    assert moment_of(0.0, "UTC") == "1970-01-01 00:00:00 UTC" and moment_of(1e300, "UTC").endswith(" s")
    assert range_of(0.0, 60.0, "UTC") == "1970-01-01 00:00:00 to 00:01:00 UTC"
