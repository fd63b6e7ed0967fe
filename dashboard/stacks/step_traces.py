"""Step traces of a run: the newest one, and the status of a requested one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from analysis.ledger.shares import TracedLine, traced_lines
from analysis.stacks.spans import Interval
from collectors.folders import LogTree
from collectors.step_traces import ANSWERED_WITHIN_S, NoEntry, StepTrace, TraceReader, asked_ago_s, entry_of

TraceState: TypeAlias = Literal["none", "asked", "done", "failed"]
NOTHING_YET = "No step of this run was traced yet."


@dataclass(frozen=True)
class TraceResult:
    """`sentence` says what is to be said where there is no trace, and what is missing in one."""

    state: TraceState
    sentence: str
    trace: StepTrace | None
    lines: list[TracedLine]


class StepTraces:
    """May be asked from many threads."""

    def __init__(self, logs: Path | LogTree | None) -> None:
        self._logs = logs
        self._kept = TraceReader()

    def close(self) -> None:
        """Ends the process that reads traces."""
        self._kept.close()

    def within(self, run: str, info: Mapping[str, Any], rank: int, window: Interval) -> StepTrace | None:
        """The newest one of this rank whose steps lie in the window."""
        if self._logs is None or "trace" not in info:
            return None
        try:
            found = self._kept.newest(entry_of(self._logs, run, info))
            return next(
                (trace for trace in found if not trace.error and trace.rank == rank and _touches(trace, window)), None
            )
        except NoEntry:
            return None

    def nearest(self, run: str, info: Mapping[str, Any], rank: int | None, window: Interval) -> StepTrace | None:
        """The newest whose steps lie in the window, else the newest of all; of a rank, or of any."""
        if self._logs is None or "trace" not in info:
            return None
        try:
            found = self._kept.newest(entry_of(self._logs, run, info))
            traces = [trace for trace in found if not trace.error and rank in (None, trace.rank)]
        except NoEntry:
            return None
        return next((trace for trace in traces if _touches(trace, window)), traces[0] if traces else None)

    def found(self, run: str, info: Mapping[str, Any], folder: str, name: str | None, rank: int | None) -> TraceResult:
        """What became of the request with this id; without one, the newest trace, of a rank or of any."""
        if self._logs is None:
            return TraceResult("none", NOTHING_YET, None, [])
        try:
            entry = entry_of(self._logs, run, info)
        except NoEntry as error:
            return TraceResult("none", f"Steps of {run} cannot be traced: {error}.", None, [])
        if name is None:
            traces = (trace for trace in self._kept.newest(entry) if not trace.error and rank in (None, trace.rank))
            trace = next(traces, None)
            return _done(trace, folder) if trace else TraceResult("none", NOTHING_YET, None, [])
        answer = self._kept.answer(entry, name)
        if isinstance(answer, StepTrace):
            return _failed(answer.error) if answer.error else _done(answer, folder)
        if answer is not None:
            return _failed(answer)
        if asked_ago_s(entry) < ANSWERED_WITHIN_S:
            return TraceResult("asked", "The run was asked; it traces after its next step.", None, [])
        return _failed("the run did not answer: it has ended, its RunLog is older, or it sees its log folder elsewhere")


def _done(trace: StepTrace, folder: str) -> TraceResult:
    said = []
    if not trace.with_stacks:
        said.append(
            "A step makes more than 200,000 calls of Python functions: kernels are shown without the lines that launched them."
        )
    if trace.left_out:
        said.append(f"{trace.left_out:,} kernels that took least are left out.")
    return TraceResult("done", " ".join(said), trace, traced_lines(trace, folder))


def _failed(reason: str) -> TraceResult:
    return TraceResult("failed", f"No steps were traced: {reason}.", None, [])


def _touches(trace: StepTrace, window: Interval) -> bool:
    return trace.from_s < window[1] and trace.to_s > window[0]
