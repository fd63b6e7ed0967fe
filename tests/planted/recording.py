"""Recordings of real programs with a fault: what the real collector stored of them, as small files.

python -m tests.planted.recording [KIND ...]     records anew, a few at once: a quarter of an hour on two cores that are not busy
"""

from __future__ import annotations

import json
import linecache
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from analysis.findings.working_set import RUNS_OWN
from collectors.records import Event, Frame, Points, Record, StackRecording, StackSpan

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "programs"
FOLDER = ROOT / "tests" / "data" / "recorded" / "planted"
AT_ONCE = (  # they are not to take each other's cores
    ("data_stall", "sync_every_step", "lock_bound", "checkpoint_share"),
    ("gil_bound", "straggler"),
    ("launch_bound", "garbage_collection"),
    ("cpu_taken",),
    ("compile_late", "logging_in_the_loop"),
    ("slow_function", "waiting"),
    ("memory_creep", "silent", "hung", "healthy"),
)
START_S, COMPILER_S, HEALTHY_S, ILL_S, LEAK_S = 20.0, 70.0, 50.0, 62.0, 340.0
STACKS_S = 48.0  # before the fault, of which stacks are kept
TIDY_S = 8.0
SITE = "site-packages/"


class PlantedRecording(NamedTuple):
    """Times are seconds since the fault; those of the healthy part are below 0."""

    kind: str
    ranks: int
    points: list[tuple[float, int, int | None, dict[str, float]]]  # time, rank, step, values
    host: list[tuple[float, int, dict[str, float]]]  # time, rank, values of the run's processes
    events: list[Event]
    profiles: list[StackRecording]
    source: dict[str, str]  # "file:line" of its own code: the text

    @property
    def until_s(self) -> float:
        return max(profile.start_s + 1e-9 * (profile.end_mono_ns - profile.start_mono_ns) for profile in self.profiles)

    def line_of(self, file: str, line: int | None) -> str:
        return self.source.get(f"{file}:{line}", "")


# -- files -------------------------------------------------------------------------------------------------------------


def write(recording: PlantedRecording, folder: Path = FOLDER) -> Path:
    """As JSON with numbered frames and stacks, compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{recording.kind}.json.z"
    frames: dict[Frame, int] = {}
    stacks: dict[tuple[int, ...], int] = {}

    def stack_of(sample: StackSpan) -> int:
        numbers = tuple(frames.setdefault(frame, len(frames)) for frame in sample.stack)
        return stacks.setdefault(numbers, len(stacks))

    profiles = []
    for profile in recording.profiles:
        samples, before_us = [], 0
        for sample in profile.samples:
            at_us = (sample.mono_ns - profile.start_mono_ns) // 1000
            cpu_us = None if sample.cpu_ns is None else sample.cpu_ns // 1000
            samples.append(
                [at_us - before_us, sample.duration_ns // 1000, sample.tid, stack_of(sample), sample.gil, cpu_us]
            )
            before_us = at_us
        length_us = (profile.end_mono_ns - profile.start_mono_ns) // 1000
        head = [profile.rank, profile.pid, profile.role, profile.hz, round(profile.start_s, 3), length_us]
        profiles.append([*head, list(profile.threads.items()), samples, profile.count])
    document = {
        **recording._asdict(),
        "points": [[round(time_s, 3), rank, step, values] for time_s, rank, step, values in recording.points],
        "host": [[round(time_s, 2), rank, {name: float(f"{value:.4g}") for name, value in values.items()}] for time_s, rank, values in recording.host],
        "events": [[event.kind, round(event.time_s, 3), event.rank, event.step, event.seconds] for event in recording.events],
        "frames": [list(frame) for frame in frames],
        "stacks": list(stacks),
        "profiles": profiles,
    }  # fmt: skip
    path.write_bytes(zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 9))
    return path


def read(kind: str, folder: Path = FOLDER) -> PlantedRecording:
    found = json.loads(zlib.decompress((folder / f"{kind}.json.z").read_bytes()))
    frames = [Frame(*frame) for frame in found["frames"]]
    stacks = [tuple(frames[number] for number in stack) for stack in found["stacks"]]
    return PlantedRecording(
        kind,
        found["ranks"],
        [(time_s, rank, step, values) for time_s, rank, step, values in found["points"]],
        [(time_s, rank, values) for time_s, rank, values in found["host"]],
        [
            Event(kind, name, time_s, rank=rank, step=step, seconds=seconds)
            for name, time_s, rank, step, seconds in found["events"]
        ],
        [_profile(kind, row, stacks) for row in found["profiles"]],
        found["source"],
    )


def _profile(kind: str, row: Sequence[Any], stacks: Sequence[tuple[Frame, ...]]) -> StackRecording:
    rank, pid, role, hz, start_s, length_us, threads, kept, count = row
    samples, at_us = [], 0
    for after_us, us, tid, stack, gil, cpu_us in kept:
        at_us += after_us
        samples.append(
            StackSpan(1000 * at_us, 1000 * us, tid, stacks[stack], gil, None if cpu_us is None else 1000 * cpu_us)
        )
    return StackRecording(
        kind, rank, pid, role, "box", "native", hz, start_s, 0, 1000 * length_us, dict(threads), samples, count
    )


# -- recording ---------------------------------------------------------------------------------------------------------


def record(kinds: Sequence[str]) -> None:
    """These at once beside the real collector; then what it stored is written down, run by run."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "logs").mkdir()
        tap = folder / "tapped"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(PROGRAMS / "tapped_collector.py"), str(tap), "--log-dir", str(folder / "logs")]
        collector = stack.enter_context(
            subprocess.Popen([*command, "--data-dir", str(folder / "data")], env=environment)
        )
        stack.callback(collector.terminate)
        time.sleep(3.0)
        wait_s = (COMPILER_S if "compile_late" in kinds else START_S) + HEALTHY_S
        onset_s, onset_wall_s = time.monotonic() + wait_s, time.time() + wait_s
        core = str(max(os.sched_getaffinity(0)))
        for kind in kinds:
            end_s = onset_s + (LEAK_S if kind == "memory_creep" else ILL_S)
            for of_rank in _ranks(kind):
                arguments = [str(PROGRAMS / "planted_runs.py"), str(folder / "logs"), kind, str(onset_s), str(end_s)]
                program = subprocess.Popen([sys.executable, *arguments], env={**environment, "CORE": core, **of_rank})
                stack.enter_context(program)
                stack.callback(program.kill)
        time.sleep(max(0.0, onset_s - time.monotonic()))
        if "cpu_taken" in kinds:
            for _ in range(2):
                spin = f"import os, time\nos.sched_setaffinity(0, {{{core}}})\nuntil_s = time.monotonic() + {ILL_S}\nwhile time.monotonic() < until_s: pass"
                stack.enter_context(subprocess.Popen([sys.executable, "-c", spin]))
        time.sleep((LEAK_S if "memory_creep" in kinds else ILL_S) + TIDY_S)
        records = list(_tapped(tap))
        collector.terminate()
    for kind in kinds:
        path = write(_of_records(kind, records, onset_wall_s))
        print(f"{path.name} {path.stat().st_size / 1e3:.0f} kB")


def _ranks(kind: str) -> list[dict[str, str]]:
    if kind not in ("straggler", "hung"):
        return [{}]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    return [
        {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} for rank in range(2)
    ]


def _tapped(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        while True:
            try:
                yield from pickle.load(file)
            except EOFError:
                return


def _of_records(kind: str, records: Sequence[Record], onset_s: float) -> PlantedRecording:
    points, host, events, profiles = [], [], [], []
    source: dict[str, str] = {}
    for found in records:
        match found:
            case Points(run=run) if run == kind and found.time_s is not None:
                values = dict(zip(found.names, found.values, strict=True))
                points.append((found.time_s - onset_s, _rank(found.labels), found.step, values))
            case Points(run=None) if dict(found.labels).get("run") == kind and found.time_s is not None:
                values = {
                    name: value for name, value in zip(found.names, found.values, strict=True) if name in RUNS_OWN
                }
                if values:
                    host.append((found.time_s - onset_s, _rank(found.labels), values))
            case Event(run=run, kind="gc") if run == kind:
                events.append(found._replace(time_s=found.time_s - onset_s))
            case StackRecording(run=run) if (
                run == kind and found.start_s > onset_s - STACKS_S and found.start_s < onset_s + ILL_S
            ):
                profiles.append(_moved(found, onset_s, source))
    ranks = 1 + max((rank for _, rank, _, _ in points), default=0)
    points = [row for row in points if row[0] > -HEALTHY_S]
    return PlantedRecording(kind, ranks, points, host, events, sorted(profiles, key=lambda each: each.start_s), source)


def _rank(labels: Sequence[tuple[str, str]]) -> int:
    return int(dict(labels).get("rank", "0"))


def _moved(profile: StackRecording, onset_s: float, source: dict[str, str]) -> StackRecording:
    """Without the folders of this machine."""
    samples = [
        sample._replace(stack=tuple(_anonymous(frame, source) for frame in sample.stack)) for sample in profile.samples
    ]
    return profile._replace(start_s=profile.start_s - onset_s, samples=samples)


def _anonymous(frame: Frame, source: dict[str, str]) -> Frame:
    if SITE in frame.file:
        return frame._replace(file=f"/venv/lib/python3.11/{SITE}{frame.file.partition(SITE)[2]}")
    if frame.file.startswith(str(ROOT)):
        file = f"/job/{Path(frame.file).relative_to(ROOT)}"
        if frame.line is not None:
            source[f"{file}:{frame.line}"] = linecache.getline(frame.file, frame.line).strip()
        return frame._replace(file=file)
    if (at := frame.file.find("/lib/python3.")) >= 0:
        return frame._replace(file=f"/usr{frame.file[at:]}")
    return frame


if __name__ == "__main__":
    for kinds in [sys.argv[1:]] if sys.argv[1:] else AT_ONCE:
        record(kinds)
