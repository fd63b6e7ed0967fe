"""Put the series of a run on the asked axis, beside the asked baseline."""

from __future__ import annotations

import numpy as np

from collectors.records import Labels
from collectors.store.buckets import Summaries
from collectors.store.protocol import RawPoints, Series
from collectors.store.question import TooMuch

from .asked import RELATIVE, STEP, TIME, NoCurve
from .attempts import Attempts
from .axis import Stretch, stretches_of
from .baseline import BaseLine, base_line
from .ranks import HOST, of_rank
from .reading import Chosen, CurveReader
from .sources import Beside, CurveSource, Newest, OnSeries, Stored, fits, units

MOST_PLACES = 20_000  # of a baseline, or of a series on the x axis, that has too many points to read them all
NO_STEP = "its points have no step; choose x=time or x=relative"
NO_TIME = "its points have no time; choose x=step"


class NoPlace(Exception):
    """A series has no place on the axis, or nothing to stand beside; the text is one sentence."""


class Unknown(NoPlace):
    """There is no such run or series."""


class Placing:
    """For one question: what several curves need is read once."""

    def __init__(self, reader: CurveReader, x: str, baseline: str | None) -> None:
        self._reader, self.x, self.baseline = reader, x, baseline
        self._clocks: dict[int, tuple[RawPoints, Attempts]] = {}
        self._bases: dict[tuple[str, Labels], BaseLine | str] = {}
        self._other: list[Chosen] | None = None  # the baseline's run

    def source(self, run: Chosen, series: Series, labels: Labels) -> CurveSource:
        """`labels` are those of the curve. Raises NoPlace."""
        placed = self._placed(run, series)
        if self.baseline is None:
            return placed
        key = (series.name, _apart(labels))
        if key not in self._bases:
            self._bases[key] = self._base(*key)
        base = self._bases[key]
        if isinstance(base, str):
            raise NoPlace(base)
        return Beside(placed, base)

    def exported(self, run: Chosen, series: Series) -> CurveSource:
        """Raises NoPlace with the names of the series and its run."""
        try:
            return self._placed(run, series)
        except NoPlace as error:
            raise NoPlace(
                f"series {series.name!r} of run {run.run!r} cannot be exported on this axis: {error}"
            ) from None

    def _placed(self, run: Chosen, series: Series) -> CurveSource:
        if self.x in (RELATIVE, TIME):
            if series.first_time_s is None:
                raise NoPlace(NO_TIME)
            return Stored(self._reader, series, "time", (run.first_s or 0.0) if self.x == RELATIVE else 0.0)
        if series.first_step is None:
            raise NoPlace(
                NO_STEP if self.x == STEP else f"its points have no step, by which {self.x!r} could place them"
            )
        return Stored(self._reader, series, "step") if self.x == STEP else self._on_series(run, series)

    def _on_series(self, run: Chosen, series: Series) -> CurveSource:
        clocks = [found for found in run.known if found.name == self.x]
        if not clocks:
            raise NoPlace(f"this run has no series {self.x!r} for the x axis")
        clock = of_rank(clocks, series.labels)
        if clock.first_step is None:
            raise NoPlace(f"the points of {self.x!r} have no step, so that they cannot place others")
        if clock.id not in self._clocks:
            self._clocks[clock.id] = self._clock(clock)
        attempts = self._reader.attempts(series)
        stretches: list[Stretch] = stretches_of(self._clocks[clock.id][0], attempts, self._clocks[clock.id][1])
        if not stretches:
            raise NoPlace(f"{self.x!r} has no finite value in this run")
        return OnSeries(self._reader, series, stretches, attempts)

    def _clock(self, clock: Series) -> tuple[RawPoints, Attempts]:
        """Its points by step; of too many, some that lie evenly."""
        attempts = self._reader.attempts(clock)
        if fits(Stored(self._reader, clock, "step"), None, None):
            parts = list(self._reader.parts(clock, None, None, "step"))
            return RawPoints._make(np.concatenate(column) for column in zip(*parts, strict=True)), attempts
        found = self._reader.buckets(clock, None, None, "step", MOST_PLACES)
        return RawPoints(found.t_end, found.step, found.segment, found.last), attempts

    def _base(self, name: str, labels: Labels) -> BaseLine | str:
        """The baseline's line, over all its ranks that have these labels; or why there is none."""
        assert self.baseline is not None
        if self._other is None:
            left_out: list[NoCurve] = []
            self._other = self._reader.choose([self.baseline], ["*"], left_out)
        if not self._other:
            return f"there is no run {self.baseline!r} to be the baseline; GET /api/v1/runs lists them"
        (run,) = self._other
        named = [series for series in run.known if series.name == name]
        alike = [series for series in named if set(labels) <= set(series.labels)] or named
        if not alike:
            return f"the baseline {self.baseline!r} has no series {name!r}"
        try:
            sources = [Newest(self._placed(run, series)) for series in alike]
        except NoPlace as error:
            return f"the baseline {self.baseline!r} has no place on this axis: {error}"
        try:
            members = [units(source, None, None, MOST_PLACES, len(sources)) for source in sources]
        except TooMuch as error:
            return f"the baseline {self.baseline!r} cannot be read: {error}"
        return base_line(Summaries._make(np.concatenate(column) for column in zip(*members, strict=True)))


def _apart(labels: Labels) -> Labels:
    """Without what differs from run to run."""
    return tuple(pair for pair in labels if pair[0] != HOST)
