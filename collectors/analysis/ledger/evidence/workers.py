"""Which lines loader workers stood at while the main thread waited for them: the wait is charged to those."""

from __future__ import annotations

import numpy as np

from ....records import Frame
from ...stacks.joining import IN_WORKERS
from ...stacks.owning import are_own, has_name, library_name
from ...stacks.traces import Traces
from ..account import Account
from ..kinds import Charged

MOST_LINES = 8


def charged(account: Account, joined: Traces, own_folder: str) -> Account:
    """With the seconds at waits for workers shared out to the workers' lines, as these share the time waited."""
    lines = _lines(joined, own_folder)
    total_s = sum(lines.values())
    if not total_s:
        return account
    given: dict[Charged, float] = {}
    samples = dict(account.samples)
    for place, seconds in account.given.items():
        if not place.by_workers or place.kind != "data":
            given[place] = given.get(place, 0.0) + seconds
            continue
        for (frame, leaf), its_s in lines.items():
            own = Charged("data", frame, leaf, by_workers=True)
            given[own] = given.get(own, 0.0) + seconds * its_s / total_s
            samples[own] = samples.get(own, 0.0) + account.samples.get(place, 0.0) * its_s / total_s
    return account._replace(given=given, samples=samples)


def _lines(joined: Traces, own_folder: str) -> dict[tuple[Frame, str], float]:
    """Seconds that the main thread waited while a worker stood at each line; the dearest few."""
    own = are_own(joined.frames, own_folder)
    seconds = np.bincount(joined.stack, joined.seconds, len(joined.stacks)) if len(joined.stacks) else np.zeros(0)
    found: dict[tuple[Frame, str], float] = {}
    for stack, its_s in zip(joined.stacks, seconds.tolist(), strict=True):
        heads = [i for i, frame in enumerate(stack) if joined.frames[frame] == IN_WORKERS]
        below = [i for i in range(heads[-1] + 1, len(stack)) if own[stack[i]]] if heads and its_s else []
        if below:
            called = [joined.frames[i] for i in stack[below[-1] + 1 :] if has_name(joined.frames[i])]
            key = joined.frames[stack[below[-1]]], library_name(called[-1]) if called else ""
            found[key] = found.get(key, 0.0) + its_s
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:MOST_LINES])
