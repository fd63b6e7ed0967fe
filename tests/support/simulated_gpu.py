"""A GPU that is not there, for the logic around CUDA events: one stream that works through what is launched, in real time.

It has what `trainer.measure` uses of `torch.cuda`, and refuses what a real one refuses while a graph is captured. It says nothing of
what a real one costs.
"""

from __future__ import annotations

import struct
from time import perf_counter, sleep


class SimulatedGpu:
    def __init__(self) -> None:
        self.capturing = False
        self.events = 0  # made so far
        self.waits = 0
        self.busy_until_s = 0.0

    def launch(self, seconds: float) -> None:
        """A kernel; the host does not wait for it."""
        self.busy_until_s = max(perf_counter(), self.busy_until_s) + seconds

    def Event(self, *, enable_timing: bool) -> SimulatedEvent:
        assert enable_timing
        self.events += 1
        return SimulatedEvent(self)

    def is_current_stream_capturing(self) -> bool:
        return self.capturing


class SimulatedEvent:
    def __init__(self, gpu: SimulatedGpu) -> None:
        self._gpu = gpu
        self._at_s = 0.0

    def record(self) -> None:
        assert not self._gpu.capturing, "it would become a part of the graph"
        self._at_s = max(perf_counter(), self._gpu.busy_until_s)

    def query(self) -> bool:
        assert not self._gpu.capturing, "it breaks the capture"
        return perf_counter() >= self._at_s

    def synchronize(self) -> None:
        assert not self._gpu.capturing, "it breaks the capture"
        self._gpu.waits += 1
        sleep(max(0.0, self._at_s - perf_counter()))

    def elapsed_time(self, end_event: SimulatedEvent) -> float:
        assert self._at_s <= perf_counter(), "not reached yet"
        assert end_event._at_s <= perf_counter(), "not reached yet"
        milliseconds: float = struct.unpack("f", struct.pack("f", (end_event._at_s - self._at_s) * 1e3))[0]
        return milliseconds
