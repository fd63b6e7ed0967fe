"""Runs in thousands, and what is asked of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.poisons import Place, Poison, Says, Scene
from tests.poisons.kinds_of_files import GOOD


def crowd(count: int) -> Place:
    @contextmanager
    def place(scene: Scene) -> Iterator[None]:
        for number in range(count):
            folder = scene.folder / f"{number}"
            folder.mkdir(parents=True)
            (folder / "metrics.jsonl").write_bytes(GOOD)
        yield
        shutil.rmtree(scene.folder)

    return place


def all_listed(count: int) -> Says:
    return lambda scene: (
        sum(run["run"].startswith(scene.name) for run in scene.running.get("/api/v1/runs")["runs"]) == count
    )


POISONS = [
    Poison("runs-3000", "3,000 runs at once", crowd(3000), all_listed(3000), spoils=True),
]
