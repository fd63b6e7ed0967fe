"""What a client asks of charts, and what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from collectors.records import Labels
from collectors.store.protocol import Axis, Buckets

from .model import BoardChart

X_ITEM = -1  # the item of a scatter chart's `x`


class ChartsQuery(NamedTuple):
    """`lo` and `hi` are inclusive and on the axis; None is open. `runs` are names or globs, of series that name none themselves."""

    charts: Sequence[BoardChart]
    runs: Sequence[str] = ()
    axis: Axis = "time"
    lo: float | None = None
    hi: float | None = None
    buckets: int = 300  # of a curve


class BoardCurve(NamedTuple):
    """`item` is the place in the chart's `series`. `run` is "" of the machine; `series` is a name, or an expression's text.

    Where `exact`, min and max are those of the points; `reason` says why they are not.
    """

    item: int
    run: str
    series: str
    labels: Labels
    unit: str
    buckets: Buckets
    exact: bool = True
    reason: str = ""
    label: str = ""
    colour: int | None = None


class NotDrawn(NamedTuple):
    """`reason` is one sentence."""

    item: int
    reason: str


@dataclass
class DrawnChart:
    curves: list[BoardCurve] = field(default_factory=list)
    left_out: list[NotDrawn] = field(default_factory=list)


class Followed(NamedTuple):
    """A stored series behind the charts: new points of it change them. `run` is None for the machine's."""

    run: str | None
    name: str


@dataclass(frozen=True)
class DrawnCharts:
    """`cursor` is the newest commit that they surely hold. `lo` and `hi` are None where there is no point."""

    cursor: int
    lo: float | None
    hi: float | None
    charts: list[DrawnChart]
    followed: list[Followed]
