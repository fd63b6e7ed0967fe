"""The kinds of a GPU's work, and for how long each kept it busy: kernels of several streams run at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

COMPUTE, COMMUNICATION, COPY = "compute", "communication", "copy"
HIDDEN = "hidden"
ORDER = (COMPUTE, COMMUNICATION, COPY)  # of what runs at once, the first is what the GPU counts as busy with
COLLECTIVE = re.compile(
    r"^(nccl|rccl|msccl|nvshmem)|ncclDevKernel|ncclKernel|^void (\w+::)*(all_?reduce|cross_device_reduce)",
    re.IGNORECASE,
)
COLLECTIVE_OPERATOR = re.compile(r"^(c10d|_c10d_functional|gloo|nccl|mpi)\b[:]?")
COPIED = re.compile(r"^Mem(cpy|set)\b")


class BusyInterval(NamedTuple):
    start_ns: int
    end_ns: int
    kind: str


def kind_of(name: str, gpu: bool = True) -> str:
    """`ncclDevKernel_AllReduce_Sum_f32_RING_LL(...) -> communication`; of a CPU, by the name of the operator."""
    if not gpu:
        return COMMUNICATION if COLLECTIVE_OPERATOR.search(name) else COMPUTE
    if COPIED.search(name):
        return COPY
    return COMMUNICATION if COLLECTIVE.search(name) else COMPUTE


def busy_of(intervals: Sequence[BusyInterval]) -> dict[str, float]:
    """Seconds of compute, of communication alone, of copies alone: together all in which the GPU was busy.

    `hidden` are seconds of communication behind compute, among those of compute: they cost no time.
    """
    spent_ns = dict.fromkeys((*ORDER, HIDDEN), 0)
    edges = sorted(
        [(found.start_ns, 1, found.kind) for found in intervals]
        + [(found.end_ns, -1, found.kind) for found in intervals]
    )
    running = dict.fromkeys(ORDER, 0)
    before_ns = 0
    for time_ns, change, kind in edges:
        first = next((name for name in ORDER if running[name]), None)
        if first is not None:
            spent_ns[first] += time_ns - before_ns
            if first == COMPUTE and running[COMMUNICATION]:
                spent_ns[HIDDEN] += time_ns - before_ns
        running[kind] += change
        before_ns = time_ns
    return {name: round(nanoseconds * 1e-9, 9) for name, nanoseconds in spent_ns.items()}
