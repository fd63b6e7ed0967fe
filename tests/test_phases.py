"""Phases on the host, by a clock that goes on while a step sleeps, so that no test depends on how busy the machine is."""

from __future__ import annotations

import pytest

from trainer import phases as host_phases
from trainer.phases import Phases


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


def test_a_phase_that_is_left_by_an_exception_is_counted(clock: Clock) -> None:
    phases = Phases()
    with pytest.raises(ValueError, match="bad"), phases["data"]:
        clock.sleep(0.01)
        raise ValueError("bad")
    assert phases.take_s()["phase/data_s"] == pytest.approx(0.01)
