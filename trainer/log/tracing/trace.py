"""One trace, from the moment its request was seen: which step it begins at, when it ends, and what goes into its file."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, time
from typing import Any

from .profiler import MOST_CALLS, CallCount, NoTrace, StepProfiler, check_ready, is_capturing, torch_version
from .request import TraceRequest
from .summary import summary_of

BEGIN_WITHIN_S = 60.0  # after the request was seen; the user who asked does not wait for ever
LONGEST_S = 30.0  # of a trace: one that would be longer is made shorter, or ended
MOST_REASON = 300  # characters


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
                from .pending import call_in_main_thread

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
            self._count = CallCount(MOST_CALLS)
            self._count.begin()

    def _begin_after(self, number: int, count: CallCount) -> None:
        """One step has been counted: a trace that would be too long is made shorter."""
        count.end()
        check_ready()
        now_s = monotonic()
        step_s = now_s - self._since_s
        if step_s > LONGEST_S:
            raise NoTrace(f"a step takes longer than {LONGEST_S:g} s, which is too long for a trace")
        with_stacks = count.calls <= MOST_CALLS
        by_calls = MOST_CALLS // max(1, count.calls) if with_stacks else self._wanted
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
        return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_REASON]
    except Exception:  # an error that cannot even be shown
        return type(error).__name__
