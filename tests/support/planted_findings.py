"""Some runs, or cards, of which each gets the same fault at a moment drawn at random; and whether the rules find it in time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from analysis.findings.rules import BY_NAME
from collectors.records import Points, Record
from collectors.store.engines import open_store
from tests.support.judged import T0, JudgedRuns, point

ENOUGH = 0.95  # of the windows: 19 of 20
GRACE_S = 5.0
Values: TypeAlias = Callable[[int, float | None, random.Random], Mapping[str, float] | None]
"""Of a step, the seconds since the fault was planted (None before), and dice: what the step logs; None for a step that logs nothing."""


@pytest.fixture(params=[6, pytest.param(20, marks=pytest.mark.long)])
def windows(request: pytest.FixtureRequest) -> int:
    """How many: in `make test` all of some, in `make test-long` 19 of 20."""
    many: int = request.param
    return many


def loss_of(step: int, dice: random.Random) -> float:
    return (2.0 * math.exp(-step / 600) + 0.5) * dice.lognormvariate(0, 0.05)


def healthy(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
    return {"train/loss": loss_of(step, dice), "train/grad_norm": dice.lognormvariate(0, 0.4)}


class PlantedRun:
    """Makes steps of `step_s` seconds and logs them."""

    def __init__(
        self, name: str, values: Values, step_s: Callable[[int, float | None], float], seed: int, latest_s: float
    ) -> None:
        self.name, self.values, self.step_s, self.dice = name, values, step_s, random.Random(seed)
        self.planted_s = T0 + latest_s - 20 + self.dice.uniform(0, 20)
        self.step, self.next_s = 0, T0 + self.dice.random()

    def second(self, now_s: float) -> Iterable[Record]:
        while self.next_s <= now_s:
            since_s = self.next_s - self.planted_s if self.next_s >= self.planted_s else None
            values = self.values(self.step, since_s, self.dice)
            if values is not None:
                yield point(self.name, self.next_s, self.step, values)
            self.step += 1
            self.next_s += self.step_s(self.step, since_s)


def found_in_time(
    folder: Path,
    windows: int,
    rule: str,
    values: Values,
    *,
    step_s: Callable[[int, float | None], float] = lambda step, since_s: 0.1,
    healthy_s: float = 90.0,
    more: Callable[[PlantedRun, float], Iterable[Record]] = lambda run, now_s: (),
    after_s: float = 0.0,
) -> JudgedRuns:
    """Asserts that 19 of 20 windows are found within `needs_s` + 5 s, and none before. `more` are records of a run's second.

    `after_s` is how long a fault lasts before it is one.
    """
    store = open_store(folder, write=True)
    judged = JudgedRuns(store, stored=False)
    runs = [PlantedRun(f"run-{number:02}", values, step_s, number, healthy_s) for number in range(windows)]
    for run in runs:
        judged.begin(run.name)
    needs_s = BY_NAME[rule].needs_s + GRACE_S + after_s
    judged.go_on(
        healthy_s + needs_s + 2.0,
        lambda now_s: [record for run in runs for record in (*run.second(now_s), *more(run, now_s))],
    )
    first = {found.run: judged.first_s[found.id] for found in judged.of(rule)}
    early = [run.name for run in runs if run.name in first and first[run.name] < run.planted_s]
    late = {run.name: first.get(run.name, math.inf) - run.planted_s for run in runs}
    assert not early, (early, [found.sentence for found in judged.of(rule)])
    assert sum(seconds <= needs_s for seconds in late.values()) >= ENOUGH * windows, late
    store.close()
    return judged


def all_silent(folder: Path, values: Values, *, seconds: float = 300.0, step_s: Callable[[int], float] = lambda step: 0.1, runs: int = 3) -> None:  # fmt: skip
    """Nothing is found in runs like these, whatever the rule; best results aside."""
    store = open_store(folder, write=True)
    judged = JudgedRuns(store, stored=False)
    planted = [
        PlantedRun(f"run-{number}", values, lambda step, since_s: step_s(step), number, math.inf)
        for number in range(runs)
    ]
    for run in planted:
        run.planted_s = math.inf
        judged.begin(run.name)
    judged.go_on(seconds, lambda now_s: [record for run in planted for record in run.second(now_s)])
    false = [(found.rule, found.sentence) for found in judged.found.values() if found.rule != "new_best"]
    store.close()
    assert not false, false


def of_run(records: Iterable[Record]) -> list[Points]:
    return [record for record in records if isinstance(record, Points)]
