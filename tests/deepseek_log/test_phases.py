"""Phases on the host, by a clock that goes on while a step sleeps, so that no test depends on how busy the machine is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deepseek.log import phases as host_phases
from deepseek.log.phases import LinePhases, Phases


class Clock:
    now_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(host_phases, "perf_counter_ns", clock.perf_counter_ns)
    return clock


def test_a_phase_adds_up_what_was_spent_in_it_since_last_asked(clock: Clock) -> None:
    phases = Phases()
    for _ in range(2):
        with phases["data"]:
            clock.sleep(0.01)
    with phases["forward"]:
        pass
    spent = phases.take_s()
    assert spent == {"phase/data_s": pytest.approx(0.02), "phase/forward_s": 0}
    assert phases.take_s() == {"phase/data_s": 0, "phase/forward_s": 0}, "0 in a step that passes it over"


def spend(phases: Phases, clock: Clock, *names: str) -> None:
    for name in names:
        with phases[name]:
            clock.sleep(0.01)


@pytest.mark.parametrize(
    "validated_at", [lambda step: step, lambda step: step + 1, lambda step: step // 10, lambda step: np.int64(step)]
)
def test_a_line_that_is_no_step_has_no_phases(clock: Clock, validated_at: Callable[[int], object]) -> None:
    phases = LinePhases()
    for step in range(100):
        spend(phases, clock, "data", "forward")
        assert phases.take_s_for(step).keys() == {"phase/data_s", "phase/forward_s"}
        assert phases.take_s_for(step) == {}, "more numbers of the same step"
        if step % 10 == 9:
            assert phases.take_s_for(validated_at(step)) == {}
            spend(phases, clock, "validation")
            assert phases.take_s_for(validated_at(step)) == {"phase/validation_s": pytest.approx(0.01)}


def test_a_step_that_is_logged_by_parts_has_each_phase_once(clock: Clock) -> None:
    phases = LinePhases()
    for step in range(3):
        spend(phases, clock, "data", "forward")
        assert phases.take_s_for(step).keys() == {"phase/data_s", "phase/forward_s"}
        spend(phases, clock, "backward")
        assert phases.take_s_for(step).keys() == {"phase/backward_s"}


def test_a_step_that_passes_a_phase_over_spends_nothing_in_it(clock: Clock) -> None:
    phases = LinePhases()
    spend(phases, clock, "forward", "optimizer")
    phases.take_s_for(0)
    spend(phases, clock, "forward")
    assert phases.take_s_for(1) == {"phase/forward_s": pytest.approx(0.01), "phase/optimizer_s": 0}


def test_a_phase_that_most_steps_lack_is_0_in_them_though_there_is_no_other(clock: Clock) -> None:
    phases = LinePhases()
    taken = []
    for step in range(100):
        if step % 50 == 49:
            spend(phases, clock, "checkpoint")
        taken.append(phases.take_s_for(step))
    assert taken[49] == taken[99] == {"phase/checkpoint_s": pytest.approx(0.01)}
    assert sum(line == {"phase/checkpoint_s": 0} for line in taken) >= 48


def test_steps_that_begin_anew_have_their_phases(clock: Clock) -> None:
    phases = LinePhases()
    for _fold in range(3):
        for step in range(5):
            spend(phases, clock, "forward")
            assert phases.take_s_for(step) == {"phase/forward_s": pytest.approx(0.01)}


def test_a_phase_goes_with_the_lines_of_its_thread(clock: Clock) -> None:
    phases = LinePhases()
    with ThreadPoolExecutor(1) as other:
        spend(phases, clock, "forward")
        phases.take_s_for(0)
        spend(phases, clock, "forward")
        assert other.submit(phases.take_s_for, 0).result() == {}, "of a step that goes on in the first thread"
        other.submit(spend, phases, clock, "evaluation").result()
        assert phases.take_s_for(1) == {"phase/forward_s": pytest.approx(0.01)}
        assert other.submit(phases.take_s_for, 1).result() == {"phase/evaluation_s": pytest.approx(0.01)}
    with ThreadPoolExecutor(1) as another:
        another.submit(spend, phases, clock, "evaluation").result()
        assert another.submit(phases.take_s_for, 1).result() == {"phase/evaluation_s": pytest.approx(0.01)}
    with ThreadPoolExecutor(1) as silent:
        silent.submit(spend, phases, clock, "prefetch").result()
        spend(phases, clock, "forward")
        assert "phase/prefetch_s" in phases.take_s_for(2)


@pytest.mark.parametrize("step", [None, "3", float("nan"), 2**200, object()])
def test_any_step_is_taken(clock: Clock, step: object) -> None:
    phases = LinePhases()
    spend(phases, clock, "forward")
    assert phases.take_s_for(step) == {"phase/forward_s": pytest.approx(0.01)}
    assert phases.take_s_for(step) == {}


def test_a_phase_that_is_left_by_an_exception_is_counted(clock: Clock) -> None:
    phases = Phases()
    with pytest.raises(ValueError, match="bad"), phases["data"]:
        clock.sleep(0.01)
        raise ValueError("bad")
    assert phases.take_s()["phase/data_s"] == pytest.approx(0.01)
