"""What traced steps add to a ledger: the parts of the GPU's busy time, and which line launched which kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...records import Frame
from ...tracing.result import KERNEL_KINDS, KernelKind, StepsTraced, TracedKernel
from ..stacks.owning import are_own

MOST_KERNELS = 8  # of a line, those that took longest


class BusyPart(NamedTuple):
    """A part of the device's busy time, as percent of the window, if the whole window was like the traced steps."""

    kind: KernelKind
    share: float


class KernelTime(NamedTuple):
    name: str
    kind: KernelKind
    seconds: float
    calls: int


class TracedLine(NamedTuple):
    """What a line of the user's own code launched, in all traced steps together."""

    frame: Frame | None  # None where no own code is on the stack
    backward: bool
    seconds: float
    calls: int
    kernels: list[KernelTime]  # the dearest first, at most 8


class Traced(NamedTuple):
    """Steps of a window that were traced, and their lines, the dearest first."""

    trace: StepsTraced
    lines: list[TracedLine]


def busy_parts(trace: StepsTraced, busy_share: float) -> list[BusyPart]:
    """They add up to the share of the GPU's busy time; [] where the device was no GPU, or did nothing."""
    busy = trace.busy
    if busy is None or busy.all <= 0:
        return []
    seconds: dict[KernelKind, float] = {"compute": busy.compute, "communication": busy.communication, "copy": busy.copy}
    return [BusyPart(kind, busy_share * seconds[kind] / busy.all) for kind in KERNEL_KINDS]


def kinds_of_kernels(trace: StepsTraced) -> dict[KernelKind, float]:
    """Seconds by kind, of all kernels: what runs at once counts several times."""
    seconds: dict[KernelKind, float] = dict.fromkeys(KERNEL_KINDS, 0.0)
    for kernel in trace.kernels:
        seconds[kernel.kind] += kernel.seconds
    return seconds


def traced_lines(trace: StepsTraced, own_folder: str) -> list[TracedLine]:
    """By the deepest frame of own code that launched them, the dearest first."""
    kernels: dict[tuple[Frame | None, bool], dict[tuple[str, KernelKind], list[TracedKernel]]] = {}
    for kernel in trace.kernels:
        line = _own_line(kernel.stack, own_folder), kernel.backward
        kernels.setdefault(line, {}).setdefault((kernel.name, kernel.kind), []).append(kernel)
    found = [_line(frame, backward, names) for (frame, backward), names in kernels.items()]
    return sorted(found, key=lambda line: -line.seconds)


def _line(frame: Frame | None, backward: bool, names: dict[tuple[str, KernelKind], list[TracedKernel]]) -> TracedLine:
    times = [
        KernelTime(name, kind, sum(kernel.seconds for kernel in same), sum(kernel.calls for kernel in same))
        for (name, kind), same in names.items()
    ]
    times.sort(key=lambda time: -time.seconds)
    seconds, calls = sum(time.seconds for time in times), sum(time.calls for time in times)
    return TracedLine(frame, backward, seconds, calls, times[:MOST_KERNELS])


def _own_line(stack: Sequence[Frame], own_folder: str) -> Frame | None:
    own = are_own(list(stack), own_folder)
    return next((frame for frame, is_own in zip(reversed(stack), reversed(own), strict=True) if is_own), None)
