"""Questions about a run's stacks: a window as a tree or in time order, its blame, its ledger, its traced steps."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.baseline import BEFORE_S
from analysis.blame import comparison
from analysis.blame.blame import NEAREST, blame_window
from analysis.blame.verdict import Verdict
from analysis.history import History
from analysis.ledger.contrast import LedgerContrast, LedgerSide, contrast
from analysis.ledger.shares import Ledger, TracedSteps, traced_lines
from analysis.stacks import frames
from analysis.stacks.fold import PLAIN, PRUNE, FlameTree, FoldOptions, WindowStacks, gather_parts, gathered_of, tree_of
from analysis.stacks.spans import Interval, LastStack, last_stacks, to_samples
from analysis.stacks.threads import ThreadSelection
from analysis.step_log import StepLog, read, with_lines
from analysis.traces.ranks import RankComparison
from analysis.units import Units
from collectors.folders import LogTree
from collectors.records import Public
from collectors.store.store import StackColumns, Store, TooMuch, check, holding

from ..visitors import sees_all, without_details
from . import flame, perfetto
from .flame import SPANS_AT_ONCE, Chart, MinuteCache, Strip
from .ledgers import READING_S, Ledgers
from .step_traces import StepTraces, TraceResult

LONG_S = 600.0  # windows longer than this are read one at a time: three hours of stacks take up to 500 MB meanwhile
LAST_S = 5.0  # before the end of the profile
EDGE_S = 300.0  # a unit that reaches over the edge of a window ends less than this beyond it


class Baseline(NamedTuple):
    """What a window is compared with: another window of its run, another run, or a window of that; the run's own normal where both are None."""

    run: str | None = None
    window: Interval | None = None


NORMAL = Baseline()


class NoStacks(ValueError):
    """There is nothing to compare with."""


@dataclass(frozen=True)
class PhaseTime:
    """Seconds a unit of the window, and of the baseline."""

    name: Public
    seconds: float
    normal_s: float | None


@dataclass(frozen=True)
class FoldResult:
    """A window as a tree, and how many units it and its baseline have."""

    tree: FlameTree
    units: float | None
    baseline_units: float | None
    unit_name: str
    baseline: list[Interval]
    phases: list[PhaseTime]
    profile_until: float | None


@dataclass(frozen=True)
class ChartResult:
    chart: Chart
    profile_until: float | None


class Stacks:
    def __init__(self, store: Store, logs: Path | LogTree | None = None) -> None:
        self._store = store
        self._seen = frames.ShownFiles()
        self._texts = frames.SourceTexts(store, frames.owner_of_folders(logs) if logs else None)
        self.minutes = MinuteCache(store, self._texts.line_of)
        self.ledgers = Ledgers(store, self._texts.line_of)
        self._traces = StepTraces(logs)
        self._long = threading.Lock()

    def close(self) -> None:
        self._traces.close()

    def begin_traces(self, run: str) -> None:
        """As `StepTraces.begin`."""
        self._traces.begin(run)

    def fold(
        self,
        run: str,
        window: Interval,
        lanes: ThreadSelection,
        *,
        shape: FoldOptions = PLAIN,
        phase: str = "",
        baseline: Baseline | None = None,
        prune: float = PRUNE,
    ) -> FoldResult:
        """Beside a baseline, if one is named. Raises NoStacks where the other run has none."""
        history, rank = History(self._store, run), lanes.rank or 0
        window, other = history.inside(window), history
        if baseline == NORMAL:
            log = base_log = _step_log(history, window, rank, BEFORE_S)
            about = comparison.read(history, window, log, windows=NEAREST)
            columns, ranges = about.columns, about.baseline
            parts = [_in_phase(part, log, phase, columns, rank) for part in ([window], ranges) if part]
            sides = gather_parts(columns, lanes, parts, self._texts.line_of(run))
        else:
            other, ranges = self._beside(history, baseline)
            if other is history:
                log = base_log = _step_log(history, _hull(window, *ranges), rank, EDGE_S)
            else:
                log, base_log = (
                    _step_log(of, part, rank, EDGE_S) for of, part in ((history, window), (other, ranges[0]))
                )
            sides = [self._gather(history, window, lanes, log, phase)]
            sides += [_as_in(history, other, self._gather(other, part, lanes, base_log, phase)) for part in ranges]
        line_of = self._texts.line_of(run)
        tree = tree_of(*sides, shape=shape, prune=prune, own_folder=history.folder(), line_of=line_of)
        own = tree.frame if other is history else tree.frame[tree.total_s > 0]  # no file that another run alone names
        self._seen.add(run, {tree.frames[i].file for i in set(own.tolist())})
        units = log.units if log.unit_name == base_log.unit_name and base_log.units else None
        return FoldResult(
            tree,
            units=units.within([window]) if units else None,
            baseline_units=base_log.units.within(ranges) if units and base_log.units and ranges else None,
            unit_name=log.unit_name if units else "second",
            baseline=ranges,
            phases=_phases(log, window, base_log, ranges)
            if not history.is_service
            else [],  # of requests that go on side by side
            profile_until=history.profiled_until(),
        )

    def kernels(
        self, run: str, window: Interval, rank: int | None, shape: FoldOptions, prune: float
    ) -> FoldResult | None:
        """The kernels of traced steps below the lines that launched them; None where none were traced."""
        history = History(self._store, run)
        trace = self._traces.nearest(run, history.info, rank, window)
        if trace is None:
            return None
        tree = tree_of(gathered_of(trace, run), shape=shape, prune=prune, own_folder=history.folder())
        self._seen.add(run, {frame.file for frame in tree.frames})
        return FoldResult(tree, trace.steps, None, history.unit_name, [], [], None)

    def blame(self, run: str, window: Interval, rank: int | None = None, baseline: Interval | None = None) -> Verdict:
        """What the window was lost to, beside the run's baseline or beside another window."""
        history = History(self._store, run)
        window, baseline = history.inside(window), history.inside(baseline) if baseline else None
        verdict = blame_window(history, window, rank, baseline, self._texts.line_of(run))
        if verdict.suspect:
            self._seen.add(run, {frame.file for frame in verdict.suspect.path})
        return verdict

    def ledger(
        self, run: str, window: Interval | None, rank: int | None = None, reading_s: float = READING_S
    ) -> Ledger:
        """Where the device's time of a window went, or of all that was profiled of the run."""
        found = self.ledgers.ledger(run, window, rank, reading_s)
        lines = [line.place.frame for row in found.rows for line in row.lines]
        history = History(self._store, run)
        if trace := self._traces.within(run, history.info, found.rank, found.window):
            traced = TracedSteps(trace, traced_lines(trace, history.folder()))
            found = replace(found, traced=traced, tier="C")
            lines += [line.frame for line in traced.lines]
        self._seen.add(run, {frame.file for frame in lines if frame is not None})
        return found

    def trace(self, run: str, name: str | None, rank: int | None) -> TraceResult:
        """What became of the request with this id, or the run's newest trace."""
        history = History(self._store, run)
        found = self._traces.found(run, history.info, history.folder(), name, rank)
        self._seen.add(run, {line.frame.file for line in found.lines if line.frame is not None})
        return found

    def ranks(self, run: str) -> RankComparison | None:
        """As `StepTraces.ranks`."""
        return self._traces.ranks(run)

    def chart(self, run: str, window: Interval, width: int, lanes: ThreadSelection) -> ChartResult:
        """The window in time order, `width` pixels wide."""
        history = History(self._store, run)
        with self._turn(window):
            drawn = self._draw(history, window, width, lanes)
        self._seen.add(run, {frame.file for frame in drawn.frames})
        return ChartResult(drawn, history.profiled_until())

    def perfetto(self, run: str, window: Interval, rank: int | None) -> dict[str, Any]:
        """The window as a trace for ui.perfetto.dev: the stacks of all threads, counters, steps and events. Raises TooMuch."""
        history = History(self._store, run)
        window = history.inside(window)
        with self._turn(window):
            stacks = history.stacks(window)
            if rank is not None:
                stacks = _of_rank(stacks, rank)
            ranks = {process.rank for process in stacks.processes} or {rank or 0}
            logs = {rank: read(history, window, rank, around_s=0.0) for rank in sorted(ranks)}
            series = {one.id: one for one in history.machine_series() if perfetto.is_counter(one, run)}
            found = (
                self._store.range(list(series), *window, buckets=perfetto.buckets_for(len(series))) if series else {}
            )
            steps = {rank: log.steps for rank, log in logs.items() if log.steps}
            return perfetto.to_perfetto(
                perfetto.PerfettoWindow(
                    run,
                    window,
                    stacks,
                    [perfetto.Counter(series[id_], buckets) for id_, buckets in found.items()],
                    steps,
                    history.unit_name,
                    [event for event in self._store.events(run, *window) if rank is None or event.rank == rank],
                )
            )

    def step_log(self, run: str, window: Interval, rank: int | None = None) -> StepLog:
        """What one rank logs of its steps in the window. Raises TooMuch for millions of them."""
        history = History(self._store, run)
        return read(history, history.inside(window), rank or 0, around_s=0.0)

    def last(self, run: str) -> list[LastStack]:
        """Where each thread was in the last seconds of the profile; [] without one."""
        history = History(self._store, run)
        until_s = history.profiled_until()
        return last_stacks(history.stacks((until_s - LAST_S, until_s + LAST_S))) if until_s is not None else []

    def show_sources(self, run: str, files: Collection[str]) -> None:
        """Files that a traceback of the run names, as its log has it: their lines are shown as those of its profile are."""
        self._seen.add(run, set(files))

    def folder_of(self, run: str) -> str:
        """The working folder that the run or its process names; "" where neither does."""
        return History(self._store, run).folder()

    def shown_folder_of(self, run: str) -> str:
        """The same, for files that who asks may see: what run.json says is a claim, by which a viewer would read any folder."""
        history = History(self._store, run)
        return history.folder() if sees_all() else history.seen_folder()

    def stepped_since(self, run: str, since_s: float) -> list[float]:
        """As `History.stepped_since`."""
        return History(self._store, run).stepped_since(since_s)

    def source(self, run: str, file: str, line: int, context: int) -> frames.Excerpt:
        """Raises SourceRefused for a file that is not in the run's profile, not in its folder, or not readable."""
        if not self._seen.has(run, file):
            file = self._shortened(run, file)
        if not self._seen.has(run, file):
            raise frames.SourceRefused(
                "only files that stand in the run's profile are shown; open its flame graph first"
            )
        return self._texts.excerpt(run, file, line, context, self.folder_of(run))

    def _shortened(self, run: str, file: str) -> str:
        """`…/train.py`, as a viewer is shown it, is the file that has this name alone."""
        found = [each for each in self._seen.of(run) if without_details(each) == file]
        return found[0] if len(found) == 1 else file

    def _draw(self, history: History, window: Interval, width: int, lanes: ThreadSelection) -> Chart:
        drawing = flame.Drawing(window, width, lanes, self._texts.line_of(history.run))
        for strip in strips(window, width, history.stack_counts(window)):
            check()
            drawing.add(history.stacks(drawing.window_of(strip)), strip)
        return drawing.chart(history.folder())

    def _gather(
        self, history: History, window: Interval, lanes: ThreadSelection, log: StepLog, phase: str
    ) -> WindowStacks:
        if not phase:
            return self.minutes.gather(history.run, window, lanes)
        with self._turn(window):
            columns = history.stacks(window)
            part = _in_phase([window], log, phase, columns, lanes.rank or 0)
            return gather_parts(columns, lanes, [part], self._texts.line_of(history.run))[0]

    def _beside(self, history: History, baseline: Baseline | None) -> tuple[History, list[Interval]]:
        """Where a named baseline is stored."""
        if baseline is None:
            return history, []
        other = history if baseline.run in (None, history.run) else History(self._store, baseline.run)
        window = baseline.window or self.ledgers.profiled(other.run)
        if window is None:
            raise NoStacks(f"no stacks of {other.run!r} are stored; compare with a run that was profiled")
        return other, [other.inside(window)]

    def _turn(self, window: Interval) -> AbstractContextManager[object]:
        return holding(self._long) if window[1] - window[0] > LONG_S else nullcontext()


def strips(window: Interval, width: int, counts: Sequence[tuple[float, float, int]]) -> Iterator[Strip]:
    """The picture from left to right, in parts that hold so few spans that they are read at little cost."""
    middle_s = np.array([(start_s + end_s) / 2 for start_s, end_s, _ in counts])
    pixel = np.clip((middle_s - window[0]) / (window[1] - window[0]) * width, 0, width - 1).astype(np.int64)
    spans = np.cumsum(np.bincount(pixel, [count for *_, count in counts], width))
    first = 0
    while first < width:
        before = spans[first - 1] if first else 0.0
        end = max(first + 1, int(np.searchsorted(spans, before + SPANS_AT_ONCE, "right")))
        yield Strip(first, min(end, width))
        first = end


def _of_rank(stacks: StackColumns, rank: int) -> StackColumns:
    places = [i for i, process in enumerate(stacks.processes) if process.rank == rank]
    pids = {stacks.processes[i].pid for i in places}
    mine = np.isin(stacks.process, places)
    columns = ("time_s", "duration_s", "tid", "stack", "resolved", "gil", "cpu_s")
    return stacks._replace(
        processes=[stacks.processes[i] for i in places],
        threads={thread: name for thread, name in stacks.threads.items() if thread[0] in pids},
        process=np.searchsorted(places, stacks.process[mine]).astype(np.int32),
        **{column: getattr(stacks, column)[mine] for column in columns},
    )


def _step_log(history: History, window: Interval, rank: int, around_s: float) -> StepLog:
    return with_lines(read(history, window, rank, around_s), history, window, rank, around_s)


def _as_in(history: History, other: History, stacks: WindowStacks) -> WindowStacks:
    """A file in the other run's working folder stands for the one at its place in this run's."""
    mine, theirs = history.folder().rstrip("/"), other.folder().rstrip("/")
    if mine == theirs or not mine or not theirs:
        return stacks
    frames = [
        frame._replace(file=mine + frame.file.removeprefix(theirs)) if frame.file.startswith(f"{theirs}/") else frame
        for frame in stacks.weighed.frames
    ]
    return stacks._replace(weighed=stacks.weighed._replace(frames=frames))


def _hull(*windows: Interval) -> Interval:
    lo, hi = zip(*windows, strict=True)
    return min(lo), max(hi)


def _in_phase(ranges: Sequence[Interval], log: StepLog, phase: str, columns: StackColumns, rank: int) -> list[Interval]:
    """What of these ranges the rank spent in a phase, by the looks at its main thread; all of it where none is named."""
    if not phase:
        return list(ranges)
    spans = log.phases.ranges(phase)
    inside = [(max(lo, start), min(hi, end)) for lo, hi in ranges for start, end in spans if start < hi and end > lo]
    mains = [pid if (of, role) == (rank, "main") else -1 for _, of, pid, role in columns.processes]
    main = np.flatnonzero(columns.tid == np.array([*mains, -1])[columns.process])
    main = main[np.argsort(columns.time_s[main], kind="stable")]
    starts = columns.time_s[main]
    return to_samples(inside, starts, starts + columns.duration_s[main], 1 / columns.hz) if columns.hz else inside


def _phases(log: StepLog, window: Interval, base_log: StepLog, ranges: Sequence[Interval]) -> list[PhaseTime]:
    """Per step; the baseline's beside it where there is one."""
    seconds, normal_s = _phase_seconds(log, [window]), _phase_seconds(base_log, ranges)
    return [PhaseTime(name, each, normal_s.get(name)) for name, each in seconds.items()]


def _phase_seconds(log: StepLog, ranges: Sequence[Interval]) -> dict[str, float]:
    phases = log.phases
    steps = phases.steps_within(ranges) if ranges else 0
    return dict(zip(phases.names, (phases.seconds_within(ranges) / steps).tolist(), strict=True)) if steps else {}


def compare_windows(
    stacks: Stacks, run: str, window: Interval | None, rank: int | None, against: str, reading_s: float = READING_S
) -> LedgerContrast:
    """A window of one run, or all that was profiled of it, beside all that was profiled of another. Minutes that are not known are
    read for `reading_s` of each."""
    return contrast(
        ledger_side(stacks, run, window, rank, reading_s),
        ledger_side(stacks, against, None, None, reading_s),
    )


def ledger_side(stacks: Stacks, run: str, window: Interval | None, rank: int | None, reading_s: float) -> LedgerSide:
    found = stacks.ledger(run, window, rank, reading_s)
    if not found.rows:
        return LedgerSide(run, found)
    try:
        log = stacks.step_log(run, found.window, found.rank)
    except TooMuch:  # millions of steps: their ledger is compared all the same
        return LedgerSide(run, found)
    return LedgerSide(run, found, mean_unit_s(log.steps, found.window) if log.steps else None, log.unit_name)


def mean_unit_s(units: Units, window: Interval) -> float | None:
    """Seconds of a unit of the window, without the time in which the run was down; None where none lies in it."""
    inside_s = np.minimum(units.end_s, window[1]) - np.maximum(units.start_s, window[0])
    count = units.within([window])
    return float(np.clip(inside_s, 0, None).sum()) / count if count > 0 else None
