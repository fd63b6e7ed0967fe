"""What a client asks of an expression, and what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from collectors.records import Labels
from collectors.store.protocol import Axis, Buckets


class ExpressionQuery(NamedTuple):
    """`lo` and `hi` are inclusive and stand on the axis; None is open. Series are those of these runs and of the machine."""

    text: str
    runs: Sequence[str] = ()
    axis: Axis = "time"
    lo: float | None = None
    hi: float | None = None
    buckets: int = 600  # of a series of the result


class ExpressionSeries(NamedTuple):
    """A series of the result; `run` is "" where it is of the machine, or of several runs together.

    Where `exact`, min and max are those of the points; `reason` says in one sentence why they are not.
    """

    run: str
    labels: Labels
    exact: bool
    reason: str
    buckets: Buckets


@dataclass(frozen=True)
class ExpressionResult:
    """`cursor` is the newest commit that the series surely hold. `lo` and `hi` are None where there is no point."""

    cursor: int
    unit: str
    lo: float | None
    hi: float | None
    series: list[ExpressionSeries]


class NoSuchRun(Exception):
    """The text is one sentence with the remedy."""
