"""The order in which idle time is given to samples: first where the device surely had nothing to do.

The device works on what was launched before, so the host's lead over it runs out at the end of a stretch without launches, not
at its beginning. Where the host has waited for the device there is no lead.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ...stacks.traces import Bools, Floats, Ints
from .. import rules
from ..kinds import NUMBER
from .moments import FREE, LAUNCHES, WAITS, Moments, standing

DRAINED: Final = 0.0  # free, after a wait for the device with no launch since
APART: Final = 1.0  # free, apart from the launches
BETWEEN: Final = 1.5  # free, between launches of one statement: its age cannot be seen
LAUNCHING: Final = 2.0
HIDDEN: Final = 3.0  # free, but the device was waited for afterwards: it had work
NEVER: Final = 5.0  # waits for the device


class Order(NamedTuple):
    """One entry a sample: lower levels first, within a level by rank."""

    level: Floats
    rank: Floats
    still: Bools  # a launching line that launches nothing
    waited_at: Ints  # the sample that waited for the device before it; -1 where it is not DRAINED


def order_of(moments: Moments, collecting: Bools | None = None) -> Order:
    """`collecting`: which samples fall into logged garbage collections; without them, lines that stand still are taken for them."""
    still = standing(moments, rules.STANDS.value) if collecting is None else collecting
    free = (moments.state == FREE) | still
    index = np.arange(len(free))
    last = np.maximum.accumulate(np.where(~free, index, 0))
    following = np.minimum.accumulate(np.where(~free, index, len(free) - 1)[::-1])[::-1]
    passed = _passed(moments, free)
    since = np.maximum.accumulate(np.where(~free | passed, index, 0))
    age_s = moments.time_s - moments.time_s[since] - np.where(passed[since], 0.0, moments.period_s / 2)
    level = np.full(len(free), NEVER)
    level[free] = APART
    drained = np.zeros(len(free), bool)
    if is_ordered(moments):
        drained = free & (moments.state[last] == WAITS) & (since == last)
        level[drained] = DRAINED
        level[free & (moments.state[last] == LAUNCHES) & (moments.state[following] == WAITS) & (following > index)] = (
            HIDDEN
        )
    level[(moments.state == LAUNCHES) & ~still] = LAUNCHING
    level[free & ~still & _between_launches(moments) & (level < LAUNCHING)] = BETWEEN
    drained &= level == DRAINED
    # After a drain the first moments are the surest, since launches in between are seldom seen; else the oldest are.
    rank = np.where(level == DRAINED, 1.0, -1.0) * np.where(free, age_s, 0.0)
    return Order(level, rank, still, np.where(drained, last, -1))


def is_ordered(moments: Moments) -> bool:
    """Whether neighbouring samples know of each other: steps are longer than about two samples."""
    place = moments.place
    if len(place) < 2:
        return False
    same = float(np.mean(place[1:] == place[:-1]))
    by_chance = float(np.sum((np.bincount(place) / len(place)) ** 2))
    excess = (same - by_chance) / max(1e-9, 1 - by_chance)
    return excess > rules.ORDERED.value or by_chance > rules.ONE_PLACE.value


def _passed(moments: Moments, free: Bools) -> Bools:
    """Where a launch was surely passed unseen since the sample before: between these two lines one is often seen."""
    found = np.zeros(len(free), bool)
    at = np.flatnonzero(free)
    if len(at) < 2:
        return found
    before, after = at[:-1], at[1:]
    launched = np.r_[0, np.cumsum(moments.state == LAUNCHES)]
    seen = launched[after] > launched[before]
    direct = after == before + 1
    pair = moments.place[before] * len(moments.places) + moments.place[after]
    _, which = np.unique(pair, return_inverse=True)
    with_launch, without = np.bincount(which, seen), np.bincount(which, direct)
    often = with_launch > rules.PASSED.value * (with_launch + without)
    found[after] = direct & often[which] & (moments.place[before] != moments.place[after])
    return found


def _between_launches(moments: Moments) -> Bools:
    """Own Python and waits for the GIL inside a statement of the loop that launches, too."""
    launching = np.bincount(moments.statement, moments.state == LAUNCHES) if len(moments.statement) else np.zeros(0)
    kinds = np.isin(moments.kind, [NUMBER["python"], NUMBER["gil"], NUMBER["lock"]])
    between: Bools = kinds & (launching > 0)[moments.statement]
    return between
