"""Units of different lengths: how long each may take, by the tokens or samples that the run logs for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..baseline.units import Units
from ..stacks.traces import Bools, Floats, Range

_BEFORE = r"(n|num|number_of|total|train|input|batch|padded|processed|consumed|global|micro)"
_WHAT = r"(tokens?|samples?|examples?|sequences?|frames?|images?|words|characters|seq_?len(gths?)?|sequence_lengths?)"
_BEHIND = r"(seen|processed|consumed|count|(per|in|a)_(step|batch|rank|gpu|device))"
NAME = re.compile(rf"^({_BEFORE}_?)*{_WHAT}(_{_BEHIND})*$", re.IGNORECASE)  # not `tokens_per_s`
OF_OTHERS = re.compile(r"^(val|valid|validation|eval|evaluation|test|host|gpu|phase|gpu_phase)\b")
KNOWN = 0.8  # of the units, that must have a size
LEAST_UNITS = 20
VARIES = 0.1  # sizes between the 5th and the 95th percentile, of their median: less explains nothing
EXPLAINS = 0.8  # times the spread of the units' seconds: what remains of it beside their sizes
PAIRS = 20_000  # that the slope is the median of


class Sized(NamedTuple):
    """What varies from unit to unit."""

    name: str  # "tokens"
    steps: Units
    amount: Units  # the same stretches, counted in tokens
    usual: float  # of a unit, the median

    def longer(self, window: Sequence[Range], baseline: Sequence[Range]) -> float | None:
        """How many times as many tokens a unit of the window has."""
        sizes = [self.amount.within(side) / max(self.steps.within(side), 1e-9) for side in (window, baseline)]
        return sizes[0] / sizes[1] if all(sizes) else None


def is_size(name: str) -> bool:
    """`train/tokens`, `num_input_tokens_seen`, `batch/seq_len`; not `tokens_per_s`, not `val/tokens`."""
    return bool(NAME.match(name.rpartition("/")[2])) and not OF_OTHERS.match(name)


def sized(units: Units, series: Mapping[str, tuple[Floats, Floats]]) -> Sized | None:
    """The first of the series, each of times and values, that explains why units take unequally long; None where none does.

    A series that never falls is a sum over all units so far.
    """
    for name in sorted(series):
        size = sizes_of(units, *series[name])
        if expected(units.seconds, size, units.units) is not None:
            amount = units._replace(units=np.where(np.isfinite(size), size, np.nanmedian(size)) * units.units)
            return Sized(_word(name), units, amount, float(np.nanmedian(size)))
    return None


def weighed(units: Units, sized: Sized) -> Units:
    """A unit of the usual size is one, a longer one is as many as it should take longer."""
    should_s = expected(units.seconds, sized.amount.units / units.units, units.units)
    if should_s is None:
        return units
    return units._replace(units=units.units * should_s / float(np.median(should_s)))


def sizes_of(units: Units, time_s: Floats, value: Floats) -> Floats:
    """Of each unit, as the line at its end says; NaN where it says nothing."""
    known = np.isfinite(time_s) & np.isfinite(value)
    time_s, value = time_s[known], value[known]
    if len(value) < LEAST_UNITS:
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
    if known.sum() < max(LEAST_UNITS, KNOWN * len(size)):
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
