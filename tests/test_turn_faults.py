"""An error at any call inside a turn of the tail costs nobody a line."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from collectors.logs import aside
from collectors.logs.tail import Tail
from collectors.records import Record
from collectors.service.supervisor import Supervisor
from collectors.store.open import open_store
from tests.ingesting import DEADLINE_S, Ingest
from tests.ingesting import ingest as ingest
from tests.turn_faults import ERRORS, Place, Scene, noting, raising


@pytest.fixture
def faults(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(aside, "BACK_OFF_S", (0.0, 0.0))
    ingest.may_fail = True
    yield Scene(ingest)


def settled(scene: Scene) -> None:
    """Until nothing is left to read."""
    scene.check()


PHASES: dict[str, Callable[[Scene], None]] = {
    "lines are appended": Scene.append,
    "a run is new": Scene.new_run,
    "files are replaced": Scene.rewrite,
    "the collector starts": lambda scene: (scene.ingest.restart(), scene.append()) and None,
}


def turns(scene: Scene, count: int = 3) -> None:
    for _ in range(count):
        scene.ingest.turn()


@pytest.mark.parametrize("phase", PHASES)
def test_an_error_at_any_call_inside_a_turn_loses_no_line_and_stores_none_twice(phase: str, faults: Scene) -> None:
    _inject(faults, PHASES[phase], of_ours=True)


def _inject(scene: Scene, begin: Callable[[Scene], None], *, of_ours: bool) -> None:
    ingest = scene.ingest
    places: dict[Place, None] = {}
    scene.new_run()
    scene.check()
    ingest.around = lambda: noting(places)
    for _ in range(2):
        begin(scene)
        turns(scene)
        scene.check()
    errors, hit, escaped = cycle(ERRORS), 0, 0
    chosen = [place for place in places if not place[1] or not of_ours]
    for number, (place, error) in enumerate(zip(chosen, errors)):
        ingest.around = lambda: raising(place, error)
        begin(scene)
        ingest.turn()
        escaped += ingest.failed is not None
        turns(scene, 1)
        if number % 20 == 19:
            ingest.around = contextlib.nullcontext
            scene.check()
    scene.check()
    print(len(chosen), "escaped", escaped)
