"""PyTorch's profiler for a few steps: begun and ended in the training thread, read in another. Nothing is imported that the script has not."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import FrameType
from typing import Any

CALL, C_CALL = "call", "c_call"
MOST_CALLS = 200_000  # of Python functions in a trace: each costs 1.5 kB, and 5 us when the trace ends
MONITORING_PROFILER = 2  # sys.monitoring.PROFILER_ID, which cProfile takes


class NoTrace(Exception):
    """Why there is none, in one sentence with the remedy."""


class CallCount:
    """Counts the calls of one step in this thread; gives up on its own at `most`, so that it costs at most 0.12 s."""

    def __init__(self, most: int) -> None:
        self.calls = 0
        self._most = most
        self._counts = False

    def begin(self) -> None:
        self._counts = True
        sys.setprofile(self._count)

    def end(self) -> None:
        """From any thread: elsewhere than in its own it ends at the next call there."""
        self._counts = False
        if sys.getprofile() == self._count:
            sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        if event in (CALL, C_CALL):
            self.calls += 1
        if self.calls > self._most or not self._counts:
            sys.setprofile(None)


class StepProfiler:
    """One trace. All its methods are for the training thread, but `result`."""

    def __init__(self, with_stacks: bool) -> None:
        """Raises NoTrace, and whatever PyTorch raises."""
        self.with_stacks = with_stacks
        profiler, activities = _torch_profiler()
        self.device = "GPU" if len(activities) > 1 else "CPU"
        self._profile: Any = profiler.profile(activities=activities, with_stack=with_stacks)
        try:
            self._profile.start()
        except Exception:
            self._leave()
            raise

    def stop(self) -> None:
        """Waits for the GPU, and gathers what was recorded: 4 us for each event."""
        try:
            self._profile.stop()
        except Exception:
            self._leave()
            raise

    @property
    def result(self) -> Any:
        """What PyTorch calls `kineto_results`."""
        return self._profile.profiler.kineto_results

    def _leave(self) -> None:
        """After a failure: recording must not go on."""
        with suppress(Exception):
            import torch

            if torch.autograd._profiler_enabled():
                torch.autograd._disable_profiler()


def leave_in_child() -> None:
    """In a process that was forked while steps were traced, such as a worker of a data loader: it would record until it ends."""
    sys.setprofile(None)
    torch = sys.modules.get("torch")
    if torch is not None:
        with suppress(Exception):
            torch.autograd._enable_record_function(False)


def check_ready() -> None:
    """Raises NoTrace where there is no PyTorch, or another profiler is at work."""
    torch = sys.modules.get("torch")
    if torch is None:
        raise NoTrace(
            "the script has not imported torch, whose profiler traces: only the time of its lines is known, from its stacks"
        )
    if not hasattr(getattr(torch, "autograd", None), "_profiler_enabled"):
        raise NoTrace("this version of torch has no profiler that can be used here; torch 2.1 or later has one")
    if torch.autograd._profiler_enabled():
        raise NoTrace(
            "the script's own torch profiler is at work, and there can be only one: ask again once it has ended"
        )
    if sys.getprofile() is not None or _is_monitored():
        raise NoTrace("another profiler of Python is at work in the script, such as cProfile: ask again without it")


def is_capturing() -> bool:
    """Whether the GPU's work is being recorded into a graph: nothing may be started or waited for meanwhile."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return bool(cuda and cuda.is_initialized() and cuda.is_current_stream_capturing())


def torch_version() -> str:
    return str(getattr(sys.modules.get("torch"), "__version__", ""))


def _torch_profiler() -> tuple[Any, list[Any]]:
    import torch
    from torch import profiler

    activities = [profiler.ProfilerActivity.CPU]
    if torch.cuda.is_initialized():  # asking for a GPU that is not in use would begin to use it
        activities.append(profiler.ProfilerActivity.CUDA)
    return profiler, activities


def _is_monitored() -> bool:
    monitoring = getattr(sys, "monitoring", None)
    return monitoring is not None and monitoring.get_tool(MONITORING_PROFILER) is not None
