"""False findings: recorded healthy runs through the rules, and 240 hours that are drawn from them.

python -m benchmarks.findings                     replays what is recorded, about 15 min
python -m benchmarks.findings --record FOLDER     records anew: 16 healthy runs at once with the real collector, 7 min

A best result and a finished run are no false findings: `new_best` and `finished` are counted apart.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from collectors.records import Finding
from collectors.store.engines import open_store
from tests.programs.good_runs import KINDS
from tests.support import healthy_recordings
from tests.support.healthy_recordings import HealthyRun, by_second, drawn_anew
from tests.support.judged import LOOK_S, T0, JudgedRuns

from .report import Row, run

NEUTRAL = {"new_best", "finished"}
PROCESSES = int(os.environ.get("FINDINGS_BENCH_PROCESSES", "2"))
HOURS = float(os.environ.get("FINDINGS_BENCH_HOURS", "240"))
RECORD_S, START_S, LATE_S = 330.0, 15.0, 45.0
MIN_S = 300.0
ROOT = Path(__file__).parents[1]


def measure() -> list[Row]:
    recordings = [healthy_recordings.read(path) for path in healthy_recordings.paths()]
    seconds = [recording.seconds for recording in recordings]
    size = sum(path.stat().st_size for path in healthy_recordings.paths())
    replayed = _judged(recordings).found
    rows = [
        Row("recorded healthy runs", len(recordings), "runs", 12, at_least=True, spread=f"{min(seconds) / 60:.1f} to {max(seconds) / 60:.1f} min"),
        Row("in the repository", size / 1e6, "MB", 5.0),
        Row("false findings in them", len(_false(replayed)), "findings", 0.0, spread=_named(replayed)),
    ]  # fmt: skip
    each = HOURS / len(recordings)
    simulated, costs, looks = _judged(recordings, each)
    false = _false(simulated)
    hours = int(each) * len(recordings)
    rows += [
        Row(f"notes in {hours} simulated hours", sum(found.weight == "note" for found in false), "notes", 10.0, spread=_named(simulated)),
        Row(f"alerts in {hours} simulated hours", sum(found.weight == "alert" for found in false), "alerts", 0.0),
        Row("a look at a run, without the ledger", 1e3 * sum(costs.values()) / looks, "ms of CPU", 2.0, spread=_dear(costs, looks)),
    ]  # fmt: skip
    return rows


class JudgedPart(NamedTuple):
    """Of one recording: what was found, the CPU seconds by rule, and how often the rules looked."""

    found: list[Finding]
    costs: Mapping[str, float]
    looks: int


def _judged(recordings: Sequence[HealthyRun], hours: float = 0.0) -> JudgedPart:
    """As they were recorded, or so many hours drawn from each."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        parts = list(pool.map(_judged_one, recordings, [hours] * len(recordings), range(len(recordings))))
    costs: Counter[str] = Counter()
    for part in parts:
        costs.update(part.costs)
    return JudgedPart([found for part in parts for found in part.found], costs, sum(part.looks for part in parts))


def _judged_one(recording: HealthyRun, hours: float, seed: int) -> JudgedPart:
    with tempfile.TemporaryDirectory(prefix="findings-bench-") as folder:
        store = open_store(Path(folder), write=True)
        judged = JudgedRuns(store, stored=False)
        judged.begin(recording.name, recording.ranks)
        begun_s = judged.now_s
        for part in drawn_anew(recording, hours, seed) if hours else [recording]:
            seconds = by_second(part, T0)
            judged.go_on(part.seconds, lambda now_s, seconds=seconds: seconds.pop(round(now_s - T0) - 1, ()))  # type: ignore[misc]
        looks = int((judged.now_s - begun_s) / LOOK_S)
        store.close()
        return JudgedPart(list(judged.found.values()), judged.collector.costs(), looks)


def _false(found: Iterable[Finding]) -> list[Finding]:
    return [each for each in found if each.rule not in NEUTRAL]


def _named(found: Iterable[Finding]) -> str:
    counted = Counter(f"{each.rule} of {each.run}" if each.rule not in NEUTRAL else f"({each.rule})" for each in found)
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))


def _dear(costs: Mapping[str, float], looks: int) -> str:
    dearest = sorted(costs.items(), key=lambda row: -row[1])[:6]
    return ", ".join(f"{name} {1e3 * seconds / looks:.2f}" for name, seconds in dearest)


def record(folder: Path) -> None:
    """Each kind of good run at once, with the real collector; then its points, events and host series are written down."""
    logs, data = folder / "logs", folder / "data"
    logs.mkdir(parents=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "8243"}
    command = [sys.executable, str(ROOT / "app.py"), "--port", "8242", "--log-dir", str(logs), "--data-dir", str(data)]
    with subprocess.Popen(command, env=environment) as app:
        time.sleep(START_S)
        places = [(kind, rank) for kind in KINDS for rank in range(2 if kind == "data_parallel" else 1)]
        programs = [_program(logs, kind, rank, environment) for kind, rank in places]
        for program in programs:
            program.wait()
        time.sleep(LATE_S)
        app.terminate()
    keep(data)


def _program(logs: Path, kind: str, rank: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    of_rank = {"RANK": str(rank), "WORLD_SIZE": "2"} if kind == "data_parallel" else {}
    command = [sys.executable, str(ROOT / "tests" / "programs" / "good_runs.py"), str(logs), kind, str(RECORD_S)]
    return subprocess.Popen(command, env={**environment, **of_rank})


def keep(data: Path) -> None:
    """What was recorded into a store, in the repository."""
    store = open_store(data, write=False)
    for found in store.runs():
        recording = healthy_recordings.of_store(store, found.name)
        live = [each for each in store.findings(found.name) if each.rule not in NEUTRAL]
        print(found.name, f"{recording.seconds:.0f} s", *(f"\n  {each.rule}: {each.sentence}" for each in live))
        if recording.seconds >= MIN_S:
            healthy_recordings.write(recording)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--record", type=Path)
    options, _ = parser.parse_known_args()
    if options.record:
        record(options.record)
    else:
        sys.exit(run(measure, __doc__ or ""))
