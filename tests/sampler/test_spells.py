"""Which run a sample is of, where one process logs several runs in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from collectors.machine.run_state import RunActivity, RunProcess
from collectors.records import Event, Frame, StackRecording, StackSpan
from collectors.sampler.run_periods import RunPeriods, part_of

PROCESS = RunProcess(7, 0, 700)
NS = 10**9
STACK = (Frame("main", "t.py", 1),)


def window(from_s: float, until_s: float, pid: int = PROCESS.pid) -> StackRecording:
    """One span of a second for each second of it, of a thread that changes half-way."""
    length_ns = round((until_s - from_s) * NS)
    tids = [1 if at_ns < length_ns / 2 else 2 for at_ns in range(0, length_ns, NS)]
    samples = [StackSpan(5 * NS + i * NS, NS, tid, STACK, cpu_ns=NS // 2) for i, tid in enumerate(tids)]
    return StackRecording(
        "?",
        0,
        pid,
        "main",
        "box",
        "native",
        100.0,
        from_s,
        5 * NS,
        5 * NS + length_ns,
        {1: "a", 2: "b"},
        samples,
        100 * len(samples),
    )


def reach(profile: StackRecording) -> tuple[float, float]:
    return profile.start_s, profile.start_s + (profile.end_mono_ns - profile.start_mono_ns) / NS


def run(
    name: str, start_s: float | None, end_s: float | None = None, *, ticks: int = 700, line_s: float | None = None
) -> RunActivity:
    starts = [] if start_s is None else [Event(name, "start", start_s, fields={"pid": 7, "pid_start_ticks": ticks})]
    ends = [] if end_s is None else [Event(name, "end", end_s)]
    return RunActivity(name, Path("/none"), {}, starts, ends, line_s, 0.1)


class Clock:
    """Looks at runs at the moments that a test names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spells, self._patch = RunPeriods(), monkeypatch

    def look(self, now_s: float, here: str, *activities: RunActivity) -> None:
        """`here`: the runs that the process is of."""
        self._patch.setattr(time, "time", lambda: now_s)
        self.spells.look(
            {name: [PROCESS] for name in here.split()}, {activity.run: activity for activity in activities}
        )

    def of(self, from_s: float, until_s: float, pid: int = PROCESS.pid) -> Mapping[str, tuple[float, float]]:
        parts = self.spells.parts(window(from_s, until_s), pid)
        return {part.run: pytest.approx(reach(part)) for part in parts}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_part_of_a_window_has_the_spans_cut_and_the_threads_that_are_in_it() -> None:
    whole = window(100, 104)
    assert part_of(whole, -math.inf, math.inf) is whole and part_of(whole, 99, 104) is whole
    assert part_of(whole, 104, 105) is None and part_of(whole, 90, 100) is None
    part = part_of(whole, 100.25, 101.5)
    assert part is not None and reach(part) == (100.25, 101.5)
    assert [(one.mono_ns, one.duration_ns, one.cpu_ns) for one in part.samples] == [
        (5 * NS + NS // 4, NS * 3 // 4, NS * 3 // 8),
        (6 * NS, NS // 2, NS // 4),
    ]
    assert (part.threads, part.count) == ({1: "a"}, round(400 * 1.25 / 4))


def test_each_of_two_runs_in_turn_has_what_the_process_did_before_the_next_one_began(clock: Clock) -> None:
    first, second = run("first", 100), run("second", 106.2)
    clock.look(101, "first", first)
    clock.look(107, "second", run("first", 100, 106), second)
    assert clock.of(102, 108) == {"first": (102, 106.2), "second": (106.2, 108)}
    clock.look(110, "", run("first", 100, 106), run("second", 106.2, 109.5))
    assert clock.of(108, 112) == {"second": (108, 109.5)}, "and what it did when the last one had ended is no run's"
    assert clock.of(90, 95) == {"first": (90, 95)}, "it was sampled for the first run alone"


def test_a_run_of_the_whole_process_has_all_of_it_beside_those_in_turn(clock: Clock) -> None:
    whole = run("whole", None)
    clock.look(100, "whole", whole)
    clock.look(104, "whole first", whole, run("first", 103))
    clock.look(
        107, "whole first second", whole, run("first", 103), run("second", 106)
    )  # the end is read later than the next start
    clock.look(108, "whole second", whole, run("first", 103, 105.9), run("second", 106))
    assert clock.of(101, 109) == {"whole": (101, 109), "first": (103, 106), "second": (106, 109)}


def test_runs_at_the_same_time_share_what_they_have_in_common(clock: Clock) -> None:
    one, two = run("one", 100), run("two", 102)
    clock.look(101, "one", one)
    clock.look(103, "one two", one, two)
    clock.look(108, "two", run("one", 100, 107), two)
    assert clock.of(101, 109) == {"one": (101, 107), "two": (102, 109)}


def test_a_run_without_a_start_event_begins_with_the_last_line_of_the_one_before(clock: Clock) -> None:
    clock.look(100, "first", run("first", None, line_s=100))
    clock.look(105, "first", run("first", None, line_s=105))
    clock.look(106, "first", run("first", None, line_s=105.5))
    clock.look(107, "second", run("first", None, line_s=105.5), run("second", None, line_s=106.8))
    assert clock.of(104, 108) == {"first": (104, 105.5), "second": (105.5, 108)}


def test_a_run_that_is_written_again_has_both_times(clock: Clock) -> None:
    clock.look(100, "a", run("a", 99))
    clock.look(104, "", run("a", 99, 103))
    clock.look(106, "a", run("a", 105))
    parts = clock.spells.parts(window(101, 107), PROCESS.pid)
    assert [reach(part) for part in parts] == [(101, 103), (105, 107)]


def test_a_run_that_loses_its_process_for_a_look_has_nothing_twice(clock: Clock) -> None:
    only = run("a", 99, line_s=103)
    clock.look(100, "a", only)
    clock.look(104, "", only)
    clock.look(105, "a", only)
    parts = clock.spells.parts(window(101, 107), PROCESS.pid)
    assert [reach(part) for part in parts] == [(101, 103), (103, 107)]


def test_in_a_container_the_process_has_another_pid_and_the_same_ticks(clock: Clock) -> None:
    whole, inside = run("whole", None), run("inside", 102)
    inside = inside._replace(starts=[inside.starts[0]._replace(fields={"pid": 1, "pid_start_ticks": 700})])
    clock.look(100, "whole", whole)
    clock.look(103, "whole inside", whole, inside)
    assert clock.of(101, 104) == {"whole": (101, 104), "inside": (102, 104)}


def test_a_worker_is_of_the_runs_of_the_process_above_it_and_a_pid_is_remembered_for_a_minute(clock: Clock) -> None:
    clock.look(100, "a", run("a", 99))
    (part,) = clock.spells.parts(window(101, 102, pid=8), PROCESS.pid)
    assert (part.run, part.pid) == ("a", 8)
    clock.look(103, "", run("a", 99, 102.5))
    assert clock.spells.left_s(PROCESS.pid, 700) == 102.5 and clock.spells.is_known(PROCESS.pid)
    clock.look(200, "", run("a", 99, 102.5))
    assert not clock.spells.is_known(PROCESS.pid)
