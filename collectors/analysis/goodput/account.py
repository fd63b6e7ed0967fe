"""Goodput: shares of a run's wall time that add up to 100, with GPU-hours, energy and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..stacks.traces import Floats, Range
from .kinds import LOST, ORDER, PLACE, GoodputKind
from .owning import stretches_of, usable
from .pieces import AttemptWork, PieceTimes, pieces_of
from .spans import AttemptSpan, Named, SpanKind, StepRows


class Recorded(NamedTuple):
    """All that is known of a run's time."""

    attempts: Sequence[AttemptSpan]
    rows: StepRows
    named: Mapping[SpanKind, Named]
    first_step_s: Mapping[float, float] = {}  # by the start of an attempt: how long its first step took, by its phases


class Spent(NamedTuple):
    """What the run's time is paid with. `energy_j` is a counter that only rises, at `energy_at_s`, in order."""

    gpus: int | None = None
    price: float = 0.0  # for a GPU and an hour; 0 where unknown
    energy_at_s: Floats = np.zeros(0)
    energy_j: Floats = np.zeros(0)


NOTHING_SPENT = Spent()


class Paid(NamedTuple):
    """None where unknown."""

    gpu_hours: float | None
    energy_j: float | None
    cost: float | None


class GoodputRow(NamedTuple):
    kind: GoodputKind
    seconds: float
    share: float  # percent of the wall time
    paid: Paid


class AttemptRow(NamedTuple):
    span: AttemptSpan
    steps: int
    redone_steps: int
    seconds: Floats  # in the order of ORDER


class Goodput(NamedTuple):
    """`goodput` is the share of training, in percent; None where fewer than two lines say when steps were made: then at most `at_most`."""

    window: Range
    rows: list[GoodputRow]  # those with a second, in the order of ORDER
    goodput: float | None
    at_most: float
    steps: int  # that count: without those that were done again
    redone_steps: int
    attempts: list[AttemptRow]
    paid: Paid  # in all
    lost: Paid  # for what is neither training nor time that is not separated
    named_s: Mapping[SpanKind, tuple[float, float, float]]  # by phases, by events, by gaps

    @property
    def seconds(self) -> float:
        return self.window[1] - self.window[0]


def goodput(
    recorded: Recorded, spent: Spent = NOTHING_SPENT, split: Mapping[GoodputKind, float] | None = None
) -> Goodput | None:
    """None where no attempt has a length. `split` says which shares of the time that is not separated stacks show to be something else."""
    attempts = usable(recorded.attempts)
    stretches = stretches_of(attempts)
    if not len(stretches.start_s):
        return None
    alive = np.array([span.alive for span in attempts], bool)
    closed = np.array([span.ended_by == "end event" for span in attempts], bool)
    first_s = np.array([recorded.first_step_s.get(span.start_s, np.nan) for span in attempts], np.float64)
    pieces = _split(
        pieces_of(stretches, recorded.rows, recorded.named, AttemptWork(alive, closed, first_s)), split or {}
    )
    seconds = pieces.seconds.sum(axis=0)
    window = float(stretches.start_s[0]), float(stretches.end_s[-1])
    wall_s = float(seconds.sum())
    energy_j = _energy(pieces, spent)
    rows = [
        GoodputRow(
            kind, float(seconds[place]), 100 * float(seconds[place]) / wall_s, _paid(kind, seconds, energy_j, spent)
        )
        for place, kind in enumerate(ORDER)
        if seconds[place] > 0
    ]
    share = {row.kind: row.share for row in rows}
    stepped = bool(len(attempts)) and not share.get("running")
    redone = round(float(pieces.redone_steps.sum()))
    return Goodput(
        window=window,
        rows=rows,
        goodput=share.get("training", 0.0) if stepped else None,
        at_most=share.get("training", 0.0) + share.get("running", 0.0),
        steps=round(float(pieces.steps.sum())) - redone,
        redone_steps=redone,
        attempts=_attempts(attempts, pieces),
        paid=_sum([row.paid for row in rows]),
        lost=_sum([row.paid for row in rows if row.kind in LOST]),
        named_s=pieces.named_s,
    )


def extent_of(attempts: Sequence[AttemptSpan]) -> Range | None:
    """From the start of the first to the end of the last; None where they have no length."""
    known = usable(attempts)
    lo, hi = (known[0].start_s, max(span.end_s for span in known)) if known else (0.0, 0.0)
    return (lo, hi) if hi > lo else None


def _split(pieces: PieceTimes, split: Mapping[GoodputKind, float]) -> PieceTimes:
    seconds = pieces.seconds.copy()
    running_s = seconds[:, PLACE["running"]].copy()
    left = 1.0
    for kind, share in split.items():
        taken = min(max(share, 0.0), left) if kind != "running" and share == share else 0.0
        seconds[:, PLACE[kind]] += running_s * taken
        left -= taken
    seconds[:, PLACE["running"]] = running_s * left
    return pieces._replace(seconds=seconds)


def _energy(pieces: PieceTimes, spent: Spent) -> Floats | None:
    """Joules by kind: those of a piece are shared as its seconds are."""
    if len(spent.energy_at_s) < 2:
        return None
    used_j = np.diff(np.interp(np.r_[pieces.start_s, pieces.end_s[-1:]], spent.energy_at_s, spent.energy_j))
    length_s = np.maximum(pieces.end_s - pieces.start_s, 1e-12)
    found: Floats = (pieces.seconds * (used_j / length_s)[:, None]).sum(axis=0)
    return found


def _paid(kind: GoodputKind, seconds: Floats, energy_j: Floats | None, spent: Spent) -> Paid:
    """Between attempts no GPU is held, as far as the run is concerned."""
    held_s = 0.0 if kind == "between" else float(seconds[PLACE[kind]])
    hours = None if spent.gpus is None else spent.gpus * held_s / 3600
    energy = None if energy_j is None else 0.0 if kind == "between" else float(energy_j[PLACE[kind]])
    return Paid(hours, energy, None if hours is None or not spent.price else hours * spent.price)


def _sum(parts: Sequence[Paid]) -> Paid:
    def total(values: Sequence[float | None]) -> float | None:
        return None if any(value is None for value in values) else sum(value or 0.0 for value in values)

    columns = list(zip(*parts, strict=True)) if parts else [(), (), ()]
    return Paid(*(total(column) for column in columns))


def _attempts(attempts: Sequence[AttemptSpan], pieces: PieceTimes) -> list[AttemptRow]:
    inside = pieces.attempt >= 0
    number = pieces.attempt[inside]
    steps = np.bincount(number, pieces.steps[inside], len(attempts))
    redone = np.bincount(number, pieces.redone_steps[inside], len(attempts))
    seconds = np.zeros((len(attempts), len(ORDER)))
    np.add.at(seconds, number, pieces.seconds[inside])
    return [AttemptRow(span, round(steps[i]), round(redone[i]), seconds[i]) for i, span in enumerate(attempts)]
