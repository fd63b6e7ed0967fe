"""The newest points of a series, kept at hand for the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..stacks.traces import Floats

CAPACITY = 2048  # points
NO_STEP = np.nan


class RecentPoints:
    """Points by arrival; columns have the same length. `ever` is how many came, `before` how many of them before the first look,
    `fresh` how many since the last look of the rule that looks."""

    __slots__ = ("_count", "_rows", "before", "ever", "fresh")

    def __init__(self) -> None:
        self._rows = np.empty((16, 3))
        self._count = 0
        self.fresh = self.ever = self.before = 0

    def __len__(self) -> int:
        return self._count

    def take(self, time_s: float | None, step: int | None, value: float) -> None:
        if self._count == len(self._rows):
            self._make_room()
        self._rows[self._count] = (np.nan if time_s is None else time_s, NO_STEP if step is None else step, value)
        self._count += 1
        self.fresh += 1
        self.ever += 1

    def take_all(self, rows: Iterable[tuple[float | None, int | None, float]]) -> None:
        for row in rows:
            self.take(*row)

    def rows(self) -> Iterator[tuple[float | None, int | None, float]]:
        """As `take_all` takes them."""
        for time_s, step, value in self._rows[: self._count].tolist():
            yield None if time_s != time_s else time_s, None if step != step else int(step), value

    @property
    def time_s(self) -> Floats:
        return self._rows[: self._count, 0]

    @property
    def step(self) -> Floats:
        return self._rows[: self._count, 1]

    @property
    def value(self) -> Floats:
        return self._rows[: self._count, 2]

    def since(self, from_s: float) -> tuple[Floats, Floats]:
        """Time and value of the points from then on."""
        late = self.time_s >= from_s
        return self.time_s[late], self.value[late]

    def last(self) -> float | None:
        return float(self._rows[self._count - 1, 2]) if self._count else None

    def looked_at(self) -> None:
        self.fresh, self.before = 0, self.ever

    def look_since(self, seen: int | None) -> None:
        """`seen` is what `ever` was when the rule last looked; None for its first look."""
        self.fresh = self.ever - (self.before if seen is None else seen)

    def _make_room(self) -> None:
        if self._count < 2 * CAPACITY:
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])[: 2 * CAPACITY]
            return
        self._rows[:CAPACITY] = self._rows[self._count - CAPACITY : self._count]
        self._count = CAPACITY
