"""The units of work that a run logs, such as its steps: when each began and ended, and how long it may take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.store.store import RawPoints

from .stacks.spans import Interval, overlaps


class Units(NamedTuple):
    """Stretches from one line of the step log to the next, in order of time; each is `units` units long (1 where all are logged)."""

    start_s: Floats
    end_s: Floats
    units: Floats
    number: Floats  # the step at its end

    @property
    def seconds(self) -> Floats:
        """How long one unit of each stretch took."""
        seconds: Floats = (self.end_s - self.start_s) / self.units
        return seconds

    def within(self, ranges: Sequence[Interval]) -> float:
        """How many units fall into these ranges, which are apart and in order; a unit that is cut counts by its part."""
        return float(self.within_each(ranges).sum())

    def within_each(self, ranges: Sequence[Interval]) -> Floats:
        """The same for each range."""
        bounds = np.asarray(ranges, np.float64).reshape(-1, 2)
        unit, which = overlaps(self.start_s, self.end_s, bounds[:, 0], bounds[:, 1])
        inside_s = np.minimum(self.end_s[unit], bounds[which, 1]) - np.maximum(self.start_s[unit], bounds[which, 0])
        return np.bincount(which, inside_s / self.seconds[unit], len(bounds)).astype(np.float64)

    def ends(self) -> Floats:
        """The moments at which one unit ends and the next begins."""
        return np.unique(np.r_[self.start_s, self.end_s])

    def whole(self, window: Interval) -> Interval:
        """The window, wider by the rest of the units that it cuts."""
        touched = (self.end_s > window[0]) & (self.start_s < window[1])
        starts, ends = self.start_s[touched], self.end_s[touched]
        return min([window[0], *starts[:1].tolist()]), max([window[1], *ends[-1:].tolist()])

    def usual_s(self) -> float:
        """The 25th percentile over all units of how long one takes; infinite where there is none."""
        count = len(self.end_s)
        if not count:
            return np.inf
        if (self.units == 1).all():  # nearly always; sorting takes longer
            place = max(0, math.ceil(0.25 * count) - 1)
            return float(np.partition(self.seconds, place)[place])
        order = np.argsort(self.seconds)
        reached = np.cumsum(self.units[order])
        return float(self.seconds[order][np.searchsorted(reached, 0.25 * reached[-1])])

    def until(self, end_s: float) -> Units:
        """With what has gone on since the last line: it counts as units as long as those of the last line, at most as many as that has."""
        if not len(self.end_s) or end_s <= self.end_s[-1]:
            return self
        begun_s, most, unit_s = self.end_s[-1], self.units[-1], self.seconds[-1]
        units = min(most, np.ceil((end_s - begun_s) / unit_s))
        row = (begun_s, end_s, units, self.number[-1] + units)
        return Units(*(np.append(column, value) for column, value in zip(self, row, strict=True)))


def units_of(time_s: Floats, step: Floats, segment: Ints, counts: Floats | None = None) -> Units:
    """From the points of one series, in the order of their times. What a run did while it went back or was down is no unit.

    Steps 3, 4, 6 at 0 s, 1 s and 2 s -> a unit of 1 s, then two of half a second. Several points of one time, as of a clock that is
    coarser than the steps, are one line: the steps between their first and that of the next time took the time between. Of several
    points of one step, as of a bar that is drawn again, the first says when it was reached. `counts` says for each point how many units
    its line stands for, where the run logs that.
    """
    known = np.isfinite(time_s) & np.isfinite(step)
    if counts is None:
        known[known] = np.r_[True, (np.diff(step[known]) != 0) | (np.diff(segment[known]) != 0)][: known.sum()]
    time_s, step, segment = time_s[known], step[known], segment[known]
    passed = None if counts is None else np.cumsum(counts[known])
    first = np.flatnonzero(np.r_[True, (np.diff(time_s) != 0) | (np.diff(segment) != 0)])[: len(time_s)]
    units = np.diff(step[first]) if passed is None else np.diff(passed[first])
    time_s, step, segment = time_s[first], step[first], segment[first]
    whole = (np.diff(time_s) > 0) & (np.diff(step) > 0) & (np.diff(segment) == 0)
    return Units(time_s[:-1][whole], time_s[1:][whole], units[whole], step[1:][whole])


QUIET = 0.1  # times the median rate of requests: with fewer a service says little of how long an answer takes
SAYING_LINES = 8  # of a window, of which the first step began before it


class StepPhases(NamedTuple):
    """What the step log says of the parts of the steps on each line, in their order."""

    names: list[str]
    begin_s: Floats  # when the step of each line began; NaN where that is unknown, or the line stands for several
    end_s: Floats  # when each line was logged
    seconds: Floats  # `[phase, line]`; 0 where a line did not log it
    units: Floats  # for how many each line stands

    def ranges(self, name: str) -> list[Interval]:
        """When the run surely was in this phase: a line says how long each phase of its step took, and not when it began.

        They follow each other in order. What else the step took may lie before, between or behind them: only the moments count that
        are in the phase wherever it was, which are none where it took longer than the phase.
        """
        if name not in self.names:
            return []
        place = self.names.index(name)
        rest_s = np.maximum(self.end_s - self.begin_s - self.seconds.sum(axis=0), 0.0)
        latest_end = self.end_s - self.seconds[place + 1 :].sum(axis=0)
        starts = np.maximum(latest_end - self.seconds[place], self.begin_s)  # a step cannot reach into the one before
        ends = latest_end - rest_s
        return [(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True) if end > start]

    def seconds_within(self, ranges: Sequence[Interval]) -> Floats:
        """Of each phase, over the steps that were logged in these ranges."""
        seconds: Floats = self.seconds[:, self._inside(ranges)].sum(axis=1)
        return seconds

    def shares_within(self, window: Interval) -> tuple[Floats, Interval] | None:
        """Of each phase, its part of the time of the steps in this window, and from when to when these are known; None where they say little about it.

        A step that reaches beyond the window counts as far as it lies inside, its phases taken to end with it.
        """
        lo, hi = window
        lines = np.isfinite(self.begin_s) & (self.end_s > lo) & (self.begin_s < hi)
        begin_s, end_s = np.maximum(self.begin_s[lines], lo), np.minimum(self.end_s[lines], hi)
        whole_s = float((end_s - begin_s).sum())
        if lines.sum() < SAYING_LINES or whole_s < (hi - lo) / 2:
            return None
        seconds = self.seconds[:, lines]
        ends = self.end_s[lines] - (np.cumsum(seconds[::-1], axis=0)[::-1] - seconds)
        inside_s = np.clip(np.minimum(ends, end_s) - np.maximum(ends - seconds, begin_s), 0.0, None)
        shares: Floats = inside_s.sum(axis=1) / whole_s
        nested = seconds.sum() > (1 + 1e-3) * float((self.end_s - self.begin_s)[lines].sum())
        return None if nested else (shares, (float(begin_s.min()), float(end_s.max())))

    def steps_within(self, ranges: Sequence[Interval]) -> float:
        return float(self.units[self._inside(ranges)].sum())

    def unit_s(self, ranges: Sequence[Interval]) -> float | None:
        """Seconds of all phases, a unit, over the lines in these ranges; None where there are none."""
        steps = self.steps_within(ranges)
        return float(self.seconds_within(ranges).sum()) / steps if steps and len(self.names) else None

    def _inside(self, ranges: Sequence[Interval]) -> Bools:
        bounds = np.asarray([*ranges, (np.inf, np.inf)], np.float64)
        place = np.searchsorted(bounds[:, 1], self.end_s)
        inside: Bools = self.end_s > bounds[place, 0]
        return inside


NO_PHASES = StepPhases([], np.zeros(0), np.zeros(0), np.zeros((0, 0)), np.zeros(0))


def answers_of(steps: Units, phases: StepPhases) -> Units | None:
    """Of a service, whose phases are the seconds of all requests of a line: its stretches, each as many units long as an answer's time
    fits into it. Without those in which hardly anything was asked. None where it logs no phases."""
    if not len(phases.names) or not len(steps.end_s):
        return None
    line = np.searchsorted(phases.end_s, steps.end_s)
    known = line < len(phases.end_s)
    known[known] &= phases.end_s[line[known]] == steps.end_s[known]
    rate = steps.units / (steps.end_s - steps.start_s)
    answer_s = np.zeros(len(steps.end_s))
    answer_s[known] = phases.seconds.sum(axis=0)[line[known]] / steps.units[known]
    kept = (answer_s > 0) & (rate >= QUIET * float(np.median(rate)))
    start_s, end_s, number = (column[kept] for column in (steps.start_s, steps.end_s, steps.number))
    return Units(start_s, end_s, (end_s - start_s) / answer_s[kept], number)


def counts_at(time_s: Floats, counts: RawPoints) -> Floats:
    """How many units the line of each time stands for: what was logged at the same moment, else one."""
    found = np.ones(len(time_s))
    if len(counts.place):
        order = np.argsort(counts.place, kind="stable")
        place = np.minimum(np.searchsorted(counts.place, time_s, sorter=order), len(order) - 1)
        same = counts.place[order][place] == time_s
        found[same] = counts.value[order][place][same]
    return found


def phases_of(
    names: Sequence[str],
    times_s: Sequence[Floats],
    values: Sequence[Floats],
    counts: RawPoints | None = None,
    steps: Sequence[Floats] | None = None,
) -> StepPhases:
    """From one series a phase, each with its own times: those that are logged on one line have the same.

    `counts`: when lines that stand for more units than one were logged, and for how many. `steps`: the step of each value, NaN where
    unknown; a line that skips some may stand for them, too.
    """
    if not names:
        return NO_PHASES
    end_s, first = np.unique(np.concatenate(list(times_s)), return_index=True)
    seconds = np.zeros((len(names), len(end_s)))
    for row, time_s, value in zip(seconds, times_s, values, strict=True):
        np.add.at(row, np.searchsorted(end_s, time_s), np.nan_to_num(value, posinf=0.0, neginf=0.0))
    units = counts_at(end_s, counts) if counts else np.ones(len(end_s))
    begin_s = np.r_[np.nan, end_s[:-1]][: len(end_s)]
    begin_s[units > 1] = np.nan
    if steps is not None:
        passed = np.diff(np.concatenate(list(steps))[first], prepend=np.nan)
        begin_s[(passed < 0) | (passed > 1)] = np.nan
    return StepPhases(list(names), begin_s, end_s, np.maximum(seconds, 0.0), units)


# Units of different lengths: how long each may take, by the tokens or samples that the run logs for it.

_BEFORE = r"(n|num|number_of|total|train|input|batch|padded|processed|consumed|global|micro)"
_WHAT = r"(tokens?|samples?|examples?|sequences?|frames?|images?|words|characters|seq_?len(gths?)?|sequence_lengths?)"
_BEHIND = r"(seen|processed|consumed|count|(per|in|a)_(step|batch|rank|gpu|device))"
NAME = re.compile(rf"^({_BEFORE}_?)*{_WHAT}(_{_BEHIND})*$", re.IGNORECASE)  # not `tokens_per_s`
OF_OTHERS = re.compile(r"^(val|valid|validation|eval|evaluation|test|host|gpu|phase|gpu_phase)\b")
KNOWN = 0.8  # of the units, that must have a size
MIN_UNITS = 20
VARIES = 0.1  # sizes between the 5th and the 95th percentile, of their median: less explains nothing
EXPLAINS = 0.8  # times the spread of the units' seconds: what remains of it beside their sizes
PAIRS = 20_000  # that the slope is the median of


class UnitSizes(NamedTuple):
    """What varies from unit to unit."""

    name: str  # "tokens"
    steps: Units
    amount: Units  # the same stretches, counted in tokens
    usual: float  # of a unit, the median

    def longer(self, window: Sequence[Interval], baseline: Sequence[Interval]) -> float | None:
        """How many times as many tokens a unit of the window has."""
        sizes = [self.amount.within(side) / max(self.steps.within(side), 1e-9) for side in (window, baseline)]
        return sizes[0] / sizes[1] if all(sizes) else None


def is_size(name: str) -> bool:
    """`train/tokens`, `num_input_tokens_seen`, `batch/seq_len`; not `tokens_per_s`, not `val/tokens`."""
    return bool(NAME.match(name.rpartition("/")[2])) and not OF_OTHERS.match(name)


def sized(units: Units, series: Mapping[str, tuple[Floats, Floats]]) -> UnitSizes | None:
    """The first of the series, each of times and values, that explains why units take unequally long; None where none does.

    A series that never falls is a sum over all units so far.
    """
    for name in sorted(series):
        size = sizes_of(units, *series[name])
        if expected(units.seconds, size, units.units) is not None:
            amount = units._replace(units=np.where(np.isfinite(size), size, np.nanmedian(size)) * units.units)
            return UnitSizes(_word(name), units, amount, float(np.nanmedian(size)))
    return None


def weighed(units: Units, sized: UnitSizes) -> Units:
    """A unit of the usual size is one, a longer one is as many as it should take longer."""
    should_s = expected(units.seconds, sized.amount.units / units.units, units.units)
    if should_s is None:
        return units
    return units._replace(units=units.units * should_s / float(np.median(should_s)))


def sizes_of(units: Units, time_s: Floats, value: Floats) -> Floats:
    """Of each unit, as the line at its end says; NaN where it says nothing."""
    known = np.isfinite(time_s) & np.isfinite(value)
    time_s, value = time_s[known], value[known]
    if len(value) < MIN_UNITS:
        return np.full(len(units.end_s), np.nan)
    at_end = _at(units.end_s, time_s, value)
    if _is_sum(value):
        size: Floats = (at_end - _at(units.start_s, time_s, value)) / units.units
        return np.where(size > 0, size, np.nan)
    return np.where(at_end > 0, at_end, np.nan)


def expected(seconds: Floats, size: Floats, units: Floats) -> Floats | None:
    """How long each unit should take: a part that all have, and a part that grows with the size (Theil and Sen: slow units do not bend it).

    None where sizes hardly differ, or do not explain what differs.
    """
    known: Bools = np.isfinite(size) & (seconds > 0)
    if known.sum() < max(MIN_UNITS, KNOWN * len(size)):
        return None
    x, y = size[known], seconds[known]
    low, middle, high = np.percentile(x, [5, 50, 95])
    if high - low < VARIES * middle:
        return None
    slope = _slope(x, y)
    slope = min(max(slope, 0.0), float(np.median(y / x)))  # at most in proportion
    begin_s = max(0.0, float(np.median(y - slope * x)))
    if _spread(y - begin_s - slope * x) > EXPLAINS * _spread(y - np.median(y)):
        return None
    return np.where(known, begin_s + slope * np.nan_to_num(size), begin_s + slope * middle)


def _slope(x: Floats, y: Floats) -> float:
    pairs = np.random.default_rng(0).integers(0, len(x), (2, PAIRS))
    run, rise = (values[pairs[1]] - values[pairs[0]] for values in (x, y))
    apart = np.abs(run) > VARIES * np.median(x)
    return float(np.median(rise[apart] / run[apart])) if apart.any() else 0.0


def _spread(rest_s: Floats) -> float:
    return float(np.median(np.abs(rest_s)))


def _is_sum(value: Floats) -> bool:
    """It rises with nearly every line and never falls."""
    steps = np.diff(value)
    return bool((steps >= 0).all() and (steps > 0).mean() > 0.9)


def _at(moments_s: Floats, time_s: Floats, value: Floats) -> Floats:
    """The value that was logged at each moment, NaN for none."""
    place = np.minimum(np.searchsorted(time_s, moments_s), len(time_s) - 1)
    return np.where(np.abs(time_s[place] - moments_s) < 1e-6, value[place], np.nan)


def _word(name: str) -> str:
    """`train/num_input_tokens_seen` -> `tokens`"""
    found = re.search(_WHAT, name.rpartition("/")[2].lower())
    word = found[1] if found else "tokens"
    return "tokens" if "seq" in word and "len" in word else word if word.endswith("s") else f"{word}s"
