"""What a main thread did, sample by sample, in the terms that the ledger's rules need."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...stacks.traces import Bools, Floats, Ints
from ..kinds import NUMBER, Charged

FREE, LAUNCHES, WAITS = 0, 1, 2  # launches nothing and waits for no GPU; hands work to the GPU; waits for it


class Moments(NamedTuple):
    """One entry a sample, in order of time; each stands for the time up to the next."""

    time_s: Floats
    seconds: Floats
    state: Ints  # FREE, LAUNCHES or WAITS
    place: Ints  # index into places
    position: Ints  # equal where all lines of the stack are
    statement: Ints  # of the training loop, in which it stands
    opaque: Bools  # the stack looks alike however much goes on, as in a backward pass
    places: list[Charged]
    period_s: float

    @property
    def kind(self) -> Ints:
        """Number of each sample's kind."""
        return kinds_of(self.places)[self.place]

    def take(self, samples: Ints | Bools | slice) -> Moments:
        return self._replace(
            time_s=self.time_s[samples],
            seconds=self.seconds[samples],
            state=self.state[samples],
            place=self.place[samples],
            position=self.position[samples],
            statement=self.statement[samples],
            opaque=self.opaque[samples],
        )


def kinds_of(places: list[Charged]) -> Ints:
    return np.array([NUMBER[place.kind] for place in places], np.int64)


class Spans(NamedTuple):
    """The same where equal neighbours are one entry, as the store keeps them."""

    start_s: Floats
    end_s: Floats
    stack: Ints


def looks(spans: Spans, period_s: float) -> tuple[Ints, Floats, Floats]:
    """Of each sample in spans: its span, its time and its seconds. A span of 35 ms at 100 Hz is four samples of 8.75 ms."""
    length = spans.end_s - spans.start_s
    count = np.maximum(1, np.rint(length / period_s)).astype(np.int64)
    span = np.repeat(np.arange(len(length)), count)
    first = np.cumsum(count) - count
    seconds = (length / count)[span]
    return span, spans.start_s[span] + (np.arange(len(span)) - first[span] + 0.5) * seconds, seconds


def standing(moments: Moments, samples: float) -> Bools:
    """Whether a launching line stands still for so many samples: it launches nothing meanwhile."""
    if not len(moments.time_s):
        return np.zeros(0, bool)
    new = np.r_[True, moments.position[1:] != moments.position[:-1]]
    stretch = np.cumsum(new) - 1
    long: Bools = np.bincount(stretch)[stretch] >= samples
    still: Bools = (moments.state == LAUNCHES) & long & ~moments.opaque
    return still
