"""Shared by both processes: the beat on which collectors commit, and memory given back to the system."""

from __future__ import annotations

import ctypes
import math
from contextlib import suppress

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # <malloc.h>
LARGE_BYTES = 256 << 10


def return_freed_memory() -> None:
    """A large array is returned to the system as soon as it is freed; to be called before the first thread starts.

    glibc raises its threshold to 32 MB once an array of that size was freed, and from then on keeps smaller ones in an arena for each
    thread: the same questions about three hours of stacks left 442 MB behind, and leave 227 MB so; the processes of
    half an hour of `make soak` grew by 0.51 MB a minute before the collector called this, and by 0.32 since. Other C libraries need no such word.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_ARENA_MAX, 2)


# The beat on which all collectors work: commits at one moment wake the web process, and every page, once.

BEAT_S = 0.2
COMMITTED_S = 0.03  # after a beat the collectors commit one after the other, for so long


def beat_at(due: float) -> float:
    """The first beat at or after that time: the multiples of `BEAT_S` on the monotonic clock, the same for all threads and processes."""
    return math.ceil(due / BEAT_S) * BEAT_S


def committing_s(now: float) -> float:
    """How long the collectors still commit what they have read on the newest beat; 0 between two."""
    return max(0.0, COMMITTED_S - now % BEAT_S)
