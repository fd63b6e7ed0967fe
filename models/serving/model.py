"""Served models: loading, versions, batches, deadlines, reload and statistics; no protocol."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..artifact import Artifact
from ..artifact import artifact as golden
from ..errors import BadArtifact, CannotRun, ModelsError, WrongOption, needed
from ..runtimes.pick import AGREES, first_item
from ..runtimes.session import ModelSession, TensorSpec, check_inputs
from .queue import (
    NEVER_S,
    BatchPace,
    BatchQueue,
    ModelAnswer,
    PendingRequest,
    RefusalKind,
    ServingFigures,
    ServingRefusal,
    TensorMap,
    bad,
    not_found,
)

if TYPE_CHECKING:
    from ..artifact import Artifact


# Work in a thread that does not keep the process from ending: a load may wait for a disk that does not answer.

T = TypeVar("T")


async def in_background(work: Callable[[], T], name: str) -> T:
    """Its result, or what it raises. Cancelled, the thread goes on, and its result is dropped."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as caught:
            error = caught
        except BaseException as caught:  # such as SystemExit: it is not to end the loop
            error = RuntimeError(f"{type(caught).__name__}: {caught}")
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future


# Requests into a batch, and a batch's outputs into answers.

MAX_ANSWER_BYTES = 64 << 20


class RowLayout:
    """Of a model: whether the first dimension of all inputs and outputs is free and so may hold the rows of many requests."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        specs = (*inputs, *outputs)
        self.joins = bool(inputs) and all(spec.shape and isinstance(spec.shape[0], str) for spec in specs)
        self._row_bytes = sum(_bytes(spec, {spec.shape[0]: 1}) for spec in outputs) if self.joins else 0
        self._is_fixed = self.joins and not any(isinstance(size, str) for spec in outputs for size in spec.shape[1:])

    def check(self, inputs: TensorMap) -> tuple[int, object]:
        """Rows and key of a request. Raises ServingRefusal with the inputs that the model takes."""
        try:
            check_inputs(inputs, self.inputs)
        except CannotRun as error:
            raise bad(str(error)) from None
        if not self.joins:
            return 1, None
        rows = {value.shape[0] for value in inputs.values()}
        if len(rows) != 1:
            raise bad(f"the inputs have {' and '.join(map(str, sorted(rows)))} rows; give each the same number")
        (number,) = rows
        if not number:
            raise bad("the inputs have no rows; give at least one")
        size = number * self._row_bytes if self._is_fixed else self._answer_bytes(inputs)
        if size > MAX_ANSWER_BYTES:
            why = f"the answer would have {size >> 20} MiB, and the limit is {MAX_ANSWER_BYTES >> 20} MiB; send fewer or shorter rows at a time"
            raise ServingRefusal(RefusalKind.LARGE, why)
        return number, tuple(inputs[spec.name].shape[1:] for spec in self.inputs)

    def _answer_bytes(self, inputs: TensorMap) -> int:
        """As far as the sizes that inputs and outputs share say it: a lower bound."""
        sizes: dict[int | str, int] = {}
        for spec in self.inputs:
            sizes.update(zip(spec.shape, inputs[spec.name].shape, strict=True))
        return sum(_bytes(spec, sizes) for spec in self.outputs)

    def join(self, requests: Sequence[PendingRequest]) -> TensorMap:
        """Inputs of a batch; of one request its own arrays."""
        import numpy as np

        if len(requests) == 1:
            return requests[0].inputs
        return {name: np.concatenate([request.inputs[name] for request in requests]) for name in requests[0].inputs}

    def part(self, outputs: TensorMap, requests: Sequence[PendingRequest]) -> list[TensorMap] | None:
        """Each request's rows; None where an output has not as many rows as the batch."""
        if len(requests) == 1:
            return [outputs]
        total = sum(request.rows for request in requests)
        if any(not value.shape or value.shape[0] != total for value in outputs.values()):
            return None
        parts, begin = [], 0
        for request in requests:
            parts.append({name: value[begin : begin + request.rows] for name, value in outputs.items()})
            begin += request.rows
        return parts


def _bytes(spec: TensorSpec, sizes: Mapping[int | str, int]) -> int:
    """Sizes that are not known count as 1."""
    import numpy as np

    item = np.dtype(spec.dtype).itemsize if spec.dtype != "str" else 1
    return item * math.prod(size if isinstance(size, int) else sizes.get(size, 1) for size in spec.shape)


def own_arrays(inputs: TensorMap) -> TensorMap:
    """That may be written: what came as bytes may not."""
    return {name: value if value.flags.writeable else value.copy() for name, value in inputs.items()}


def concat_outputs(parts: Sequence[TensorMap]) -> TensorMap:
    """Outputs of batches, in their order, as those of one."""
    import numpy as np

    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def repeat_first_row(inputs: TensorMap, rows: int) -> TensorMap:
    """The first row of each input, `rows` times."""
    import numpy as np

    return {name: np.repeat(value[:1], rows, axis=0) for name, value in inputs.items()}


# Batches of a causal language model without a cache of keys: token ids are padded on the right, which no token before it sees.
#
# Of each request only the logits behind its last token are kept.

IDS, MASK, POSITIONS, LOGITS = "input_ids", "attention_mask", "position_ids", "logits"
TOKENS = "tokens"  # the only input of a request that is for the next token
TASK = "text-generation"


class TextLayout(RowLayout):
    """A request whose only input is `tokens` [1, time] gets `logits` [1, vocabulary]; such of any length fit together. Others are the model's own."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], most_tokens: int) -> None:
        super().__init__(inputs, outputs)
        self._most_tokens = most_tokens  # of a text with its answer: memory grows with their square
        self._names = {spec.name for spec in inputs}
        sizes = [spec.shape[-1] for spec in outputs if spec.name == LOGITS and spec.shape]
        self._vocabulary = sizes[0] if sizes and isinstance(sizes[0], int) else 0  # 0: not known

    @staticmethod
    def fits(task: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
        """`input_ids` [free, free], with or without a mask and positions, to `logits` [free, free, vocabulary]."""
        names = {spec.name for spec in inputs}
        logits = [spec for spec in outputs if spec.name == LOGITS and len(spec.shape) == 3]
        return (
            task == TASK
            and {IDS} <= names <= {IDS, MASK, POSITIONS}
            and bool(logits)
            and all(len(spec.shape) == 2 and not any(isinstance(size, int) for size in spec.shape) for spec in inputs)
        )

    def check(self, inputs: TensorMap) -> tuple[int, object]:
        if set(inputs) != {TOKENS}:
            found = super().check(inputs)
            if (length := inputs[IDS].shape[1]) > self._most_tokens:
                raise bad(f"the texts have {length} tokens, and the model takes {self._most_tokens}; shorten them")
            ids = inputs[IDS]
            if (
                self._vocabulary and ids.size and (ids.min() < 0 or ids.max() >= self._vocabulary)
            ):  # not all runtimes say so
                raise bad(f"input {IDS!r} has a token outside of 0 to {self._vocabulary - 1}")
            return found
        tokens = inputs[TOKENS]
        if tokens.dtype.name != "int64" or tokens.ndim != 2 or tokens.shape[0] != 1 or not tokens.shape[1]:
            raise bad(
                f"input {TOKENS!r} is {tokens.dtype.name} {list(tokens.shape)}, and the model takes int64 [1, time]"
            )
        return 1, TOKENS

    def join(self, requests: Sequence[PendingRequest]) -> TensorMap:
        if requests[0].key != TOKENS:
            return super().join(requests)
        import numpy as np

        rows = [request.inputs[TOKENS][0] for request in requests]
        longest = max(len(row) for row in rows)
        ids_BT = np.zeros((len(rows), longest), np.int64)
        mask_BT = np.zeros((len(rows), longest), np.int64)
        for place, row in enumerate(rows):
            ids_BT[place, : len(row)] = row
            mask_BT[place, : len(row)] = 1
        every = {
            IDS: ids_BT,
            MASK: mask_BT,
            POSITIONS: np.broadcast_to(np.arange(longest, dtype=np.int64), ids_BT.shape),
        }
        return {name: np.ascontiguousarray(every[name]) for name in self._names}

    def part(self, outputs: TensorMap, requests: Sequence[PendingRequest]) -> list[TensorMap] | None:
        """`logits` [1, vocabulary] behind the last token."""
        if requests[0].key != TOKENS:
            return super().part(outputs, requests)
        lengths = [request.inputs[TOKENS].shape[1] for request in requests]
        return [{LOGITS: outputs[LOGITS][row : row + 1, length - 1]} for row, length in enumerate(lengths)]


# Text to token ids and back, piece by piece: of a model with `tokenizer.json` beside it.

TOKENIZER = "tokenizer.json"
MIN_LONGEST = 16
END = "end_tokens"  # in the manifest's preprocessing: texts of the tokens that end an answer
HALF = "\ufffd"  # of a character whose other bytes are in the next token


class TextCodec:
    """Raises BadArtifact for a tokenizer that cannot be read."""

    def __init__(self, content: str, end_tokens: tuple[str, ...] = ()) -> None:
        try:
            self._tokenizer: Any = needed("tokenizers").Tokenizer.from_str(content)
        except Exception as error:  # the package has no class of its own
            raise BadArtifact(
                f"{TOKENIZER} cannot be read ({str(error)[:200]}); fetch or make the model again"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.ends = {found for token in end_tokens if (found := self._tokenizer.token_to_id(token)) is not None}
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        self.longest = max(MIN_LONGEST, *map(len, self._tokenizer.get_vocab()))  # characters of a token

    @classmethod
    def of(cls, artifact: Artifact) -> TextCodec | None:
        """None for a model without a tokenizer, which takes token ids only."""
        if TOKENIZER not in artifact.manifest.files:
            return None
        ends = artifact.manifest.preprocessing.get(END, [])
        words = tuple(str(end) for end in ends) if isinstance(ends, list) else ()
        path = artifact.file(TOKENIZER)
        try:
            return cls(path.read_text("utf-8"), words)
        except (OSError, UnicodeDecodeError) as error:
            raise BadArtifact(f"{path} cannot be read ({error}); fetch or make the model again") from error

    def ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode_batch([text])[0].ids)  # unlike `encode` it lets other threads run

    def text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids))


class TextPieces:
    """The text that each new token adds; half of a character waits for the rest."""

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self._ids: list[int] = []
        self._said = 0

    def add(self, token: int) -> str:
        self._ids.append(token)
        return self._new(held=True)

    def rest(self) -> str:
        return self._new(held=False)

    def _new(self, held: bool) -> str:
        text = self._codec.text(self._ids)
        if held and text.endswith(HALF):
            return ""
        new, self._said = text[self._said :], max(self._said, len(text))
        return new


# One version of a model: its sessions, the threads that run them, its queue.

MAX_QUEUED_BYTES = 256 << 20
MIN_WAIT_S = 0.05  # by default a request is refused that would wait longer than this and than WAITED_BATCHES batches
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


class _BatchResult(NamedTuple):
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
        return max(MIN_WAIT_S, WAITED_BATCHES * self.pace.seconds(self.queue.most_rows))

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
        if self.queue.bytes + request.bytes > MAX_QUEUED_BYTES and len(self.queue):
            raise ServingRefusal(
                RefusalKind.BUSY,
                f"{self.model!r} has {MAX_QUEUED_BYTES >> 20} MiB of requests waiting; try again",
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
        done = _BatchResult([], [])
        try:
            self._run(self._first, [request], done)
        finally:
            lock.release()
        self._deliver(done)
        return True

    def _work(self, session: ModelSession) -> None:
        while (taken := self.queue.take()) is not None:
            late = ServingRefusal(RefusalKind.LATE, LATE)
            done = _BatchResult([(request, late) for request in taken.expired], [])
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

    def _run(self, session: ModelSession, requests: list[PendingRequest], done: _BatchResult) -> None:
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
        self, session: ModelSession, inputs: TensorMap, request: PendingRequest, done: _BatchResult
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
        return concat_outputs(found), infer_s

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

    def _deliver(self, done: _BatchResult) -> None:
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


# Make a model ready before it gets a request: hashes, golden outputs in the runtime that will serve it, warm-up, its pace.

WARM_UP_S = 2.0  # of timing batches, at most; a model of more than this a call is timed once
TIMES = 3


@dataclass(frozen=True)
class ServingOptions:
    """`workers`: sessions that run side by side, each with `threads`. `most_rows`: of a batch, at most; the warm-up may choose less."""

    runtime: str = "onnxruntime"
    precision: str = ""  # the model's own
    threads: int = 1
    workers: int = 1
    most_rows: int = 32
    most_wait_s: float | None = None  # None: 50 ms, or three full batches where these take longer
    most_new_tokens: int = 256  # of a text model, where a request asks for more
    most_prompt_tokens: int = 1024
    prepare: Callable[[TensorMap], TensorMap] | None = None


def load(
    folder: Path, options: ServingOptions, stage: Callable[[ServingState], None] = lambda _: None
) -> LoadedSessions:
    """Takes seconds. Raises ModelsError: a damaged model, a missing runtime, outputs that are not the golden ones."""
    stage(ServingState.LOADING)
    artifact = Artifact.open(folder)
    recorded = artifact.golden()
    sessions = [artifact.session(options.runtime, options.precision, options.threads) for _ in range(options.workers)]
    stage(ServingState.WARMING)
    for session in sessions:
        _compare(artifact, recorded, session, options)
    specs = sessions[0].inputs, sessions[0].outputs
    is_text = TextLayout.fits(artifact.manifest.task, *specs)
    layout = TextLayout(*specs, options.most_prompt_tokens + options.most_new_tokens) if is_text else RowLayout(*specs)
    pace = BatchPace()
    item = first_item(recorded.inputs, artifact.manifest.inputs)
    _warm(sessions, item, pace, options.most_rows if layout.joins else 1)
    most_rows = pace.best_rows(options.most_rows) if layout.joins else 1
    text = TextCodec.of(artifact) if isinstance(layout, TextLayout) else None
    return LoadedSessions(artifact, sessions, layout, pace, most_rows, options.prepare, text)


def _compare(artifact: Artifact, recorded: golden.Golden, session: ModelSession, options: ServingOptions) -> None:
    name, share = golden.difference(recorded.outputs, session.run(recorded.inputs))
    own = options.runtime == "onnxruntime" and options.precision in ("", artifact.manifest.precision)
    allowed = artifact.manifest.tolerance if own else max(AGREES, artifact.manifest.tolerance)
    if share > allowed:
        raise BadArtifact(
            f"{artifact.folder}: output {name!r} of {options.runtime} differs by {share:.2g} of its largest value from the golden one, "
            f"and {allowed:g} is allowed; serve it with onnxruntime"
        )


def _warm(sessions: list[ModelSession], item: TensorMap, pace: BatchPace, most_rows: int) -> None:
    """Every size of batch in every session, the best of some calls: the first call allocates."""
    until_s = time.monotonic() + WARM_UP_S
    rows = 1
    while rows <= most_rows:
        inputs = repeat_first_row(item, rows) if most_rows > 1 else item
        spent_s = []
        for session in sessions:
            for _ in range(TIMES):
                begun_s = time.monotonic()
                session.run(inputs)
                spent_s.append(time.monotonic() - begun_s)
        pace.add(rows, min(spent_s))
        rows *= 2
        if time.monotonic() + 2 * sum(spent_s) > until_s:
            return


# A model that is served: the version in use, the one before, and the change from one to the next without a failed request.


class ServedModel:
    """For one event loop. `trouble`: why the last load failed; the version before it goes on."""

    def __init__(
        self, name: str, folder: Path, options: ServingOptions, noted: Callable[[str], None] = lambda _: None
    ) -> None:
        self.name, self.folder, self.options = name, folder, options
        self.figures = ServingFigures()
        self.trouble = ""
        self.loading: ServingState | None = None  # of the version that comes
        self.current: ServedVersion | None = None
        self.previous: ServedVersion | None = None
        self._changing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()  # versions that answer what they have
        self._numbers = 0
        self._noted = noted

    @property
    def state(self) -> ServingState:
        return self.current.state if self.current else self.loading or ServingState.CLOSED

    @property
    def is_ready(self) -> bool:
        return self.current is not None and self.current.state is ServingState.READY

    def version(self, number: str = "") -> ServedVersion:
        """Without a number the one in use. Raises ServingRefusal."""
        current = self.current
        if current is None:
            raise ServingRefusal(RefusalKind.NOT_READY, f"{self.name!r} is {self.state}; try again later", 1.0)
        if not number or number == current.number:
            return current
        if self.previous and number == self.previous.number:
            return self.previous
        there = " and ".join(version.number for version in (self.previous, current) if version)
        raise not_found(f"{self.name!r} has no version {number[:40]!r}; it has {there}")

    def submit(
        self, inputs: TensorMap, number: str = "", arrived_s: float | None = None, deadline_s: float = NEVER_S
    ) -> asyncio.Future[ModelAnswer]:
        """Raises ServingRefusal; so does the future."""
        return self.version(number).submit(inputs, time.monotonic() if arrived_s is None else arrived_s, deadline_s)

    def refuse_early(self, lag_s: float) -> None:
        """Before a request is read: raises ServingRefusal where it would have to wait too long. `lag_s`: of the event loop."""
        if self.current and (wait_s := self.current.wait_s() + lag_s) > self.current.most_wait_s:
            raise busy(self.name, wait_s, self.current.most_wait_s)

    async def load(self, folder: Path | None = None) -> ServedVersion:
        """The next version: loaded, warmed up and compared beside the one in use, then put in its place; the one in use is kept, the one before it is closed.

        Raises ModelsError, and nothing has changed then.
        """
        async with self._changing:
            wanted = folder or self.folder
            try:
                loaded = await in_background(lambda: load(wanted, self.options, self._stage), f"load-{self.name}")
                if self.current and _face(self.current) != (loaded.layout.inputs, loaded.layout.outputs):
                    self._noted(f"{self.name}: inputs or outputs of the new version differ")
            except Exception as error:
                known = error if isinstance(error, ModelsError) else ModelsError(_unforeseen(wanted, error))
                self.trouble = str(known)
                self._noted(f"{self.name}: not loaded: {known}")
                raise known from error
            finally:
                self.loading = None
            self._numbers += 1
            loop = asyncio.get_running_loop()
            new = ServedVersion(self.name, str(self._numbers), loaded, self.figures, loop, self.options.most_wait_s)
            retired, self.previous, self.current = self.previous, self.current, new
            self.folder, self.trouble = wanted, ""
            self._noted(f"{self.name}: version {new.number} is in use, batches of up to {new.queue.most_rows}")
            if retired:
                closing = asyncio.create_task(retired.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            return new

    async def close(self) -> None:
        """Answers what waits first. A load that does not end in time is left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S), self._changing:
                pass
        await asyncio.gather(*(version.close() for version in (self.current, self.previous) if version), *self._closing)

    def _stage(self, state: ServingState) -> None:
        self.loading = state


def _unforeseen(folder: Path, error: Exception) -> str:
    LOG.error("%s: a load failed", folder, exc_info=error)
    return f"{folder} cannot be loaded ({type(error).__name__}: {str(error)[:200]}); fetch or make the model again"


def _face(version: ServedVersion) -> tuple[object, object]:
    return version.layout.inputs, version.layout.outputs


# The models of a server by name.

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,63})?")
SHOWN = 20


class ServedModels:
    """Raises WrongOption for a name that is none."""

    def __init__(
        self, folders: dict[str, Path], options: ServingOptions, noted: Callable[[str], None] = lambda _: None
    ) -> None:
        for name in folders:
            if not MODEL_NAME.fullmatch(name):
                raise WrongOption(
                    f"{name!r} is no name for a model: letters, digits, dots, dashes, and one slash at most"
                )
        self._models = {name: ServedModel(name, folder, options, noted) for name, folder in folders.items()}
        self.closing = False  # nothing new is to come here
        self.lag_s = 0.0  # of the event loop: how late it is at its work

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def only(self) -> ServedModel | None:
        """Where there is one, the model that a request means which names none."""
        return next(iter(self)) if len(self._models) == 1 else None

    @property
    def is_ready(self) -> bool:
        return not self.closing and all(model.is_ready for model in self)

    def named(self, name: str) -> ServedModel:
        """Raises ServingRefusal."""
        found = self._models.get(name)
        if found is None:
            there = ", ".join(list(self._models)[:SHOWN])
            raise not_found(f"there is no model {name[:80]!r}; there are {there}")
        return found

    async def load(self) -> None:
        """All of them, one after the other. Raises ModelsError."""
        for model in self:
            await model.load()

    async def close(self) -> None:
        self.closing = True
        await asyncio.gather(*(model.close() for model in self))
