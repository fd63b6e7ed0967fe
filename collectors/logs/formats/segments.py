"""Where the steps of a file go back because its program has started again, and a new segment of its curves begins.

Steps go back for other reasons, too: several ranks write one file, lines come late, a validation has a counter of its own. So only the
series on most lines decides, and a line counts where all of its series have been further. In a file whose steps have only risen, three
steps back are enough; where they have been in disorder, or it is fewer steps, a pause as at a start must have passed as well. Where the
earlier steps then go on, it was another loop that counts for itself, and what it has taught is remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .fields import EPOCHS

FAR_STEPS = 100  # so far back is a start, where small steps back are none
CLEAR_RISES, CLEAR_DISORDER = (
    3,
    10,
)  # usual increments back that need no pause: after nothing but rises; times the disorder so far
DISORDER = 4  # ... with a pause: times the disorder so far
PAUSE = 5  # usual intervals
TICK_S = (
    0.01  # of the file system's clock: a line whose time is that of its arrival may seem earlier than the one before it
)
MAX_SHAPES, MAX_KEPT = 64, 50  # sets of names that are followed; names whose last steps are kept with the offset
OF_SEVERAL = {
    "rank",
    "local_rank",
    "global_rank",
    "process_index",
    "worker",
}  # names on the lines of a file that several write
NEVER = -(2**60)
BESIDE = {*EPOCHS, *OF_SEVERAL, "lr", "learning_rate"}  # names that stand on lines of any kind


class _Shape:
    """Lines with the same names."""

    __slots__ = ("count", "last", "names")

    def __init__(self, names: Sequence[str], last: int, count: int) -> None:
        self.names, self.last, self.count = names, last, count


class SegmentTracker:
    """Of one file. `segment` and `top`, the highest step in it, are those of the last line."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """`state` is that of the format; it may be from before there were `lasts`."""
        self.segment: int = state.get("segment", 0)
        self.top: int | None = state.get("top")
        steps = state.get("steps", {})
        self._disorder: int = steps.get("disorder", 0)  # the furthest that a line came too late, in steps
        self._repeats: bool = steps.get("repeats", False)  # a series has more than one line of a step
        self._by: int = steps.get("by", 1)  # the last rise
        self._since_s: float | None = steps.get("since_s")  # of the first line with a time, and of the last one
        self._time_s: float | None = steps.get("time_s")
        self._timed: int = steps.get("timed", 0)  # lines with a time
        self._shapes: dict[tuple[str, ...], _Shape] = {
            (name,): _Shape((name,), last, count) for name, (last, count) in steps.get("lasts", {}).items()
        }
        self._shape = _Shape((), NEVER, 0)  # of the last line
        self._before: tuple[int, int, int] | None = None  # segment, top and rise before a start that is not sure yet

    def state(self) -> dict[str, Any]:
        steps: dict[str, Any] = {
            "disorder": self._disorder,
            "repeats": self._repeats,
            "by": self._by,
            "timed": self._timed,
        }
        if self._timed:
            steps |= {"since_s": self._since_s, "time_s": self._time_s}
        counts, lasts = self._counts(), self._lasts()
        kept = [name for name, _ in counts.most_common(MAX_KEPT)]
        return {
            "top": self.top,
            "segment": self.segment,
            "steps": {**steps, "lasts": {name: [lasts[name], counts[name]] for name in kept}},
        }

    def take(self, names: tuple[str, ...], step: int, time_s: float | None, *, only_far: bool = False) -> int:
        """The segment of the next line. With `only_far` its starts are known otherwise: only many steps back are another one."""
        shape = self._shape if names is self._shape.names else self._shape_of(names)
        if self.top is None or step > self.top:  # the usual line, kept cheap
            if self.top is not None:
                if self._before is not None:
                    self._rise_after_start(step)
                self._by = step - self.top
            self.top = step
        elif step == shape.last:
            self._repeats = True
        elif step < self.top:
            self._fall(names, step, time_s, only_far)
        shape.last = step
        shape.count += 1
        if time_s is not None:
            if self._timed == 0:
                self._since_s = time_s
            self._time_s = time_s
            self._timed += 1
        return self.segment

    def take_rising(self, names: tuple[str, ...], steps: Sequence[int], times_s: Sequence[float] | None) -> int:
        """The segment of several lines of one kind whose steps do not fall, from the top on."""
        self.take(names, steps[0], times_s[0] if times_s else None)
        more = len(steps) - 1
        self._by = next((steps[-1] - step for step in reversed(steps) if step != steps[-1]), self._by)
        self._repeats = self._repeats or len(set(steps)) <= more
        self._shape.last = self.top = steps[-1]
        self._shape.count += more
        if times_s:
            self._time_s, self._timed = times_s[-1], self._timed + more
        return self.segment

    def begin(self, segment: int, step: int) -> None:
        """Another attempt of the program begins with this line."""
        self.segment, self.top, self._before = segment, step, None
        for shape in self._shapes.values():
            shape.last = step - 1

    def _shape_of(self, names: tuple[str, ...]) -> _Shape:
        if names not in self._shapes:
            if len(self._shapes) >= MAX_SHAPES:
                rarest = min(self._shapes.values(), key=lambda shape: shape.count)
                del self._shapes[tuple(rarest.names)]
            self._shapes[names] = _Shape(names, NEVER, 0)
            self._repeats = self._repeats or not OF_SEVERAL.isdisjoint(names)
        self._shape = shape = self._shapes[names]
        shape.names = names  # the same object again makes the next look cheap
        return shape

    def _rise_after_start(self, step: int) -> None:
        """Whether the steps from before the start go on, which was none then."""
        assert self.top is not None and self._before is not None
        segment, top, by = self._before
        if top < step <= top + 2 * by and step - self.top > 2 * by:
            self.segment, self._disorder = segment, max(self._disorder, top - self.top + 1)
        if step > top:
            self._before = None

    def _fall(self, names: tuple[str, ...], step: int, time_s: float | None, only_far: bool) -> None:
        """A line below the top: of a program that has started again, or in disorder."""
        assert self.top is not None
        counts, lasts = self._counts(), self._lasts()
        if not counts:  # what an earlier version kept
            if step < self.top - FAR_STEPS:
                self.begin(self.segment + 1, step)
            return
        deciding = max(counts, key=lambda name: (name not in BESIDE, counts[name]))
        if deciding not in names or counts[deciding] < 2 or any(name not in lasts for name in names):
            return
        back = min(lasts[name] for name in names) - step
        if back <= 0:
            return
        if back > FAR_STEPS if only_far else self._is_a_start(back, time_s):
            before = self.segment, self.top, self._by
            self.begin(self.segment + 1, step)
            self._before = before
        else:
            self._disorder = max(self._disorder, back)

    def _is_a_start(self, back: int, time_s: float | None) -> bool:
        if time_s is not None and self._time_s is not None and time_s < self._time_s - TICK_S:
            return False  # it was written late
        by = max(1, min(self._by, FAR_STEPS))
        if not self._disorder and not self._repeats:
            return back >= CLEAR_RISES * by or self._is_pause(time_s)
        furthest = self._disorder + by
        return back >= CLEAR_DISORDER * furthest or (back >= DISORDER * furthest and self._is_pause(time_s))

    def _is_pause(self, time_s: float | None) -> bool:
        if time_s is None or self._time_s is None or self._since_s is None or self._timed < 3:
            return False
        usual_s = (self._time_s - self._since_s) / (self._timed - 1)
        return usual_s > 0.0 and time_s - self._time_s > PAUSE * usual_s

    def _counts(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for shape in self._shapes.values():
            for name in shape.names if shape.count else ():
                counts[name] += shape.count
        return counts

    def _lasts(self) -> dict[str, int]:
        lasts: dict[str, int] = {}
        for shape in self._shapes.values():
            for name in shape.names if shape.count else ():
                lasts[name] = max(shape.last, lasts.get(name, shape.last))
        return lasts
