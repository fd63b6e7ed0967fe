"""Windows with one planted cause each, drawn at random, and what the rules make of them, on a clock that is moved."""

from __future__ import annotations

import heapq
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.findings.rule import RunRule
from analysis.findings.rules import BY_NAME
from analysis.stacks.trust import LineOf, no_source
from collectors.records import Finding, Record
from collectors.store.engines import open_store
from tests.support.judged import T0, JudgedRuns

GRACE_S = 5.0
ENOUGH = 0.95  # of the windows: 19 of 20
STEP_S = 2.0  # of the clock, at the end
SEED_NAME = "PLANTED_SEED"


def seed() -> int:
    """Drawn at each run; PLANTED_SEED in the environment repeats one."""
    return int(os.environ.get(SEED_NAME) or time.time_ns() % 1_000_000)


class PlantedWindow(NamedTuple):
    """One run, or one card, with its cause. Times are Unix seconds of the moved clock."""

    name: str  # of the run, or the uuid of the card
    planted_s: float
    records: Iterator[tuple[float, Record]]  # by time
    data_s: float = 0.0  # how long the cause takes for what the rule's `needs` names, where those are steps or events
    begins_s: float = T0
    ranks: int = 1
    ends_s: float = math.inf  # when its processes are gone
    what: str = ""  # how it was drawn, for a report of one that was missed

    def allowed_s(self, rule: str) -> float:
        """From the cause to the finding: `needs`, or the data that it names where those take longer, and five seconds."""
        return max(BY_NAME[rule].needs_s, self.data_s + BY_NAME[rule].every_s) + GRACE_S


class JudgedWindow(NamedTuple):
    """`late_s` is from the cause to the finding: inf where there is none, below 0 where it was found before it was there."""

    window: PlantedWindow
    late_s: float
    allowed_s: float

    @property
    def in_time(self) -> bool:
        return 0 <= self.late_s <= self.allowed_s


class PlantedResult(NamedTuple):
    """All windows of one cause."""

    rule: str
    cause: str
    judged: Sequence[JudgedWindow]

    @property
    def found(self) -> int:
        return sum(each.in_time for each in self.judged)

    @property
    def is_enough(self) -> bool:
        return self.found >= ENOUGH * len(self.judged)

    @property
    def beyond_s(self) -> float:
        """The 95th percentile of the delay beyond what is needed; below 0 where it needed less."""
        beyond = sorted(each.late_s - (each.allowed_s - GRACE_S) for each in self.judged)
        return beyond[min(len(beyond) - 1, math.ceil(0.95 * len(beyond)) - 1)]

    @property
    def median_s(self) -> float:
        return statistics.median(each.late_s for each in self.judged)

    def missed(self) -> list[str]:
        """A line for each window that was not found in time."""
        return [
            f"{self.cause}: {each.window.name} after {each.late_s:.1f} s of {each.allowed_s:.0f} s ({each.window.what})"
            for each in self.judged
            if not each.in_time
        ]


Prepare = Callable[[JudgedRuns], None]
EachSecond = Callable[[JudgedRuns], Iterable[Record]]


def judge(
    folder: Path,
    rule: str,
    windows: Sequence[PlantedWindow],
    *,
    stored: bool = False,
    line_of: LineOf = no_source,
    prepare: Prepare = lambda judged: None,
    each_second: EachSecond = lambda judged: (),
    subject: Callable[[Finding], str] = lambda found: found.run or "",
    cause: str = "",
) -> PlantedResult:
    """All windows at once, as runs, cards or hosts of one machine. `each_second` gives what the machine's own collectors say."""
    store = open_store(folder, write=True)
    judged = JudgedRuns(store, stored=stored, line_of=line_of)
    prepare(judged)
    merged = heapq.merge(*(window.records for window in windows), key=lambda row: row[0])
    waiting: list[tuple[float, Record]] = []
    begins = sorted(windows, key=lambda window: window.begins_s)
    of_runs = isinstance(BY_NAME[rule], RunRule)

    def second(now_s: float) -> list[Record]:
        while of_runs and begins and begins[0].begins_s <= now_s:
            window = begins.pop(0)
            judged.begin(window.name, window.ranks)
        for window in windows:
            if window.ends_s <= now_s:
                judged.finder.processes.pop(window.name, None)
        found: list[Record] = list(each_second(judged))
        while True:
            row = waiting.pop() if waiting else next(merged, None)
            if row is None:
                return found
            if row[0] > now_s:
                waiting.append(row)
                return found
            found.append(row[1])

    until_s = max(window.planted_s + window.allowed_s(rule) for window in windows) + STEP_S
    judged.go_on(until_s - judged.now_s, second)
    first: dict[str, float] = {}
    for found in judged.of(rule):
        name = subject(found)
        first[name] = min(first.get(name, math.inf), judged.first_s[found.id])
    store.close()
    rows = [
        JudgedWindow(
            window._replace(records=iter(())),
            first.get(window.name, math.inf) - window.planted_s,
            window.allowed_s(rule),
        )
        for window in windows
    ]
    return PlantedResult(rule, cause or rule, rows)


def names(dice: random.Random, many: int) -> list[str]:
    """Names of runs as they are given: with folders, spaces and other scripts."""
    words = ("baseline", "sweep/lr=3e-4", "größer", "run 7", "训练", "gpt2-small_v2", "a.b", "ppo")
    return [f"{dice.choice(words)}-{number:02}" for number in range(many)]
