"""The native sampler against py-spy in the same run: CPU, memory, the first sample, and what the target pays.

`SAMPLER_BENCH_SCALE=0.1` shortens every measurement.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.report import Row, run
from collectors.machine.proc import start_ticks
from collectors.sampler import Target
from collectors.sampler.native import NativeSampler
from collectors.sampler.pyspy import find_program as find_pyspy
from collectors.sampler.pyspy import parse
from tests.programs import running
from tests.support.soak import soak

SCALE = float(os.environ.get("SAMPLER_BENCH_SCALE", "1"))
MEASURED_S = 20 * SCALE
STORED_S = 180 * SCALE
SETTLE_S = 2 * min(1.0, SCALE)
PYSPY_ATTACHES_S = 0.1  # each, on two cores
POLL_S = 0.5  # as the collector turns it
FULL_HZ = 100.0
RANKS, WORKERS, RANK_HZ, WORKER_HZ = 8, 12, 50.0, 10.0
BUSY_PERCENT = {1: 50.0, 8: 10.0, RANKS * (1 + WORKERS): 0.5}  # of a core each, by their number
PAIRS = max(8, round(200 * SCALE))
ATTACHES = max(5, round(20 * SCALE))
CPU_RATIO = {1: 0.3, 8: 0.15}


class Cost(NamedTuple):
    sampler_pct: float  # of a core
    reader_pct: float  # in this process, of the same core
    rss_mb: float

    @property
    def cpu_pct(self) -> float:
        return self.sampler_pct + self.reader_pct

    @property
    def parts(self) -> str:
        return f"of it reading {self.reader_pct:.2f}"


def measure() -> list[Row]:
    rows: list[Row] = []
    for count in (1, 8):
        with targets(count) as pids:
            ours, theirs = native_cost(at(FULL_HZ, pids)), pyspy_cost(at(FULL_HZ, pids))
        rows += compared(f"{count} at {FULL_HZ:g} Hz", ours, theirs, CPU_RATIO[count])
    with targets(RANKS * (1 + WORKERS)) as pids:
        mixed = [*at(RANK_HZ, pids[:RANKS]), *at(WORKER_HZ, pids[RANKS:])]
        ours, full, theirs = native_cost(mixed), native_cost(at(FULL_HZ, pids)), pyspy_cost(mixed)
    title = f"{RANKS} ranks x {WORKERS} workers, {RANK_HZ:g} and {WORKER_HZ:g} Hz"
    rows += [
        Row(
            f"{title}: CPU",
            ours.cpu_pct,
            "% of a core",
            budget=10.0,
            baseline=theirs.cpu_pct,
            spread=f"{ours.parts}, of py-spy's {theirs.reader_pct:.2f}",
        ),
        Row(f"{title}: memory", ours.rss_mb, "MB", budget=50.0, baseline=theirs.rss_mb),
        Row(
            f"the same at {FULL_HZ:g} Hz: CPU",
            full.cpu_pct,
            "% of a core",
            spread=full.parts,
        ),
    ]
    return [*rows, first_sample(), *hour_of_profile(), *slow_down()]


def compared(title: str, ours: Cost, theirs: Cost, ratio: float) -> list[Row]:
    return [
        Row(
            f"{title}: CPU",
            ours.cpu_pct,
            "% of a core",
            budget=ratio * theirs.cpu_pct,
            baseline=theirs.cpu_pct,
            spread=f"{ours.parts}, of py-spy's {theirs.reader_pct:.2f}",
        ),
        Row(f"{title}: memory", ours.rss_mb, "MB", budget=theirs.rss_mb, baseline=theirs.rss_mb),
    ]


@contextmanager
def targets(count: int) -> Iterator[list[int]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running("steady", str(BUSY_PERCENT[count]))).pid for _ in range(count)]


def at(hz: float, pids: Sequence[int]) -> list[Target]:
    return [Target("run", 0, pid, start_ticks(pid) or 0, "main", hz) for pid in pids]


def native_cost(found: Sequence[Target]) -> Cost:
    sampler = NativeSampler("box")
    sampler.follow(found)
    turn(sampler, SETTLE_S)
    assert sampler.pid
    process = psutil.Process(sampler.pid)
    used_s, reader_s, begun_s = cpu_s(process), time.process_time(), time.monotonic()
    turn(sampler, MEASURED_S)
    elapsed_s = time.monotonic() - begun_s
    used_s, reader_s, rss_bytes = cpu_s(process) - used_s, time.process_time() - reader_s, process.memory_info().rss
    sampler.close()
    return Cost(100 * used_s / elapsed_s, 100 * reader_s / elapsed_s, rss_bytes / 1e6)


def turn(sampler: NativeSampler, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        list(sampler.profiles())
        time.sleep(POLL_S)


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def pyspy_cost(found: Sequence[Target]) -> Cost:
    """One recorder a process, as py-spy has to be used, and reading its files; attaching is not counted."""
    with TemporaryDirectory() as folder:
        traces = [Path(folder) / f"{target.pid}.json" for target in found]
        recorders = [pyspy(*one) for one in zip(found, traces, strict=True)]
        processes = [psutil.Process(recorder.pid) for recorder in recorders]
        begun_s = time.monotonic()
        time.sleep(SETTLE_S + PYSPY_ATTACHES_S * len(found))
        used_s, measured_s = sum(map(cpu_s, processes)), time.monotonic()
        time.sleep(MEASURED_S)
        ended_s = time.monotonic()
        used_s, rss_bytes = sum(map(cpu_s, processes)) - used_s, sum(process.memory_info().rss for process in processes)
        for recorder in recorders:
            recorder.send_signal(signal.SIGINT)
        for recorder in recorders:
            recorder.wait()
        reader_s = time.process_time()
        for trace in traces:
            parse(trace.read_bytes())
        reader_s = time.process_time() - reader_s
    return Cost(100 * used_s / (ended_s - measured_s), 100 * reader_s / (ended_s - begun_s), rss_bytes / 1e6)


def pyspy(target: Target, trace: Path = Path(os.devnull)) -> subprocess.Popen[bytes]:
    program = find_pyspy()
    assert program, "pip install py-spy"
    command = [str(program), "record", "--pid", str(target.pid), "--format", "chrometrace", "--rate", f"{target.hz:g}"]
    command += ["--idle", "--nonblocking", "--output", str(trace), "--duration", "3600"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def first_sample() -> Row:
    sampler = NativeSampler("box")
    sampler.hurry(time.monotonic() + 3600)
    waits_ms = []
    with running("steady", "50") as before:
        sampler.follow(at(FULL_HZ, [before.pid]))
        for _ in range(ATTACHES):
            with running("steady", "50") as process:
                begins: list[int] = []
                begun_ns = time.monotonic_ns()
                sampler.follow(at(FULL_HZ, [before.pid, process.pid]))
                while not begins:
                    begins = [one.start_mono_ns for one in sampler.profiles() if one.pid == process.pid]
                    time.sleep(0.02)
                waits_ms.append((begins[0] - begun_ns) / 1e6)
    sampler.close()
    spread = f"p90 {np.percentile(waits_ms, 90):.1f}, most {max(waits_ms):.1f}"
    return Row("attach to first sample", median(waits_ms), "ms", budget=50.0, spread=spread)


def hour_of_profile() -> list[Row]:
    with TemporaryDirectory() as folder:
        found = soak(STORED_S, Path(folder))
    return [
        Row(
            "store, an hour of a process of a PyTorch loop with a worker",
            found.stored_mb,
            "MB",
            budget=3.0,
            spread=f"from {STORED_S:g} s",
        ),
        Row("time between two windows of a process, the longest", 1e3 * found.longest_gap_s, "ms", budget=1.0),
        Row(
            "time of a thread that no span covers",
            100 * found.unseen_share,
            "%",
            budget=0.5,
            spread=f"the sampler waited {100 * found.waited_share:.1f} % of the time for a core",
        ),
        Row("samples that failed", 100 * found.errors / found.samples, "%", budget=0.5),
        Row("of the same loop and its worker: CPU of the sampler", found.cost_pct, "% of a core", budget=2.0),
    ]


class Switch(NamedTuple):
    """Something that is on in one slice of each pair, and off in the other."""

    name: str
    on: Callable[[Target], AbstractContextManager[None]]
    slice_s: float  # one state
    settle_s: float  # at its beginning, not counted: attaching is not what is measured
    pairs: int


class SlowDown(NamedTuple):
    """Percent by which a piece of work takes longer: mean, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    def row(self, what: str, budget: float | None = None) -> Row:
        return Row(what, self.mean, "%", budget=budget, spread=f"95 % interval {self.low:.2f} to {self.high:.2f}")


def slow_down() -> list[Row]:
    """What one process pays: the sampler comes and goes in short slices while it does the same piece of work of 10 ms again and again.

    A piece is as long as a sampling period, so that each has its sample. Nothing is pinned: the sampler runs on whichever core is free.
    """
    rows: list[Row] = []
    with closing(NativeSampler("box")) as sampler:
        switches = [
            Switch("nothing (A/A)", nothing, 0.3, 0.05, PAIRS),
            Switch("native", lambda target: attached(sampler, target), 0.3, 0.05, PAIRS),
            Switch("py-spy", with_pyspy, 1.0, 0.4, PAIRS // 4),
        ]
        for switch in switches:
            with running("blocks") as target:
                wall, cpu = paired(target, switch)
            what = f"slow-down of pure Python at {FULL_HZ:g} Hz, {switch.name}, {switch.pairs} pairs of {switch.slice_s:g} s"
            rows += [wall.row(f"{what}: wall", 1.0 if switch.name == "native" else None), cpu.row(f"{what}: CPU")]
    return rows


@contextmanager
def nothing(target: Target) -> Iterator[None]:
    yield


@contextmanager
def attached(sampler: NativeSampler, target: Target) -> Iterator[None]:
    """By a sampler that is there all the time; each time its samples must have come."""
    sampler.follow([target])
    yield
    sampler.follow([])
    until_s = time.monotonic() + 5
    while not any(profile.count for profile in sampler.profiles()):
        assert time.monotonic() < until_s, "it was not sampled"
        time.sleep(0.005)


@contextmanager
def with_pyspy(target: Target) -> Iterator[None]:
    recorder = pyspy(target)
    yield
    recorder.terminate()
    recorder.wait()


def paired(target: subprocess.Popen[str], switch: Switch) -> tuple[SlowDown, SlowDown]:
    """Wall and CPU time. Which slice of a pair comes first is chance."""
    chance = random.Random(1)
    (found,) = at(FULL_HZ, [target.pid])
    slices: list[tuple[bool, int, int]] = []
    for _ in range(switch.pairs):
        for on in chance.sample((True, False), 2):
            with switch.on(found) if on else nothing(found):
                time.sleep(switch.settle_s)
                begun_ns = time.perf_counter_ns()
                time.sleep(switch.slice_s - switch.settle_s)
                slices.append((on, begun_ns, time.perf_counter_ns()))
    pieces = told(target)
    wall, cpu = (np.array([typical_ns(pieces, one, column) for one in slices]) for column in (1, 2))
    sampled = np.array([one[0] for one in slices])
    return slow_down_of(wall[sampled], wall[~sampled]), slow_down_of(cpu[sampled], cpu[~sampled])


def told(target: subprocess.Popen[str]) -> NDArray[np.int64]:
    target.terminate()
    assert target.stdout
    return np.array([line.split() for line in target.stdout.read().splitlines()], dtype=np.int64)


def typical_ns(pieces: NDArray[np.int64], one: tuple[bool, int, int], column: int) -> float:
    """What a piece took in a slice: the mean without the tenth that took longest, in which somebody else had the core."""
    inside = (pieces[:, 0] - pieces[:, 1] >= one[1]) & (pieces[:, 0] <= one[2])
    taken = np.sort(pieces[inside, column])
    return float(taken[: max(1, round(0.9 * len(taken)))].mean()) if len(taken) else float("nan")


def slow_down_of(on: NDArray[np.float64], off: NDArray[np.float64]) -> SlowDown:
    """Of the pairs' ratios, without the fifth at either end; the interval is that of 2,000 resamples of the pairs."""
    pairs = 100 * (on / off - 1)
    pairs = pairs[np.isfinite(pairs)]
    resampled = trimmed(np.random.default_rng(1).choice(pairs, (2_000, len(pairs))))
    low, high = np.percentile(resampled, [2.5, 97.5])
    return SlowDown(float(trimmed(pairs[None])[0]), float(low), float(high))


def trimmed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    cut = rows.shape[1] // 5
    means: NDArray[np.float64] = np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut].mean(axis=1)
    return means


if __name__ == "__main__":
    sys.exit(run(measure, (__doc__ or "").splitlines()[0]))
