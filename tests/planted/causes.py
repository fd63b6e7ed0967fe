"""All planted causes, one of each rule at least: trainings on a clock of their own, recordings of real programs, described cards and machines."""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.planted import cards, machines, programs, replays, trainings
from tests.planted.windows import PlantedResult

MEMORY = Path("/dev/shm")  # the store waits for its disk at each commit, and a moved clock makes one after the other


class PlantedCause(NamedTuple):
    """What is done to a run, a card or a machine, so that the rule holds. `judged` draws so many windows of it."""

    rule: str
    name: str
    judged: Callable[[Path, int, random.Random], PlantedResult]


def _of(judged: Any, cause: Any) -> PlantedCause:
    return PlantedCause(cause.rule, cause.name, lambda folder, windows, dice: judged(folder, cause, windows, dice))


CAUSES: Final = (
    *(_of(replays.judged, cause) for cause in replays.CAUSES),
    *(_of(trainings.judged, cause) for cause in programs.CAUSES),
    *(_of(cards.judged, cause) for cause in cards.CAUSES),
    *(PlantedCause(cause.rule, cause.name, cause.judged) for cause in machines.CAUSES),
)


def judged(number: int, windows: int, seed: int) -> PlantedResult:
    """Of the cause with this number; the same for the same seed."""
    cause = CAUSES[number]
    log = logging.getLogger("collectors")
    level = log.level
    log.setLevel(logging.CRITICAL)  # parts of it fail on purpose
    try:
        with tempfile.TemporaryDirectory(prefix="planted-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
            return cause.judged(Path(folder) / "windows", windows, random.Random(f"{seed} {cause.rule} {cause.name}"))
    finally:
        log.setLevel(level)
