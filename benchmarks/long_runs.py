"""5,000 runs of 40 s, 16 at a time, on a remote folder whose client caches attributes for 2 s.

Most of them lie there already, as old as they would be; the last minutes of them are written at the real rate: LONG_LIVE_S (300 s).
Every second one has a process on this host, the others are of another host. Needs root and FUSE.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from collectors.logs import watch
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.conftest import ROOT, wait_for

from .report import Row

RUNS, AT_ONCE, RUN_S = int(os.environ.get("LONG_RUNS", "5000")), 16, 40.0
LIVE_S = float(os.environ.get("LONG_LIVE_S", "300"))
CACHE_S, LINE_S, LOOK_S = 2, 0.5, 2.0
SEEN_S = 10.0  # in which the end of the last one, whose process is gone, has been read
SILENT = ("ended", "killed", "failed")  # of one that was killed without a word


class Job(NamedTuple):
    """One run: `end` is what it writes at its end, "" where it is killed without a word."""

    name: str
    begin_s: float
    end: str
    process: subprocess.Popen[bytes] | None


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="long-runs-") as place:
        folder = Path(place)
        with remote(folder / "server", folder / "mounted") as (behind, mounted):
            began_s = time.time()
            count = RUNS - round(LIVE_S / RUN_S * AT_ONCE)
            for number in range(count):
                over_s = began_s - (count - number) * RUN_S / AT_ONCE
                write_over(behind, number, over_s)
            with collecting(mounted, folder) as collector:
                return Sweep(behind, mounted, folder, count, collector).rows()


class Sweep:
    """The runs that are written at the real rate, and what is seen of them meanwhile."""

    def __init__(self, behind: Path, mounted: Path, folder: Path, count: int, collector: psutil.Process) -> None:
        self._behind, self._folder, self._count, self._collector = behind, folder, count, collector
        store = open_store(folder / "data", write=False)
        self._queries = Queries(store, mounted, folder / "data")
        self._jobs: list[Job] = []  # that go on
        self._ended: dict[str, tuple[float, str]] = {}  # by name, when and how
        self._known: dict[str, float] = {}  # by name, how long it took to be listed
        self._settled: dict[str, float] = {}  # by name, how long it took until its end was
        self._began: dict[str, float] = {}
        self._wrong: Counter[str] = Counter()  # states of runs that go on, but "running"
        self._rash: Counter[str] = Counter()  # states of runs that have said how they ended, before that was read
        self._stalled = 0
        self._looks_ms: list[float] = []

    def rows(self) -> list[Row]:
        began_s = time.monotonic()
        wait_for(lambda: len(self._queries.runs()) >= self._count, 600, "the runs that are over are not read")
        backlog_s = time.monotonic() - began_s
        time.sleep(10)
        first = longest_ms(self._folder / "slices")
        (self._folder / "slices").write_text("")
        before_s, began_s = cpu_s(self._collector), time.monotonic()
        self._live(began_s)
        used = (cpu_s(self._collector) - before_s) / (time.monotonic() - began_s)
        later = longest_ms(self._folder / "slices")
        wait_for(self._all_settled, 90, "some ends were not seen")
        time.sleep(SEEN_S)
        different = self._different()
        states = Counter(view.state for view in self._queries.runs())
        listed = sum(states.values())
        lags, ends = sorted(self._known.values()), sorted(self._settled.values())
        return [
            Row(
                "runs listed",
                listed,
                "",
                RUNS,
                at_least=True,
                spread=", ".join(f"{n} {s}" for s, n in states.most_common()),
            ),
            Row(
                "times that a run was called stalled",
                self._stalled,
                "",
                0,
                spread=f"of {len(self._looks_ms)} looks at all runs",
            ),
            Row(
                "runs that went on and were called anything but running",
                sum(self._wrong.values()),
                "",
                0,
                spread=str(dict(self._wrong)),
            ),
            Row("runs with another end than theirs", len(different), "", 0, spread=str(different or "")),
            Row(
                "times that a run whose end was not read yet was called ended",
                self._rash["ended"],
                "",
                spread=str(dict(self._rash)),
            ),
            Row(
                "from its first line to its row in Runs, longest",
                lags[-1],
                "s",
                spread=f"p50 {lags[len(lags) // 2]:.1f} s",
            ),
            Row("from its end to its end in Runs, longest", ends[-1], "s", spread=f"p50 {ends[len(ends) // 2]:.1f} s"),
            Row("collector, of a core", 100 * used, "%", 5, spread=f"over {LIVE_S:.0f} s at the real rate"),
            Row("longest look at the folder", later, "ms", 200),
            Row("... while all is looked at and read for the first time", first, "ms", 200),
            Row("first reading of the runs that are over", backlog_s, "s"),
        ]

    def _live(self, began_s: float) -> None:
        number, line_due_s, look_due_s = self._count, 0.0, 0.0
        while time.monotonic() < began_s + LIVE_S or self._jobs:
            now_s = time.monotonic()
            if number < RUNS and now_s >= began_s + (number - self._count) * RUN_S / AT_ONCE:
                self._start(number)
                number += 1
            if now_s >= line_due_s:
                line_due_s = now_s + LINE_S
                self._write_lines()
            if now_s >= look_due_s:
                look_due_s = now_s + LOOK_S
                self._look()
            time.sleep(0.02)

    def _start(self, number: int) -> None:
        name, now_s = name_of(number), time.time()
        process = subprocess.Popen(["sleep", "100"]) if number % 2 else None
        end = "" if number % 25 == 0 else "failed" if number % 10 == 0 else "finished"
        write_start(self._behind / name, now_s, process.pid if process else None)
        self._jobs.append(Job(name, now_s, end, process))
        self._began[name] = now_s

    def _write_lines(self) -> None:
        now_s = time.time()
        for job in list(self._jobs):
            folder = self._behind / job.name
            step = round((now_s - job.begin_s) / LINE_S)
            with (folder / "metrics.jsonl").open("a") as file:
                file.write(line(now_s, step))
            if now_s - job.begin_s >= RUN_S:
                if job.end:
                    write_end(folder, now_s, job.end)
                if job.process:
                    job.process.kill()
                    job.process.wait()
                self._jobs.remove(job)
                self._ended[job.name] = (now_s, job.end)

    def _look(self) -> None:
        began_s, now_s = time.monotonic(), time.time()
        alive = {job.name for job in self._jobs}
        for view in self._queries.runs():
            name, state = view.stored.name, view.state
            self._stalled += state == "stalled"
            if name in alive and state != "running":
                self._wrong[state] += 1
            if name in self._ended and self._ended[name][1] and state in SILENT and state != self._ended[name][1]:
                self._rash[state] += 1
            if name in self._began and name not in self._known:
                self._known[name] = now_s - self._began[name]
            if name in self._ended and name not in self._settled and state != "running":
                self._settled[name] = now_s - self._ended[name][0]
        self._looks_ms.append((time.monotonic() - began_s) * 1e3)

    def _all_settled(self) -> bool:
        self._look()
        return len(self._settled) == len(self._ended)

    def _different(self) -> dict[str, str]:
        """How they are said to have ended, by name."""
        found = {view.stored.name: view.state for view in self._queries.runs()}
        return {
            name: found.get(name, "")
            for name, (_, end) in self._ended.items()
            if found.get(name) not in ((end,) if end else SILENT)
        }


def longest_ms(slices: Path) -> float:
    return max((float(line) for line in slices.read_text().splitlines()), default=0.0)


def name_of(number: int) -> str:
    return f"sweep/{number:05}"


def line(time_s: float, step: int) -> str:
    return (
        json.dumps({"time_s": round(time_s, 3), "step": step, "train/loss": round(4 / (1 + step), 4), "train/lr": 3e-4})
        + "\n"
    )


def write_start(folder: Path, now_s: float, pid: int | None) -> None:
    folder.mkdir(parents=True)
    about: dict[str, object] = {"host": "gpu-07", "pid": 2**30, "boot_id": "another"}
    if pid is not None:
        about = {**this_host(), "pid": pid, "pid_start_ticks": start_ticks(pid)}
    (folder / "run.json").write_text(
        json.dumps({"started_s": now_s, "host": about["host"], "config": {"lr": 3e-4, "steps": 80}})
    )
    (folder / "events.jsonl").write_text(json.dumps({"time_s": now_s, "kind": "start", "rank": 0, **about}) + "\n")


def write_end(folder: Path, now_s: float, status: str) -> None:
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps({"time_s": now_s, "kind": "end", "rank": 0, "status": status}) + "\n")


def write_over(behind: Path, number: int, over_s: float) -> None:
    """A run of 40 s that ended then."""
    folder = behind / name_of(number)
    write_start(folder, over_s - RUN_S, None)
    (folder / "metrics.jsonl").write_text("".join(line(over_s - RUN_S + step * LINE_S, step) for step in range(80)))
    write_end(folder, over_s, random.Random(number).choices(["finished", "failed", "killed"], [88, 8, 4])[0])
    for path in (*folder.iterdir(), folder):
        os.utime(path, (over_s, over_s))


def this_host() -> dict[str, object]:
    return {
        "host": os.uname().nodename,
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "pid_namespace": Path("/proc/self/ns/pid").stat().st_ino,
    }


def start_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def remote(behind: Path, mounted: Path) -> Iterator[tuple[Path, Path]]:
    for folder in (behind, mounted):
        folder.mkdir()
    command = [sys.executable, str(ROOT / "tests/programs/remote_folder.py"), str(behind), str(mounted), str(CACHE_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout and server.stdout.readline() == b"mounted\n"
        try:
            yield behind, mounted
        finally:
            subprocess.run(["umount", "-l", mounted], check=True)
            server.kill()


@contextmanager
def collecting(mounted: Path, folder: Path) -> Iterator[psutil.Process]:
    """The collector in a process of its own, which also writes how long each of its looks at the folder took."""
    command = [sys.executable, "-m", "benchmarks.long_runs", str(folder / "slices"), "--log-dir", str(mounted)]
    command += ["--data-dir", str(folder / "data"), "--no-profile"]
    with (folder / "collector.log").open("wb") as errors, subprocess.Popen(command, stderr=errors, cwd=ROOT) as process:
        try:
            wait_for(lambda: (folder / "data" / "runs.sqlite").exists(), 60, "the collector does not write")
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def collect(slices: Path, arguments: list[str]) -> int:
    """The other process of `collecting`."""
    import collector  # its imports are not the benchmark's

    take = watch.FolderWatch.take

    def timed(self: watch.FolderWatch) -> list[watch.FoundFile]:
        began_s = time.monotonic()
        found = take(self)
        took_ms = (time.monotonic() - began_s) * 1e3
        if took_ms > 1:
            with slices.open("a") as file:
                file.write(f"{took_ms:.1f}\n")
        return found

    watch.FolderWatch.take = timed  # type: ignore[method-assign]
    return collector.main(arguments)


if __name__ == "__main__":
    sys.exit(collect(Path(sys.argv[1]), sys.argv[2:]))
