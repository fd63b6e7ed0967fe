"""Inputs that harmed the runs beside them, one row each: how each is placed, what must say so, and how it goes away.

A poison is placed for as long as its context lasts. `says` asks whether health, the files' list or the page's answers name it, or
hold what was good around it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from tests.conftest import Dashboard

HEALTHY = "healthy"


class Scene(NamedTuple):
    """Where a poison is placed: beside a healthy run, in the log folder of a running dashboard."""

    running: Dashboard
    healthy_pid: int
    name: str  # the poison's, and its run's where it has one

    @property
    def log_dir(self) -> Path:
        return self.running.log_dir

    @property
    def data_dir(self) -> Path:
        return self.log_dir / ".deepseek"

    @property
    def folder(self) -> Path:
        return self.log_dir / self.name

    @property
    def port(self) -> int:
        return int(self.running.address.rpartition(":")[2])

    def files(self, run: str | None = None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.running.get(f"/api/v1/files?run={quote(run or self.name)}").get("files", [])
        return rows

    def steps(self, run: str | None = None, series: str = "x") -> list[int]:
        answer = self.running.get(f"/api/v1/curves?run={quote(run or self.name)}&expr={series}&buckets=20000")
        return [step for one in answer.get("curves", []) for step in one["step"]]


LargeBytes: TypeAlias = bytes | Callable[[], bytes]  # a call where only what is placed may cost its memory
Place: TypeAlias = Callable[[Scene], AbstractContextManager[None]]
Says: TypeAlias = Callable[[Scene], bool]


class written(NamedTuple):  # reads as a verb in the tables
    """A folder of the poison's own, into which `write` puts it; it goes with the folder."""

    write: Callable[[Path], object]

    @contextmanager
    def __call__(self, scene: Scene) -> Iterator[None]:
        scene.folder.mkdir()
        self.write(scene.folder)
        try:
            yield
        finally:
            shutil.rmtree(scene.folder)


class Poison(NamedTuple):
    """One bad input."""

    name: str
    what: str
    place: Place
    says: Says
    quick: bool = False  # in `make test` too
    spoils: bool = (
        False  # what it leaves behind (thousands of runs, say) is not for the next poison: a new dashboard is started
    )
    stays_s: float = 1.5  # at least
    memory_mb: int = 500  # of both processes
    late_s: float = 1.5  # a point of the healthy run may arrive so long after it was written


def made(data: LargeBytes) -> bytes:
    return data if isinstance(data, bytes) else data()


def lines(*parts: bytes, name: str = "metrics.jsonl") -> written:
    """A file of these lines between two good ones, of the steps 1 and 2."""
    good = [b'{"time_s": 1764000000.0, "step": 1, "x": 1}\n', b'{"time_s": 1764000001.0, "step": 2, "x": 2}\n']
    return written(
        lambda folder: (folder / name).write_bytes(good[0] + b"".join(part + b"\n" for part in parts) + good[1])
    )


def silent(scene: Scene) -> bool:
    """Nobody needs to hear of it."""
    return True


def both(*says: Says) -> Says:
    return lambda scene: all(one(scene) for one in says)


def either(*says: Says) -> Says:
    return lambda scene: any(one(scene) for one in says)


def file_says(pattern: str, run: str | None = None) -> Says:
    """The list of the run's files has one that matches, with what was wrong with it."""

    def says(scene: Scene) -> bool:
        rows = [row for row in scene.files(run) if re.search(pattern, row["path"])]
        return any(row.get("trouble") or row.get("first_skip") for row in rows)

    return says


def health_says(pattern: str) -> Says:
    """A sentence of /healthz matches."""

    def says(scene: Scene) -> bool:
        health = scene.running.get("/healthz")
        sentences = [*health["problems"], *(one["last_error"] for one in health["collectors"])]
        return any(re.search(pattern, sentence) for sentence in sentences)

    return says


def run_says(pattern: str, run: str | None = None) -> Says:
    """The run's own row matches, as JSON."""
    return lambda scene: bool(re.search(pattern, json.dumps(scene.running.run(run or scene.name))))


def there(scene: Scene) -> bool:
    """The run is listed."""
    return bool(scene.running.run(scene.name))


def keeps(*steps: int, series: str = "x") -> Says:
    """These steps of the poison's run are stored."""
    return lambda scene: set(steps) <= set(scene.steps(series=series))


kept = keeps(1, 2)
