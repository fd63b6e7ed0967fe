"""Measurements of a training loop: phases, the numbers of each step, memory, stalls, the wait for other ranks.

    with Instruments(log, device) as instruments:
        phases = instruments.phases
        for step in range(steps):
            with phases["data"]:
                batch = next(batches)
            with phases["forward"]:
                loss = model(batch)
            ...
            for finished in instruments.end_step(step, {"train/loss": loss, "train/lr": lr}):
                if math.isnan(finished.values["train/loss"]): ...

On a GPU nothing waits: a step's numbers and GPU times are logged, and returned, some steps later.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .measuring.all_reduce import FirstAllReduce
from .measuring.gpu_clock import GpuClock, GpuPhases, StepNumbers
from .measuring.gpu_memory import GpuMemory
from .measuring.stalls import Collections, Compilations
from .phases import Phases
from .run_log import RunLog


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
