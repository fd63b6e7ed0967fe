"""Step traces of a run: the newest one, and the status of a requested one."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from analysis.ledger.shares import TracedLine, traced_lines
from analysis.stacks.spans import Interval
from analysis.traces.events import TraceError
from analysis.traces.ranks import RankComparison, compare_ranks
from analysis.traces.steps import MalformedTrace, StepTrace, read_answer
from analysis.traces.summary import step_trace_of
from collectors.folders import LogTree, is_received
from collectors.trace_requests import ANSWERED_WITHIN_S, RESULT, NoEntry, asked_ago_s, entry_of
from collectors.untrusted import OverLimit, ReaderProcess

TraceState: TypeAlias = Literal["none", "asked", "done", "failed"]
NOTHING_YET = "No step of this run was traced yet."


@dataclass(frozen=True)
class TraceResult:
    """`sentence` says what is to be said where there is no trace, and what is missing in one."""

    state: TraceState
    sentence: str
    trace: StepTrace | None
    lines: list[TracedLine]
    own_folder: str = ""


class StepTraces:
    """May be asked from many threads."""

    def __init__(self, logs: Path | LogTree | None) -> None:
        self._logs = logs
        self._kept = TraceReader()

    def close(self) -> None:
        """Ends the process that reads traces."""
        self._kept.close()

    def begin(self, run: str) -> None:
        """Begins to read the files of PyTorch's profiler in the run's folder, without waiting for them."""
        if self._logs is not None and not is_received(run):
            self._kept.begin_profiles(LogTree.of(self._logs).path_of(run))

    def within(self, run: str, info: Mapping[str, Any], rank: int, window: Interval) -> StepTrace | None:
        """The newest one of this rank that RunLog traced and whose steps lie in the window."""
        return next((trace for trace in self._answers(run, info, rank) if _touches(trace, window)), None)

    def nearest(self, run: str, info: Mapping[str, Any], rank: int | None, window: Interval) -> StepTrace | None:
        """The newest whose steps lie in the window, else the newest of all; of a rank, or of any."""
        first = None
        for trace in chain(self._answers(run, info, rank), self._profiles(run, rank)):
            if _touches(trace, window):
                return trace
            first = first or trace
        return first

    def _answers(self, run: str, info: Mapping[str, Any], rank: int | None) -> Iterator[StepTrace]:
        """Those that RunLog wrote, the newest first."""
        if self._logs is not None and "trace" in info:
            with suppress(NoEntry):
                found = self._kept.newest(entry_of(self._logs, run, info))
                yield from (trace for trace in found if not trace.error and rank in (None, trace.rank))

    def _files(self, run: str) -> Iterator[StepTrace | str]:
        """Those of PyTorch's profiler in the run's folder, the newest first, or why one cannot be read."""
        if self._logs is not None and not is_received(run):
            yield from self._kept.profiles(LogTree.of(self._logs).path_of(run))

    def _profiles(self, run: str, rank: int | None) -> Iterator[StepTrace]:
        return (found for found in self._files(run) if isinstance(found, StepTrace) and rank in (None, found.rank))

    def _wrong(self, run: str) -> str:
        """Why a file in the run's folder cannot be read; "" without one."""
        return next((f"{found}." for found in self._files(run) if isinstance(found, str)), "")

    def ranks(self, run: str) -> RankComparison | None:
        """The files of the run's folder that are of several ranks, side by side; None where they are not."""
        found = compare_ranks(found for found in self._files(run) if isinstance(found, StepTrace))
        if found is not None and self._logs is not None:
            left_out = len(_profiles(LogTree.of(self._logs).path_of(run))) - MAX_OF_A_RUN
            found.said += [f"{left_out:,} older traces are not read."] if left_out > 0 else []
        return found

    def found(self, run: str, info: Mapping[str, Any], folder: str, name: str | None, rank: int | None) -> TraceResult:
        """What became of the request with this id; without one, the newest trace, of a rank or of any."""
        if self._logs is None:
            return TraceResult("none", NOTHING_YET, None, [])
        if name is None:
            trace = next(chain(self._answers(run, info, rank), self._profiles(run, rank)), None)
            if trace is not None:
                return _done(trace, folder)
        try:
            entry = entry_of(self._logs, run, info)
        except NoEntry as error:
            return TraceResult("none", self._wrong(run) or f"Steps of {run} cannot be traced: {error}.", None, [])
        if name is None:
            return TraceResult("none", self._wrong(run) or NOTHING_YET, None, [])
        answer = self._kept.answer(entry, name)
        if isinstance(answer, StepTrace):
            return _failed(answer.error) if answer.error else _done(answer, folder)
        if answer is not None:
            return _failed(answer)
        if asked_ago_s(entry) < ANSWERED_WITHIN_S:
            return TraceResult("asked", "The run was asked; it traces after its next step.", None, [])
        return _failed("the run did not answer: it has ended, its RunLog is older, or it sees its log folder elsewhere")


def _done(trace: StepTrace, folder: str) -> TraceResult:
    said = [trace.said] if trace.said else []
    if not trace.with_stacks and trace.cards:
        said.append(
            "The trace has no stacks: record it with with_stack=True to see the lines that launched its kernels."
        )
    elif not trace.with_stacks:
        said.append(
            "A step makes more than 200,000 calls of Python functions: kernels are shown without the lines that launched them."
        )
    if trace.left_out:
        said.append(f"{trace.left_out:,} kernels that took least are left out.")
    return TraceResult("done", " ".join(said), trace, traced_lines(trace, folder), folder)


def _failed(reason: str) -> TraceResult:
    return TraceResult("failed", f"No steps were traced: {reason}.", None, [])


def _touches(trace: StepTrace, window: Interval) -> bool:
    return trace.from_s < window[1] and trace.to_s > window[0]


# The traces of runs, read from their entries when they are asked for, and remembered while their files stay as they are.

MAX_KEPT, MAX_PROFILES = 4, 8  # of all runs: at most 15 MB each
MAX_OF_A_RUN = 8  # of PyTorch's profiler, the newest: one for each card of a host
MAX_ENTRIES = 1_000  # files of an entry that are looked at
MAX_MEMORY_BYTES, READ_WITHIN_S = 1 << 30, 5.0  # of one
MAX_LARGE_BYTES, LARGE_WITHIN_S = 3 << 30, 60.0  # of one of PyTorch's profiler
PROFILE = re.compile(r"\.trace\.json(?:\.gz)?$")

log = logging.getLogger(__name__)


class _TraceFile(NamedTuple):
    path: str
    inode: int
    size: int
    modified_ns: int


class _Reader:
    """Reads files of a kind in a process with limits, and remembers the newest `most` answers. May be asked from many threads."""

    def __init__(
        self, name: str, read: Callable[..., StepTrace], most: int, memory_bytes: int, within_s: float
    ) -> None:
        self._process = ReaderProcess(name, memory_bytes=memory_bytes, timeout_s=within_s)
        self._read, self._most = read, most
        self._lock = threading.Lock()
        self._kept: OrderedDict[_TraceFile, StepTrace | str] = OrderedDict()
        self._under_way: dict[_TraceFile, Future[StepTrace]] = {}

    def begin(self, key: _TraceFile, *below: Path) -> Future[StepTrace] | StepTrace | str:
        """What is kept of it, or its reading, which begins with the first call."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if key not in self._under_way:
                self._under_way[key] = self._process.submit(self._read, Path(key.path), *below)
            return self._under_way[key]

    def read(self, key: _TraceFile, *below: Path) -> StepTrace | str:
        """Why it cannot be read, if it cannot. Whoever asks while it is read waits for the same reading."""
        future = self.begin(key, *below)
        if not isinstance(future, Future):
            return future
        found: StepTrace | str
        try:
            found = future.result()
        except (MalformedTrace, TraceError, OverLimit) as error:
            found = f"{key.path} {error}"
        except OSError as error:
            found = f"{key.path} cannot be read ({error.strerror})"
        with self._lock:
            if self._under_way.pop(key, None) is not None and isinstance(found, str):
                log.warning("%s", found)
            self._kept[key] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found

    def close(self) -> None:
        self._process.close()


class TraceReader:
    """May be asked from many threads."""

    def __init__(self) -> None:
        self._answers = _Reader("traces", read_answer, MAX_KEPT, MAX_MEMORY_BYTES, READ_WITHIN_S)
        self._files = _Reader("profiles", step_trace_of, MAX_PROFILES, MAX_LARGE_BYTES, LARGE_WITHIN_S)

    def newest(self, entry: Path) -> Iterator[StepTrace]:
        """Those of an entry, the newest first; what cannot be read is left out, and named in the log once."""
        for key in _files(entry):
            found = self._answers.read(key)
            if isinstance(found, StepTrace):
                yield found

    def answer(self, entry: Path, name: str) -> StepTrace | str | None:
        """That with this id; why it cannot be read; None where it is not there."""
        wanted = f"trace-{name}.json"
        return next((self._answers.read(key) for key in _files(entry) if key.path.endswith(f"/{wanted}")), None)

    def profiles(self, folder: Path) -> Iterator[StepTrace | str]:
        """Those of PyTorch's profiler in a folder, or in one of its folders, the newest first; of one that cannot be read why."""
        return (self._files.read(key, folder) for key in _profiles(folder)[:MAX_OF_A_RUN])

    def begin_profiles(self, folder: Path) -> None:
        """Begins to read what `profiles` gives, without waiting for it."""
        for key in _profiles(folder)[:MAX_OF_A_RUN]:
            self._files.begin(key, folder)

    def close(self) -> None:
        self._answers.close()
        self._files.close()


def _profiles(folder: Path) -> list[_TraceFile]:
    """The newest first."""
    found, looked_at = [], 0
    folders = [str(folder)]
    for place in folders:
        with suppress(OSError), os.scandir(place) as files:
            for file in files:
                looked_at += 1
                if looked_at > MAX_ENTRIES:
                    break
                if file.name.startswith("."):
                    continue
                if PROFILE.search(file.name) and file.is_file(follow_symlinks=False):
                    status = file.stat(follow_symlinks=False)
                    found.append(_TraceFile(file.path, status.st_ino, status.st_size, status.st_mtime_ns))
                elif place == folders[0] and file.is_dir(follow_symlinks=False):
                    folders.append(file.path)
    return sorted(found, key=lambda key: -key.modified_ns)


def _files(entry: Path) -> list[_TraceFile]:
    """The newest first."""
    found = []
    with suppress(OSError), os.scandir(entry) as files:
        for _, file in zip(range(MAX_ENTRIES), files, strict=False):
            if RESULT.fullmatch(file.name):
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    found.append(_TraceFile(file.path, status.st_ino, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda key: -key.modified_ns)
