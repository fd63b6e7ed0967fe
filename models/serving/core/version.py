"""One version of a model: its sessions, the threads that run them, its queue."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import NamedTuple

from ...artifact import Artifact
from ...errors import CannotRun
from ...runtimes.session import ModelSession
from .batch_queue import BatchQueue
from .figures import ServingFigures
from .joining import RowLayout, glued, own_arrays
from .pace import BatchPace
from .pending import NEVER_S, ModelAnswer, PendingRequest, TensorMap
from .refusal import RefusalKind, ServingRefusal, bad
from .text_codec import TextCodec

MOST_QUEUED_BYTES = 256 << 20
LEAST_WAIT_S = 0.05  # by default a request is refused that would wait longer than this and than WAITED_BATCHES batches
WAITED_BATCHES = 3.0
AT_ONCE_S = 0.0003  # a model that takes no longer is run by the event loop itself: a worker's thread would cost more
DRAIN_S = 60.0  # for answers of many steps
END_S, END_LOOK_S = 10.0, 0.005  # for the calls of a model that are under way as its version is closed
LOGGED_S = 1.0  # between two failures that are logged: each request may bring one
LOG = logging.getLogger("deepseek.serving")


class ServingState(StrEnum):
    LOADING = "loading"  # hashes, golden outputs, sessions
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"  # takes no more, and answers what it has
    CLOSED = "closed"


class LoadedSessions(NamedTuple):
    """What `loading.load` made ready. `prepare` runs on the joined inputs of each batch."""

    artifact: Artifact
    sessions: Sequence[ModelSession]
    layout: RowLayout
    pace: BatchPace
    most_rows: int
    prepare: Callable[[TensorMap], TensorMap] | None = None
    text: TextCodec | None = None  # of a language model


class _Done(NamedTuple):
    answers: list[tuple[PendingRequest, ModelAnswer | ServingRefusal]]
    batches_rows: list[int]


class ServedVersion:
    """`submit` is for the event loop `loop` only; each session has a thread of its own."""

    def __init__(
        self,
        model: str,
        number: str,
        loaded: LoadedSessions,
        figures: ServingFigures,
        loop: asyncio.AbstractEventLoop,
        most_wait_s: float | None = None,
    ) -> None:
        self.model, self.number, self.artifact, self.layout = model, number, loaded.artifact, loaded.layout
        self.state = ServingState.READY
        self.queue = BatchQueue(loaded.most_rows)
        self.pace, self.figures = loaded.pace, figures
        self.text = loaded.text
        self._prepare, self._loop, self._most_wait_s = loaded.prepare, loop, most_wait_s
        self._waking = False
        self._held = 0  # by answers of many steps
        self._logged_s = float("-inf")
        self._free = asyncio.Event()
        self._free.set()
        self._locks = {id(session): threading.Lock() for session in loaded.sessions}
        self._first = loaded.sessions[0]
        self._threads = [
            threading.Thread(target=self._work, args=(session,), name=f"serve-{model}-{number}-{place}", daemon=True)
            for place, session in enumerate(loaded.sessions)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def most_wait_s(self) -> float:
        if self._most_wait_s is not None:
            return self._most_wait_s
        return max(LEAST_WAIT_S, WAITED_BATCHES * self.pace.seconds(self.queue.most_rows))

    def wait_s(self) -> float:
        """That a request would have which comes now; of a model that hangs the longer the longer it does."""
        return self._queued_s() + self.pace.overdue_s(len(self._threads))

    def _queued_s(self) -> float:
        return self.pace.wait_s(self.queue.rows, self.queue.most_rows, len(self._threads))

    @contextmanager
    def held(self) -> Iterator[None]:
        """For an answer of many steps: the version is not closed before its end (or DRAIN_S), and its later steps are not refused for a wait."""
        self._held += 1
        self._free.clear()
        try:
            yield
        finally:
            self._held -= 1
            if not self._held:
                self._free.set()

    def submit(
        self, inputs: TensorMap, arrived_s: float, deadline_s: float = NEVER_S, admitted: bool = False
    ) -> asyncio.Future[ModelAnswer]:
        """Cancel the future when the client is gone. Raises ServingRefusal; so does the future. `admitted`: a later step of an answer."""
        rows, key = self.layout.check(inputs)
        if self.state is ServingState.CLOSED or (self.state is ServingState.DRAINING and not admitted):
            raise ServingRefusal(
                RefusalKind.NOT_READY,
                f"version {self.number} of {self.model!r} takes no more requests; leave the version out",
                0.1,
            )
        if not admitted:
            self._admit(deadline_s)
        future: asyncio.Future[ModelAnswer] = self._loop.create_future()
        request = PendingRequest(inputs, rows, key, arrived_s, deadline_s, future)
        if self.queue.bytes + request.bytes > MOST_QUEUED_BYTES and len(self.queue):
            raise ServingRefusal(
                RefusalKind.BUSY,
                f"{self.model!r} has {MOST_QUEUED_BYTES >> 20} MiB of requests waiting; try again",
                1.0,
            )
        if (
            not self._prepare
            and not self.queue.rows
            and self.pace.seconds(rows) <= AT_ONCE_S
            and self._run_at_once(request)
        ):
            return future
        if deadline_s != NEVER_S:
            handle = self._loop.call_later(max(0.0, deadline_s - time.monotonic()), _expire, future)
            future.add_done_callback(lambda _: handle.cancel())
        self.queue.put(request, wake=False)
        if (
            not self._waking
        ):  # those that came together leave together: the worker begins when the loop has read what is there
            self._waking = True
            self._loop.call_soon(self._wake)
        return future

    async def close(self) -> None:
        """Answers what waits, then ends the threads. A thread whose call does not end within END_S is left: it ends with the process."""
        if self.state is ServingState.CLOSED:
            return
        self.state = ServingState.DRAINING
        with suppress(TimeoutError):
            await asyncio.wait_for(self._free.wait(), DRAIN_S)
        self.state = ServingState.CLOSED
        self.queue.close()
        until_s = time.monotonic() + END_S
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < until_s:
            await asyncio.sleep(END_LOOK_S)

    def _wake(self) -> None:
        self._waking = False
        self.queue.wake()

    def _admit(self, deadline_s: float) -> None:
        if (wait_s := self.wait_s()) and wait_s > self.most_wait_s:
            raise busy(self.model, wait_s, self.most_wait_s)
        if deadline_s == NEVER_S:
            return
        wait_s, left_s = self._queued_s(), deadline_s - time.monotonic()
        if left_s <= 0:
            raise ServingRefusal(RefusalKind.LATE, LATE)
        if left_s < wait_s:
            sentence = (
                f"{self.model!r} would begin in {wait_s * 1e3:.0f} ms, and the deadline is in {left_s * 1e3:.0f} ms"
            )
            raise ServingRefusal(RefusalKind.BUSY, sentence, wait_s)

    def _run_at_once(self, request: PendingRequest) -> bool:
        """False while a worker has the session."""
        lock = self._locks[id(self._first)]
        if not lock.acquire(blocking=False):
            return False
        done = _Done([], [])
        try:
            self._run(self._first, [request], done)
        finally:
            lock.release()
        self._deliver(done)
        return True

    def _work(self, session: ModelSession) -> None:
        while (taken := self.queue.take()) is not None:
            late = ServingRefusal(RefusalKind.LATE, LATE)
            done = _Done([(request, late) for request in taken.expired], [])
            if taken.requests:
                self.pace.begin(session, sum(request.rows for request in taken.requests))
                try:
                    with self._locks[id(session)]:
                        self._run(session, taken.requests, done)
                finally:
                    self.pace.end(session)
            if done.answers:
                try:
                    self._loop.call_soon_threadsafe(self._deliver, done)
                except RuntimeError:  # the loop is closed: all clients are gone
                    return

    def _run(self, session: ModelSession, requests: list[PendingRequest], done: _Done) -> None:
        """A batch; if it fails, or its outputs cannot be parted, each request by itself: one bad request fails alone."""
        begun_s = time.monotonic()
        rows = sum(request.rows for request in requests)
        try:
            inputs = self.layout.join(requests)
            if rows > self.queue.most_rows and self.layout.joins:
                outputs, infer_s = self._run_slices(session, inputs, requests[0], done)
                ran_s = time.monotonic()
            else:
                if self._prepare:
                    inputs = self._prepare(own_arrays(inputs))
                joined_s = time.monotonic()
                outputs = session.run(inputs)
                ran_s = time.monotonic()
                infer_s = ran_s - joined_s
                self.pace.add(rows, ran_s - begun_s)
                done.batches_rows.append(rows)
            parts = self.layout.part(outputs, requests)
        except (
            BaseException
        ) as error:  # of the runtime, or of the user's preparation: whatever it raises, the worker goes on
            if len(requests) == 1:
                done.answers.append((requests[0], self._failure(error)))
                return
            parts = None
        if parts is None:
            for request in requests:
                self._run(session, [request], done)
            return
        batch_s = ran_s - begun_s - infer_s
        done.answers.extend(
            (request, ModelAnswer(part, self.number, begun_s - request.arrived_s, batch_s, infer_s, rows))
            for request, part in zip(requests, parts, strict=True)
        )

    def _run_slices(
        self, session: ModelSession, inputs: TensorMap, request: PendingRequest, done: _Done
    ) -> tuple[TensorMap, float]:
        """A request of more rows than a batch may have, batch by batch: outputs and seconds of the model. It ends where its client is gone."""
        found, infer_s, most = [], 0.0, self.queue.most_rows
        for begin in range(0, request.rows, most):
            if begin and request.future.done():
                break
            begun_s = time.monotonic()
            part = {name: value[begin : begin + most] for name, value in inputs.items()}
            if self._prepare:
                part = self._prepare(own_arrays(part))
            joined_s = time.monotonic()
            found.append(session.run(part))
            ran_s = time.monotonic()
            infer_s += ran_s - joined_s
            rows = min(most, request.rows - begin)
            self.pace.add(rows, ran_s - begun_s)
            done.batches_rows.append(rows)
        return glued(found), infer_s

    def _failure(self, error: BaseException) -> ServingRefusal:
        if isinstance(
            error, (CannotRun, ValueError)
        ):  # of the values: their names, types and shapes were checked before
            with suppress(Exception):  # an exception of the user's own may have no text
                return bad(str(error).strip() or "the model does not take these values")
        now_s = time.monotonic()
        if now_s - self._logged_s >= LOGGED_S:
            self._logged_s = now_s
            LOG.error("%s: version %s failed", self.model, self.number, exc_info=error)
        return ServingRefusal(
            RefusalKind.FAILED, f"the model failed ({type(error).__name__}); the server's log has more"
        )

    def _deliver(self, done: _Done) -> None:
        for rows in done.batches_rows:
            self.figures.batch(rows)
        for request, answer in done.answers:
            if request.future.done():
                continue
            if isinstance(answer, ServingRefusal):
                request.future.set_exception(answer)
            else:
                request.future.set_result(answer)


LATE = "the deadline passed before the answer was there; give more time, or send fewer requests"


def busy(model: str, wait_s: float, most_s: float) -> ServingRefusal:
    sentence = f"{model!r} has too many requests: this one would wait {wait_s * 1e3:.0f} ms, and the limit is {most_s * 1e3:.0f} ms; try again later"
    return ServingRefusal(RefusalKind.BUSY, sentence, wait_s - most_s + 0.001)


def _expire(future: asyncio.Future[ModelAnswer]) -> None:
    if not future.done():
        future.set_exception(ServingRefusal(RefusalKind.LATE, LATE))
