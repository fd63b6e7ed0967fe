"""The least and the greatest value of each series, with their steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .groups import NO_STEP, Group


class Extremes(NamedTuple):
    """Over finite values; the first to arrive of equal ones. All None where there are none, steps also where the points have none."""

    least: float | None
    least_step: int | None
    most: float | None
    most_step: int | None


NOTHING = Extremes(None, None, None, None)


def extremes_of(part: Group) -> list[Extremes]:
    """One per series of the group."""
    finite = np.isfinite(part.values)
    low, high = (
        np.where(finite, part.values, np.inf).argmin(axis=1),
        np.where(finite, part.values, -np.inf).argmax(axis=1),
    )
    line = np.arange(len(part.ids))
    ends = zip(
        finite[line, low].tolist(),
        part.values[line, low].tolist(),
        part.step[low].tolist(),
        part.values[line, high].tolist(),
        part.step[high].tolist(),
        strict=True,
    )
    return [
        Extremes(least, None if at == NO_STEP else at, most, None if top == NO_STEP else top) if known else NOTHING
        for known, least, at, most, top in ends
    ]


def wider(old: Extremes, new: Extremes) -> Extremes:
    """Both together, `new` being of later points."""
    if old.least is None or old.most is None:
        return new
    if new.least is None or new.most is None:
        return old
    low, high = new if new.least < old.least else old, new if new.most > old.most else old
    return Extremes(low.least, low.least_step, high.most, high.most_step)
