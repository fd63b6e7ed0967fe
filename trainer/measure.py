"""Measures of a training: GPU time, memory and communication, peaks, stalls and vital signs."""

from __future__ import annotations

import gc
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

# No `from __future__ import annotations`: DistributedDataParallel compares its hook's annotations with the types.
from time import monotonic, perf_counter, perf_counter_ns, time
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from deepseek.log import RunLog
from deepseek.log.flops import peak_of
from deepseek.log.phases import Phase, Phases

from .errors import Diverged

# GPU times of the parts of a step, and a step's numbers, without ever waiting for the GPU.
#
# CUDA events are put into the stream like kernels, and note the time when the GPU gets there. They are read at the end of some later
# step, once the GPU is past that step; so are the numbers that are copied to the host. All calls come from the training thread, for
# `query()` from another one may break the capture of a CUDA graph; what happens while one is captured is not timed.

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


# How long the first all-reduce of a step takes on each rank: most of it is waiting for the last one, whose own is the shortest.

SERIES = "collective/first_all_reduce_s"


class FirstAllReduce:
    """Averages gradients as DistributedDataParallel does by itself, and times the bucket that is ready first."""

    def __init__(self, model: DistributedDataParallel, clock: GpuClock | None) -> None:
        self._clock = clock
        self._begun_ns = self._spent_ns = 0
        model.register_comm_hook(model.process_group, self._hook)

    def take_s(self) -> dict[str, float]:
        """Seconds since the last call, as the host sees it; on a GPU its clock measures it."""
        spent_ns, self._spent_ns = self._spent_ns, 0
        return {SERIES: spent_ns // 1000 / 1e6} if spent_ns else {}

    def _hook(self, group: distributed.ProcessGroup, bucket: distributed.GradBucket) -> Future[Tensor]:
        if bucket.index() > 0:
            return allreduce_hook(group, bucket)
        self._begin()
        return allreduce_hook(group, bucket).then(self._end)

    # DistributedDataParallel compares these with the types, and `from __future__ import annotations` makes text of them.
    _hook.__annotations__.update({"bucket": distributed.GradBucket, "return": Future[Tensor]})

    def _begin(self) -> None:
        if self._clock:
            self._clock.begin(SERIES)
        self._begun_ns = perf_counter_ns()

    def _end(self, averaged: Future[Tensor]) -> Tensor:
        if self._clock:
            self._clock.end(SERIES)  # the stream here is the one that waits for the collective
        else:
            self._spent_ns += perf_counter_ns() - self._begun_ns
        return averaged.value()


def peak_flops(device: torch.device, precision: str) -> float | None:
    """FLOP/s in "fp32", "tf32", "bf16" or "fp16"; None for a device that is not in the table, and for a CPU."""
    return peak_of(torch.cuda.get_device_name(device), precision) if device.type == "cuda" else None


# Pauses of a step that no stack shows: garbage collections, compilations, allocator retries. Each is an event.

OLDEST = 2  # the generation whose collection visits every object


class WriteEvent(Protocol):
    """`RunLog.event`, with the step filled in."""

    def __call__(self, kind: str, **fields: object) -> None: ...


class Collections:
    """Garbage collections of the oldest generation, automatic or explicit."""

    def __init__(self, event: WriteEvent) -> None:
        self._event = event
        self._begun_ns = 0
        gc.callbacks.append(self._note)

    def close(self) -> None:
        gc.callbacks.remove(self._note)

    def _note(self, moment: str, info: dict[str, int]) -> None:
        if info["generation"] < OLDEST:
            return
        if moment == "start":
            self._begun_ns = perf_counter_ns()
        else:
            seconds = round((perf_counter_ns() - self._begun_ns) / 1e9, 6)
            self._event("gc", seconds=seconds, text=f"generation {OLDEST}, {info['collected']:,} objects freed")


class Compilation(NamedTuple):
    compile_id: str  # "0/1": frame 0, for the second time
    over_s: float  # Unix time
    seconds: float


class Compilations:
    """Compilations by `torch.compile`: `compile` where code is compiled for the first time, else `recompile` with the guard that failed.

    PyTorch calls back at their start and end, and names function and reason only afterwards: they are logged at the end of the step.
    """

    def __init__(self, event: WriteEvent) -> None:
        self._event = event
        self._over: list[Compilation] = []
        self._begun_ns = 0
        self._dynamo: Any = sys.modules.get(
            "torch._dynamo"
        )  # every optimizer loads it; not loaded, it compiles nothing
        if self._dynamo:
            self._dynamo.callback_handler.register_start_callback(self._begin)
            self._dynamo.callback_handler.register_end_callback(self._end)

    def write(self) -> None:
        if self._over:
            known = {row.compile_id: row for row in self._dynamo.utils.get_compilation_metrics()}
            for compilation in self._over:
                self._write(compilation, known.get(compilation.compile_id))
            self._over.clear()

    def close(self) -> None:
        self.write()
        if self._dynamo:
            self._dynamo.callback_handler.remove_start_callback(self._begin)
            self._dynamo.callback_handler.remove_end_callback(self._end)

    def _begin(self, what: Any) -> None:
        self._begun_ns = perf_counter_ns()

    def _end(self, what: Any) -> None:
        seconds = round((perf_counter_ns() - self._begun_ns) / 1e9, 6)
        self._over.append(Compilation(str(what.compile_id), round(time(), 6), seconds))

    def _write(self, compilation: Compilation, metrics: Any) -> None:
        kind = "compile" if compilation.compile_id.endswith("/0") else "recompile"
        text = (
            f"{metrics.co_name}: {metrics.recompile_reason or 'for the first time'}"
            if metrics
            else compilation.compile_id
        )
        self._event(kind, time_s=compilation.over_s, seconds=compilation.seconds, text=text)


# The state of PyTorch's GPU allocator, about once a second: a call builds a table of all its counters, about 0.1 ms.

PERIOD_S = 1.0


class GpuMemory:
    """`memory/*_bytes`, and an event when the allocator freed its cache and called the driver again, which waits."""

    def __init__(self, event: WriteEvent, stats: Callable[[], dict[str, Any]] = torch.cuda.memory_stats) -> None:
        self._event = event
        self._stats = stats
        self._due_s = 0.0
        self._retries = stats().get("num_alloc_retries", 0)

    def read(self) -> dict[str, float]:
        """Empty if less than a second has passed."""
        now_s = monotonic()
        if now_s < self._due_s:
            return {}
        self._due_s = now_s + PERIOD_S
        stats = self._stats()
        self._count_retries(stats.get("num_alloc_retries", 0))
        return {
            "memory/allocated_bytes": stats.get("allocated_bytes.all.current", 0),
            "memory/reserved_bytes": stats.get("reserved_bytes.all.current", 0),
            "memory/peak_bytes": stats.get("allocated_bytes.all.peak", 0),
        }

    def _count_retries(self, retries: int) -> None:
        if retries > self._retries:
            self._event("allocator_retry", count=retries - self._retries, text="the cache was given back to make room")
        self._retries = retries


# Checks the numbers from the device, some steps late: stops a training that went to NaN, reports skipped steps.

MIN_SCALE = 1.0  # fp16: below it the scaler is not looking for the right scale any more


class Vitals:
    """A gradient that is not finite damages the weights; under a gradient scaler such a step is skipped instead."""

    def __init__(self, log: RunLog, checkpoint: Path | None) -> None:
        self._log = log
        self._checkpoint = checkpoint  # the last good one
        self._skipped_steps = 0.0

    def watch(self, step: int, values: Mapping[str, float]) -> None:
        """Call it once per step, in order. Raises Diverged."""
        skipped_steps = values.get("train/skipped_steps", 0.0)
        if skipped_steps > self._skipped_steps:
            self._log.event("overflow", step=step, text=f"step skipped, scale now {values['train/grad_scale']:g}")
        self._skipped_steps = skipped_steps
        self.require_finite(step, values)

    def require_finite(self, step: int, values: Mapping[str, float]) -> None:
        """Raises Diverged, which names the last good checkpoint."""
        skipped = values.get("train/grad_scale", 0.0) >= MIN_SCALE
        for name in ("train/loss", "train/grad_norm"):
            if not math.isfinite(values[name]) and not skipped:
                raise Diverged(f"{name} is {values[name]} at step {step}: {self._remedy()}")

    def saved(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint

    def _remedy(self) -> str:
        if self._checkpoint is None:
            return "there is no checkpoint of it yet; start it again with a lower --lr"
        return f"the last good checkpoint is {self._checkpoint}; go on from it with --resume and a lower --lr"


# Measurements of a training loop: phases, the numbers of each step, memory, stalls, the wait for other ranks.
#
#     with Instruments(log, device) as instruments:
#         phases = instruments.phases
#         for step in range(steps):
#             with phases["data"]:
#                 batch = next(batches)
#             with phases["forward"]:
#                 loss = model(batch)
#             ...
#             for finished in instruments.end_step(step, {"train/loss": loss, "train/lr": lr}):
#                 if math.isnan(finished.values["train/loss"]): ...
#
# On a GPU nothing waits: a step's numbers and GPU times are logged, and returned, some steps later.


class Instruments:
    """One per rank. Create it after the optimizer, when PyTorch's compiler can be observed."""

    def __init__(self, log: RunLog, device: torch.device, clock: GpuClock | None = None) -> None:
        self._log = log
        self._device = device
        self._step: int | None = None  # the one under way, once one has ended
        on_gpu = device.type == "cuda"
        self._clock = clock or (GpuClock() if on_gpu else None)
        self.phases = GpuPhases(self._clock) if self._clock else Phases()
        self._memory = GpuMemory(self._event) if on_gpu else None
        self._all_reduce: FirstAllReduce | None = None
        self._collections = Collections(self._event)
        self._compilations = Compilations(self._event)

    def time_first_all_reduce(self, model: nn.Module) -> None:
        """Of every step, where the model is shared by several ranks; takes the place of the model's communication hook."""
        if isinstance(model, DistributedDataParallel):
            self._all_reduce = FirstAllReduce(model, self._clock)

    def end_step(self, step: int, values: Mapping[str, Any]) -> list[StepNumbers]:
        """Log the step's numbers (tensors of one element among them) and times; return the steps whose numbers are all known by now.

        Call it last in the step, in the training thread. Device tensors are copied without waiting.
        """
        with self.phases["log"]:
            self._step = step
            time_s = time()
            late = {name: value for name, value in values.items() if self._is_late(value)}
            numbers = {name: _number(value) for name, value in values.items() if name not in late}
            self._log.scalars_at(time_s, step, numbers | self._measured())
            self._compilations.write()
            finished = (
                self._clock.end_step(step, time_s, numbers, late)
                if self._clock
                else [StepNumbers(step, time_s, numbers, {})]
            )
            self._step = step + 1
            return self._logged(finished)

    def close(self) -> list[StepNumbers]:
        """Wait for the GPU, log its remaining steps, and remove all hooks."""
        self._detach()
        return self._logged(self._clock.drain()) if self._clock else []

    def __enter__(self) -> Instruments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, RuntimeError):
            self._detach()  # a GPU that failed answers every further call with the same error, which would hide where it came from
        else:
            self.close()

    def _detach(self) -> None:
        self._collections.close()
        self._compilations.close()

    def _is_late(self, value: object) -> bool:
        return self._clock is not None and isinstance(value, Tensor) and value.device.type == self._device.type

    def _measured(self) -> dict[str, float]:
        measured = self.phases.take_s()
        if self._all_reduce:
            measured |= self._all_reduce.take_s()
        if self._memory:
            measured |= self._memory.read()
        return measured

    def _logged(self, finished: list[StepNumbers]) -> list[StepNumbers]:
        for step in finished:
            if step.late:
                self._log.scalars_at(step.time_s, step.step, step.late)
        return finished

    def _event(self, kind: str, **fields: object) -> None:
        step = {} if self._step is None else {"step": self._step}
        self._log.event(kind, **step, **fields)


def _number(value: Any) -> float:
    """The value of a tensor, which does not have to wait here, or the number itself."""
    return value.item() if hasattr(value, "item") else value
