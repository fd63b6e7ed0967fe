"""Picks the fastest runtime and precision of this host by timing them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..artifact import artifact as golden
from ..errors import CannotRun, ModelsError
from . import RUNTIMES, installed, open_session
from .session import ModelSession

if TYPE_CHECKING:
    from ..artifact import Artifact


CPUINFO = Path("/proc/cpuinfo")


def processor() -> str:
    """`AMD EPYC 9B14, 2 cores`: those that this process may use."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {cores()} cores"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(packages: list[str]) -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


# How long calls take beside each other: interleaved rounds, wall time and CPU time of each call.

ROUNDS, ROUND_S = 10, 0.1  # a round gives each about this long
FEWEST_CALLS, MAX_CALLS = 5, 1_000  # of a round
WARM_UP = 2  # calls at the beginning of each turn, not counted: caches, and threads of others that still spin
RESAMPLES = 2_000


class CallTimes(NamedTuple):
    """Milliseconds. `cpu_ms` is of all threads of the process, the mean over all calls; `rounds_ms` has the median of each round."""

    p50_ms: float
    p99_ms: float
    cpu_ms: float
    calls: int
    rounds_ms: tuple[float, ...]


class TimeRatio(NamedTuple):
    """How many times as long; with its 95 % interval over the rounds."""

    value: float
    lowest: float
    highest: float


def time_in_rounds(
    calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, round_s: float = ROUND_S
) -> dict[str, CallTimes]:
    """Each round calls all of them, in an order of its own, so that a busy moment of the host meets all alike.

    Takes about `rounds * round_s` seconds for each, and at least `rounds * 7` calls.
    """
    if rounds < 1:
        raise ModelsError("nothing is timed in less than one round")
    counts = {name: _calls_in(call, round_s) for name, call in calls.items()}
    wall_ms: dict[str, list[list[float]]] = {name: [] for name in calls}
    cpu_ms = dict.fromkeys(calls, 0.0)
    chance = random.Random(0)
    for _ in range(rounds):
        order = list(calls)
        chance.shuffle(order)
        for name in order:
            taken, cpu = _turn(calls[name], counts[name])
            wall_ms[name].append(taken)
            cpu_ms[name] += cpu
    return {name: _times(wall_ms[name], cpu_ms[name]) for name in calls}


def ratio(slower: CallTimes, faster: CallTimes) -> TimeRatio:
    """Median over the rounds of one's median by the other's; the interval by drawing rounds anew."""
    pairs = [one / other for one, other in zip(slower.rounds_ms, faster.rounds_ms, strict=True)]
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    return TimeRatio(statistics.median(pairs), medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1])


def quantile(values: list[float], share: float) -> float:
    """The least value that this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _calls_in(call: Callable[[], object], round_s: float) -> int:
    call()
    begun = time.perf_counter()
    call()
    return max(FEWEST_CALLS, min(MAX_CALLS, int(round_s / max(time.perf_counter() - begun, 1e-7))))


def _turn(call: Callable[[], object], count: int) -> tuple[list[float], float]:
    for _ in range(WARM_UP):
        call()
    taken = []
    cpu_before_s = time.process_time()
    for _ in range(count):
        begun_ns = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - begun_ns) / 1e6)
    return taken, (time.process_time() - cpu_before_s) * 1e3


def _times(rounds_ms: list[list[float]], cpu_ms: float) -> CallTimes:
    every = [value for values in rounds_ms for value in values]
    medians = tuple(statistics.median(values) for values in rounds_ms)
    return CallTimes(statistics.median(every), quantile(every, 0.99), cpu_ms / len(every), len(every), medians)


# The fastest runtime and precision of this host for a model: timed once, kept by model and host.

AGREES = 0.2  # of an output's largest value: bfloat16 and int8 stay below, a broken kernel does not
VERSION = 1  # of the kept file


@dataclass(frozen=True)
class PickRow:
    """Milliseconds of a call with one item; `refused` says why a row was not timed."""

    model: str  # name in its manifest
    sha256: str
    runtime: str
    precision: str
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: float = 0.0
    refused: str = ""


@dataclass(frozen=True)
class PickResult:
    """`rows` in the order in which they were tried; `kept`: the answer is of an earlier call."""

    host: str
    threads: int
    rows: tuple[PickRow, ...]
    kept: bool = False

    @property
    def fastest(self) -> PickRow:
        """By p50. Raises ModelsError where none ran."""
        timed = [row for row in self.rows if not row.refused]
        if not timed:
            raise ModelsError(f"no runtime of this host runs the model: {self.rows[0].refused}")
        return min(timed, key=lambda row: row.p50_ms)


def pick(
    artifact: Artifact, *others: Artifact, threads: int = 1, again: bool = False, cache: Path | None = None
) -> PickResult:
    """Time a model, and others that compute the same (its int8 form), in every runtime and precision; about a second each.

    What computes something else than the first model's golden outputs say is refused. The answer is kept in the user's cache folder, by the
    models, the processor, the runtimes' versions and the threads; load changes who wins: call it with `again` in service.
    """
    artifacts = (artifact, *others)
    path = (cache or cache_folder()) / f"{_key(artifacts, threads)}.json"
    if not again and (known := _kept(path)):
        return known
    picked = _timed(artifacts, threads)
    _keep(path, picked)
    return picked


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/deepseek-models/picks`"""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepseek-models" / "picks"


def first_item(inputs: golden.Arrays, specs: Any) -> dict[str, Any]:
    """Of inputs whose first dimension is free, the first row; others as they are."""
    import numpy as np

    return {
        spec.name: np.ascontiguousarray(inputs[spec.name][:1])
        if spec.shape and isinstance(spec.shape[0], str)
        else inputs[spec.name]
        for spec in specs
    }


def _timed(artifacts: tuple[Artifact, ...], threads: int) -> PickResult:
    recorded = artifacts[0].golden()
    item = first_item(recorded.inputs, artifacts[0].manifest.inputs)
    rows: list[PickRow] = []
    sessions: dict[str, ModelSession] = {}
    for artifact, runtime, precision in _ways(artifacts):
        row = PickRow(artifact.manifest.name, artifact.sha256, runtime, precision)
        try:
            session = open_session(artifact.model, runtime, precision, threads, own=artifact.manifest.precision)
            name, share = golden.difference(recorded.outputs, session.run(recorded.inputs))
        except CannotRun as error:
            rows.append(replace(row, refused=str(error)))
            continue
        if share > AGREES:
            rows.append(
                replace(
                    row, refused=f"computes something else: output {name!r} differs by {share:.2g} of its largest value"
                )
            )
            continue
        sessions[str(len(rows))] = session
        rows.append(row)
    times = time_in_rounds({place: partial(session.run, item) for place, session in sessions.items()})
    for place, found in times.items():
        row = rows[int(place)]
        rows[int(place)] = replace(row, p50_ms=found.p50_ms, p99_ms=found.p99_ms, cpu_ms=found.cpu_ms)
    return PickResult(processor(), threads, tuple(rows))


def _ways(artifacts: tuple[Artifact, ...]) -> Iterator[tuple[Artifact, str, str]]:
    for artifact in artifacts:
        for runtime in installed():
            for precision in RUNTIMES[runtime].precisions(artifact.manifest.precision):
                yield artifact, runtime, precision


def _key(artifacts: tuple[Artifact, ...], threads: int) -> str:
    parts = [
        VERSION,
        [sorted(file.sha256 for file in artifact.manifest.files.values()) for artifact in artifacts],
        processor(),
        versions(list(RUNTIMES)),
        threads,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _kept(path: Path) -> PickResult | None:
    """None for what is not there or cannot be read: it is timed anew then."""
    try:
        table = json.loads(path.read_bytes())
        rows = tuple(PickRow(**row) for row in table["rows"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    host, threads = table.get("host"), table.get("threads")
    whole = all(_is_whole(row) for row in rows) and isinstance(host, str) and isinstance(threads, int)
    return PickResult(host, threads, rows, kept=True) if rows and whole else None


def _is_whole(row: PickRow) -> bool:
    texts = (row.model, row.sha256, row.runtime, row.precision, row.refused)
    times = (row.p50_ms, row.p99_ms, row.cpu_ms)
    return all(isinstance(text, str) for text in texts) and all(
        type(ms) in (int, float) and 0 <= ms < math.inf for ms in times
    )


def _keep(path: Path, picked: PickResult) -> None:
    """Where it cannot be kept, the next call times again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as file:
            try:
                file.write(json.dumps(asdict(picked)))
                file.close()
                Path(file.name).rename(path)
            except OSError:
                Path(file.name).unlink(missing_ok=True)
    except OSError:
        return
