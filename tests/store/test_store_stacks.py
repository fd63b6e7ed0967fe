"""What every store must do with stacks and the source text that they point into."""

from __future__ import annotations

import math

import pytest

from collectors.records import Frame, Resident, SourceText, StackRecording, StackSpan
from collectors.store.store import Store
from tests.support.stored import START_S, Open, profile, text_of
from tests.support.stored import opened as opened  # a fixture
from tests.support.stored import store as store  # a fixture


def test_stacks_of_a_window_are_cut_to_it(store: Store) -> None:
    main, leaf = Frame("main", "train.py", 1), Frame("load", "data.py", 88)
    samples = [
        StackSpan(5_000_000_000, 1_000_000_000, 7, (main, leaf), True, 400_000_000),
        StackSpan(6_000_000_000, 2_000_000_000, 7, (main,), None, None, False),
        StackSpan(6_000_000_000, 500_000_000, 8, (leaf,)),
    ]
    store.append([profile(samples)])
    found = store.stacks(START_S + 0.5, START_S + 1.5, "a")
    assert [[found.frames[i] for i in found.stacks[one]] for one in found.stack] == [[main, leaf], [main], [leaf]]
    assert found.time_s.tolist() == [START_S + 0.5, START_S + 1, START_S + 1]
    assert found.duration_s.tolist() == [0.5, 0.5, 0.5]
    assert found.resolved.tolist() == [True, False, True] and found.gil.tolist() == [1, -1, -1]
    assert found.cpu_s[0] == 0.4 and math.isnan(found.cpu_s[1])
    assert found.processes == [("a", 0, 99, "main")] and found.threads == {(99, 7): "MainThread", (99, 8): "loader"}
    assert found.covered == [(START_S + 0.5, START_S + 1.5)] and found.hz == 100.0 and found.samples == 75
    assert store.profiled_until("a") == START_S + 4 and store.profiled_until("b") is None


def test_resident_memory_is_kept_with_the_stacks_of_its_process(store: Store) -> None:
    def window(pid: int, second: int, *sizes: Resident) -> StackRecording:
        sample = StackSpan(second * 10**9, 10**9, pid, (Frame("main", "train.py", 1),))
        span = {"start_s": START_S + second, "start_mono_ns": second * 10**9, "end_mono_ns": (second + 1) * 10**9}
        return profile([sample], pid=pid)._replace(resident=sizes, **span)

    store.append(
        [window(1, 0, Resident(0, 100), Resident(500_000_000, 300)), window(2, 0, Resident(0, 7)), window(3, 0)]
    )
    store.append([window(1, 1, Resident(1_250_000_000, 200))])
    found = {process.pid: memory for process, memory in store.resident(START_S + 0.25, START_S + 2, "a").items()}
    assert found[1].time_s.tolist() == pytest.approx([START_S + 0.5, START_S + 1.25], abs=2e-6)
    assert found[1].bytes.tolist() == [300 * 1024, 200 * 1024] and 3 not in found
    assert store.resident(START_S, START_S + 2, "b") == {}


def test_the_profile_reaches_as_far_as_all_processes_that_were_lately_looked_at(store: Store) -> None:
    def until(pid: int, lo: int, hi: int) -> StackRecording:
        return profile([], pid=pid)._replace(start_s=START_S + lo, start_mono_ns=0, end_mono_ns=(hi - lo) * 10**9)

    store.append([until(1, 0, 10), until(2, 0, 8), until(3, 0, 4)])
    assert store.profiled_until("a") == START_S + 8, "its worker's stacks are still to come, and another worker is gone"
    store.append([until(2, 8, 11)])
    assert store.profiled_until("a") == START_S + 10
    store.append([until(1, 10, 20)])
    assert store.profiled_until("a") == START_S + 20


def test_of_hours_of_windows_those_that_touch_a_time_are_found_also_where_one_outlasts_others(store: Store) -> None:
    def window(pid: int, lo: float, hi: float) -> StackRecording:
        sample = StackSpan(0, round((hi - lo) * 1e9), 7, (Frame("main", "train.py", pid),))
        return profile([sample], pid=pid)._replace(
            start_s=START_S + lo, start_mono_ns=0, end_mono_ns=round((hi - lo) * 1e9)
        )

    store.append(
        [window(1, 10.0, 20.0), window(2, 0.0, 3600.0), *(window(3, at, at + 60.0) for at in range(3600, 40_000, 60))]
    )
    assert store.profiled_from("a") == START_S, "of a window that ends long after the first one to end"
    found = store.stacks(START_S + 3000, START_S + 3700, "a")
    assert {pid for _, _, pid, _ in found.processes} == {2, 3} and found.covered == [(START_S + 3000, START_S + 3700)]
    counts = store.stack_counts(START_S + 3000, START_S + 3700, "a")
    assert sorted(hi - START_S for _, hi, _ in counts) == [3600, 3660, 3720]


@pytest.mark.parametrize("drift", [-0.009, -0.005, -1e-6, 0.0, 1e-6, 0.005, 0.009])
def test_a_wall_clock_that_is_being_set_right_leaves_no_gaps(store: Store, drift: float) -> None:
    """The monotonic clock, by which windows follow each other, goes on evenly."""
    for number in range(20):
        begun_s = number * 5.0
        sample = StackSpan(round(begun_s * 1e9), 5 * 10**9, 7, (Frame("main", "train.py", 1),))
        mine = profile([sample])._replace(start_s=START_S + begun_s * (1 + drift), start_mono_ns=round(begun_s * 1e9))
        store.append([mine._replace(end_mono_ns=mine.start_mono_ns + 5 * 10**9)])
    hole_s = 120.0
    later = profile([])._replace(start_s=START_S + hole_s, start_mono_ns=0, end_mono_ns=5 * 10**9)
    store.append([later, later._replace(start_s=START_S + hole_s + 5.2)])
    end_s = 95 * (1 + drift) + 5
    expected = [(0, end_s), (hole_s, hole_s + 5), (hole_s + 5.2, hole_s + 10.2)]
    found = store.stacks(START_S, START_S + 600, "a").covered
    assert [pytest.approx((lo - START_S, hi - START_S), abs=1e-3) for lo, hi in found] == expected


def test_stacks_are_chosen_by_run(store: Store) -> None:
    sample = StackSpan(5_000_000_000, 1_000_000_000, 7, (Frame("main", "train.py", 1),))
    store.append([profile([sample]), profile([sample._replace(tid=8)], rank=1, pid=100)])
    found = store.stacks(START_S, START_S + 10, "a")
    assert found.processes == [("a", 0, 99, "main"), ("a", 1, 100, "main")] and sorted(found.tid.tolist()) == [7, 8]
    assert len(store.stacks(START_S, START_S + 10, "b").tid) == 0


def test_the_text_of_a_source_file_is_that_of_the_newest_process_that_had_it(opened: Open) -> None:
    store = opened(True)
    first, later = (
        text_of("a", "/job/train.py", "step = 1\n"),
        text_of("a", "/job/train.py", "step = 2\n", START_S + 100),
    )
    store.append([first, text_of("b", "/job/train.py", "step = 1\n")])
    assert opened(False).source_text("a", "/job/train.py") == first
    store.append([later])
    assert store.source_text("a", "/job/train.py") == later
    store.append([first._replace(since_s=START_S + 200)])  # edited back, and started again
    assert store.source_text("a", "/job/train.py") == first._replace(since_s=START_S + 200)
    assert store.source_text("b", "/job/train.py") == first._replace(run="b")
    assert store.source_text("a", "/job/other.py") is None and store.source_text("c", "/job/train.py") is None


def test_why_a_text_is_not_kept_is_known_unless_it_was_kept_before(store: Store) -> None:
    changed = SourceText("a", "/job/train.py", "", "", START_S + 0.01, "It changed.")
    store.append([changed])
    assert store.source_text("a", "/job/train.py") == changed
    kept = text_of("a", "/job/train.py", "step = 1\n")
    store.append([kept])
    assert store.source_text("a", "/job/train.py") == kept, "looked at again by a collector that was started anew"
    again = changed._replace(since_s=START_S + 60)
    store.append([again])
    assert store.source_text("a", "/job/train.py") == again, "of the next process"


def test_of_a_run_no_more_than_20_mb_of_source_are_kept(store: Store) -> None:
    texts = [text_of("a", f"/job/{i}.py", chr(65 + i) * 1_000_000) for i in range(21)]
    store.append([*texts, texts[0]._replace(path="/job/the same.py"), texts[20]._replace(run="b")])
    assert [bool(found.sha) for i in range(21) if (found := store.source_text("a", f"/job/{i}.py"))] == [True] * 20 + [
        False
    ]
    last = store.source_text("a", "/job/20.py")
    assert last is not None and "20 MB" in last.why
    assert store.source_text("a", "/job/the same.py") == texts[0]._replace(path="/job/the same.py"), (
        "a text counts once"
    )
    assert store.source_text("b", "/job/20.py") == texts[20]._replace(run="b"), "for each run by itself"
