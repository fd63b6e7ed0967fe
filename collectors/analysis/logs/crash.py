"""Why a run ended, from its last lines: the last traceback or dump, what the GPU, the kernel or the scheduler reported, which rank was first.

crash_of(lines) -> Crash(cause=Fault("cuda", "GPU 0 ran out of memory: ...", lines, frames, ...), others=(...))
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ...records import LogLine
from .faults import FaultKind, fault_in
from .tracebacks import CrashFrame, Raised, Traceback, makes_steps, tracebacks
from .words import shortened

AROUND_S = 180.0  # before the last fault: what is as near as that may have led to it
OUTLIVED_S = 5.0  # what ends a process leaves it this long to say more, at most
MOST_FAULTS, MOST_LINES, MOST_CHARACTERS = 20, 400, 300
NOT_OURS = re.compile(r"site-packages|dist-packages|/lib/python\d|^<frozen |^<string>$")
CONSEQUENCES = (
    "ChildFailedError",
    "DistBackendError",
    "BrokenPipeError",
    "ConnectionResetError",
    "EOFError",
    "CalledProcessError",
)
STOPPED = ("KeyboardInterrupt", "SystemExit", "SignalException")  # the end was asked for
ROOT_CAUSE = re.compile(r"Root Cause \(first observed failure\):")
SUMMARY = re.compile(r"^\s*(?P<key>rank|exitcode|traceback)\s*: (?P<value>.+)$")
NUMBER = re.compile(r"-?\d+")
ABORTED = re.compile(r"terminate called after throwing an instance of '(?P<what>[^']+)'")
SIGNAL = re.compile(r"^(?P<what>Segmentation fault|Aborted|Killed|Bus error|Illegal instruction)(?: \(core dumped\))?$")


class Fault(NamedTuple):
    """One thing that went wrong."""

    kind: FaultKind
    sentence: str
    time_s: float
    rank: int | None
    lines: tuple[LogLine, ...]
    frames: tuple[CrashFrame, ...] = ()  # from the root to the leaf; () without Python's stack
    exception: str = ""
    message: str = ""
    led_by: tuple[Raised, ...] = ()  # earlier exceptions of a chain, the first one first; the parts of a group

    @property
    def own_frame(self) -> CrashFrame | None:
        """The innermost frame that is not of a library."""
        return next(
            (frame for frame in reversed(self.frames) if not NOT_OURS.search(frame.file)),
            self.frames[-1] if self.frames else None,
        )


class Crash(NamedTuple):
    """The fault that was first among those at the end of the run, and the others in their order."""

    cause: Fault
    others: tuple[Fault, ...]
    ranks: int  # that failed


def crash_of(
    lines: Sequence[LogLine],
    kernel: Sequence[LogLine] = (),
    went_on_until_s: float | None = None,
    stepped_s: Sequence[float] = (),
    *,
    uncaught_only: bool = False,
) -> Crash | None:
    """`lines` are the last ones of the run, of all files and ranks, by arrival; `kernel` the kernel log's of that time. None without a fault.

    An exception was caught if the run made several steps after it (`stepped_s`, when each was logged, in order) or, where nothing says that
    the run failed, if it said something long after it: `went_on_until_s` is when it last did. `uncaught_only` is for a run of which nothing
    says that anything went wrong: what its program printed of exceptions that it caught is not why it ended.
    """
    found = tracebacks(lines)
    inside = {id(line) for traceback in found for line in traceback.lines}
    found = [traceback for traceback in found if traceback.is_uncaught or not uncaught_only]
    faults = [
        _of_traceback(traceback) for traceback in found if not _is_outlived(traceback, went_on_until_s, stepped_s)
    ]
    faults += _of_lines([line for line in lines if id(line) not in inside])
    faults += [fault for fault in _of_lines(kernel) if fault.kind in ("out_of_memory", "cuda")]
    faults += _of_torchrun(lines)
    if not faults:
        return None
    last_s = max(fault.time_s for fault in faults)
    near = sorted((fault for fault in faults if fault.time_s >= last_s - AROUND_S), key=lambda fault: fault.time_s)
    cause = min(near, key=lambda fault: (_weight(fault), fault.time_s))
    if cause.kind == "exception" and cause.rank is None:
        cause = [fault for fault in near if _weight(fault) == _weight(cause)][
            -1
        ]  # of one process, the last that was raised
    ranks = {fault.rank for fault in near if fault.rank is not None}
    sentence = _with_rank(cause, len(ranks))
    others = tuple(fault for fault in near if fault is not cause)
    return Crash(cause._replace(sentence=sentence), others[-MOST_FAULTS:], len(ranks))


def _is_outlived(traceback: Traceback, went_on_until_s: float | None, stepped_s: Sequence[float]) -> bool:
    """Of one rank of several, what the others said later is no sign of its life."""
    if traceback.rank is not None or traceback.is_dump:
        return False
    if went_on_until_s is not None and traceback.time_s + OUTLIVED_S < went_on_until_s:
        return True
    said_s = traceback.lines[-1].time_s
    return makes_steps([time_s for time_s in stepped_s if time_s > said_s])


def _weight(fault: Fault) -> int:
    """The least explains the others: what the machine reports before what Python raises of it, and that before what follows in other ranks."""
    if fault.kind == "peer_gone" or fault.exception.rpartition(".")[2] in CONSEQUENCES:
        return 4
    if fault.kind == "exit":
        return 3
    if fault.exception in STOPPED:
        return 2
    return 0 if fault.kind in ("out_of_memory", "time_limit", "preempted", "shared_memory") else 1


def _of_traceback(traceback: Traceback) -> Fault:
    last = traceback.last
    rank, lines = traceback.rank, traceback.lines[-MOST_LINES:]
    if traceback.is_dump:
        at = _at(last.frames)
        what = f": {last.message}" if last.message else ""
        sentence = f"Python was ended by a fatal error, {last.exception}{what}{at}"
        return Fault("fatal", sentence, traceback.time_s, rank, lines, last.frames, last.exception, last.message)
    said = fault_in(f"{last.exception}: {last.message}")
    name = last.exception or "an exception"
    message = shortened(last.message.split("\n")[0], MOST_CHARACTERS)
    sentence = (
        f"{said.sentence} ({name}{_at(last.frames)})"
        if said
        else f"{name}{f': {message}' if message else ''}{_at(last.frames)}"
    )
    led_by = (*traceback.raised[:-1], *traceback.parts)
    kind = said.kind if said else "exception"
    return Fault(kind, sentence, traceback.time_s, rank, lines, last.frames, last.exception, last.message, led_by)


def _at(frames: Sequence[CrashFrame]) -> str:
    """`", in step at train.py:42"`"""
    frame = Fault("exception", "", 0.0, None, (), tuple(frames)).own_frame
    if frame is None:
        return ""
    name = frame.file.replace("\\", "/").rpartition("/")[2]
    return f", at {name}:{frame.line}{f' in {frame.function}' if frame.function else ''}"


def _of_lines(lines: Sequence[LogLine]) -> list[Fault]:
    """Of lines that are no part of a traceback; the first of equal sentences."""
    found: dict[str, Fault] = {}
    for line in lines:
        text = line.text.strip()
        fault = fault_in(text)
        if fault is None and (signal := SIGNAL.match(text)):
            found.setdefault(
                text,
                Fault("fatal", f"The process was ended by a signal: {signal['what']}", line.time_s, line.rank, (line,)),
            )
        elif fault is None and (aborted := ABORTED.search(text)):
            found.setdefault(
                text,
                Fault(
                    "fatal",
                    f"C++ code threw {aborted['what']}, which ended the process",
                    line.time_s,
                    line.rank,
                    (line,),
                ),
            )
        elif fault is not None and len(found) < MOST_FAULTS:
            rank = fault.rank if fault.rank is not None else line.rank
            found.setdefault(fault.sentence, Fault(fault.kind, fault.sentence, line.time_s, rank, (line,)))
    return list(found.values())


def _of_torchrun(lines: Sequence[LogLine]) -> list[Fault]:
    """The root cause in torchrun's own summary: which rank failed first, by which exit code."""
    for place in range(len(lines) - 1, -1, -1):
        if ROOT_CAUSE.search(lines[place].text):
            said = {
                found["key"]: found["value"]
                for line in lines[place : place + 12]
                if (found := SUMMARY.match(line.text))
            }
            rank = NUMBER.search(said.get("rank", ""))
            code = NUMBER.search(said.get("exitcode", ""))
            if rank is None or code is None:
                return []
            how = said.get("traceback", "")
            reason = f" ({how.split('(')[-1].rstrip(')')})" if how.startswith("Signal") else ""
            sentence = f"Rank {rank[0]} failed first, with exit code {code[0]}{reason}"
            return [Fault("exit", sentence, lines[place].time_s, int(rank[0]), tuple(lines[place : place + 8]))]
    return []


def _with_rank(fault: Fault, ranks: int) -> str:
    if fault.rank is None or fault.kind in ("exit", "collective"):
        return f"{fault.sentence}."
    first = f", the first of {ranks} ranks that failed" if ranks > 1 else ""
    return f"Rank {fault.rank}{first}: {fault.sentence}."
