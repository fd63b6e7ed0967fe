"""How fast a window does the run's usual work, for a run that logs no steps.

A new or slower part of a loop leaves less of each second for all the others, by the same factor: that factor is the pace.
"""

from __future__ import annotations

import numpy as np

from ..stacks.parts import common_ratio, on_stacks, parts_of
from . import suspect
from .judging import OUTSIDE
from .suspect import Sides
from .verdict import Case

LEAST = 0.02  # a window that does other work altogether


def paced(case: Case) -> Case:
    """With the pace of the window; unchanged for a run whose units are known."""
    window, baseline = case.window, case.baseline
    if baseline is None or window.units is not None or case.answer_s is not None:
        return case
    trie, weighings = suspect.tree_of(window.traces, baseline.traces)
    sides = Sides(weighings, (window.divisor, baseline.divisor))
    excess = suspect.excess_of(trie, sides, round(window.seconds * case.hz), case.own_folder)
    found = suspect.find(excess, excess.shifted_s, sides)
    seconds = [
        np.bincount(side.traces.stack, side.traces.seconds, len(side.traces.stacks)) / side.divisor
        for side in (window, baseline)
    ]
    if found is not None and not found.last_line:
        sides_on = [on_stacks(side.traces, found.frame) for side in (window, baseline)]
        seconds = [np.where(on, 0.0, values) for on, values in zip(sides_on, seconds, strict=True)]
    if seconds[1].sum() < OUTSIDE:
        return case
    parts = parts_of((window.traces, baseline.traces), case.own_folder, excess.always)
    count = 1 + max(int(part.max(initial=0)) for part in parts)
    ratio = common_ratio(
        *(np.bincount(part, values, count).astype(np.float64) for part, values in zip(parts, seconds, strict=True))
    )
    pace = min(max(ratio if ratio is not None else 1.0, LEAST), 1.0)
    return case._replace(window=window._replace(pace=pace), asked=case.asked._replace(pace=pace))
