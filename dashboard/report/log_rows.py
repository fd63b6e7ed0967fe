"""What a report says of the log: why the run ended, and what the log says in a window that it does not say otherwise."""

from __future__ import annotations

from typing import NamedTuple

from collectors.analysis.logs.crash import Crash, Fault
from collectors.analysis.logs.difference import LogChange, LogDifference

from .texts import clock_of, figure, moment_of, said

MOST_FAULTS = 5
KIND_WORDS = {"new": "new", "more": "more often", "silent": "missing", "number": "other number"}


class FaultText(NamedTuple):
    sentence: str
    when: str
    frames: list[str]  # from the root to the leaf
    lines: list[str]


class ChangeRow(NamedTuple):
    kind: str
    text: str
    here: str
    usual: str
    since: str
    sure: str


def faults_of(crash: Crash, zone: str, rows: int, characters: int) -> list[FaultText]:
    """The cause first."""
    return [
        _fault(fault, zone, rows if i == 0 else 0, characters)
        for i, fault in enumerate([crash.cause, *crash.others[:MOST_FAULTS]])
    ]


def _fault(fault: Fault, zone: str, rows: int, characters: int) -> FaultText:
    frames = fault.frames[-rows:] if rows else ()
    lines = fault.lines[-rows:] if rows else ()
    return FaultText(
        said(fault.sentence, characters),
        moment_of(fault.time_s, zone),
        [
            said(
                f"{frame.file}:{frame.line} {frame.function}{f': {frame.text.strip()}' if frame.text else ''}",
                characters,
            )
            for frame in frames
        ],
        [said(line.text, characters) for line in lines],
    )


def changes_of(found: LogDifference, zone: str, rows: int, characters: int) -> list[ChangeRow]:
    return [_change(change, zone, characters) for change in found.changes[:rows]]


def _change(change: LogChange, zone: str, characters: int) -> ChangeRow:
    lo, hi = change.usual if change.usual else change.expected
    value = figure(change.value) if change.value is not None else f"{change.count:,}"
    return ChangeRow(
        KIND_WORDS[change.kind],
        said(change.example or change.text or "any line", characters),
        value,
        figure(lo) if lo == hi else f"{figure(lo)} to {figure(hi)}",
        clock_of(change.since_s, zone),
        change.sure,
    )
