"""Phases on a GPU by the logic around its events. No GPU ran these: `tests/support/simulated_gpu.py` says what stood in.

Nor does real time pass: it goes on while somebody sleeps, so that no test depends on how busy the machine is.
"""

from __future__ import annotations

import sys
from time import perf_counter, sleep

import pytest
import torch

from deepseek.log import phases as host_phases
from tests.support import simulated_gpu
from tests.support.simulated_gpu import SimulatedGpu
from trainer import measure
from trainer.measure import DEPTH, GpuClock, GpuPhases, StepNumbers

KERNEL_S = 0.02
ROUNDED_S = 1e-4  # events tell milliseconds as 32-bit floats


class Clock:
    now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s

    def perf_counter_ns(self) -> int:
        return round(self.now_s * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture(autouse=True)
def simulated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(host_phases, "perf_counter_ns", clock.perf_counter_ns)
    for module in (measure, simulated_gpu, sys.modules[__name__]):
        monkeypatch.setattr(module, "perf_counter", clock.perf_counter)
    for module in (simulated_gpu, sys.modules[__name__]):
        monkeypatch.setattr(module, "sleep", clock.sleep)


@pytest.fixture
def gpu() -> SimulatedGpu:
    return SimulatedGpu()


@pytest.fixture
def clock(gpu: SimulatedGpu) -> GpuClock:
    return GpuClock(gpu)


@pytest.fixture
def phases(clock: GpuClock) -> GpuPhases:
    return GpuPhases(clock)


def end(clock: GpuClock, step: int, **tensors: torch.Tensor) -> list[StepNumbers]:
    return clock.end_step(step, step / 10, {"lr": 0.5}, tensors)


def test_the_gpu_reports_a_step_once_it_is_past_it_without_a_wait(
    gpu: SimulatedGpu, clock: GpuClock, phases: GpuPhases
) -> None:
    waits, begun_s = gpu.waits, perf_counter()
    with phases["forward"]:
        gpu.launch(KERNEL_S)
    with phases["backward"]:
        gpu.launch(2 * KERNEL_S)
    with phases["forward"]:
        gpu.launch(KERNEL_S)
    assert end(clock, 7) == []
    assert perf_counter() == begun_s, "the host goes on while the GPU works"
    assert phases.take_s()["phase/backward_s"] == 0
    sleep(4 * KERNEL_S)
    (told,) = end(clock, 8)[:1]
    assert gpu.waits == waits
    assert (told.step, told.time_s, told.values) == (7, 0.7, {"lr": 0.5})
    assert told.late["gpu_phase/forward_s"] == pytest.approx(2 * KERNEL_S, abs=ROUNDED_S)
    assert told.late["gpu_phase/backward_s"] == pytest.approx(2 * KERNEL_S, abs=ROUNDED_S)


def test_what_launches_nothing_on_the_gpu_is_its_idle_time(
    gpu: SimulatedGpu, clock: GpuClock, phases: GpuPhases
) -> None:
    end(clock, 0)
    with phases["data"]:
        sleep(KERNEL_S)
    with phases["forward"]:
        gpu.launch(KERNEL_S)
    told = [*end(clock, 1), *clock.drain()][-1]
    assert told.step == 1
    assert "gpu_phase/data_s" not in told.late
    assert told.late["gpu/idle_s"] == pytest.approx(KERNEL_S, abs=ROUNDED_S)
    assert phases.take_s()["phase/data_s"] == pytest.approx(KERNEL_S)


def test_the_lead_of_the_host_is_what_the_gpu_has_still_to_do(
    gpu: SimulatedGpu, clock: GpuClock, phases: GpuPhases
) -> None:
    with phases["forward"]:
        gpu.launch(3 * KERNEL_S)
    ahead = [*end(clock, 0), *clock.drain()][-1]
    with phases["forward"]:
        gpu.launch(0)
        sleep(KERNEL_S)
    bound = [*end(clock, 1), *clock.drain()][-1]
    assert ahead.late["host_lead_s"] == pytest.approx(3 * KERNEL_S, abs=ROUNDED_S)
    assert bound.late["host_lead_s"] == pytest.approx(0, abs=ROUNDED_S)


def test_tensors_are_told_as_they_were_at_the_end_of_their_step(gpu: SimulatedGpu, clock: GpuClock) -> None:
    loss, scale = torch.tensor(0.5, requires_grad=True), torch.tensor([65536.0])
    gpu.launch(KERNEL_S)
    assert end(clock, 0, loss=loss, scale=scale) == []
    with torch.no_grad():
        loss.fill_(9)
    end(clock, 1, loss=loss)
    first, second = clock.drain()
    assert first.values == {"lr": 0.5, "loss": 0.5, "scale": 65536.0}
    assert second.values == {"lr": 0.5, "loss": 9.0}
    assert first.late.keys() == {"loss", "scale", "host_lead_s"}


def test_a_host_that_runs_far_ahead_waits_for_the_oldest_step_and_loses_none(
    gpu: SimulatedGpu, clock: GpuClock, phases: GpuPhases
) -> None:
    told: list[StepNumbers] = []
    for step in range(5 * DEPTH):
        with phases["forward"]:
            gpu.launch(0.001)
        told += end(clock, step)
    behind = clock.drain()
    assert len(behind) < DEPTH
    assert [one.step for one in told + behind] == list(range(5 * DEPTH))
    assert gpu.events <= 3 * (DEPTH + 1) + 2, "events are used again: two a phase, one a step, the anchor's"


def test_while_a_graph_is_captured_no_event_is_touched_and_that_step_has_no_times(
    gpu: SimulatedGpu, clock: GpuClock, phases: GpuPhases
) -> None:
    with phases["forward"]:
        gpu.capturing = True
    with phases["backward"]:
        pass
    assert end(clock, 0, loss=torch.tensor(1.0)) == [], "it ended within the capture: its tensors have no values yet"
    gpu.capturing = False
    with phases["forward"]:
        pass
    told = end(clock, 1, loss=torch.tensor(2.0))
    with phases["forward"]:
        pass
    captured, whole = [*told, *end(clock, 2), *clock.drain()]
    assert (captured.step, captured.late) == (1, {"loss": 2.0})
    assert {"gpu_phase/forward_s", "gpu/idle_s", "host_lead_s"} <= whole.late.keys()


def test_the_clocks_are_compared_again_each_minute(gpu: SimulatedGpu, clock: GpuClock) -> None:
    end(clock, 0)
    waits = gpu.waits
    end(clock, 1)
    assert gpu.waits == waits
    sleep(measure.REANCHOR_S + 1)
    gpu.launch(KERNEL_S)
    (told,) = end(clock, 2)[-1:]
    assert (gpu.waits, told.step) == (waits + 2, 2), "once for what is under way, once for the event itself"
    assert told.late["host_lead_s"] == pytest.approx(KERNEL_S, abs=ROUNDED_S)


def test_a_kernel_that_is_late_delays_what_is_told_and_not_the_host(gpu: SimulatedGpu, clock: GpuClock) -> None:
    gpu.launch(5 * KERNEL_S)
    told = [one for step in range(3) for one in end(clock, step)]
    assert told == []
    sleep(5 * KERNEL_S)
    assert [one.step for one in end(clock, 3)][:3] == [0, 1, 2]
