"""One bad input costs only itself: a healthy, live-written run beside each poison, one at a time, against the real program."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import wait_for
from tests.kept_results import ROW
from tests.poisons import (
    Poison,
    Scene,
    clients,
    contents,
    crowds,
    kinds_of_files,
    logs,
    names,
    processes,
    run_info,
    whole,
    written,
)
from tests.poisons.house import House, Houses, house
from tests.poisons.whole import collector_of, future_files

PARTS = (kinds_of_files, names, run_info, contents, logs, processes, clients, crowds, whole)
POISONS: list[Poison] = [poison for part in PARTS for poison in part.POISONS]
ALONE_MB, MEMORY_MB = 200, 500
TRIES = 3  # a poison that delays a run delays it each time; what else the machine does, not


def rows(quick: bool) -> list[Poison]:
    return [poison for poison in POISONS if poison.quick == quick]


def name_of(poison: Poison) -> str:
    return poison.name


def suffer(houses: Houses, poison: Poison, record: Callable[[str, object], None]) -> None:
    harmed = True
    try:
        outcome = houses.living().suffer(poison)
        for _ in range(TRIES - 1):
            if not outcome.was_late_only:
                break
            outcome = houses.living().suffer(poison)
        record(ROW, outcome.row())
        assert outcome.faults == [], f"{poison.what}: {outcome}"
        harmed = False
    finally:
        if harmed or poison.spoils:
            houses.leave()


def test_alone_the_healthy_run_arrives_at_once_and_both_processes_are_small(houses: Houses) -> None:
    assert watched(houses.living(), 2.0, ALONE_MB) == []


@pytest.mark.parametrize("poison", rows(quick=True), ids=name_of)
def test_a_healthy_run_is_untouched_beside(
    poison: Poison, houses: Houses, record_property: Callable[[str, object], None]
) -> None:
    suffer(houses, poison, record_property)


@pytest.mark.long
@pytest.mark.parametrize("poison", rows(quick=False), ids=name_of)
def test_a_healthy_run_is_untouched_also_beside(
    poison: Poison, houses: Houses, record_property: Callable[[str, object], None]
) -> None:
    suffer(houses, poison, record_property)


# -- what cannot share a dashboard -------------------------------------------------------------------------------------


class Empty(NamedTuple):
    """Stands for a dashboard that is not started yet."""

    log_dir: Path


LYING_THERE = [poison for poison in POISONS if isinstance(poison.place, written)]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_all_poisons_at_once_are_there_before_the_start(tmp_path: Path) -> None:
    """And are there still when the collector is killed."""
    (tmp_path / "logs").mkdir()
    with contextlib.ExitStack() as placed:
        for poison in LYING_THERE:
            placed.enter_context(poison.place(Scene(Empty(tmp_path / "logs"), 0, poison.name)))
        with house(tmp_path) as living:
            assert watched(living, 5.0, MEMORY_MB) == []
            collector_of(living.running).kill()
            killed_s = time.time()
            wait_for(
                lambda: living.watch.newest_s > max(killed_s, time.time() - 1),
                because="no point after the collector was killed",
            )
            assert watched(living, 3.0, MEMORY_MB) == []


@pytest.mark.long
def test_a_store_file_of_a_future_clock_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    future_files(tmp_path / "logs" / ".deepseek")
    with house(tmp_path) as living:
        assert watched(living, 3.0, ALONE_MB) == []
        host = living.running.get("/api/v1/curves?expr=host/cpu_pct&buckets=20000")["curves"]
        assert host and len(host[0]["x"]) > 2


@pytest.mark.long
def test_a_log_folder_that_is_removed_is_said_and_followed_again_when_it_is_back(tmp_path: Path) -> None:
    with house(tmp_path) as living:
        shutil.rmtree(living.running.log_dir)
        wait_for(
            lambda: str(living.running.log_dir) in living.told(), because="nobody says that the log folder is gone"
        )
        assert not living.is_well()
        living.running.log_dir.mkdir()
        wait_for(living.is_well, because="not well again though the folder is back")
        (living.running.log_dir / "new.jsonl").write_bytes(kinds_of_files.GOOD)
        wait_for(lambda: living.running.values("new", "x") == [1.0, 2.0], because="a run in the new folder is not read")


def watched(living: House, seconds: float, memory_mb: float) -> list[str]:
    """What was not as it should be in these seconds."""
    living.watch.begin()
    until_s = time.time() + seconds
    wait_for(lambda: living.watch.newest_s > until_s, seconds + 60, "no point of the healthy run arrives")
    return living.harm(living.watch.worst(), memory_mb)
