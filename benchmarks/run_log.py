"""What a call of `RunLog.scalars` with ten values costs its caller, beside an empty call and beside other loggers where installed.

    python -m benchmarks.run_log

Flat out: calls back to back. Paced: 100 calls a second from a loop that computes in between, as a training loop does. Asleep: the same
from a loop that sleeps in between; that has no budget, for it is mostly the time that a virtual processor takes to wake up, which
the empty call (the baseline) pays as well. Figures are of the round that others on the machine disturbed least, the spread is over
all rounds.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time, sleep, thread_time

from benchmarks import report
from deepseek.log import RunLog

VALUES = {f"train/series_{index}": 0.1234567 * index for index in range(10)}
ROUNDS, FLAT_CALLS, PACED_CALLS = 5, 40_000, 300
PEER_FLAT_CALLS = 2_000
PERIOD_S = 0.01
BUFFER = bytes(1 << 18)  # hashed as work: that frees the GIL and fills the caches, as a training step does

Call = Callable[[int, dict[str, float]], object]


def measure() -> list[report.Row]:
    with tempfile.TemporaryDirectory() as folder:
        rows = ours(Path(folder))
        for name, peer in PEERS.items():
            if importlib.util.find_spec(name):
                with peer(folder) as call:
                    rows += theirs(name, call)
    return rows


def ours(folder: Path) -> list[report.Row]:
    with RunLog(folder, "paced") as log:
        paced = rounds(log.scalars, PACED_CALLS, work)
        paced_empty = rounds(empty, PACED_CALLS, work)
        asleep = rounds(log.scalars, PACED_CALLS, sleep)
        asleep_empty = rounds(empty, PACED_CALLS, sleep)
    with RunLog(folder, "phases") as log:
        phase = rounds(lambda step, values: phase_of(log), FLAT_CALLS)
        with_phases = rounds(lambda step, values: scalars_with_phases(log, step, values), PACED_CALLS, work)
    flat_empty = rounds(empty, FLAT_CALLS)
    others_s = process_time() - thread_time()
    with RunLog(folder, "flat") as log:
        flat = rounds(log.scalars, FLAT_CALLS)
        closing_s = perf_counter()
    closing_s = perf_counter() - closing_s
    writer_s = process_time() - thread_time() - others_s
    with (folder / "flat" / "metrics.jsonl").open() as file:
        lines = sum(1 for _ in file)
    assert lines == ROUNDS * FLAT_CALLS, f"{lines} of {ROUNDS * FLAT_CALLS} lines were written"
    return [
        *quantiles("flat out", flat, flat_empty, 1, 10),
        *quantiles("paced", paced, paced_empty, 10, 30),
        *quantiles("asleep", asleep, asleep_empty),
        *quantiles("a phase, flat out", phase, flat_empty, 1, 10),
        *quantiles("four phases and their scalars, paced", with_phases, paced_empty),
        report.Row("processor time of the writer thread, a line", writer_s / lines * 1e6, "us"),
        report.Row(f"close() after {lines:,} calls at once", closing_s, "s"),
    ]


def theirs(name: str, call: Call) -> list[report.Row]:
    paced = rounds(call, PACED_CALLS, work)
    return [*quantiles(f"{name}, paced", paced), *quantiles(f"{name}, flat out", rounds(call, PEER_FLAT_CALLS))]


def rounds(call: Call, calls: int, pause: Callable[[float], None] | None = None) -> list[list[float]]:
    """Times of the calls in us, by round; a pause before each call."""
    times: list[list[float]] = []
    for first in range(0, ROUNDS * calls, calls):
        times.append([])
        for step in range(first, first + calls):
            if pause:
                pause(PERIOD_S)
            begun_ns = perf_counter_ns()
            call(step, VALUES)
            times[-1].append((perf_counter_ns() - begun_ns) / 1e3)
    return times


def empty(step: int, values: dict[str, float]) -> None:
    pass


def phase_of(log: RunLog) -> None:
    with log.phase("data"):
        pass


def scalars_with_phases(log: RunLog, step: int, values: dict[str, float]) -> None:
    for name in ("data", "forward", "backward", "optimizer"):
        with log.phase(name):
            pass
    log.scalars(step, values)


def work(seconds: float) -> None:
    until = perf_counter() + seconds
    while perf_counter() < until:
        hashlib.sha1(BUFFER)


def quantiles(
    name: str,
    times: list[list[float]],
    empty: list[list[float]] | None = None,
    p50: float | None = None,
    p99: float | None = None,
) -> list[report.Row]:
    rows = []
    for percent, budget in ((50, p50), (99, p99)):
        found = at(times, percent)
        baseline = at(empty, percent)[0] if empty else None
        spread = f"{found[0]:.2f} to {found[-1]:.2f}"
        rows.append(report.Row(f"{name}, p{percent}", found[0], "us", budget, baseline=baseline, spread=spread))
    return rows


def at(times: list[list[float]], percent: int) -> list[float]:
    """The percentile of every round, the least first."""
    return sorted(statistics.quantiles(one, n=100)[percent - 1] for one in times)


@contextmanager
def tensorboard(folder: str) -> Iterator[Call]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:
        yield lambda step, values: [writer.add_scalar(name, value, step) for name, value in values.items()]


@contextmanager
def trackio(folder: str) -> Iterator[Call]:
    os.environ["TRACKIO_DIR"] = folder
    import trackio

    trackio.init(project="benchmark", embed=False)
    yield lambda step, values: trackio.log(values, step=step)
    trackio.finish()


@contextmanager
def wandb(folder: str) -> Iterator[Call]:
    import wandb  # type: ignore[import-not-found]

    with wandb.init(mode="offline", dir=folder, project="benchmark") as run:
        yield lambda step, values: run.log(values, step=step)


PEERS: dict[str, Callable[[str], AbstractContextManager[Call]]] = {
    "tensorboard": tensorboard,
    "trackio": trackio,
    "wandb": wandb,
}


if __name__ == "__main__":
    sys.exit(report.run(measure, "What RunLog costs its caller."))
