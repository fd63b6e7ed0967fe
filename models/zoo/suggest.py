"""Suggests models that are fast and small enough on this host, by timing them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelsError, needed
from ..runtimes import MAX_THREADS
from ..runtimes.pick import time_in_rounds, versions
from . import table
from .folder import read, today
from .loaders import loading
from .local_files import files_of, is_on_this_host
from .table import Latency, ZooRow, megabytes

ROUNDS, ROUND_S = 3, 0.3
HOPELESS = 3.0  # a first call this many times slower than asked for ends the timing


class Suggestion(NamedTuple):
    row: ZooRow
    latency: Latency
    here: bool


class Suggestions(NamedTuple):
    """`rows` best first; `tried` were timed or known, of `candidates` within the size."""

    rows: list[Suggestion]
    tried: int
    candidates: int
    failed: dict[str, str]  # by name, why a model could not be timed


def suggest(
    folder: Path,
    task: str,
    max_ms: float,
    max_mb: float,
    seconds: float = 60.0,
    most: int = 3,
    threads: int = 1,
    non_commercial: bool = False,
    progress: Callable[[str], None] = lambda sentence: None,
) -> Suggestions:
    """The best by stated metric come first, then the largest: models are timed in that order until `most` pass, or the time is over.

    Raises ModelsError where no row of the task is small enough.
    """
    candidates = sorted(table.selected(task, max_mb, non_commercial=non_commercial), key=_promise)
    if not candidates:
        raise ModelsError(
            f"no model for {task} has {max_mb:g} MB or less: deepseek-models list --task {task} shows their sizes"
        )
    if not 1 <= threads <= MAX_THREADS:
        raise ModelsError(f"{threads} threads cannot run a model; give 1 to {MAX_THREADS:,}")
    needed("torch").set_num_threads(threads)
    locked, known = read(folder), table.read(folder)
    until_s = time.monotonic() + seconds
    passed: list[Suggestion] = []
    failed: dict[str, str] = {}
    tried = 0
    for row in candidates:
        latency = known.get(row.name)
        here = is_on_this_host(row, folder, locked)
        if latency is None or latency.threads != threads:
            if time.monotonic() > until_s:
                continue
            progress(f"timing {row.name}")
            try:
                latency = timed(table.find(row.name), folder, here, threads, max_ms)
            except ModelsError as error:
                failed[row.name] = str(error)
                continue
            table.keep(folder, {row.name: latency})
        tried += 1
        if latency.p50_ms <= max_ms:
            passed.append(Suggestion(row, latency, here))
            if len(passed) == most:
                break
    return Suggestions(passed, tried, len(candidates), failed)


def timed(row: ZooRow, folder: Path, here: bool, threads: int, max_ms: float = float("inf")) -> Latency:
    """About a second, and what it takes to make the model. Raises ModelsError where it cannot be made."""
    inputs = loading.example(row)
    _require_memory(row)
    model = loading.opened(row, files_of(row, folder)) if here else loading.untrained(row)
    begun_s = time.perf_counter()
    model.run(inputs)
    model.run(inputs)
    first_ms = (time.perf_counter() - begun_s) * 500
    runtime = _runtime(row)
    if first_ms > HOPELESS * max_ms:
        return Latency(first_ms, first_ms, first_ms, runtime, threads, "its own" if here else "random", today())
    found = time_in_rounds({row.name: lambda: model.run(inputs)}, ROUNDS, ROUND_S)[row.name]
    return Latency(
        round(found.p50_ms, 3),
        round(found.p99_ms, 3),
        round(found.cpu_ms, 3),
        runtime,
        threads,
        "its own" if here else "random",
        today(),
    )


def _require_memory(row: ZooRow, meminfo: Path = Path("/proc/meminfo")) -> None:
    """Raises ModelsError where the weights would fill more than half of what is free."""
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    free_mb = next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("MemAvailable:")), float("inf"))
    wanted_mb = 4 * (row.parameters or 0) / 1e6
    if wanted_mb > free_mb / 2:
        raise ModelsError(f"{row.name} needs {wanted_mb:,.0f} MB of memory, and {free_mb:,.0f} MB are free")


def _promise(row: ZooRow) -> tuple[float, float]:
    """Ascending: the best first."""
    return (-row.metric["value"] if row.metric else 0.0, -(megabytes(row) or 0.0))


def _runtime(row: ZooRow) -> str:
    package = {"onnx": "onnxruntime", "fasttext": "fasttext-predict"}.get(row.loader, "torch")
    version = versions([package]).get(package, "")
    return f"{package} {version}{' eager' if package == 'torch' else ''}"
