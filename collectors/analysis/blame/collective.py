"""Who made the other ranks wait: the one for whom they waited longest in their collectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..stacks.joining import rank_of_head
from ..stacks.traces import Floats, Range, Traces


def straggler(
    joined: Traces, window: Range, baseline: Sequence[Range], divisors: tuple[float, float], least_s: float
) -> int | None:
    """The rank for whom the others waited longest; None where none of them waited `least_s` longer per unit than in the baseline.

    `divisors` is how many units window and baseline have; 0 for no baseline.
    """
    ranks = sorted({rank for _, rank, _, role in joined.processes if role == "main"})
    if len(ranks) < 2:
        return None
    waited_s = _waited(joined.within([window]), ranks) / divisors[0]
    if divisors[1]:
        waited_s -= _waited(joined.within(baseline), ranks) / divisors[1]
    return ranks[int(waited_s.sum(axis=0).argmax())] if waited_s.sum(axis=1).max() >= least_s else None


def _waited(traces: Traces, ranks: list[int]) -> Floats:
    """`[who waits, for whom]`: seconds."""
    heads = {i: rank for i, frame in enumerate(traces.frames) if (rank := rank_of_head(frame)) is not None}
    for_whom = [next((ranks.index(heads[frame]) for frame in stack if frame in heads), -1) for stack in traces.stacks]
    who = np.array([ranks.index(rank) if rank in ranks else -1 for _, rank, _, _ in traces.processes], np.int64)[
        traces.process
    ]
    whom = np.array(for_whom, np.int64)[traces.stack] if for_whom else np.zeros(0, np.int64)
    known = (who >= 0) & (whom >= 0) & traces.main
    sums = np.bincount(who[known] * len(ranks) + whom[known], traces.seconds[known], len(ranks) ** 2)
    return sums.astype(np.float64).reshape(len(ranks), len(ranks))
