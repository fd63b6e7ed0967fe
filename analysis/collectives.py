"""Which rank comes last into the collectives of a job: the one rule for traces, NCCL's Inspector and PyTorch's flight recorder.

A collective ends at about the same moment on all ranks, and begins on each when that rank comes. So the shortest time is that of the rank
that came last, and is the work; what another rank has more, it waited. Durations are compared, so clocks may differ. This holds where each
rank needs data of all others, as in an all-reduce, and not where one rank sends to the others or collects from them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

MIN_LEAD_S = 1e-5  # a rank whose time is not so much shorter was not last: all came together
MIN_COLLECTIVES = 20  # that are compared, to say who is late
LATE_SHARE = 0.8  # of all waiting, that is for one rank
KNOWN_SHARE = 0.8  # of the ranks: the shortest time of a few says nothing of the others
SYMMETRIC = re.compile(r"(?i)all_?reduce|all_?gather|reduce_?scatter|all_?to_?all")


class CollectiveWait(NamedTuple):
    """Of one collective. `last` is None where all ranks came together."""

    last: int | None
    work_s: float  # the shortest time
    longest_s: float  # wait of a rank


class LateRank(NamedTuple):
    """The rank that the others usually wait for."""

    rank: int
    last: int  # of the collectives that were compared: the others waited for this rank
    compared: int


def is_symmetric(name: str) -> bool:
    """Whether each rank needs data of all others in an operation with such a name, as PyTorch calls it: `nccl:_all_gather_base`."""
    return SYMMETRIC.search(name) is not None


def is_comparable(by_rank: Mapping[int, object], ranks: int) -> bool:
    """Whether enough of so many ranks are known."""
    return len(by_rank) >= max(2.0, KNOWN_SHARE * ranks)


def wait_of(seconds: Mapping[int, float]) -> CollectiveWait:
    """`seconds`: how long each of two or more ranks was in the same collective."""
    shortest, second, *_ = sorted(seconds.values())
    last = min(seconds, key=seconds.__getitem__) if second - shortest >= MIN_LEAD_S else None
    return CollectiveWait(last, shortest, max(seconds.values()) - shortest)


def most_waited_for(waits: Iterable[CollectiveWait]) -> tuple[int | None, float]:
    """The rank that causes most of the waiting, and for how long others wait for it; None where all come together."""
    waited_s = defaultdict[int, float](float)
    for wait in waits:
        if wait.last is not None:
            waited_s[wait.last] += wait.longest_s
    return max(waited_s.items(), key=lambda item: item[1], default=(None, 0.0))


def late_rank(waits: Sequence[CollectiveWait]) -> LateRank | None:
    """None where too few collectives are known, or no rank alone causes most of the waiting."""
    rank, most_s = most_waited_for(waits)
    if rank is None or len(waits) < MIN_COLLECTIVES or most_s < LATE_SHARE * sum(wait.longest_s for wait in waits):
        return None
    return LateRank(rank, sum(wait.last == rank for wait in waits), len(waits))
