"""Host times of the parts of a step: `with phases["forward"]: ...`, about 0.3 us each and without waiting for the GPU."""

from __future__ import annotations

from time import perf_counter_ns
from types import TracebackType


class Phase:
    """Adds up the time spent inside `with`, for one thread; reused each step, so that nothing is allocated."""

    __slots__ = ("_begun_ns", "series", "spent_ns")

    def __init__(self, name: str) -> None:
        self.series = f"phase/{name}_s"
        self.spent_ns = 0
        self._begun_ns = 0

    def __enter__(self) -> None:
        self._begun_ns = perf_counter_ns()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
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
