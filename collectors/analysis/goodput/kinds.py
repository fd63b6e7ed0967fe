"""What a second of a run's wall time may have been, in the order in which it is shown."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

GoodputKind: TypeAlias = Literal[
    "training",
    "initialisation",
    "validation",
    "checkpoint",
    "redone",
    "stalled",
    "between",
    "nothing",
    "ending",
    "running",
]


class GoodputLabel(NamedTuple):
    kind: GoodputKind
    label: str  # as a sentence names it


GOODPUT_LABELS = (
    GoodputLabel("training", "training"),
    GoodputLabel("initialisation", "initialisation"),
    GoodputLabel("validation", "validation"),
    GoodputLabel("checkpoint", "checkpoint"),
    GoodputLabel("redone", "steps done again later"),
    GoodputLabel("stalled", "stalled"),
    GoodputLabel("between", "between attempts"),
    GoodputLabel("nothing", "attempts without a step"),
    GoodputLabel("ending", "after the last step"),
    GoodputLabel("running", "running, not separated"),
)
LABEL = {row.kind: row.label for row in GOODPUT_LABELS}
ORDER: tuple[GoodputKind, ...] = tuple(row.kind for row in GOODPUT_LABELS)
PLACE = {kind: place for place, kind in enumerate(ORDER)}
LOST: tuple[GoodputKind, ...] = tuple(kind for kind in ORDER if kind not in ("training", "running"))
