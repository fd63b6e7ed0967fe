"""Traced steps as stacks: each kernel is a leaf below the line of Python that launched it."""

from __future__ import annotations

import numpy as np

from ...records import Frame
from ...tracing.result import StepsTraced
from .folding import Gathered
from .lanes import ThreadTime
from .trie import Weighed

FILES = {"GPU": "<kernel>", "CPU": "<operator>"}  # what stands for the file of a leaf
BACKWARD = Frame("backward", "<autograd>", 0)  # below the line that ran forward
UNKNOWN = Frame("launched by no line that was traced", "<unknown>", 0)


def gathered_of(trace: StepsTraced, run: str) -> Gathered:
    """Seconds are those of the kernels: what runs at once counts several times."""
    index: dict[Frame, int] = {}
    stacks = []
    for kernel in trace.kernels:
        above = kernel.stack or (UNKNOWN,)
        stack = (*above, *([BACKWARD] if kernel.backward else []), Frame(kernel.name, FILES[trace.device], 0))
        stacks.append(tuple(index.setdefault(frame, len(index)) for frame in stack))
    seconds = np.array([kernel.seconds for kernel in trace.kernels], np.float64)
    launches = sum(kernel.calls for kernel in trace.kernels)
    trusted = np.array([len(stack) for stack in stacks], np.int64)
    what = "kernels of the GPU" if trace.device == "GPU" else "operators on the CPU"
    whole = ThreadTime(0, 0, what, trace.rank, "main", float(seconds.sum()))
    return Gathered(Weighed(list(index), stacks, trusted, seconds), f"{run} {what}", [whole], launches, 0.0)
