"""What a run's own log says of a stretch of time: its units, their phases, and what is no steady state; read from the store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias

import numpy as np

from ...store.protocol import Buckets, Series, Store
from ..baseline.sizes import Sized, is_size, sized, weighed
from ..baseline.units import NO_PHASES, StepPhases, Units
from ..stacks.traces import Bools, Floats, Range
from . import units
from .normal import BEFORE_S, unsteady_by_nature

EACH_POINT = 5_000_000  # buckets: each point is its own
INTERRUPTIONS, COMPILATIONS = ("checkpoint", "validation"), ("compile", "recompile")
GC = "gc"
PHASE, GPU_PHASE = "phase/", "gpu_phase/"
UNITS = "units"  # of work, for which a line stands: a series that has points only where that is not one

Counted: TypeAlias = tuple[Floats, Floats]  # when such lines were logged, and what they said


class StepLog(NamedTuple):
    units: (
        Units | None
    )  # None where the run logs no steps; where their sizes explain their lengths, counted in those of the usual size
    steps: Units | None  # the same, each counted as one
    sized: Sized | None  # their tokens or samples, where those explain how long they take
    phases: StepPhases
    per: str  # what a unit is called
    first: bool  # whether these units are the run's first
    interruptions: list[Range]
    compilations: list[Range]
    collections: list[Range] | None  # of garbage; None where the run logs none

    def left_out(self, window: Range) -> list[Range]:
        return unsteady_by_nature(self.units, self.first, self.interruptions, window, self.compilations)


def read(store: Store, run: str, window: Range, rank: int = 0, around_s: float = BEFORE_S) -> StepLog:
    """From `around_s` before the window to as long after it, as one rank logs it."""
    lo, hi = window[0] - around_s, window[1] + around_s
    mine = [one for one in store.series(run) if dict(one.labels).get("rank", "0") == str(rank)]
    stepped = [one for one in mine if one.last_step is not None and one.first_step != one.last_step]
    counter = next((one for one in mine if one.name == UNITS), None)
    stepped = [one for one in stepped if one is not counter]
    stepper = max(stepped, key=lambda one: one.points, default=None)
    phases = [one for one in stepped if one.name.startswith(PHASE)]
    counts = [one for one in stepped if is_size(one.name)]
    found = store.range([one.id for one in {*phases, *counts, *filter(None, [stepper, counter])}], lo, hi, buckets=EACH_POINT)
    stored = store.run(run)
    counted_units = (found[counter.id].t, found[counter.id].last) if counter else None
    steps = _units(found[stepper.id], counted_units, min(hi, store.profiled_until(run) or lo)) if stepper else None
    counted = sized(steps, {one.name: (found[one.id].t, found[one.id].last) for one in counts}) if steps else None
    return StepLog(
        units=weighed(steps, counted) if steps and counted else steps,
        steps=steps,
        sized=counted,
        phases=_phases(phases, found, counted_units),
        per=str((stored.info.get("unit") if stored else None) or "step"),
        first=stepper is not None and (stepper.first_time_s or 0.0) >= lo,
        interruptions=_timed(store, run, lo, hi, INTERRUPTIONS),
        compilations=_timed(store, run, lo, hi, COMPILATIONS),
        collections=_timed(store, run, lo, hi, (GC,)) or None,
    )


def values_of(
    store: Store, run: str | None, names: Sequence[str], *sides: Sequence[Range], only: Collection[Series] | None = None
) -> dict[str, list[Floats]]:
    """By name, for each side, the finite values of all series of that name in its ranges; a name may be a glob.

    `only`: none but these series.
    """
    known = store.series(run) if only is None else only
    chosen = [one for one in known if any(fnmatchcase(one.name, name) for name in names)]
    if not chosen or not any(sides):
        return {}
    lo, hi = min(lo for side in sides for lo, _ in side), max(hi for side in sides for _, hi in side)
    found = store.range([one.id for one in chosen], lo, hi, buckets=EACH_POINT)
    values: dict[str, list[list[Floats]]] = {}
    for one in chosen:
        points = found[one.id]
        for i, side in enumerate(sides):
            inside = np.any([np.zeros(len(points.t), bool), *(_within(points.t, part) for part in side)], axis=0)
            values.setdefault(one.name, [[] for _ in sides])[i].append(points.last[inside & np.isfinite(points.last)])
    return {name: [np.concatenate(parts) for parts in both] for name, both in values.items()}


def _within(time_s: Floats, one: Range) -> Bools:
    within: Bools = (time_s >= one[0]) & (time_s < one[1])
    return within


def _units(points: Buckets, counted: Counted | None, until_s: float) -> Units | None:
    """With the one that is going on, as far as stacks were recorded."""
    counts = units.counts_at(points.t, *counted) if counted else None
    found = units.units_of(points.t, points.step, points.segment, counts)
    return found.until(until_s) if len(found.start_s) else None


def _phases(series: Sequence[Series], found: dict[int, Buckets], counted: Counted | None) -> StepPhases:
    if not series:
        return NO_PHASES
    columns: list[tuple[str, Floats, Floats]] = [(_phase_name(one), found[one.id].t, found[one.id].last) for one in series]
    known = [(name, t[np.isfinite(t)], last[np.isfinite(t)]) for name, t, last in columns]
    names, times_s, values = zip(*known, strict=True)
    return units.phases_of(names, times_s, values, counted)


def _phase_name(series: Series) -> str:
    return series.name.removeprefix(PHASE).removesuffix("_s")


def _timed(store: Store, run: str, lo: float, hi: float, kinds: Sequence[str]) -> list[Range]:
    """When events of these kinds were going on: they are logged when they are over."""
    return [(one.time_s - (one.seconds or 0.0), one.time_s) for one in store.events(run, lo, hi, kinds)]
