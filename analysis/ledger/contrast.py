"""Two ledgers beside each other: which kinds of time one run spends more on than another, in points of its time and seconds per unit.

b spends 12 points more waiting for data (data.py:88 decode) and 9 fewer computing than a; steps take 240 ms in place of 190 ms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from collectors.message import Message, phrase, text_of

from . import kinds
from .kinds import BUSY, KINDS, SPENT, ChargeTarget, TimeKind
from .shares import KindRow, Ledger
from .text import label_of, place_of, why_empty

IN_SENTENCE = 4
SAME_STEP = 0.02  # a step that differs by less is said to take as long
MEASURED = {
    "GPU": phrase("the GPU's"),
    "CPU": phrase("the CPU's"),
    "host": phrase("the main thread's, beside a GPU without a counter"),
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
    label: Message
    share: float
    other_share: float
    seconds: float | None
    other_seconds: float | None
    place: ChargeTarget | None  # the line that has most of it, in the run that spends more
    sure: bool  # the ranges of the two have nothing in common

    @property
    def points(self) -> float:
        return self.share - self.other_share


@dataclass(frozen=True)
class LedgerContrast:
    """`changes`: the largest difference first; [] where the two cannot be compared, and the message says why."""

    message: Message
    mine: LedgerSide
    other: LedgerSide
    changes: list[KindChange]

    @property
    def sentence(self) -> str:
        return text_of(self.message)


def contrast(mine: LedgerSide, other: LedgerSide) -> LedgerContrast:
    """What `mine` spends its time on otherwise than `other`. Points add up to 0, as the shares of each add up to 100."""
    for side in (mine, other):
        if not side.ledger.rows:
            why = phrase("{run}: {why}", run=side.run, why=why_empty(side.ledger))
            return LedgerContrast(why, mine, other, [])
    if mine.ledger.device != other.ledger.device:
        return LedgerContrast(_of_other_devices(mine, other), mine, other, [])
    changes = changes_of(mine, other)
    difference, steps = _difference(mine, other, changes), _steps(mine, other)
    return LedgerContrast(phrase("{difference}{steps}.", difference=difference, steps=steps), mine, other, changes)


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


def _difference(mine: LedgerSide, other: LedgerSide, changes: list[KindChange]) -> Message:
    large = [change for change in changes if abs(change.points) >= kinds.SMALL.value]
    if not large:
        return phrase(
            "{run} spends its time as {other} does: no share differs by {points:g} points",
            run=mine.run,
            other=other.run,
            points=kinds.SMALL.value,
        )
    parts = [_part(change, mine.ledger, first=not place) for place, change in enumerate(large[:IN_SENTENCE])]
    listed = parts[0] if len(parts) == 1 else phrase("{parts} and {last}", parts=parts[:-1], last=parts[-1])
    return phrase("{run} spends {listed} than {other}", run=mine.run, listed=listed, other=other.run)


def _part(change: KindChange, ledger: Ledger, *, first: bool) -> Message:
    """`about 12 points more waiting for data (data.py:88 decode)`"""
    if change.points > 0:
        more = phrase("points more") if first else phrase("more")
    else:
        more = phrase("points fewer") if first else phrase("fewer")
    where = place_of(change.place) if change.place else ""
    return phrase(
        "{about}{points:.0f} {more} {spent}{where}",
        about=None if change.sure else phrase("about "),
        points=abs(change.points),
        more=more,
        spent=_spent(change, ledger),
        where=phrase(" ({place})", place=where) if where else None,
    )


def _spent(change: KindChange, ledger: Ledger) -> Message:
    if change.kind == BUSY and ledger.device == "CPU":
        return phrase("computing")
    if change.kind == "launch" and ledger.device == "host":
        return phrase("handing work to the GPU")
    return phrase(SPENT[change.kind])


def _steps(mine: LedgerSide, other: LedgerSide) -> Message | None:
    """How long a unit takes in both; None where that is not known of both."""
    if not _same_units(mine, other) or mine.unit_s is None or other.unit_s is None:
        return None
    if abs(mine.unit_s / other.unit_s - 1) < SAME_STEP:
        return phrase("; {unit}s take {unit_s:time} in both", unit=mine.unit_name, unit_s=mine.unit_s)
    return phrase(
        "; {unit}s take {unit_s:time} in place of {other_s:time}",
        unit=mine.unit_name,
        unit_s=mine.unit_s,
        other_s=other.unit_s,
    )


def _same_units(mine: LedgerSide, other: LedgerSide) -> bool:
    known = [side.unit_s is not None and math.isfinite(side.unit_s) and side.unit_s > 0 for side in (mine, other)]
    return all(known) and mine.unit_name == other.unit_name


def _of_other_devices(mine: LedgerSide, other: LedgerSide) -> Message:
    return phrase(
        "The shares of the two cannot be compared: the time of {run} is {device}, and the time of {other} is {other_device}{steps}.",
        run=mine.run,
        device=MEASURED[mine.ledger.device],
        other=other.run,
        other_device=MEASURED[other.ledger.device],
        steps=_steps(mine, other),
    )
