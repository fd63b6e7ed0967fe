"""How far a run is, where its series count different things: most count steps, others epochs or samples.

Three rules tell the axis of steps from the others:

- The series with the most points has it. One that is logged once an epoch has few.
- A series with at least a quarter as many points that is twice as far has it instead: a training that logs every 500 steps
  may have fewer points than epochs.
- A series that names samples or tokens has it only where no other series has steps. Megatron logs `lm loss vs samples` as
  often as `lm loss`, on an axis that is further.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

ENOUGH = 4  # the axis is not that of a series with more than so many times the points of another,
FINER = 2  # which is so many times as far
MAX_COUNTED = 64  # series of one line: they share its step, and thousands of them would cost 3 ms a commit
OF_SAMPLES = re.compile(r"(?i)(?:^|[^a-z])(?:samples|tokens|images|examples)(?:$|[^a-z])")


class _SeriesSteps:
    __slots__ = ("by_samples", "points", "step")

    def __init__(self, name: str) -> None:
        self.by_samples = _is_by_samples(name)
        self.points = self.step = 0

    def leads(self, other: _SeriesSteps) -> bool:
        """Whether the axis of steps is rather its own than the other's."""
        if self.by_samples != other.by_samples:
            return other.by_samples
        if self._is_finer(other) or other._is_finer(self):
            return self._is_finer(other)
        return self.points > other.points

    def _is_finer(self, other: _SeriesSteps) -> bool:
        return ENOUGH * self.points >= other.points and self.step >= FINER * max(other.step, 1)


class StepAxis:
    """Of one run, or of one rank; told of its points in the order in which they come. `step` is the newest, None before the first."""

    def __init__(self) -> None:
        self.step: int | None = None
        self._series: dict[Hashable, _SeriesSteps] = {}
        self._leader: Hashable = None

    def __len__(self) -> int:
        return len(self._series)

    @property
    def leader(self) -> Hashable:
        """The key of the series whose steps count."""
        return self._leader

    def take(self, keys: Sequence[Hashable], names: Sequence[str], points: int, step: int) -> bool:
        """New points of series that share their steps, the newest with `step`. Returns whether that is a step of the run."""
        keys, names, leads = keys[:MAX_COUNTED], names[:MAX_COUNTED], False
        for key, name in zip(keys, names, strict=True):
            leads |= self._count(key, name, points, step)
        if leads:
            self.step = step
            return True
        leader = self._series[self._leader]
        is_near = are_near(step, leader.step)
        if is_near and not all(map(_is_by_samples, names)):
            self.step = max(step, leader.step if self.step is None else self.step)
        return is_near

    def _count(self, key: Hashable, name: str, points: int, step: int) -> bool:
        counted = self._series.get(key)
        if counted is None:
            counted = self._series[key] = _SeriesSteps(name)
        counted.points += points
        counted.step = step
        if key != self._leader and (self._leader is None or counted.leads(self._series[self._leader])):
            self._leader = key
        return key == self._leader


def are_near(a: float, b: float) -> bool:
    """Whether two newest steps may be of one axis."""
    return a <= FINER * b + 1 and b <= FINER * a + 1


class _HasSteps(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def points(self) -> int: ...
    @property
    def last_step(self) -> int | None: ...


S = TypeVar("S", bound=_HasSteps)


def stepper(series: Sequence[S]) -> S | None:
    """The series on whose axis the run's steps count; None where none has steps."""
    axis = StepAxis()
    for place, row in enumerate(series):
        if row.last_step is not None:
            axis.take((place,), (row.name,), row.points, row.last_step)
    return series[axis.leader] if isinstance(axis.leader, int) else None


@lru_cache(maxsize=20_000)
def _is_by_samples(name: str) -> bool:
    return OF_SAMPLES.search(name) is not None
