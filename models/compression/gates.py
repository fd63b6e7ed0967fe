"""What a candidate must show: smaller, faster, and nearly as often right, each against the teacher."""

from __future__ import annotations

from dataclasses import dataclass

from ..runtimes.timing import TimeRatio
from .measuring import ShareFound


@dataclass(frozen=True)
class Gates:
    """`smaller`: bytes of the teacher's exported file by the candidate's. `kept`: share of the teacher's accuracy; the lower end of its 95 %
    interval counts. `faster`: p50 of the teacher in its fastest fp32 runtime of this host, by the candidate's; again the lower end."""

    smaller: float = 12.0
    kept: float = 0.97
    faster: float = 6.7

    def refusals(self, smaller: float, kept: ShareFound, faster: TimeRatio | None) -> tuple[str, ...]:
        """A sentence for each gate that is not passed; without a time, that one is not looked at."""
        found = []
        if smaller < self.smaller:
            found.append(f"{smaller:.1f} times smaller, not {self.smaller:g}")
        if kept.lowest < self.kept:
            found.append(f"keeps {kept} of the teacher's accuracy, whose lower end is below {100 * self.kept:g} %")
        if faster is not None and faster.lowest < self.faster:
            found.append(
                f"{faster.value:.1f} times faster ({faster.lowest:.1f} to {faster.highest:.1f}), not {self.faster:g}"
            )
        return tuple(found)
