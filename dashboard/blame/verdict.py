"""A window against its normal: what kind of loss it is, which line it was lost to, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from ..flame.traces import Range, Traces
from ..flame.trust import LineOf, no_source
from .confidence import Confidence
from .suspect import Suspect
from .units import Units

Kind: TypeAlias = Literal[
    "line", "gpu_slower", "cpu_taken", "collective_wait", "unknown", "no_difference", "too_few_samples", "no_profile"
]


class Side(NamedTuple):
    """One rank's main thread, joined at its waits, over the window or over normal."""

    traces: Traces
    ranges: list[Range]
    units: float | None  # None where the run logs none

    @property
    def seconds(self) -> float:
        return float(self.traces.seconds.sum())

    @property
    def per(self) -> float:
        """What its seconds are divided by: units, else seconds."""
        return max(self.seconds if self.units is None else self.units, 1e-9)


class Row(NamedTuple):
    """A number of the window beside the same of normal."""

    name: str
    unit: str
    window: float | None
    normal: float | None


class Gpu(NamedTuple):
    """What the GPUs say of a window and its normal."""

    signal: str  # by what idle is told: "SM active", "power", "busy"
    busy_pct: tuple[float, float]
    clock_mhz: tuple[float, float] | None
    reasons: list[str]  # why clocks were lowered
    kernels_s: tuple[float, float] | None  # a unit, as the run logs them


class Host(NamedTuple):
    """What the machine's cores do in a window and in its normal."""

    cores: int
    busy_pct: tuple[float, float]  # of all cores
    own: tuple[float, float]  # cores' worth of time of the run: all its ranks and their children
    others: tuple[float, float]  # of all other programs


@dataclass(frozen=True)
class Verdict:
    """What `GET /blame` answers; None where there is no such number. Excesses are seconds per unit."""

    verdict: Kind
    sentence: str = ""
    suspect: Suspect | None = None
    reason: str = ""
    rank: int | None = None
    excess_s: float | None = None
    excess_share: float | None = None
    slowdown_s: float | None = None
    unexplained_s: float | None = None
    window_unit_s: float | None = None
    normal_unit_s: float | None = None
    per: str = "second"
    size: str = ""
    longer: float | None = None
    units: float | None = None
    normal_units: float | None = None
    samples: int = 0
    normal_samples: int = 0
    unresolved_share: float = 0.0
    confidence: Confidence | None = None
    rank_among_normal: float | None = None
    basis: Literal["stacks", "steps"] = "stacks"
    contradiction: str = ""
    judged: Range | None = None
    normal: list[Range] = field(default_factory=list)
    evidence: list[Row] = field(default_factory=list)
    profile_until: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The line's fields beside the others."""
        frame = self.suspect.frame if self.suspect else None
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("suspect", "evidence")}
        return {
            **plain,
            "function": frame.name if frame else None,
            "file": frame.file if frame else None,
            "line": frame.line if frame and frame.line else None,
            "leaf": self.suspect.leaf if self.suspect else "",
            "caller": self.suspect.caller if self.suspect else "",
            "path": [one._asdict() for one in self.suspect.path] if self.suspect else [],
            "evidence": [row._asdict() for row in self.evidence],
        }


class Case(NamedTuple):
    """All that a verdict is given on."""

    window: Side  # of a short window the whole units that it lies in
    asked: Side  # the window itself
    normal: Side | None  # None where nothing can be compared
    units: Units | None
    per: str  # what a unit is called
    hz: float
    certain: bool  # all stacks come from a sampler that does not mix moments
    own_folder: str = ""
    line_of: LineOf = no_source
    period_s: float = 0.0  # without units: how long takes what repeats itself

    @property
    def in_part(self) -> bool:
        """Whether the window is shorter than what it is judged by."""
        return self.asked.ranges != self.window.ranges
