"""The queue of a model. A batch leaves when a worker is free, with all that waits and fits: there is no timer.

Requests whose client is gone and those past their deadline leave first, and take no place in a batch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from .pending import PendingRequest

LOOK_AHEAD = 256  # requests of other shapes that are passed over in search of one that fits


class TakenBatch(NamedTuple):
    requests: list[PendingRequest]  # of one key; empty: only dropped ones were there
    expired: list[PendingRequest]
    gone: list[PendingRequest]  # their clients do not wait


class BatchQueue:
    """Filled by the event loop, emptied by workers. `rows` and `bytes` are of what waits."""

    def __init__(self, most_rows: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_rows = most_rows
        self.rows = self.bytes = 0
        self._waiting: deque[PendingRequest] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._idle = 0
        self._closed = False
        self._clock = clock

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: PendingRequest, *, wake: bool = True) -> None:
        """About 2 us. With `wake` a free worker takes it at once, else after `wake()`. Raises RuntimeError after `close`."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the queue is closed")
            self._waiting.append(request)
            self.rows += request.rows
            self.bytes += request.bytes
            if wake and self._idle:
                self._changed.notify()

    def wake(self) -> None:
        """Free workers take what waits."""
        with self._changed:
            self._changed.notify(min(self._idle, len(self._waiting)))

    def take(self) -> TakenBatch | None:
        """Waits for a request; None when the queue is closed and empty."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._idle += 1
                try:
                    self._changed.wait()
                finally:
                    self._idle -= 1
            return self._taken()

    def close(self) -> None:
        """What waits is still taken; nothing more is put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _taken(self) -> TakenBatch:
        now_s = self._clock()
        batch = TakenBatch([], [], [])
        passed: list[PendingRequest] = []
        rows = 0
        while self._waiting and len(passed) < LOOK_AHEAD:
            request = self._waiting.popleft()
            if request.future.done():
                batch.gone.append(request)
            elif request.deadline_s <= now_s:
                batch.expired.append(request)
            elif not batch.requests or (request.key == batch.requests[0].key and rows + request.rows <= self.most_rows):
                batch.requests.append(request)
                rows += request.rows
                if rows >= self.most_rows:
                    break
            else:
                passed.append(request)
        self._waiting.extendleft(reversed(passed))
        for group in batch:
            for request in group:
                self.rows -= request.rows
                self.bytes -= request.bytes
        return batch
