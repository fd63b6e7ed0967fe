"""What a model did: counts since its start, and the figures of the last second. Written by the event loop only."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import NamedTuple

from .pending import ModelAnswer
from .refusal import RefusalKind

BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MOST_LATENCIES = 20_000  # kept of one second
PHASES = ("queue", "batch", "infer", "encode")
REFUSED = "refused"


class ServedSecond(NamedTuple):
    """Between two looks: `latencies_s` of the requests that were answered, from their arrival to their encoded answer."""

    requests: int
    latencies_s: list[float]
    phases_s: dict[str, float]  # of all of them
    batches: int
    batch_rows: int
    refused: int
    failed: int


class ServingFigures:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()  # "ok", or the name of a refusal's kind in lower case
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.latency_s = 0.0
        self.phases_s = dict.fromkeys(PHASES, 0.0)
        self.batches = self.rows = 0
        self._fresh()

    def batch(self, rows: int) -> None:
        self.batches += 1
        self.rows += rows
        self._batches += 1
        self._batch_rows += rows

    def answered(self, answer: ModelAnswer, encode_s: float, latency_s: float) -> None:
        self.outcomes["ok"] += 1
        self._requests += 1
        self.latency_s += latency_s
        self.buckets[bisect_left(BOUNDS_S, latency_s)] += 1
        if len(self._latencies_s) < MOST_LATENCIES:
            self._latencies_s.append(latency_s)
        for name, seconds in zip(PHASES, (answer.queue_s, answer.batch_s, answer.infer_s, encode_s), strict=True):
            self.phases_s[name] += seconds
            self._phases_s[name] += seconds

    def refused(self, kind: RefusalKind) -> None:
        self.outcomes[kind.name.lower()] += 1
        if kind in (RefusalKind.BUSY, RefusalKind.LATE, RefusalKind.NOT_READY):
            self._refused += 1
        elif kind is RefusalKind.FAILED:
            self._failed += 1

    @property
    def has_answers(self) -> bool:
        """Since the last `second`."""
        return self._requests > 0

    @property
    def has_refusals(self) -> bool:
        """Since the last `second`: for load, or failed."""
        return self._refused + self._failed > 0

    def second(self) -> ServedSecond:
        """Since the last call of it."""
        found = ServedSecond(
            self._requests,
            self._latencies_s,
            self._phases_s,
            self._batches,
            self._batch_rows,
            self._refused,
            self._failed,
        )
        self._fresh()
        return found

    def _fresh(self) -> None:
        self._requests = self._batches = self._batch_rows = self._refused = self._failed = 0
        self._latencies_s: list[float] = []
        self._phases_s = dict.fromkeys(PHASES, 0.0)
