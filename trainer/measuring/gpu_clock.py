"""GPU times of the parts of a step, and a step's numbers, without ever waiting for the GPU.

CUDA events are put into the stream like kernels, and note the time when the GPU gets there. They are read at the end of some later
step, once the GPU is past that step; so are the numbers that are copied to the host. All calls come from the training thread, for
`query()` from another one may break the capture of a CUDA graph; what happens while one is captured is not timed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..phases import Phase, Phases

DEPTH = 64  # steps in flight: more than a launch queue of 1,024 kernels holds; less than 100, where a step would seem to go back
REANCHOR_S = 60.0  # elapsed_time() is float32 milliseconds, 8 us fine after a minute; and host and GPU drift apart
HOST_ONLY = {"data", "log", "checkpoint"}  # launch nothing: on the GPU their time is gpu/idle_s


class CudaEvent(Protocol):
    """The used part of `torch.cuda.Event`."""

    def record(self) -> None: ...

    def query(self) -> bool: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, end_event: Any) -> float: ...


class Cuda(Protocol):
    """The used part of `torch.cuda`."""

    def Event(self, *, enable_timing: bool) -> CudaEvent: ...

    def is_current_stream_capturing(self) -> bool: ...


class StepNumbers(NamedTuple):
    """The numbers of a step that the GPU has finished."""

    step: int
    time_s: float  # Unix time at which the host ended the step
    values: dict[str, float]  # what was handed to `end_step`, numbers and tensors
    late: dict[str, float]  # what was not known then: the tensors' values and the times


class Anchor(NamedTuple):
    """The same moment on both clocks."""

    event: CudaEvent
    host_s: float


class Step:
    """The events of one step and the buffers for its numbers; reused after they have been read."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._events: list[CudaEvent] = []
        self._end = cuda.Event(enable_timing=True)
        self._copied = torch.empty(0)
        self.clear()

    def clear(self) -> None:
        self._used = 0  # of the events
        self._open: dict[str, CudaEvent] = {}
        self._spans: list[tuple[str, CudaEvent, CudaEvent]] = []  # series, begin, end
        self.whole = True  # False: a graph was captured in it, so it is not timed

    def begin(self, series: str) -> None:
        self._open[series] = self._mark()

    def end(self, series: str) -> None:
        self._spans.append((series, self._open.pop(series), self._mark()))

    def close(
        self, number: int, time_s: float, numbers: dict[str, float], tensors: Mapping[str, Tensor], anchor: Anchor
    ) -> None:
        self._number, self._time_s, self._numbers, self._anchor = number, time_s, numbers, anchor
        self._names = list(tensors)
        if tensors:
            self._copy(list(tensors.values()))
        self._ended_s = perf_counter()
        self._end.record()

    def is_done(self) -> bool:
        return self._end.query()

    def wait(self) -> None:
        self._end.synchronize()

    def read(self, before: Step | None) -> StepNumbers:
        """Call it once the step is done, and before the step before it is reused."""
        copied = dict(zip(self._names, self._copied.tolist(), strict=False))
        times = self._times(before) if self.whole else {}
        return StepNumbers(self._number, self._time_s, self._numbers | copied, copied | times)

    def _mark(self) -> CudaEvent:
        if self._used == len(self._events):
            self._events.append(self._cuda.Event(enable_timing=True))
        event = self._events[self._used]
        self._used += 1
        event.record()
        return event

    def _copy(self, tensors: list[Tensor]) -> None:
        """In the stream, after their computation and before the loop's next use of them."""
        stacked = torch.stack([tensor.detach().reshape(()).float() for tensor in tensors])
        if len(self._copied) < len(tensors):
            self._copied = torch.empty(len(tensors), pin_memory=stacked.is_cuda)
        self._copied[: len(tensors)].copy_(stacked, non_blocking=True)

    def _times(self, before: Step | None) -> dict[str, float]:
        times: dict[str, float] = {}
        for series, begin, end in self._spans:
            times[series] = times.get(series, 0.0) + _seconds(begin, end)
        if before is not None and self._used:
            times["gpu/idle_s"] = _seconds(before._end, self._events[0])
        times["host_lead_s"] = self._anchor.host_s + _seconds(self._anchor.event, self._end) - self._ended_s
        return {series: round(seconds, 6) for series, seconds in times.items()}


class GpuClock:
    """Times between `begin` and `end` on the current device, per step.

    It waits for the GPU at its creation, once a minute, and where the host is DEPTH steps ahead.
    """

    def __init__(self, cuda: Cuda = torch.cuda) -> None:
        self._cuda = cuda
        self._current = Step(cuda)
        self._running: deque[Step] = deque()  # oldest first
        self._before: Step | None = None  # the last one that was read: the next one's idle time begins at its end
        self._free: list[Step] = []
        self._anchor = self._new_anchor()

    def begin(self, series: str) -> None:
        if self._timed():
            self._current.begin(series)

    def end(self, series: str) -> None:
        if self._timed():
            self._current.end(series)

    def end_step(
        self, number: int, time_s: float, numbers: dict[str, float], tensors: Mapping[str, Tensor]
    ) -> list[StepNumbers]:
        """Close this step, and return the finished ones among this and earlier ones, in order.

        A step that ends while a CUDA graph is being captured is not returned: its tensors have no values yet.
        """
        if self._cuda.is_current_stream_capturing():
            self._current.whole = False
            return []
        self._current.close(number, time_s, numbers, tensors, self._anchor)
        self._running.append(self._current)
        if perf_counter() - self._anchor.host_s > REANCHOR_S:
            self._anchor = self._new_anchor()
        elif len(self._running) == DEPTH:
            self._running[0].wait()
        finished = list(self._read())
        self._current = self._free.pop() if self._free else Step(self._cuda)
        return finished

    def drain(self) -> list[StepNumbers]:
        """Wait for the steps that are still under way; for the end of the loop."""
        if self._running:
            self._running[-1].wait()
        return list(self._read())

    def _timed(self) -> bool:
        if self._cuda.is_current_stream_capturing():
            self._current.whole = False
        return self._current.whole

    def _read(self) -> Iterator[StepNumbers]:
        while self._running and self._running[0].is_done():
            step = self._running.popleft()
            yield step.read(self._before)
            if self._before is not None:
                self._before.clear()
                self._free.append(self._before)
            self._before = step

    def _new_anchor(self) -> Anchor:
        """On an idle stream, so that the GPU reaches the event at once."""
        event = self._cuda.Event(enable_timing=True)
        event.record()
        event.synchronize()
        begun_s = perf_counter()
        event.record()
        event.synchronize()
        return Anchor(event, (begun_s + perf_counter()) / 2)


class GpuPhase(Phase):
    """Timed on the host and on the GPU."""

    __slots__ = ("_clock", "_gpu_series")

    def __init__(self, name: str, clock: GpuClock) -> None:
        super().__init__(name)
        self._clock = clock
        self._gpu_series = f"gpu_{self.series}"

    def __enter__(self) -> None:
        super().__enter__()
        self._clock.begin(self._gpu_series)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.end(self._gpu_series)
        super().__exit__(kind, error, trace)


class GpuPhases(Phases):
    def __init__(self, clock: GpuClock) -> None:
        super().__init__()
        self._clock = clock

    def new(self, name: str) -> Phase:
        return Phase(name) if name in HOST_ONLY else GpuPhase(name, self._clock)


def _seconds(begin: CudaEvent, end: CudaEvent) -> float:
    return begin.elapsed_time(end) / 1e3
