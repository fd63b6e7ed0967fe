"""The native sampler against py-spy in the same run: CPU, memory, the first sample, and what the target pays.

`SAMPLER_BENCH_SCALE=0.1` shortens every measurement.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from statistics import median
from typing import NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.report import Row, run
from collectors.proc import start_ticks
from collectors.sampler import Target
from collectors.sampler.native import Native
from collectors.sampler.pyspy import find_program as find_pyspy
from tests.programs import running

SCALE = float(os.environ.get("SAMPLER_BENCH_SCALE", "1"))
MEASURED_S = 20 * SCALE
SETTLE_S = 2 * min(1.0, SCALE)
POLL_S = 0.5  # as the collector turns it
FULL_HZ = 100.0
RANKS, WORKERS, RANK_HZ, WORKER_HZ = 8, 12, 50.0, 10.0
BUSY_PERCENT = {1: 50.0, 8: 10.0, RANKS * (1 + WORKERS): 0.5}  # of a core each, by their number
PAIRS = max(4, round(40 * SCALE))
SLICE_S = 0.5  # on or off
ATTACHES = max(5, round(20 * SCALE))
CPU_RATIO = {1: 0.3, 8: 0.15}


class Cost(NamedTuple):
    cpu_pct: float  # of a core
    reader_pct: float  # in this process, of the same core
    rss_mb: float


def measure() -> list[Row]:
    rows: list[Row] = []
    for count in (1, 8):
        with targets(count) as pids:
            ours, theirs = native_cost(at(FULL_HZ, pids)), pyspy_cost(at(FULL_HZ, pids))
        rows += compared(f"{count} at {FULL_HZ:g} Hz", ours, theirs, CPU_RATIO[count])
    with targets(RANKS * (1 + WORKERS)) as pids:
        mixed = [*at(RANK_HZ, pids[:RANKS]), *at(WORKER_HZ, pids[RANKS:])]
        ours, full = native_cost(mixed), native_cost(at(FULL_HZ, pids))
    title = f"{RANKS} ranks x {WORKERS} workers, {RANK_HZ:g} and {WORKER_HZ:g} Hz"
    rows += [
        Row(
            f"{title}: CPU",
            ours.cpu_pct + ours.reader_pct,
            "% of a core",
            budget=10.0,
            spread=f"of it reading {ours.reader_pct:.1f}",
        ),
        Row(f"{title}: memory", ours.rss_mb, "MB", budget=50.0),
        Row(
            f"the same at {FULL_HZ:g} Hz: CPU",
            full.cpu_pct + full.reader_pct,
            "% of a core",
            spread=f"of it reading {full.reader_pct:.1f}",
        ),
    ]
    return [*rows, first_sample(), *slow_down()]


def compared(title: str, ours: Cost, theirs: Cost, ratio: float) -> list[Row]:
    return [
        Row(
            f"{title}: CPU",
            ours.cpu_pct + ours.reader_pct,
            "% of a core",
            budget=ratio * theirs.cpu_pct,
            baseline=theirs.cpu_pct,
            spread=f"of it reading {ours.reader_pct:.2f}",
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
    sampler = Native("box")
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


def turn(sampler: Native, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        list(sampler.profiles())
        time.sleep(POLL_S)


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def pyspy_cost(found: Sequence[Target]) -> Cost:
    """One recorder a process, as py-spy has to be used; reading its files is not counted."""
    begun_s, used_s = time.monotonic(), children_s()
    recorders = [pyspy(target) for target in found]
    time.sleep(MEASURED_S)
    rss_bytes = sum(psutil.Process(recorder.pid).memory_info().rss for recorder in recorders)
    for recorder in recorders:
        recorder.terminate()
        recorder.wait()
    return Cost(100 * (children_s() - used_s) / (time.monotonic() - begun_s), 0.0, rss_bytes / 1e6)


def pyspy(target: Target) -> subprocess.Popen[bytes]:
    program = find_pyspy()
    assert program, "pip install py-spy"
    command = [str(program), "record", "--pid", str(target.pid), "--format", "chrometrace", "--rate", f"{target.hz:g}"]
    command += ["--idle", "--nonblocking", "--output", os.devnull, "--duration", "3600"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_sample() -> Row:
    sampler = Native("box")
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


def slow_down() -> list[Row]:
    """Pairs of slices, with and without a sampler, in alternating order."""
    rows = []
    for name, switch in (("nothing (A/A)", nothing), ("native", with_native), ("py-spy", with_pyspy)):
        with running("blocks") as target:
            wall, cpu = paired(target, switch)
        rows.append(Row(f"slow-down of pure Python, {name}: wall", wall.median, "%", spread=wall.interval))
        rows.append(Row(f"slow-down of pure Python, {name}: CPU", cpu.median, "%", spread=cpu.interval))
        if name == "native":  # a failure only where the whole interval lies above
            rows.append(Row(f"slow-down of pure Python, {name}: wall, lower end of the interval", wall.low, "%", budget=1.0))
    return rows


@contextmanager
def nothing(target: Target) -> Iterator[None]:
    yield


@contextmanager
def with_native(target: Target) -> Iterator[None]:
    sampler = Native("box")
    sampler.follow([target])
    yield
    sampler.close()


@contextmanager
def with_pyspy(target: Target) -> Iterator[None]:
    recorder = pyspy(target)
    yield
    recorder.terminate()
    recorder.wait()


class SlowDown(NamedTuple):
    """Percent by which a block takes longer: median, and the ends of its 95 % interval."""

    median: float
    low: float
    high: float
    pairs: int

    @property
    def interval(self) -> str:
        return f"95 % interval {self.low:.1f} to {self.high:.1f}, {self.pairs} pairs"


def paired(target: subprocess.Popen[str], switch: Callable[[Target], AbstractContextManager[None]]) -> tuple[SlowDown, SlowDown]:
    (found,) = at(FULL_HZ, [target.pid])
    slices: list[tuple[bool, float, float]] = []
    for pair in range(PAIRS):
        for on in (pair % 2 == 0, pair % 2 == 1):
            with switch(found) if on else nothing(found):
                begun_s = time.monotonic() + SLICE_S / 5  # attaching is not what is measured
                time.sleep(SLICE_S)
                slices.append((on, begun_s, time.monotonic()))
    blocks = told(target)
    walls, cpus = (np.array([block_s(blocks, one, column) for one in slices]) for column in (1, 2))
    sampled = np.array([one[0] for one in slices])
    return slow_down_of(walls[sampled], walls[~sampled]), slow_down_of(cpus[sampled], cpus[~sampled])


def told(target: subprocess.Popen[str]) -> NDArray[np.float64]:
    target.terminate()
    assert target.stdout
    lines = target.stdout.read().splitlines()
    return np.array([[float(word) for word in line.split()] for line in lines[:-1]])


def block_s(blocks: NDArray[np.float64], one: tuple[bool, float, float], column: int) -> float:
    """The median of a slice; NaN where no block lies inside it."""
    inside = (blocks[:, 0] - blocks[:, 1] >= one[1]) & (blocks[:, 0] <= one[2])
    return float(np.median(blocks[inside, column])) if inside.any() else float("nan")


def slow_down_of(on: NDArray[np.float64], off: NDArray[np.float64]) -> SlowDown:
    """The interval is that of 2,000 resamples of the pairs."""
    pairs = 100 * (on / off - 1)
    pairs = pairs[np.isfinite(pairs)]
    resampled = np.median(np.random.default_rng(1).choice(pairs, (2_000, len(pairs))), axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return SlowDown(float(np.median(pairs)), float(low), float(high), len(pairs))


if __name__ == "__main__":
    sys.exit(run(measure, (__doc__ or "").splitlines()[0]))
