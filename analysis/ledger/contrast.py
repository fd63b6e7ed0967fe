"""Two ledgers beside each other: which kinds of time one run spends more on than another, in points of its time and seconds per unit.

b spends 12 points more waiting for data (data.py:88 decode) and 9 fewer computing than a; steps take 240 ms in place of 190 ms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from . import kinds
from .kinds import BUSY, KINDS, Charged, TimeKind
from .shares import KindRow, Ledger
from .wording import label_of, place_of, why_empty

IN_SENTENCE = 4
SAME_STEP = 0.02  # a step that differs by less is said to take as long
SPENT: dict[TimeKind, str] = {
    "busy": "with the GPU busy",
    "data": "waiting for data",
    "launch": "launch-bound",
    "sync": "waiting for the GPU",
    "collective": "waiting for other ranks",
    "python": "in own Python",
    "gil": "waiting for the GIL",
    "lock": "waiting for a lock",
    "wait": "in other waits",
    "log": "logging",
    "checkpoint": "on checkpoints",
    "validation": "on validation",
    "gc": "on garbage collection",
    "compile": "compiling",
    "copy": "on copies",
    "transfer": "on transfers",
    "cpu_taken": "without a core, which others took",
    "cpu_own": "without a core, which its own processes took",
    "other": "on other work",
    "unexplained": "unexplained",
}


class LedgerSide(NamedTuple):
    """One of the two. `unit_s`: how long a unit takes on the average of the ledger's window; None where the run logs none."""

    run: str
    ledger: Ledger
    unit_s: float | None = None
    unit_name: str = "step"


class KindChange(NamedTuple):
    """A kind of time in both ledgers: percent of each one's time, and seconds a unit where both log the same units."""

    kind: TimeKind
    label: str
    share: float
    other_share: float
    seconds: float | None
    other_seconds: float | None
    place: Charged | None  # the line that has most of it, in the run that spends more
    sure: bool  # the ranges of the two have nothing in common

    @property
    def points(self) -> float:
        return self.share - self.other_share


@dataclass(frozen=True)
class LedgerContrast:
    """`changes`: the largest difference first; [] where the two cannot be compared, and `sentence` says why."""

    sentence: str
    mine: LedgerSide
    other: LedgerSide
    changes: list[KindChange]


def contrast(mine: LedgerSide, other: LedgerSide) -> LedgerContrast:
    """What `mine` spends its time on otherwise than `other`. Points add up to 0, as the shares of each add up to 100."""
    for side in (mine, other):
        if not side.ledger.rows:
            return LedgerContrast(f"{side.run}: {why_empty(side.ledger)}", mine, other, [])
    if mine.ledger.device != other.ledger.device:
        return LedgerContrast(_of_other_devices(mine, other), mine, other, [])
    changes = changes_of(mine, other)
    return LedgerContrast(f"{_difference(mine, other, changes)}{_steps(mine, other)}.", mine, other, changes)


def changes_of(mine: LedgerSide, other: LedgerSide) -> list[KindChange]:
    both = [{row.kind: row for row in side.ledger.rows} for side in (mine, other)]
    found = [
        _change(kind, both[0].get(kind), both[1].get(kind), mine, other)
        for kind in KINDS
        if kind in both[0] or kind in both[1]
    ]
    return sorted(found, key=lambda change: -abs(change.points))


def _change(
    kind: TimeKind, row: KindRow | None, before: KindRow | None, mine: LedgerSide, other: LedgerSide
) -> KindChange:
    share, other_share = row.share if row else 0.0, before.share if before else 0.0
    spent, ledger = (row, mine.ledger) if share >= other_share else (before, other.ledger)
    line = spent.lines[0].place if spent and spent.lines else None
    (least, most), (other_least, other_most) = _range(row), _range(before)
    comparable = _same_units(mine, other)
    return KindChange(
        kind,
        label_of(kind, ledger),
        share,
        other_share,
        share / 100 * mine.unit_s if comparable and mine.unit_s else None,
        other_share / 100 * other.unit_s if comparable and other.unit_s else None,
        line,
        least > other_most or most < other_least,
    )


def _range(row: KindRow | None) -> tuple[float, float]:
    return (row.least, row.most) if row else (0.0, 0.0)


def _difference(mine: LedgerSide, other: LedgerSide, changes: list[KindChange]) -> str:
    large = [change for change in changes if abs(change.points) >= kinds.SMALL.value]
    if not large:
        return f"{mine.run} spends its time as {other.run} does: no share differs by {kinds.SMALL.value:g} points"
    said: list[str] = []
    for change in large[:IN_SENTENCE]:
        more = change.points > 0
        word = "points more" if more and not said else "points fewer" if not said else "more" if more else "fewer"
        about = "" if change.sure else "about "
        where = place_of(change.place) if change.place else ""
        said.append(
            f"{about}{abs(change.points):.0f} {word} {_spent(change, mine.ledger)}{f' ({where})' if where else ''}"
        )
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"{mine.run} spends {listed} than {other.run}"


def _spent(change: KindChange, ledger: Ledger) -> str:
    if change.kind == BUSY and ledger.device == "CPU":
        return "computing"
    if change.kind == "launch" and ledger.device == "host":
        return "handing work to the GPU"
    return SPENT[change.kind]


def _steps(mine: LedgerSide, other: LedgerSide) -> str:
    """How long a unit takes in both; "" where that is not known of both."""
    if not _same_units(mine, other) or mine.unit_s is None or other.unit_s is None:
        return ""
    if abs(mine.unit_s / other.unit_s - 1) < SAME_STEP:
        return f"; {mine.unit_name}s take {time_of(mine.unit_s)} in both"
    return f"; {mine.unit_name}s take {time_of(mine.unit_s)} in place of {time_of(other.unit_s)}"


def _same_units(mine: LedgerSide, other: LedgerSide) -> bool:
    known = [side.unit_s is not None and math.isfinite(side.unit_s) and side.unit_s > 0 for side in (mine, other)]
    return all(known) and mine.unit_name == other.unit_name


def _of_other_devices(mine: LedgerSide, other: LedgerSide) -> str:
    measured = {"GPU": "the GPU's", "CPU": "the CPU's", "host": "the main thread's, beside a GPU without a counter"}
    both = [f"the time of {side.run} is {measured[side.ledger.device]}" for side in (mine, other)]
    return f"The shares of the two cannot be compared: {both[0]}, and {both[1]}{_steps(mine, other)}."


def time_of(seconds: float) -> str:
    """Three digits: `0.24 -> "240 ms"`."""
    if seconds >= 1:
        return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"
    return f"{1000 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"
