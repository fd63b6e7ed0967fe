"""How long a model takes by the size of its batch, and so how long a new request would wait."""

from __future__ import annotations

import time
from collections.abc import Callable

WEIGHT = 0.1  # of a new time in the mean
WORTH = 1.1  # a larger batch must give so many times the rows a second


class BatchPace:
    """Seconds of a batch by powers of two of its rows, as a moving mean. For one thread at a time to write; reads need no lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._mean_s: dict[int, float] = {}  # by the number of bits of rows - 1
        self._busy: dict[object, float] = {}  # when the batch that a worker runs should be done
        self._clock = clock

    def add(self, rows: int, seconds: float) -> None:
        size = _size(rows)
        known = self._mean_s.get(size)
        self._mean_s[size] = seconds if known is None else known + WEIGHT * (seconds - known)

    def seconds(self, rows: int) -> float:
        """0 before anything is known; sizes that were never seen are scaled from their neighbour."""
        size = _size(rows)
        means = self._mean_s
        if size in means:
            return means[size]
        if not means:
            return 0.0
        near = min(means, key=lambda known: abs(known - size))
        return means[near] * max(1.0, 2.0 ** (size - near))

    def best_rows(self, most: int) -> int:
        """The smallest batch that no larger one beats by more than a tenth in rows a second."""
        best = 1
        for size in sorted(self._mean_s):
            rows = 1 << size
            if rows <= most and self.rate(rows) > WORTH * self.rate(best):
                best = rows
        return best

    def rate(self, rows: int) -> float:
        return rows / max(self.seconds(rows), 1e-9)

    def begin(self, worker: object, rows: int) -> None:
        self._busy[worker] = self._clock() + self.seconds(rows)

    def end(self, worker: object) -> None:
        self._busy.pop(worker, None)

    def overdue_s(self, workers: int) -> float:
        """Of the worker that is least behind its time, where all are busy: a batch that is late may be so for as long again."""
        if len(self._busy) < workers:
            return 0.0
        busy = self._busy.copy()
        return max(0.0, self._clock() - max(busy.values())) if busy and len(busy) >= workers else 0.0

    def wait_s(self, queued_rows: int, most_rows: int, workers: int) -> float:
        """Until a worker would begin with a request that comes now."""
        if not queued_rows and len(self._busy) < workers:
            return 0.0
        busy = self._busy.copy()
        now_s = self._clock()
        left_s = max(0.0, min(busy.values()) - now_s) if len(busy) >= workers else 0.0
        full, rest = divmod(queued_rows, most_rows)
        queued_s = full * self.seconds(most_rows) + (self.seconds(rest) if rest and full else 0.0)
        return left_s + queued_s / workers


def _size(rows: int) -> int:
    return max(0, rows - 1).bit_length()
