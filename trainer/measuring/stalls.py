"""Pauses of a step that no stack shows: garbage collections, compilations, allocator retries. Each is an event."""

from __future__ import annotations

import gc
import sys
from time import perf_counter_ns, time
from typing import Any, NamedTuple, Protocol

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
