"""Profile a real training for a while, as the collector does, and count what is missing: for the long test and the benchmark."""

from __future__ import annotations

import itertools
import socket
import sqlite3
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil

from collectors.machine.proc import boot_id, start_ticks
from collectors.machine.run_state import RunActivity
from collectors.records import Event, StackRecording
from collectors.sampler.native import NativeSampler
from collectors.sampler.profile import ProfileCollector
from collectors.store.engines import open_store
from collectors.store.sqlite import files
from tests.programs import running
from tests.support.claims import claiming_folder

COMPACT_S = 0.2  # of each turn, as much as the writer's thread takes


class Soak(NamedTuple):
    seconds: float
    processes: int
    longest_gap_s: float  # between two windows of one process
    gap_share: float  # of the time between the first and the last window of a process, the worst one's
    unseen_share: float  # of the main threads' time, what no span covers, the worst one's
    waited_share: float  # of all the time, in which the sampler waited for a core
    samples: int
    errors: int
    stored_mb: float  # an hour and process, in the second half: the stacks themselves are stored once
    cost_pct: float  # of a core: the sampler


def soak(seconds: float, folder: Path, program: str = "torch_loop") -> Soak:
    """The program, its worker, and a store in the folder."""
    windows: dict[int, list[StackRecording]] = defaultdict(list)
    host = socket.gethostname()
    with (
        running(program) as trainer,
        closing(open_store(folder, write=True)) as store,
        closing(NativeSampler(host)) as sampler,
    ):
        here = {"pid": trainer.pid, "pid_start_ticks": start_ticks(trainer.pid), "boot_id": boot_id(), "host": host}
        run = RunActivity(
            "run", claiming_folder(), {}, [Event("run", "start", time.time(), fields=here)], [], time.time(), 0.1
        )
        collector = ProfileCollector(lambda: [run], sampler, host=host, cpu_s=lambda: cpu_s(sampler))
        begun_s, costs = time.monotonic(), []
        half: tuple[int, float] | None = None  # what is stored by then, of how many hours of a process
        while time.monotonic() - begun_s < seconds:
            if half is None and time.monotonic() - begun_s > seconds / 2:
                half = stored_bytes(folder), hours(windows)
            profiles = collector.collect()
            store.append(profiles)
            store.compact(COMPACT_S)
            for profile in profiles:
                assert isinstance(profile, StackRecording)
                windows[profile.pid].append(without_stacks(profile))
            costs.append(collector.status().cost_pct)
            time.sleep(collector.period_s)
        status, waited_s = collector.status(), run_delay_s(sampler)
        assert half
        grown_mb = (stored_bytes(folder) - half[0]) / 1e6 / (hours(windows) - half[1])
    gaps_s = {pid: gaps_of(found) for pid, found in windows.items()}
    return Soak(
        seconds,
        len(windows),
        max(max(gaps, default=0.0) for gaps in gaps_s.values()),
        max(sum(gaps_s[pid]) / length_s(found) for pid, found in windows.items()),
        max(1 - seen_s(found) / length_s(found) for found in windows.values()),
        waited_s / seconds,
        status.samples,
        status.errors,
        grown_mb,
        sum(costs) / len(costs),
    )


def stored_bytes(folder: Path) -> int:
    """Of the store's files without what is free in them or waits to be written there."""
    used = 0
    for path in files.all_files(folder):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            pages, free, size = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
            )
        used += (pages - free) * size
    return used


def hours(windows: dict[int, list[StackRecording]]) -> float:
    return sum(length_s(found) for found in windows.values()) / 3600


def cpu_s(sampler: NativeSampler) -> float:
    """Of the sampler alone: this process has the training for a child, too."""
    times = psutil.Process(sampler.pid).cpu_times() if sampler.pid else None
    return times.user + times.system if times else 0.0


def run_delay_s(sampler: NativeSampler) -> float:
    return int(Path(f"/proc/{sampler.pid}/schedstat").read_text().split()[1]) / 1e9


def without_stacks(profile: StackRecording) -> StackRecording:
    """Only the main thread's spans, and of them only when they were: half an hour of all stacks fills memory."""
    return profile._replace(
        samples=[sample._replace(stack=()) for sample in profile.samples if sample.tid == profile.pid]
    )


def length_s(windows: list[StackRecording]) -> float:
    return (windows[-1].end_mono_ns - windows[0].start_mono_ns) / 1e9


def gaps_of(windows: list[StackRecording]) -> list[float]:
    return [(second.start_mono_ns - first.end_mono_ns) / 1e9 for first, second in itertools.pairwise(windows)]


def seen_s(windows: list[StackRecording]) -> float:
    return sum(sample.duration_ns for window in windows for sample in window.samples) / 1e9
