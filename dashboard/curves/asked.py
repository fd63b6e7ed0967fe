"""What a client asks for of the curves of several runs, and what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from collectors.analysis.stacks.traces import Bools, Floats
from collectors.records import Labels
from collectors.store.protocol import Buckets

from .ranks import RankChoice
from .smoothing import Smoothing

STEP, RELATIVE, TIME = "step", "relative", "time"  # any other axis is the name of a series
Spread: TypeAlias = Literal["minmax", "stderr"]


class CurveQuery(NamedTuple):
    """`lo` and `hi` are inclusive and stand on the axis; None is open."""

    runs: Sequence[str]
    series: Sequence[str]  # names or globs
    x: str = STEP
    lo: float | None = None
    hi: float | None = None
    buckets: int = 600  # of a curve
    smooth: Smoothing | None = None
    group: str | None = None  # a key of the runs' configuration
    spread: Spread = "minmax"
    baseline: str | None = None  # a run
    ranks: RankChoice = "mean"


class XAxis(NamedTuple):
    """`lo` and `hi` are None where no curve has a point."""

    name: str
    unit: str
    lo: float | None
    hi: float | None


@dataclass(frozen=True)
class Curve:
    """`run` is "" where it stands for a group. The places of `buckets` lie on the asked axis.

    `points_total` is the number of points of its series (in the asked range, where there is one), `points_read` of those that the
    buckets stand for: the others have no place on the axis, or nothing to be compared with, or are superseded in a group.
    """

    run: str
    group: str
    runs: list[str]
    series: str
    labels: Labels
    buckets: Buckets
    smooth: Floats | None
    superseded: Bools
    points_total: int
    points_read: int


class NoCurve(NamedTuple):
    """What was asked for and is not in the answer; the reason is one sentence. `absent`: the run has no such series, which is usual."""

    run: str
    series: str
    reason: str
    absent: bool = False


@dataclass(frozen=True)
class Overlay:
    """`cursor` is the newest commit that the curves surely hold: deltas after it continue them."""

    cursor: int
    x: XAxis
    curves: list[Curve]
    left_out: list[NoCurve]


class SharedTag(NamedTuple):
    """A series' name in some runs."""

    name: str
    points: int
    runs: int
    ranks: int  # of the run that has the most
    progress: bool = False  # nothing but counters that were read from text
