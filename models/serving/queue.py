"""The batch queue of a model: requests, predicted waits, refusals."""

from __future__ import annotations

import math
import threading
import time
from asyncio import Future
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np


TensorMap: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
NEVER_S = float("inf")


class ModelAnswer(NamedTuple):
    """`version` is the one that computed it; seconds of the request alone, but for `infer_s`, which its batch shared."""

    outputs: TensorMap
    version: str
    queue_s: float
    batch_s: float
    infer_s: float
    batch_rows: int


class PendingRequest:
    """`rows`: of its inputs' first dimension. `key`: requests of one key fit into one batch. A future that is done is of a client that is gone."""

    __slots__ = ("arrived_s", "bytes", "deadline_s", "future", "inputs", "key", "rows")

    def __init__(
        self,
        inputs: TensorMap,
        rows: int,
        key: object,
        arrived_s: float,
        deadline_s: float,
        future: Future[ModelAnswer],
    ) -> None:
        self.inputs, self.rows, self.key = inputs, rows, key
        self.arrived_s, self.deadline_s, self.future = arrived_s, deadline_s, future  # of time.monotonic()
        self.bytes = sum(value.nbytes for value in inputs.values())


# Why a request gets no answer: one sentence, and the status of each protocol.

MAX_LETTERS = 500  # of a sentence; gRPC drops an answer whose details have more than 8 KB


class RefusalKind(Enum):
    """HTTP status, name of the gRPC status, type of an OpenAI error."""

    BAD = (400, "INVALID_ARGUMENT", "invalid_request_error")
    NO_TOKEN = (401, "UNAUTHENTICATED", "invalid_request_error")
    FORBIDDEN = (403, "PERMISSION_DENIED", "invalid_request_error")
    NOT_FOUND = (404, "NOT_FOUND", "invalid_request_error")
    SLOW = (408, "DEADLINE_EXCEEDED", "invalid_request_error")
    CONFLICT = (409, "FAILED_PRECONDITION", "invalid_request_error")
    LARGE = (413, "RESOURCE_EXHAUSTED", "invalid_request_error")
    LONG_HEAD = (431, "RESOURCE_EXHAUSTED", "invalid_request_error")
    BUSY = (429, "RESOURCE_EXHAUSTED", "rate_limit_error")
    GONE = (499, "CANCELLED", "invalid_request_error")
    FAILED = (500, "INTERNAL", "server_error")
    NOT_BUILT = (501, "UNIMPLEMENTED", "invalid_request_error")
    NOT_READY = (503, "UNAVAILABLE", "server_error")
    LATE = (504, "DEADLINE_EXCEEDED", "server_error")

    @property
    def http(self) -> int:
        return self.value[0]

    @property
    def grpc(self) -> str:
        return self.value[1]

    @property
    def openai(self) -> str:
        return self.value[2]


class ServingRefusal(Exception):
    """`retry_after_s`: when the same request may be tried again; None where that does not help."""

    def __init__(self, kind: RefusalKind, sentence: str, retry_after_s: float | None = None) -> None:
        super().__init__(one_line(sentence))
        self.kind, self.retry_after_s = kind, retry_after_s

    @property
    def retry_after(self) -> dict[str, str]:
        """Headers: whole seconds, as HTTP has them, and milliseconds, which the openai package reads."""
        if self.retry_after_s is None:
            return {}
        return {
            "retry-after": str(max(1, math.ceil(self.retry_after_s))),
            "retry-after-ms": str(max(1, math.ceil(self.retry_after_s * 1e3))),
        }


def one_line(text: str) -> str:
    """What a user wrote may be in it: without control characters and halves of characters, and no longer than gRPC's details may be."""
    short = text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]}..."
    return " ".join("".join(letter if letter.isprintable() else " " for letter in short).split())


def bad(sentence: str) -> ServingRefusal:
    return ServingRefusal(RefusalKind.BAD, sentence)


def stopping() -> ServingRefusal:
    return ServingRefusal(RefusalKind.NOT_READY, "the server is stopping; ask another one", 1.0)


def not_found(sentence: str) -> ServingRefusal:
    return ServingRefusal(RefusalKind.NOT_FOUND, sentence)


# What a model did: counts since its start, and the figures of the last second. Written by the event loop only.

BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MAX_LATENCIES = 20_000  # kept of one second
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
        if len(self._latencies_s) < MAX_LATENCIES:
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


# How long a model takes by the size of its batch, and so how long a new request would wait.

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


# The queue of a model. A batch leaves when a worker is free, with all that waits and fits: there is no timer.
#
# Requests whose client is gone and those past their deadline leave first, and take no place in a batch.

LOOK_AHEAD = 256  # requests of other shapes that are passed over in search of one that fits


class Batch(NamedTuple):
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

    def take(self) -> Batch | None:
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

    def _taken(self) -> Batch:
        now_s = self._clock()
        batch = Batch([], [], [])
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
