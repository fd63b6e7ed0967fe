"""An error at any call inside a turn of the tail costs nobody a line."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from collectors.logs import aside
from collectors.logs.tail import Tail
from collectors.records import LogLine, Record
from collectors.service import supervisor as supervising
from collectors.service.supervisor import Supervisor
from collectors.store.open import open_store
from collectors.store.sqlite.engine import SqliteStore
from tests.conftest import wait_for
from tests.ingesting import Ingest
from tests.ingesting import ingest as ingest  # a fixture
from tests.turn_faults import ERRORS, Place, Scene, errors_at, noting, raising

EVERY = 8  # call of a turn is looked at in the short suite


@pytest.fixture
def faults(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(aside, "BACK_OFF_S", (0.0, 0.0))
    ingest.may_fail = True
    yield Scene(ingest)


def start_anew(scene: Scene) -> None:
    scene.ingest.restart()
    scene.append()


PHASES: dict[str, Callable[[Scene], None]] = {
    "lines are appended": Scene.append,
    "a run is new": Scene.new_run,
    "files are replaced": Scene.rewrite,
    "the collector starts": start_anew,
}


@pytest.mark.parametrize("phase", PHASES)
def test_an_error_at_a_call_inside_a_turn_loses_no_line_and_stores_none_twice(phase: str, faults: Scene) -> None:
    places = calls_of(PHASES[phase], faults)
    first = list(PHASES).index(phase)
    inject(PHASES[phase], faults, [place for place in places if not place[1]][first::EVERY])


@pytest.mark.long
@pytest.mark.parametrize("phase", PHASES)
def test_an_error_at_any_call_inside_a_turn_loses_no_line_and_stores_none_twice(phase: str, faults: Scene) -> None:
    inject(PHASES[phase], faults, calls_of(PHASES[phase], faults))


def calls_of(begin: Callable[[Scene], None], faults: Scene) -> list[Place]:
    """All that are made in the turns after it has begun."""
    places: dict[Place, None] = {}
    faults.new_run()
    faults.check()
    faults.ingest.around = lambda: noting(places)
    for _ in range(2):
        begin(faults)
        faults.check()
    faults.ingest.around = contextlib.nullcontext
    assert len(places) > 200
    return [*places]


def inject(begin: Callable[[Scene], None], faults: Scene, places: list[Place]) -> None:
    ingest, kinds, raised = faults.ingest, cycle(range(len(ERRORS))), 0
    for number, (place, kind) in enumerate(zip(places, kinds, strict=False)):
        error = errors_at(place, kind)
        begin(faults)
        hits: list[Exception] = []
        ingest.around = partial(raising, place, error, hits)
        for _ in range(3):
            ingest.turn()
        raised += bool(hits)
        ingest.around = contextlib.nullcontext
        if number % 10 == 9:
            ingest.until(faults.is_newest_stored, faults.differences)
    faults.check()
    assert raised > len(places) / 2
