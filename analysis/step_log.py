"""What a run's log says about a stretch of time: its units of work, their phases, and what is not steady."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collectors import step_axis
from collectors.arrays import Floats
from collectors.records import is_progress
from collectors.store.store import RawPoints, Series

from . import units
from .baseline import BEFORE_S, unsteady_by_nature
from .history import History
from .stacks.spans import Interval
from .units import NO_PHASES, StepPhases, Units, UnitSizes, is_size, sized, units_of, weighed

INTERRUPTIONS, COMPILATIONS = ("checkpoint", "validation"), ("compile", "recompile")
GC = "gc"
PHASE, GPU_PHASE = "phase/", "gpu_phase/"
COUNTED = {
    "progress/batch": "step",
    "progress/item": "item",
}  # how far a run is whose text does not say its steps, and what that counts
UNITS = "units"  # of work, for which a line stands: a series that has points only where that is not one


class StepLog(NamedTuple):
    units: (
        Units | None
    )  # None where the run logs no steps; in steps of the usual size, where sizes explain how long they take
    steps: Units | None  # the same, each counted as one
    answers: (
        Units | None
    )  # of a service: the same stretches, each with as many answers as fit into it one after another
    sized: UnitSizes | None  # their tokens or samples, where those explain how long they take
    phases: StepPhases
    unit_name: str  # what a unit is called
    first: bool  # whether these units are the run's first
    interruptions: list[Interval]
    compilations: list[Interval]
    collections: list[Interval] | None  # of garbage; None where the run logs none

    @property
    def paces(self) -> Units | None:
        """What a steady pace is read from: how long units take, of a service how long its answers do, however many are asked for."""
        return self.answers or self.units

    def left_out(self, window: Interval) -> list[Interval]:
        return unsteady_by_nature(self.units, self.first, self.interruptions, window, self.compilations)


def read(history: History, window: Interval, rank: int = 0, around_s: float = BEFORE_S) -> StepLog:
    """From `around_s` before the window to as long after it, as one rank logs it."""
    around = (window[0] - around_s, window[1] + around_s)
    mine = history.series(rank)
    counter = next((series for series in mine if series.name == UNITS), None)
    stepped = [series for series in mine if series.last_step is not None and series.first_step != series.last_step]
    stepped = [series for series in stepped if series is not counter]
    stepper = step_axis.stepper(stepped)
    told = next((series for series in mine if series.name in COUNTED and is_progress(series.name, series.labels)), None)
    phases = [series for series in stepped if series.name.startswith(PHASE)]
    sizes = [series for series in stepped if is_size(series.name)]
    found = history.points({*phases, *sizes, *filter(None, [stepper, counter, told])}, around)
    counts = found[counter.id] if counter else None
    until_s = min(around[1], history.profiled_until() or around[0])
    is_told = told is not None and len(found[told.id].place) > 1
    if told is not None and is_told:
        steps = _units(found[told.id]._replace(step=found[told.id].value), None, until_s)
    else:
        steps = _units(found[stepper.id], counts, until_s) if stepper else None
    logged = _phases(phases, found, counts)
    counted = (
        sized(steps, {series.name: (found[series.id].place, found[series.id].value) for series in sizes})
        if steps
        else None
    )
    return StepLog(
        units=weighed(steps, counted) if steps and counted else steps,
        steps=steps,
        answers=units.answers_of(steps, logged) if steps and history.is_service else None,
        sized=counted,
        phases=logged,
        unit_name=COUNTED[told.name] if told is not None and is_told else history.unit_name,
        first=stepper is not None and (stepper.first_time_s or 0.0) >= around[0],
        interruptions=history.during(INTERRUPTIONS, around),
        compilations=history.during(COMPILATIONS, around),
        collections=history.during((GC,), around) or None,
    )


def _units(points: RawPoints, counts: RawPoints | None, until_s: float) -> Units | None:
    """With the one that is going on, as far as stacks were recorded."""
    at_points = units.counts_at(points.place, counts) if counts else None
    found = units.units_of(points.place, points.step, points.segment, at_points)
    return found.until(until_s) if len(found.start_s) else None


def _phases(series: Sequence[Series], found: dict[int, RawPoints], counts: RawPoints | None) -> StepPhases:
    if not series:
        return NO_PHASES
    columns: list[tuple[str, Floats, Floats, Floats]] = []
    for row in series:
        points = found[row.id]
        known = np.isfinite(points.place)
        columns.append((_phase_name(row), points.place[known], points.value[known], points.step[known]))
    names, times_s, values, steps = zip(*columns, strict=True)
    return units.phases_of(names, times_s, values, counts, steps)


def _phase_name(series: Series) -> str:
    return series.name.removeprefix(PHASE).removesuffix("_s")


# Units for a run that logs no steps: from one line of its log to the next of the same kind.

MIN_LINES = 20  # around the window
LONGEST_S = 15.0  # between two lines, in the median
AT_ONCE_S = 1e-3  # lines that came so close together were written together
LINE = "logged line"


def with_lines(log: StepLog, history: History, window: Interval, rank: int = 0, around_s: float = BEFORE_S) -> StepLog:
    """The log with its lines as units, if it has no others and lines come often enough; else as it is.

    The lines of the series with most values count, else those that are most often written: they differ in their numbers only.
    """
    if log.units is not None or history.is_service:
        return log
    around = window[0] - around_s, window[1] + around_s
    for time_s in (_values(history, rank, around), history.line_times(around)):
        units = _units_of_lines(time_s)
        if units is not None:
            units = units.until(min(around[1], history.profiled_until() or 0.0))
            return log._replace(units=units, steps=units, unit_name=LINE)
    return log


def _values(history: History, rank: int, around: Interval) -> Floats:
    """When the series without steps that has most values got them."""
    stepless = [series for series in history.series(rank) if series.first_step is None and series.points >= MIN_LINES]
    most = max(stepless, key=lambda series: series.points, default=None)
    return history.points([most], around)[most.id].place if most else np.zeros(0)


def _units_of_lines(time_s: Floats) -> Units | None:
    time_s = np.sort(time_s[np.isfinite(time_s)])
    if len(time_s) < MIN_LINES:
        return None
    last = np.flatnonzero(np.diff(time_s, append=np.inf) > AT_ONCE_S)  # of those that came together
    units = units_of(time_s[last], (last + 1).astype(np.float64), np.zeros(len(last), np.int64))
    return units if len(units.end_s) > 1 and float(np.median(units.end_s - units.start_s)) <= LONGEST_S else None
