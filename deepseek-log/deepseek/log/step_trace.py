"""One trace: profiles a few steps with PyTorch's profiler, and adds up what it recorded. Loaded when one is asked for."""

from __future__ import annotations

import ctypes
import operator
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic, sleep, time
from types import FrameType
from typing import Any, NamedTuple

from .files import text
from .trace_requests import TraceRequest

# One trace, from the moment its request was seen: which step it begins at, when it ends, and what goes into its file.

BEGIN_WITHIN_S = 60.0  # after the request was seen; the user who asked does not wait for ever
LONGEST_S = 30.0  # of a trace: one that would be longer is made shorter, or ended
MAX_REASON = 300  # characters


class StepTrace:
    """The first step that ends is waited for, the next one is counted, those after it are traced."""

    def __init__(self, request: TraceRequest, ended: Callable[[StepTrace], None]) -> None:
        self.request, self._ended = request, ended
        self.error = ""  # why there is none, one sentence
        self.from_s = self.to_s = 0.0  # Unix seconds
        self.first_step = self.last_step = 0  # that were traced
        self._profiler: StepProfiler | None = None
        self._count: CallCount | None = None
        self._wanted = request.steps
        self._step: int | None = None  # the highest that was logged
        self._thread = 0
        self._since_s = monotonic()  # when the present state began
        self._lock = threading.Lock()
        self._over = False

    @property
    def title(self) -> str:
        """`3 steps traced`; some scripts log every 50th step only."""
        steps = self.last_step - self.first_step + 1
        return f"{steps} step{'s' * (steps != 1)} traced"

    def step_logged(self, step: object) -> None:
        """For the training thread, after each line of numbers."""
        if not self._lock.acquire(blocking=False):
            return  # it is being ended
        try:
            if not self._over:
                self._advance(step)
        except Exception as error:
            self._fail(reason_of(error))
        finally:
            self._lock.release()

    def look(self, now_s: float) -> None:
        """For the writer thread, once a second: end what takes too long. Only its own thread can end a profiler; the main thread is asked to."""
        with self._lock:
            if self._over:
                return
            waited_s = now_s - self._since_s
            if self._profiler is None:
                if waited_s > BEGIN_WITHIN_S:
                    self._fail(
                        f"no step ended for {BEGIN_WITHIN_S:g} s: a step ends where RunLog.scalars is called with a higher one"
                    )
            elif waited_s > LONGEST_S and self._thread == threading.main_thread().ident:
                call_in_main_thread(lambda: self.abandon(f"the steps took longer than {LONGEST_S:g} s: ask for fewer"))

    def abandon(self, reason: str) -> None:
        """For the training thread: in any other, a profiler that has begun goes on until the process ends."""
        if not self._lock.acquire(timeout=0.1):
            return
        try:
            if not self._over:
                if self._profiler is not None and threading.get_ident() == self._thread:
                    with suppress(Exception):
                        self._profiler.stop()
                self._fail(reason)
        finally:
            self._lock.release()

    def answer(self) -> dict[str, Any]:
        """What is written, as JSON has it. It takes 20 us for each event that was recorded, in small slices."""
        profiler, self._profiler = self._profiler, None
        about: dict[str, Any] = {
            "version": 1,
            "id": self.request.id,
            "rank": self.request.rank,
            "torch": torch_version(),
        }
        if self.error or profiler is None:
            return {**about, "error": self.error}
        about |= {
            "error": "",
            "device": profiler.device,
            "with_stacks": profiler.with_stacks,
            "from_s": round(self.from_s, 6),
            "to_s": round(self.to_s, 6),
            "first_step": self.first_step,
            "last_step": self.last_step,
        }
        try:
            return {**about, **summary_of(profiler.result, profiler.device == "GPU")}
        except Exception as error:
            return {**about, "error": f"what PyTorch's profiler recorded cannot be read ({reason_of(error)})"}

    def _advance(self, step: object) -> None:
        try:
            number = operator.index(step)  # type: ignore[arg-type]
        except TypeError:
            return  # a step that is no whole number counts nothing
        if self._step is None:
            self._step = number
        if number <= self._step or self._thread not in (0, threading.get_ident()) or is_capturing():
            return
        self._step, self._thread = number, threading.get_ident()
        if self._profiler is not None:
            self._end_after(number)
        elif self._count is not None:
            self._begin_after(number, self._count)
        else:
            check_ready()
            self._since_s = monotonic()
            self._count = CallCount(MAX_CALLS)
            self._count.begin()

    def _begin_after(self, number: int, count: CallCount) -> None:
        """One step has been counted: a trace that would be too long is made shorter."""
        count.end()
        check_ready()
        now_s = monotonic()
        step_s = now_s - self._since_s
        if step_s > LONGEST_S:
            raise NoTrace(f"a step takes longer than {LONGEST_S:g} s, which is too long for a trace")
        with_stacks = count.calls <= MAX_CALLS
        by_calls = MAX_CALLS // max(1, count.calls) if with_stacks else self._wanted
        self._wanted = max(1, min(self._wanted, by_calls, int(LONGEST_S / max(step_s, 1e-6))))
        self._since_s, self.first_step = now_s, number + 1
        self._profiler = StepProfiler(with_stacks)
        self.from_s = time()

    def _end_after(self, number: int) -> None:
        self._wanted -= 1
        if self._wanted > 0 and monotonic() - self._since_s < LONGEST_S:
            return
        self.to_s, self.last_step = time(), number
        if self._profiler is not None:
            self._profiler.stop()
        self._finish()

    def _fail(self, reason: str) -> None:
        if not self._over:
            self.error = reason
            self._finish()

    def _finish(self) -> None:
        self._over = True
        if self._count is not None:
            self._count.end()
        self._ended(self)


def reason_of(error: Exception) -> str:
    """One sentence."""
    if isinstance(error, NoTrace):
        return str(error)
    try:
        return " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON]
    except Exception:  # an error that cannot even be shown
        return type(error).__name__


# The kinds of a GPU's work, and for how long each kept it busy: kernels of several streams run at once.

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


# Have the main thread call something between two instructions of Python, as it calls the handler of a signal. Without a signal.

_waiting: list[Callable[[], None]] = []


def _call_all(_: object) -> int:
    while _waiting:
        with suppress(Exception):
            _waiting.pop()()
    return 0


_CALL_ALL = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_call_all)  # Python calls it later: it must stay


def call_in_main_thread(call: Callable[[], None]) -> None:
    """From any thread."""
    _waiting.append(call)
    ctypes.pythonapi.Py_AddPendingCall(_CALL_ALL, None)


# PyTorch's profiler for a few steps: begun and ended in the training thread, read in another. Nothing is imported that the script has not.

CALL, C_CALL = "call", "c_call"
MAX_CALLS = 200_000  # of Python functions in a trace: each costs 1.5 kB, and 5 us when the trace ends
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


# What PyTorch's profiler recorded, added up: which line of Python launched which kernels, how often and for how long.
#
# The profiler's own trace is 1.2 MB for three steps of the smallest model, and names functions, not lines. Its tree of events has the line of
# each call. On a GPU a row is a kernel, found by the operator that launched it; on a CPU an operator, without those that it called. What
# autograd runs backward stands with the line that ran forward.

MAX_EVENTS = 2_000_000
MAX_ROWS, MAX_STACKS, MAX_DEPTH = 3_000, 3_000, 64  # the rows that took longest; a stack's innermost frames
MAX_TEXT = 300  # characters of a name, a file
SLICE, PAUSE_S = 25, 0.0005  # events between two pauses: the training thread may be waiting for the GIL
FORWARD, BACKWARD, ANNOTATION = 0, 1, 7  # scopes of operators: FUNCTION, BACKWARD_FUNCTION, USER_SCOPE
NO_WORK = ("gpu_user_annotation", "user_annotation", "cuda_sync", "overhead")  # kinds of activity
NS = 1e-9


class TracedFrame(NamedTuple):
    file: str
    line: int
    name: str


Stack = tuple[TracedFrame, ...]  # from the root to the leaf


class KernelKey(NamedTuple):
    stack: Stack
    name: str
    kind: str
    backward: bool


class _Operator(NamedTuple):
    stack: Stack
    backward: int | None  # the sequence number, of what autograd runs


NO_OPERATOR = _Operator((), None)


class Summary:
    """Adds up one tree of events; see `summary_of`."""

    def __init__(self, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._seconds: dict[KernelKey, float] = {}
        self._counts: dict[KernelKey, int] = {}
        self._operators: dict[int, _Operator] = {}  # by correlation id
        self._forward: dict[int, Stack] = {}  # the stack that ran forward, by sequence number
        self._backward: list[tuple[_Operator, str, float]] = []  # of a CPU
        self._intervals: list[BusyInterval] = []
        self.events = 0

    def add_tree(self, roots: Any) -> None:
        """Depth first, without recursion: a stack may be deeper than Python's own. Raises ValueError for too many events."""
        waiting: list[tuple[Any, Stack, int | None]] = [(event, (), None) for event in reversed(list(roots))]
        while waiting:
            event, stack, backward = waiting.pop()
            self._pause()
            tag, fields = event.typed
            children = event.children
            if tag.name == "PyCall":
                waiting += self._below_python(event, fields, children, stack, backward)
                continue
            if tag.name == "TorchOp":
                backward = self._add_operator(event, fields, children, stack, backward)
            waiting += [(child, stack, backward) for child in reversed(children)]

    def add_kernels(self, events: Any) -> None:
        """The GPU's own activities: each belongs to the operator by whose id it is linked."""
        for event in events:
            self._pause()
            if not _is_work(event):
                continue
            name, start_ns, duration_ns = event.name(), event.start_ns(), event.duration_ns()
            linked = event.linked_correlation_id()
            launched = self._operators.get(linked, NO_OPERATOR) if linked > 0 else NO_OPERATOR
            key = KernelKey(self._forward_of(launched), name[:MAX_TEXT], kind_of(name), launched.backward is not None)
            self._add(key, duration_ns * NS)
            self._intervals.append(BusyInterval(start_ns, start_ns + duration_ns, kind_of(name)))

    def result(self) -> dict[str, Any]:
        """At most 3,000 rows."""
        for found, name, seconds in self._backward:
            self._add(KernelKey(self._forward_of(found), name, kind_of(name, gpu=False), True), seconds)
        order = sorted(self._seconds, key=lambda key: -self._seconds[key])
        stacks: dict[Stack, int] = {}
        rows = []
        for key in order[:MAX_ROWS]:
            if key.stack in stacks or len(stacks) < MAX_STACKS:
                stack = stacks.setdefault(key.stack, len(stacks))
                rows.append(
                    [
                        stack,
                        text(key.name),
                        key.kind,
                        round(self._seconds[key], 9),
                        self._counts[key],
                        int(key.backward),
                    ]
                )
        left = order[MAX_ROWS:]
        frames: dict[TracedFrame, int] = {}
        places = _Files()
        numbered = [[frames.setdefault(frame, len(frames)) for frame in stack] for stack in stacks]
        return {
            "frames": [[text(places.absolute(frame.file)), frame.line, text(frame.name)] for frame in frames],
            "stacks": numbered,
            "kernels": rows,
            "left_out": [len(left), round(sum(self._seconds[key] for key in left), 9)],
            "busy": busy_of(self._intervals) if self._on_gpu else {},
            "events": self.events,
        }

    def _below_python(
        self, event: Any, fields: Any, children: list[Any], stack: Stack, backward: int | None
    ) -> list[Any]:
        """The function's frame has, for each thing below it, the line that it stood on: the call's, else that of the call before."""
        site = fields.callsite
        line = site.line_number
        below = []
        for child in children:
            tag, called = child.typed
            if tag.name in ("PyCall", "PyCCall"):
                line = called.caller.line_number
            frame = TracedFrame(site.file_name[:MAX_TEXT], line, site.function_name[:MAX_TEXT])
            below.append((child, (*stack, frame)[-MAX_DEPTH:], backward))
        below.reverse()
        return below

    def _add_operator(
        self, event: Any, fields: Any, children: list[Any], stack: Stack, backward: int | None
    ) -> int | None:
        """Sequence numbers join an operator that ran forward with what autograd runs for it; -1 is none."""
        number, scope = fields.sequence_number, int(fields.scope)
        if scope >= ANNOTATION:
            return backward  # what runs in it has rows of its own
        if scope == BACKWARD and number >= 0:
            backward = number
        elif backward is None and scope == FORWARD and number >= 0:
            self._forward.setdefault(number, stack)
        if self._on_gpu:
            self._operators[event.correlation_id] = _Operator(stack, backward)
            return backward
        own_ns = event.duration_time_ns - sum(
            child.duration_time_ns for child in children if child.typed[0].name != "Allocation"
        )
        seconds, name = max(0, own_ns) * NS, event.name[:MAX_TEXT]
        if backward is None:
            self._add(KernelKey(stack, name, kind_of(name, gpu=False), False), seconds)
        else:
            self._backward.append((_Operator(stack, backward), name, seconds))
        return backward

    def _forward_of(self, operator: _Operator) -> Stack:
        """What ran forward, of an operator that autograd runs."""
        return operator.stack if operator.backward is None else self._forward.get(operator.backward, operator.stack)

    def _add(self, key: KernelKey, seconds: float) -> None:
        self._seconds[key] = self._seconds.get(key, 0.0) + seconds
        self._counts[key] = self._counts.get(key, 0) + 1

    def _pause(self) -> None:
        self.events += 1
        if self.events > MAX_EVENTS:
            raise ValueError(f"more than {MAX_EVENTS:,} events")
        if self.events % SLICE == 0:
            sleep(PAUSE_S)


def summary_of(result: Any, on_gpu: bool) -> dict[str, Any]:
    """Of PyTorch's `kineto_results`. Whatever that raises is for the caller."""
    summary = Summary(on_gpu)
    summary.add_tree(result.experimental_event_tree())
    if on_gpu:
        summary.add_kernels(result.events())
    return summary.result()


def _is_work(event: Any) -> bool:
    """Whether the GPU did something: not a mark of the script's, nor a wait. Older versions of PyTorch say less of an event."""
    if str(event.device_type()).endswith("CPU"):
        return False
    marks, says = getattr(event, "is_user_annotation", None), getattr(event, "activity_type", None)
    return not (marks is not None and marks()) and not (says is not None and says() in NO_WORK)


class _Files:
    """PyTorch leaves out the beginning of a path that is on Python's search path: `train.py -> /home/anna/train.py`."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def absolute(self, file: str) -> str:
        if file not in self._known:
            self._known[file] = file if file.startswith(("<", "/")) else next(self._candidates(file), file)[:1000]
        return self._known[file]

    @staticmethod
    def _candidates(file: str) -> Any:
        for folder in sys.path:
            path = os.path.join(os.path.abspath(folder or "."), file)  # noqa: PTH100, PTH118
            if os.path.isfile(path):  # noqa: PTH113
                yield path
