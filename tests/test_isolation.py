"""One bad input costs only itself: a healthy, live-written run beside each poison, one at a time, against the real program."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.poisons import Poison, clients, contents, crowds, kinds_of_files, logs, names, processes, run_info
from tests.poisons.house import House, house

PARTS = (kinds_of_files, names, run_info, contents, logs, processes, clients, crowds)
POISONS: list[Poison] = [poison for part in PARTS for poison in part.POISONS]
TABLE = os.environ.get("ISOLATION_TABLE")  # a file to which a row of each poison is appended
ALONE_MB = 200


class Houses:
    """One dashboard for successive poisons; a new one after a poison that did harm, or leaves much behind."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._living: House | None = None

    def living(self) -> House:
        if self._living is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="isolation-", ignore_cleanup_errors=True)))
            self._living = self._stack.enter_context(house(folder))
        return self._living

    def leave(self) -> None:
        self._living = None
        self._stack.close()


@pytest.fixture(scope="module")
def houses() -> Iterator[Houses]:
    houses = Houses()
    yield houses
    houses.leave()


def rows(quick: bool) -> list[Poison]:
    return [poison for poison in POISONS if poison.quick == quick]


def name_of(poison: Poison) -> str:
    return poison.name


def suffer(houses: Houses, poison: Poison) -> None:
    harmed = True
    try:
        outcome = houses.living().suffer(poison)
        harmed = bool(outcome.faults)
    finally:
        if harmed or poison.spoils:
            houses.leave()
    if TABLE:
        with Path(TABLE).open("a") as table:
            table.write(outcome.row() + "\n")
    assert outcome.faults == [], f"{poison.what}: {outcome}"


def test_alone_the_healthy_run_arrives_at_once_and_both_processes_are_small(houses: Houses) -> None:
    living = houses.living()
    living.watch.begin()
    newest = living.watch.newest_s
    while living.watch.newest_s < newest + 2:
        pass
    assert living.harm(living.watch.worst(), ALONE_MB) == []


@pytest.mark.parametrize("poison", rows(quick=True), ids=name_of)
def test_a_healthy_run_is_untouched_beside(poison: Poison, houses: Houses) -> None:
    suffer(houses, poison)


@pytest.mark.long
@pytest.mark.parametrize("poison", rows(quick=False), ids=name_of)
def test_a_healthy_run_is_untouched_also_beside(poison: Poison, houses: Houses) -> None:
    suffer(houses, poison)
