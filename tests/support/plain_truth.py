"""What a recording of the plain programs says is true of a window, and whether an answer to that window is right."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from analysis.blame.verdict import Verdict
from analysis.stacks.spans import Interval
from collectors.store.engines import open_store
from dashboard.queries import Queries

from .plain import PROGRAMS, SOURCES, Program, Stretch, plan_file

Expected: TypeAlias = Literal["line", "nothing", "either"]

SHORTEST_S, LONGEST_S = 3.0, 20.0
BASELINE_S = 14.0  # of the first healthy stretch: what lies before has no baseline yet
EDGE_S = 0.5
WORKERS_AHEAD_S = 3.5  # what was prefetched is used up, and what was begun slowly is ended
SLOW, HEALTHY = 1.2, 1.02  # a window's factor from which on a line must be named, up to which none may be
LONG_UNIT_S = 1.0  # a window may lie within such a unit
DISTURBED = 0.15  # of a step
TRIES = 50


class Drawn(NamedTuple):
    window: Interval
    planned: float  # the factor of the stretch that it was drawn in
    factor: float  # by how much its units are longer, by the program's own clock
    expected: Expected


class PlainRecording:
    """One program of a recording."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.program = folder, PROGRAMS[name]
        truth = json.loads((folder / "truth.json").read_text())
        self.plan: list[Stretch] = [tuple(one) for one in truth["plans"][name]]
        store = open_store(folder / "logs" / ".deepseek", write=False)
        self.queries = Queries(store, folder / "logs", folder / "logs" / ".deepseek")
        self.disturbed = 0  # windows that were drawn and left out: the machine's other work made their steps longer
        self.profiled_until_s = store.profiled_until(self.program.run_name) or 0.0

    def close(self) -> None:
        self.queries.close()

    @property
    def run(self) -> str:
        return self.program.run_name

    @cached_property
    def _calls(self) -> np.ndarray:
        """Rows of begun, ended, extra: each call of the slowed part while it was slow."""
        files = self.folder.glob(plan_file(self.folder, self.program.name).name + ".*")
        rows = [line.split() for path in files for line in path.read_text().splitlines()]
        return np.array([row for row in rows if len(row) == 3], float).reshape(-1, 3)

    def factor(self, window: Interval) -> float:
        """By how much longer a unit of this window is than a healthy one; beside workers by its log, since they work ahead."""
        return self._factor_by_log(window) if self.program.workers > 1 else self._factor_by_calls(window)

    def _factor_by_calls(self, window: Interval) -> float:
        lost_s, _ = self._lost_s(window)
        return (window[1] - window[0]) / max(window[1] - window[0] - lost_s, 1e-3)

    def _lost_s(self, window: Interval) -> Interval:
        """What the slow calls took more than a healthy one does, and what they would have taken more on an idle machine."""
        begun_s, ended_s, extra_s = self._calls.T
        took_s = np.maximum(ended_s - begun_s, 1e-6)
        healthy_s = max(float((took_s - extra_s).min(initial=np.inf)), 0.0) if len(took_s) else 0.0
        inside = np.clip(np.minimum(ended_s, window[1]) - np.maximum(begun_s, window[0]), 0, None) / took_s
        return float((inside * (took_s - healthy_s)).sum()), float((inside * extra_s).sum())

    def _factor_by_log(self, window: Interval) -> float:
        return self._step_s(window) / self._healthy_s

    @cached_property
    def _healthy_s(self) -> float:
        """The median second's step before anything was slow."""
        lo, hi, _ = self.plan[0]
        return float(np.median([self._step_s((at_s, at_s + 1.0)) for at_s in np.arange(lo + 3.0, hi - 1.0)]))

    def _step_s(self, window: Interval) -> float:
        time_s, step = self._log
        cut = np.interp(window, time_s, step)
        return (window[1] - window[0]) / max(float(cut[1] - cut[0]), 1e-3)

    @cached_property
    def _log(self) -> tuple[np.ndarray, np.ndarray]:
        """When which step was logged; empty where the log says no time."""
        path = self.folder / "logs" / self.run / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        rows = [(line["time_s"], line["step"]) for line in lines if "time_s" in line]
        time_s, step = np.array(rows, float).reshape(-1, 2).T
        return time_s, step

    def _whole_units(self, window: Interval) -> Interval:
        """The window, wider by the rest of the units that it cuts: it is no fault to speak of all of a long unit."""
        if self.program.unit_s < LONG_UNIT_S:
            return window
        time_s, _ = self._log
        before, after = time_s[time_s <= window[0]], time_s[time_s >= window[1]]
        return (float(before[-1]) if len(before) else window[0], float(after[0]) if len(after) else window[1])

    def _disturbed(self, window: Interval) -> bool:
        """Whether the machine's other work made these steps longer, by the log of healthy windows, by the calls of slow ones."""
        lost_s, due_s = self._lost_s(window)
        if due_s:
            seconds = window[1] - window[0]
            return self.program.workers == 1 and lost_s - due_s > DISTURBED * (seconds - lost_s + due_s)
        return self.program.steady and len(self._log[0]) > 0 and self._factor_by_log(window) > 1 + DISTURBED

    def draw(self, count: int, *, seed: int = 0) -> list[Drawn]:
        """Half of them in slow stretches; a third of those reach over an edge. Fewer where too few fit."""
        random = np.random.default_rng([seed, *self.program.name.encode()])
        return [one for slow in (True, False) for one in self._draw(count // 2, slow, random)]

    def _draw(self, count: int, slow: bool, random: np.random.Generator) -> list[Drawn]:
        fit = [stretch for stretch in self._stretches() if (stretch[2] > 1) == slow]
        found: list[Drawn] = []
        for _ in range(TRIES * count):
            lo, hi, planned = fit[random.integers(len(fit))]
            over_s = 2.0 if slow and random.random() < 1 / 3 else 0.0
            lo, hi = lo - over_s, min(hi + over_s, self.profiled_until_s - 0.1)
            longest_s = min(LONGEST_S, hi - lo)
            if len(found) == count or longest_s < SHORTEST_S:
                continue
            seconds = random.uniform(SHORTEST_S, longest_s)
            start_s = random.uniform(lo, hi - seconds)
            window = (float(start_s), float(start_s + seconds))
            factor = self.factor(window)
            if self._disturbed(window):
                self.disturbed += 1
                continue
            around = self.factor(self._whole_units(window))
            found.append(Drawn(window, planned, factor, expected_of(factor, around if planned == 1 else planned)))
        return found

    def _stretches(self) -> list[Stretch]:
        """Without what belongs to neither: the edges, and the beginning, which has no baseline."""
        first, *others = self.plan
        begun = max(first[0] + BASELINE_S, first[1] - 60.0)
        slack_s = WORKERS_AHEAD_S if self.program.workers > 1 else EDGE_S
        return [(begun, first[1] - EDGE_S, 1.0), *((lo + slack_s, hi - EDGE_S, factor) for lo, hi, factor in others)]


def expected_of(factor: float, around: float) -> Expected:
    """`around`: 1 where nothing near is slow."""
    if factor >= SLOW:
        return "line"
    return "nothing" if max(factor, around) <= HEALTHY else "either"


def is_right(program: Program, expected: Expected, verdict: Verdict) -> bool:
    """Whether it names the function that was slow, in its file; or nothing where nothing was."""
    quiet = verdict.verdict in ("no_difference", "too_few_samples")
    named = names(program, verdict)
    match expected:
        case "line":
            return named
        case "nothing":
            return quiet
        case "either":
            return quiet or named


def names(program: Program, verdict: Verdict) -> bool:
    """A comprehension or lambda in a function counts as that function."""
    frame = verdict.suspect.frame if verdict.suspect else None
    if frame is None or not frame.file.endswith(program.file):
        return False
    if program.inline and frame.line not in slowed_lines((SOURCES / program.file).read_text()):
        return False
    return frame.name.partition(".<locals>")[0].rpartition(".")[2] == program.function


def slowed_lines(source: str) -> range:
    """Numbers of the lines of its `with slowed(...)`."""
    lines = source.splitlines()
    begin = next(i for i, line in enumerate(lines) if "with slowed(" in line)
    deep = len(lines[begin]) - len(lines[begin].lstrip())
    end = next(i for i in range(begin + 1, len(lines)) if len(lines[i]) - len(lines[i].lstrip()) <= deep)
    return range(begin + 1, end + 1)
