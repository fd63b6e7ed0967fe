"""What RunLog and the instruments cost a training: the same loop bare and instrumented, in turns.

    python -m benchmarks.overhead

A step is real work of PyTorch, about 20 ms on one thread: a batch, a forward and a backward pass, an optimizer. Steps are run in
blocks; an instrumented block opens a log and instruments of its own, as a training does, and logs ten numbers a step in six phases. Each
round times four blocks in random order: bare and instrumented, whose times are divided by each other, and another bare pair, the A/A, whose
ratio says what this machine's noise alone looks like. The budget is missed where the 95 % interval of the ratio lies wholly above
1.01. On a GPU the loop runs there, and a block ends when its work is done.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from benchmarks.report import Row, paired, run
from deepseek.log import RunLog
from trainer.measure import Instruments

ROUNDS = 40
STEPS = 25  # a block: half a second, in which the log is written ten times
STEP_S = 0.02
SCALARS = {
    f"train/series_{index}": 0.1234567 * index for index in range(7)
}  # with loss, gradient norm and learning rate: ten
INSIDE_MS, RATIO, CPU_PCT = 0.2, 1.01, 1.0  # budgets
WIDTH = 512

EndStep = Callable[[int, dict[str, Any]], object]


class PhasesOf(Protocol):
    def __getitem__(self, name: str, /) -> AbstractContextManager[None]: ...


class Block(NamedTuple):
    """What STEPS steps took."""

    wall_s: float
    cpu_s: float  # of the whole process, the log's writer too, until all is written
    writer_s: float  # processor time of all threads but the training's
    steps_s: list[float]


class Loop:
    """A small network in training, its batch as large as makes a step of STEP_S here."""

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        self._device = device
        self._model = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(WIDTH, WIDTH), nn.GELU()))).to(
            device
        )
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-4, fused=True)
        self._rows = 64
        for _ in range(4):
            median_s = statistics.median(self.run(Bare(), nothing))
            self._rows = max(1, round(self._rows * STEP_S / median_s))

    def run(self, phases: PhasesOf, end_step: EndStep) -> list[float]:
        """Seconds of each step."""
        return [self._step(step, phases, end_step) for step in range(STEPS)]

    def settle(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def _step(self, step: int, phases: PhasesOf, end_step: EndStep) -> float:
        begun_s = perf_counter()
        with phases["data"]:
            batch = torch.rand(self._rows, WIDTH)
        with phases["h2d"]:
            batch = batch.to(self._device, non_blocking=True)
        with phases["forward"]:
            loss = (self._model(batch) - batch).square().mean()
        with phases["backward"]:
            loss.backward()
        with phases["optimizer"]:
            norm = nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad()
        end_step(step, {"train/loss": loss, "train/grad_norm": norm, "train/lr": 1e-4, **SCALARS})
        return perf_counter() - begun_s


class Bare(dict[str, AbstractContextManager[None]]):
    """Phases that time nothing."""

    def __missing__(self, name: str) -> AbstractContextManager[None]:
        phase = self[name] = nullcontext()
        return phase


def nothing(step: int, values: dict[str, Any]) -> None:
    pass


class Stopwatch:
    """Adds up the time inside the calls that it passes on; its own two looks at the clock are in it, too."""

    def __init__(self, phases: PhasesOf, end_step: EndStep) -> None:
        self._phases, self._end_step = phases, end_step
        self._spent_ns = 0
        self.steps_ms: list[float] = []

    def __getitem__(self, name: str) -> AbstractContextManager[None]:
        return self._passed_on(name)

    @contextmanager
    def _passed_on(self, name: str) -> Iterator[None]:
        begun_ns = perf_counter_ns()
        phase = self._phases[name]
        phase.__enter__()
        self._spent_ns += perf_counter_ns() - begun_ns
        yield
        begun_ns = perf_counter_ns()
        phase.__exit__(None, None, None)
        self._spent_ns += perf_counter_ns() - begun_ns

    def end_step(self, step: int, values: dict[str, Any]) -> None:
        begun_ns = perf_counter_ns()
        self._end_step(step, values)
        self.steps_ms.append((self._spent_ns + perf_counter_ns() - begun_ns) / 1e6)
        self._spent_ns = 0


class Measured(NamedTuple):
    """Blocks of all rounds, those of one round at the same place."""

    bare: list[Block]
    instrumented: list[Block]
    a: list[Block]
    also_a: list[Block]
    inside_ms: list[float]  # by step


def measure(rounds: int = ROUNDS) -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        measured = in_turns(Loop(device), device, Path(folder), rounds)
    torch.set_num_threads(threads)
    return rows(measured)


def in_turns(loop: Loop, device: torch.device, folder: Path, rounds: int) -> Measured:
    measured = Measured([], [], [], [], [])
    chance = random.Random(0)
    for number in range(rounds):
        for blocks in chance.sample(measured[:4], 4):
            with_log = blocks is measured.instrumented
            blocks.append(instrumented(loop, device, folder / f"{number}") if with_log else bare(loop))
        measured.inside_ms.extend(inside(loop, device, folder / f"{number}-inside"))
    return measured


def bare(loop: Loop) -> Block:
    cpu_s, writer_s, begun_s = processor_s(), other_threads_s(), perf_counter()
    steps_s = loop.run(Bare(), nothing)
    loop.settle()
    return Block(perf_counter() - begun_s, processor_s() - cpu_s, other_threads_s() - writer_s, steps_s)


def instrumented(loop: Loop, device: torch.device, folder: Path) -> Block:
    """Without the start of the log and its end, which a training has once; all that it writes is in the processor time."""
    with RunLog(folder, "run") as log, Instruments(log, device) as instruments:
        cpu_s, writer_s, begun_s = processor_s(), other_threads_s(), perf_counter()
        steps_s = loop.run(instruments.phases, instruments.end_step)
        loop.settle()
        wall_s = perf_counter() - begun_s
    return Block(wall_s, processor_s() - cpu_s, other_threads_s() - writer_s, steps_s)


def inside(loop: Loop, device: torch.device, folder: Path) -> list[float]:
    """Milliseconds a step in the calls of phases, instruments and log, in the training thread."""
    with RunLog(folder, "run") as log, Instruments(log, device) as instruments:
        stopwatch = Stopwatch(instruments.phases, instruments.end_step)
        loop.run(stopwatch, stopwatch.end_step)
        return stopwatch.steps_ms


def rows(measured: Measured) -> list[Row]:
    bare, instrumented = measured.bare, measured.instrumented
    ratio, low, high = paired([one.wall_s / other.wall_s for one, other in zip(instrumented, bare, strict=True)])
    noise, noise_low, noise_high = paired(
        [one.wall_s / other.wall_s for one, other in zip(measured.also_a, measured.a, strict=True)]
    )
    cpu, cpu_low, cpu_high = paired(
        [100 * (one.cpu_s / other.cpu_s - 1) for one, other in zip(instrumented, bare, strict=True)]
    )
    writer = statistics.median(100 * block.writer_s / block.cpu_s for block in instrumented)
    steps_ms = [[1e3 * step_s for block in blocks for step_s in block.steps_s] for blocks in (bare, instrumented)]
    return [
        Row("instrumented / bare", ratio, "", spread=f"95 % interval {low:.4f} to {high:.4f}"),
        Row("bare / bare, the A/A", noise, "", spread=f"95 % interval {noise_low:.4f} to {noise_high:.4f}"),
        Row("instrumented / bare, lower end of the interval", low, "", RATIO),
        Row("time inside log and instruments, a step, p50", percentile(measured.inside_ms, 50), "ms", INSIDE_MS),
        Row("time inside log and instruments, a step, mean", statistics.mean(measured.inside_ms), "ms"),
        Row("added processor time", cpu, "%", spread=f"95 % interval {cpu_low:.2f} to {cpu_high:.2f}"),
        Row("added processor time, lower end of the interval", cpu_low, "%", CPU_PCT),
        Row("processor time of the log's writer thread", writer, "%", CPU_PCT),
        *(
            Row(f"step, p{percent}", percentile(steps_ms[1], percent), "ms", baseline=percentile(steps_ms[0], percent))
            for percent in (50, 99)
        ),
    ]


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def other_threads_s() -> float:
    return time.process_time() - time.thread_time()


if __name__ == "__main__":
    sys.exit(run(measure, "What RunLog and the instruments cost a training."))
