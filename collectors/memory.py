"""Make the process give memory back that it no longer uses."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # <malloc.h>
LARGE_BYTES = 256 << 10


def give_back() -> None:
    """A large array is returned to the system as soon as it is freed; to be called before the first thread starts.

    glibc raises its threshold to 32 MB once an array of that size was freed, and from then on keeps smaller ones in an arena for each
    thread: the same questions about three hours of stacks left 442 MB behind, and leave 227 MB so; the processes of
    half an hour of `make soak` grew by 0.51 MB a minute before the collector called this, and by 0.32 since. Other C libraries need no such word.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_ARENA_MAX, 2)
