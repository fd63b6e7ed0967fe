"""The fastest runtime and precision of this host for a model: timed once, kept by model and host."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact import golden
from ..errors import CannotRun, ModelsError
from . import this_host
from .opening import RUNTIMES, installed, open_session
from .session import ModelSession
from .timing import time_in_rounds

if TYPE_CHECKING:
    from ..artifact import Artifact

AGREES = 0.2  # of an output's largest value: bfloat16 and int8 stay below, a broken kernel does not
VERSION = 1  # of the kept file


@dataclass(frozen=True)
class PickedRow:
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
class Picked:
    """`rows` in the order in which they were tried; `kept`: the answer is of an earlier call."""

    host: str
    threads: int
    rows: tuple[PickedRow, ...]
    kept: bool = False

    @property
    def fastest(self) -> PickedRow:
        """By p50. Raises ModelsError where none ran."""
        timed = [row for row in self.rows if not row.refused]
        if not timed:
            raise ModelsError(f"no runtime of this host runs the model: {self.rows[0].refused}")
        return min(timed, key=lambda row: row.p50_ms)


def pick(
    artifact: Artifact, *others: Artifact, threads: int = 1, again: bool = False, cache: Path | None = None
) -> Picked:
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


def _timed(artifacts: tuple[Artifact, ...], threads: int) -> Picked:
    recorded = artifacts[0].golden()
    item = first_item(recorded.inputs, artifacts[0].manifest.inputs)
    rows: list[PickedRow] = []
    sessions: dict[str, ModelSession] = {}
    for artifact, runtime, precision in _ways(artifacts):
        row = PickedRow(artifact.manifest.name, artifact.sha256, runtime, precision)
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
    return Picked(this_host.processor(), threads, tuple(rows))


def _ways(artifacts: tuple[Artifact, ...]) -> Iterator[tuple[Artifact, str, str]]:
    for artifact in artifacts:
        for runtime in installed():
            for precision in RUNTIMES[runtime].precisions(artifact.manifest.precision):
                yield artifact, runtime, precision


def _key(artifacts: tuple[Artifact, ...], threads: int) -> str:
    parts = [
        VERSION,
        [sorted(file.sha256 for file in artifact.manifest.files.values()) for artifact in artifacts],
        this_host.processor(),
        this_host.versions(list(RUNTIMES)),
        threads,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _kept(path: Path) -> Picked | None:
    """None for what is not there or cannot be read: it is timed anew then."""
    try:
        table = json.loads(path.read_bytes())
        rows = tuple(PickedRow(**row) for row in table["rows"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    host, threads = table.get("host"), table.get("threads")
    whole = all(_is_whole(row) for row in rows) and isinstance(host, str) and isinstance(threads, int)
    return Picked(host, threads, rows, kept=True) if rows and whole else None


def _is_whole(row: PickedRow) -> bool:
    texts = (row.model, row.sha256, row.runtime, row.precision, row.refused)
    times = (row.p50_ms, row.p99_ms, row.cpu_ms)
    return all(isinstance(text, str) for text in texts) and all(
        type(ms) in (int, float) and 0 <= ms < math.inf for ms in times
    )


def _keep(path: Path, picked: Picked) -> None:
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
