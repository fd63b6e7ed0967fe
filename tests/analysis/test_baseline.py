"""Which stretches of a run are its baseline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.baseline import baseline_of, unsteady_by_nature
from analysis.stacks.spans import Interval
from analysis.units import Units, phases_of, units_of
from collectors.store.store import RawPoints


def steps(*stretches: tuple[float, float], begin_s: float = 1000.0) -> Units:
    """Steps one after the other: so many seconds of steps that take so long."""
    lengths = np.concatenate([np.full(round(seconds / step_s), step_s) for seconds, step_s in stretches])
    ends = begin_s + np.cumsum(lengths)
    return units_of(np.r_[begin_s, ends], np.arange(len(ends) + 1.0), np.zeros(len(ends) + 1, np.int64))


def length(ranges: list[Interval]) -> float:
    return sum(hi - lo for lo, hi in ranges)


def test_the_nearest_steady_minute_before_the_window_is_the_baseline() -> None:
    assert baseline_of((1300.0, 1303.0), steps((400, 0.1))) == [pytest.approx((1225.0, 1300.0))], (
        "25 times the window's length"
    )
    assert baseline_of((1300.0, 1301.0), steps((400, 0.1))) == [pytest.approx((1240.0, 1300.0))], "a minute at least"


def test_slow_stretches_are_no_baseline_even_where_they_are_nearer() -> None:
    units = steps((30, 0.1), (15, 0.4), (15, 0.1), (15, 0.4))
    (first, second) = baseline_of((1065.0, 1068.0), units)
    assert first == pytest.approx((1000.0, 1030.0), abs=1.01)
    assert second == pytest.approx((1045.0, 1060.0), abs=1.01)


def test_a_few_slow_steps_among_many_fast_ones_are_no_baseline_either() -> None:
    ends = 1000.0 + np.cumsum(np.r_[np.full(300, 0.1), np.tile([0.1] * 4 + [0.6], 30)])
    units = units_of(np.r_[1000.0, ends], np.arange(len(ends) + 1.0), np.zeros(len(ends) + 1, np.int64))
    (only,) = baseline_of((1055.0, 1058.0), units)
    assert only == pytest.approx((1000.0, 1030.0), abs=1.01), "their median is that of the others, their mean is not"


def test_what_follows_counts_where_there_is_little_before() -> None:
    units = steps((5, 0.1), (10, 0.4), (60, 0.1))
    before, after = baseline_of((1006.0, 1009.0), units)
    assert before == pytest.approx((1000.0, 1005.0), abs=1.01)
    assert after[0] >= 1014.9
    assert length([before, after]) == pytest.approx(64, abs=2)


def test_less_than_three_seconds_are_no_baseline() -> None:
    assert baseline_of((1003.5, 1033.5), steps((3.5, 0.1), (30, 0.4))) != []
    assert baseline_of((1002.5, 1032.5), steps((2.5, 0.1), (30, 0.4))) == []


def test_only_what_was_recorded_counts() -> None:
    ranges = baseline_of((1300.0, 1303.0), steps((400, 0.1)), recorded=[(1100.0, 1150.0), (1290.0, 1310.0)])
    assert ranges == [pytest.approx((1100.0, 1150.0)), pytest.approx((1290.0, 1300.0))]


def test_checkpoints_and_the_first_steps_are_left_out() -> None:
    units = steps((60, 0.1))
    left_out = unsteady_by_nature(units, True, [(1030.5, 1031.5)], (1050.0, 1053.0))
    assert left_out == [pytest.approx((-800.1, 1005.0)), (1030.5, 1031.5)]
    assert baseline_of((1050.0, 1053.0), units, left_out=left_out) == [
        pytest.approx((1005.0, 1030.0)),
        pytest.approx((1032.0, 1050.0)),
    ]
    assert unsteady_by_nature(units, False, [(1030.5, 1031.5)], (1050.0, 1053.0)) == [(1030.5, 1031.5)]


def test_a_window_that_is_a_checkpoint_is_compared_with_others() -> None:
    assert unsteady_by_nature(steps((60, 0.1)), False, [(1030.0, 1033.0)], (1030.5, 1032.5)) == []


def test_without_steps_slices_count_in_which_as_much_is_done_as_usual() -> None:
    time_s = np.arange(1000.0, 1100.0, 0.1)
    busy = np.where((time_s >= 1040) & (time_s < 1060), 0.2, 0.9)
    assert baseline_of(
        (1080.0, 1083.0),
        None,
        activity=RawPoints(time_s, np.full(len(time_s), np.nan), np.zeros(len(time_s), np.int64), busy),
    ) == [
        pytest.approx((1005.0, 1040.0), abs=5.01),
        pytest.approx((1060.0, 1080.0)),
    ]
    assert baseline_of((1080.0, 1083.0), None) == []


@given(
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0.02, 0.1, 0.5, 3.0])), min_size=1, max_size=8),
    st.floats(0, 120),
)
def test_the_baseline_never_touches_the_window_and_is_in_order(stretches: list[tuple[float, float]], at: float) -> None:
    window = (1000.0 + at, 1003.0 + at)
    ranges = baseline_of(
        window, steps(*[(seconds, step_s) for seconds, step_s in stretches if seconds >= step_s] or [(5, 0.1)])
    )
    edges = [edge for one in ranges for edge in one]
    assert edges == sorted(edges)
    assert all(hi <= window[0] + 1e-6 or lo >= window[1] - 1e-6 for lo, hi in ranges)
    assert not ranges or length(ranges) >= 3


def test_units_count_by_parts_and_by_how_many_are_logged() -> None:
    units = units_of(
        np.array([0.0, 1.0, 2.0, 9.0, 10.0]), np.array([3.0, 4.0, 6.0, 2.0, 3.0]), np.array([0, 0, 0, 1, 1])
    )
    assert units.seconds.tolist() == [1.0, 0.5, 1.0]
    assert units.within([(0.0, 10.0)]) == 4, "not the time in which it was down"
    assert units.within([(0.5, 1.5)]) == pytest.approx(1.5)
    assert units.within([(0.0, 0.25), (1.75, 2.0)]) == pytest.approx(0.75)


def test_phases_follow_each_other_and_what_is_longer_than_the_step_ends_when_it_is_logged() -> None:
    times = np.array([4.0, 10.0, 20.0])
    phases = phases_of(["data", "forward"], [times, times], [np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 30.0])])
    assert phases.ranges("forward") == [(6.0, 10.0), (10.0, 20.0)], "a step cannot reach into the one before"
    assert phases.ranges("data") == [(4.0, 6.0)], "when the first step began is unknown"
    assert phases.ranges("backward") == []
    assert phases.seconds_within([(4.5, 10.0)]).tolist() == [2.0, 4.0]
    assert phases.steps_within([(4.5, 20.0)]) == 2


@given(
    before=st.floats(0, 9),
    between=st.floats(0, 9),
    after=st.floats(0, 9),
    data=st.floats(0, 9),
    forward=st.floats(0, 9),
)
def test_a_phase_is_only_where_it_surely_is_wherever_the_rest_of_its_step_was(
    before: float, between: float, after: float, data: float, forward: float
) -> None:
    times = np.array([0.0, before + data + between + forward + after])
    phases = phases_of(["data", "forward"], [times, times], [np.array([0.0, data]), np.array([0.0, forward])])
    rest_s = before + between + after
    for name, start, seconds in (("data", before, data), ("forward", before + data + between, forward)):
        found = phases.ranges(name)
        assert all(start - 1e-6 <= lo < hi <= start + seconds + 1e-6 for lo, hi in found)
        assert sum(hi - lo for lo, hi in found) == pytest.approx(max(0.0, seconds - rest_s), abs=1e-6)


def test_where_the_phases_of_a_line_of_many_steps_were_is_unknown() -> None:
    times, seconds = [np.array([0.0, 10.0, 20.0, 30.0])], [np.array([0.0, 9.0, 9.0, 9.0])]
    assert phases_of(["data"], times, seconds, steps=[np.array([0.0, 10.0, 11.0, 3.0])]).ranges("data") == [
        (11.0, 19.0)
    ]
    counts = RawPoints(np.array([20.0]), np.array([2.0]), np.zeros(1, np.int64), np.array([7.0]))
    assert phases_of(["data"], times, seconds, counts).ranges("data") == [(1.0, 9.0), (21.0, 29.0)]


def test_the_first_steps_of_long_ones_are_those_of_two_minutes() -> None:
    (left_out,) = unsteady_by_nature(steps((2000, 20.0)), True, [], (1900.0, 1903.0))
    assert left_out[1] == pytest.approx(980.0 + 120.0), "of the run: its first line ends a step, too"


def test_a_window_of_few_steps_is_compared_with_whole_ones() -> None:
    units = steps((200, 20.0))
    assert baseline_of((1128.0, 1133.0), units) == [pytest.approx((1020.0, 1120.0))], "five of them, all before"
    assert baseline_of((1028.0, 1133.0), units) == [pytest.approx((1000.0, 1020.0)), pytest.approx((1140.0, 1200.0))], (
        "or both"
    )
    assert units.whole((1128.0, 1133.0)) == pytest.approx((1120.0, 1140.0))
    assert units.whole((1300.0, 1303.0)) == (1300.0, 1303.0)


def test_a_step_that_goes_on_counts_as_one() -> None:
    units = steps((100, 20.0)).until(1105.0)
    assert (units.end_s[-1], units.units[-1]) == (1105.0, 1.0)
    stalled = steps((100, 0.1)).until(1140.0)
    assert stalled.within([(1100.0, 1140.0)]) == pytest.approx(1.0)
    fifty = units_of(np.array([0.0, 1.0]), np.array([0.0, 50.0]), np.zeros(2, np.int64)).until(1.31)
    assert fifty.units[-1] == 16, "as fast as the last ones, begun ones too"
    assert steps((10, 1.0)).until(1009.0).end_s[-1] == 1010.0


def test_beside_slow_lines_of_many_steps_nothing_is_the_baseline() -> None:
    """Nobody knows which of the fifty were slow already."""
    lengths = np.r_[np.full(30, 1.0), 1.4, np.full(8, 5.0), 1.4, np.full(30, 1.0)]
    ends = 1000.0 + np.cumsum(lengths)
    units = units_of(np.r_[1000.0, ends], 50 * np.arange(len(ends) + 1.0), np.zeros(len(ends) + 1, np.int64))
    first, second = baseline_of((1095.0, 1098.0), units)
    assert first[1] <= 1030.4 and second[0] >= 1072.4


def test_a_run_begins_anew_after_a_compilation() -> None:
    units = steps((60, 0.1))
    (first,) = unsteady_by_nature(units, True, [], (1050.0, 1053.0), [(1002.0, 1004.0)])
    assert first[1] == pytest.approx(1009.1, abs=0.2)
    first, later = unsteady_by_nature(units, True, [], (1050.0, 1053.0), [(1030.0, 1031.0)])
    assert (first[1], later) == (pytest.approx(1005.0, abs=0.2), (1030.0, 1031.0)), (
        "a later one is only left out itself"
    )
