"""Host times of the parts of a step: `with phases["forward"]: ...`, about 0.3 us each and without waiting for the GPU."""

from __future__ import annotations

import threading
from numbers import Real
from time import perf_counter_ns
from types import TracebackType
from typing import Any

_this = threading.local()


def _thread() -> object:
    """A mark of this thread; its identity may be that of one that has ended."""
    try:
        return _this.mark
    except AttributeError:
        mark = _this.mark = object()
        return mark


class Phase:
    """Adds up the time spent inside `with`, for one thread; reused each step, so that nothing is allocated."""

    __slots__ = ("_begun_ns", "series", "spent_ns", "thread")

    def __init__(self, name: str) -> None:
        self.series = f"phase/{name}_s"
        self.thread: object = None
        self.spent_ns = 0
        self._begun_ns = 0

    def __enter__(self) -> None:
        self.thread = _thread()
        self._begun_ns = perf_counter_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.spent_ns += perf_counter_ns() - self._begun_ns


class Phases(dict[str, Phase]):
    """The phases of a step; one is created at its first use, and counts 0 in steps without it."""

    def __missing__(self, name: str) -> Phase:
        phase = self[name] = self.new(name)
        return phase

    def new(self, name: str) -> Phase:
        return Phase(name)

    def take_s(self) -> dict[str, float]:
        """`{"phase/forward_s": 0.0021, ...}` since the last call, to the microsecond."""
        spent = {phase.series: phase.spent_ns // 1000 / 1e6 for phase in self.values()}
        for phase in self.values():
            phase.spent_ns = 0
        return spent


class LinePhases(Phases):
    """The phases of a script that logs other lines, too: validations, several lines a step, lines of other threads.

    A phase goes with the next line of its thread; where that thread logs none, with the next line of any. On the line of a step it
    is 0 if the step passed it over. A line that shares no phase with the steps, a validation's, has its own phases only, and these
    are never 0 elsewhere.
    """

    def __init__(self) -> None:
        super().__init__()
        self._threads: set[object] = set()  # that log lines
        self._of_step: dict[str, float] = {}  # 0.0 for each series of steps
        self._apart: set[str] = set()  # series of other lines
        self._newest: Any = float("-inf")  # step
        self._timed = self._untimed = 0  # lines with phases, and of new steps without

    def take_s_for(self, step: object) -> dict[str, float]:
        """`{"phase/forward_s": 0.0021, ...}` for the line that is logged now; {} where it is no step."""
        thread = _thread()
        self._threads.add(thread)
        spent = {}
        for phase in [*self.values()]:  # another thread may enter its first one meanwhile
            if phase.spent_ns and (phase.thread == thread or phase.thread not in self._threads):
                spent[phase.series] = phase.spent_ns // 1000 / 1e6
                phase.spent_ns = 0
        is_new = isinstance(step, Real) and bool(step > self._newest)  # never a tensor, which would be waited for
        if is_new:
            self._newest = step
        if spent:
            self._timed += 1
            if self._of_step and self._of_step.keys().isdisjoint(spent):
                self._apart.update(spent)
                return spent
            self._of_step.update(dict.fromkeys(spent, 0.0))
        else:
            self._untimed += is_new
            if not is_new or self._untimed <= self._timed:
                return spent
        return {
            series: spent.get(series, passed_s)
            for series, passed_s in self._of_step.items()
            if series in spent or series not in self._apart
        }
