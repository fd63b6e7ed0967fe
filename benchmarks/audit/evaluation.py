"""Asks for windows of recordings, and compares each answer with what the program's author knows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from analysis.blame.verdict import Verdict
from analysis.stacks.spans import Interval
from collectors.message import text_of
from collectors.records import Frame
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.support.plain import Stretch

from .catalogue import ROWS, Row, folder_of, set_of
from .recording import units_of

Judgement: TypeAlias = Literal["right", "vague", "wrong", "none", "no line", "quiet", "others", "blamed"]

KINDS = ("exact", "1.5 s", "4 s", "wide", "early", "late", "healthy")
SHORT_S, MIDDLE_S = 1.5, 4.0
WIDER = 0.3
EDGE_S = 1.0
AFTER_S = 2.0  # of a healthy phase: what was begun slowly is ended, what was prefetched is used up
SLOWER = 1.1  # by how much a slow phase's window must be slower, by the program's own units
DISTURBED = 1.35  # a healthy window that is slower than that was slowed by others
TAKEN = 0.5  # of a slow window's excess: more than that waited for a core

NOTHING = ("no_difference", "too_few_samples", "no_profile")
OTHERS = ("cpu_taken", "neighbour", "gpu_slower")
LOOPS = (
    "main",
    "<module>",
    "run",
    "train",
    "fit",
)  # functions that do everything: vague, but for the line that calls the culprit


class Window(NamedTuple):
    kind: str
    range: Interval
    planned: float  # the factor of its phase
    factor: float  # by how much its units are longer than healthy ones
    others: float  # cores used by programs other than the recording's, on average
    waited: float  # for a core: the share of the time, of the thread that runs the loop
    left_out: str  # why it does not count


class Result(NamedTuple):
    """A row of the CSV."""

    program: str
    set: str
    steps: bool
    kind: str
    since_s: float
    seconds: float
    planned: float
    factor: float
    others: float
    waited: float
    left_out: str
    judgement: Judgement
    confidence: str
    verdict: str
    function: str
    file: str
    line: int | None
    leaf: str
    reason: str
    basis: str
    sentence: str


class Recording:
    def __init__(self, folder: Path) -> None:
        truth = json.loads((folder / "truth.json").read_text())
        self.folder = folder
        ((name, plan),) = truth["plans"].items()
        self.row: Row = ROWS[name]
        self.plan: list[Stretch] = [tuple(one) for one in plan]
        store = open_store(folder / "logs" / ".deepseek", write=False)
        self.queries = Queries(store, folder / "logs", folder / "logs" / ".deepseek")

    def close(self) -> None:
        self.queries.close()

    def results(self) -> Iterator[Result]:
        for window in self.windows():
            verdict = self.queries.stacks.blame(self.row.run_name, window.range)
            if verdict.verdict == "no_profile":
                window = window._replace(left_out="no stacks")
            yield _result(self.row, window, verdict)

    def windows(self) -> list[Window]:
        """Six of each slow phase; of each healthy one three, which are as long as those."""
        found = []
        for turn, (since_s, until_s, factor) in enumerate(self.plan):
            asked = _of_slow(since_s, until_s) if factor > 1 else self._of_healthy(turn, since_s, until_s)
            found += [self._window(kind, window, (since_s, until_s, factor)) for kind, window in asked]
        return found

    def _of_healthy(self, turn: int, since_s: float, until_s: float) -> list[tuple[str, Interval]]:
        """The first phase's last part alone: what lies before has nothing to be compared with."""
        since_s = since_s + AFTER_S if turn else until_s - (until_s - since_s) / 2
        middle_s = (since_s + until_s) / 2
        windows = [(since_s, until_s - EDGE_S), _around(middle_s, SHORT_S), _around(middle_s, MIDDLE_S)]
        return [("healthy", window) for window in windows]

    def _window(self, kind: str, window: Interval, phase: Stretch) -> Window:
        planned, factor = phase[2], self.factor(window)
        waited = self._waits_s(window) / self._unit_s(window)
        return Window(
            kind, window, planned, factor, self._others(window), waited, self._left_out(window, factor, planned)
        )

    def _left_out(self, window: Interval, factor: float, planned: float) -> str:
        if self.row.right == "others" and planned > 1:
            return "" if factor > SLOWER else "not slower"
        if planned == 1:
            return "others slowed it" if factor > DISTURBED else ""
        if factor < SLOWER:
            return "not slower"
        return "others slowed it" if self._taken(window) > TAKEN * (factor - 1) else ""

    def _taken(self, window: Interval) -> float:
        """How much more a unit waits for a core than if others took the share that they take in healthy phases, in healthy units."""
        unit_s, waits_s = self._unit_s(window), self._waits_s(window)
        return (waits_s - self._healthy_wait * (unit_s - waits_s)) / self._healthy_s

    def _waits_s(self, window: Interval) -> float:
        """For a core, a unit, by the kernel's account of the thread that runs the loop."""
        units = np.interp(window, self._ended_s, np.arange(len(self._ended_s)))
        waited_s = np.interp(window, self._ended_s, self._waited_s)
        return float(waited_s[1] - waited_s[0]) / max(float(units[1] - units[0]), 1e-3)

    def factor(self, window: Interval) -> float:
        return self._unit_s(window) / self._healthy_s

    @cached_property
    def _healthy_phases(self) -> list[Interval]:
        return [(lo + (AFTER_S if turn else 0.0), hi) for turn, (lo, hi, factor) in enumerate(self.plan) if factor == 1]

    @cached_property
    def _healthy_s(self) -> float:
        """A unit of its healthy phases, the median of these."""
        return float(np.median([self._unit_s(phase) for phase in self._healthy_phases]))

    @cached_property
    def _healthy_wait(self) -> float:
        """For a core, in proportion to what else a unit takes."""
        waits = [self._waits_s(phase) / self._unit_s(phase) for phase in self._healthy_phases]
        share = min(float(np.median(waits)), 0.99)
        return share / (1 - share)

    def _unit_s(self, window: Interval) -> float:
        """The mean; a unit counts with the part of it that lies in the window."""
        ended_s = self._ended_s
        units = np.interp(window, ended_s, np.arange(len(ended_s)))
        return (window[1] - window[0]) / max(float(units[1] - units[0]), 1e-3)

    @property
    def _ended_s(self) -> np.ndarray:
        return self._units[0]

    @property
    def _waited_s(self) -> np.ndarray:
        return self._units[1]

    @cached_property
    def _units(self) -> tuple[np.ndarray, np.ndarray]:
        return units_of(self.folder)

    def _others(self, window: Interval) -> float:
        time_s, cores = self._load
        inside = (time_s > window[0]) & (time_s < window[1] + 1.0)  # a line is of the second before it
        return float(cores[inside].mean()) if inside.any() else float("nan")

    @cached_property
    def _load(self) -> tuple[np.ndarray, np.ndarray]:
        rows = list(csv.reader((self.folder / "load.csv").read_text().splitlines()))
        time_s, cores = np.array(rows, float).reshape(-1, 2).T
        return time_s, cores


def evaluate(folders: Sequence[Path], wanted: str | None, only: Sequence[str] | None) -> list[Result]:
    """Of folders of recordings; of a program that was recorded more than once, the one of the last folder counts."""
    newest = {path.parent.name: path.parent for folder in folders for path in sorted(folder.glob("*/truth.json"))}
    results: list[Result] = []
    for name, place in newest.items():
        if name not in ROWS or (wanted and set_of(name) != wanted) or (only and name not in only):
            continue
        recording = Recording(place)
        try:
            results += recording.results()
        finally:
            recording.close()
    return results


def _of_slow(since_s: float, until_s: float) -> list[tuple[str, Interval]]:
    middle_s, seconds = (since_s + until_s) / 2, until_s - since_s
    return [
        ("exact", (since_s + EDGE_S, until_s - EDGE_S)),
        ("1.5 s", _around(middle_s, SHORT_S)),
        ("4 s", _around(middle_s, MIDDLE_S)),
        ("wide", _around(middle_s, (1 + WIDER) * seconds)),
        ("early", (since_s - seconds / 2, until_s - seconds / 2)),
        ("late", (since_s + seconds / 2, until_s + seconds / 2)),
    ]


def _around(middle_s: float, seconds: float) -> Interval:
    return middle_s - seconds / 2, middle_s + seconds / 2


def _result(row: Row, window: Window, verdict: Verdict) -> Result:
    frame = verdict.suspect.frame if verdict.suspect else None
    return Result(
        program=row.name,
        set=set_of(row.name),
        steps=row.steps,
        kind=window.kind,
        since_s=round(window.range[0], 3),
        seconds=round(window.range[1] - window.range[0], 3),
        planned=window.planned,
        factor=round(window.factor, 3),
        others=round(window.others, 2),
        waited=round(window.waited, 3),
        left_out=window.left_out,
        judgement=judge(row, window.kind == "healthy", verdict),
        confidence=verdict.confidence or "",
        verdict=verdict.verdict,
        function=frame.name if frame else "",
        file=frame.file if frame else "",
        line=frame.line if frame else None,
        leaf=verdict.suspect.leaf if verdict.suspect else "",
        reason=text_of(verdict.reason),
        basis=verdict.basis,
        sentence=verdict.sentence,
    )


def judge(row: Row, healthy: bool, verdict: Verdict) -> Judgement:
    frame = verdict.suspect.frame if verdict.suspect else None
    if healthy:
        if frame:
            return "blamed"
        return "quiet" if verdict.verdict in NOTHING else "others" if verdict.verdict in OTHERS else "no line"
    if row.right == "others":
        return "wrong" if frame else "none" if verdict.verdict in NOTHING else "right"
    if row.right == "gc" and "garbage collection" in text_of(verdict.reason):
        return "right"
    if frame is None:
        return "none" if verdict.verdict in NOTHING else "others" if verdict.verdict in OTHERS else "no line"
    if any(names(place, frame) for place in row.culprits + row.second):
        return "right"
    if any(names(place, frame) for place in row.callers) and (_own(frame.name)[-1] not in LOOPS or _calls(row, frame)):
        return "right"
    return "vague" if _own(frame.name)[-1] in (*row.outer, *LOOPS) else "wrong"


def _calls(row: Row, frame: Frame) -> bool:
    """Whether that line of the program names what is slow: a loop is the direct caller of much else."""
    lines = (folder_of(row.name) / Path(frame.file).name).read_text().splitlines()
    return any(_own(place.partition(":")[2])[-1] in lines[frame.line - 1] for place in row.culprits + row.second)


def names(place: str, frame: Frame) -> bool:
    """Whether the frame is at that place (catalogue.py). A comprehension or lambda in a function counts as that function."""
    file, _, function = place.partition(":")
    if Path(frame.file).name != file:
        return False
    asked, said = _own(function), _own(frame.name)
    depth = min(len(asked), len(said), 2)
    return asked[-depth:] == said[-depth:]


def _own(name: str) -> list[str]:
    """`make.<locals>.weigh.<locals>.<lambda>` as `make`, `weigh`; a lambda of a module, or the module, stays what it is."""
    parts = [part for part in name.split(".") if not part.startswith("<")]
    return parts or [name]
