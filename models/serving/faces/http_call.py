"""A request over HTTP: its body within limits, its answer within a time, and whether its client is still there."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import orjson

from ..core.refusal import RefusalKind, ServingRefusal, bad

T = TypeVar("T")
AsgiMessage: TypeAlias = MutableMapping[str, Any]
AsgiReceive: TypeAlias = Callable[[], Awaitable[AsgiMessage]]
AsgiSend: TypeAlias = Callable[[AsgiMessage], Awaitable[None]]

MOST_BODY_BYTES = 64 << 20
MOST_JSON_BYTES = 8 << 20  # it is read in one go, about 10 ms a MiB, in which nothing else is answered
MOST_READING_BYTES = 512 << 20  # of all bodies that are half there
SEND_S = 30.0  # for a part of an answer: the client must read
PATIENCE_S = 0.01  # a request that takes longer watches its client
JSON = b"application/json"


class ClientGone(Exception):
    """It has closed its connection, or does not read."""


class HttpAnswer(NamedTuple):
    content: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class HttpCall:
    """One request; for the event loop. `reading_bytes`: of all bodies that are half there."""

    reading_bytes: ClassVar[int] = 0

    __slots__ = ("_future", "_receive", "_send", "_watcher", "arrived_s", "begun", "gone", "headers", "scope")

    def __init__(self, scope: Mapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.arrived_s = time.monotonic()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.begun = False  # its answer
        self.gone = False  # known only while it is watched
        self._watcher: asyncio.Task[None] | None = None
        self._future: Future[Any] | None = None

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    def part(self, name: str) -> str:
        """Of the path, "" where it has none."""
        return str(self.scope["path_params"].get(name, ""))

    async def body(self) -> bytes:
        """Raises ServingRefusal for one that is too long or compressed, ClientGone also for one that is too slow."""
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise bad("the body is compressed, which this server does not read; send it without Content-Encoding")
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > MOST_BODY_BYTES:
            raise too_long()
        return await self._whole()

    async def json(self) -> Any:
        """Raises ServingRefusal."""
        return json_of(await self.body())

    async def table(self) -> dict[str, Any]:
        """Raises ServingRefusal for a body that is no JSON object."""
        return table_of(await self.body())

    async def while_there(self, future: Future[T]) -> T:
        """Its result; a client that goes away cancels it. Raises ClientGone, and what the future raises."""
        if future.done():
            return future.result()
        self._future = future
        if self.gone:
            future.cancel()
        handle = None if self._watcher else asyncio.get_running_loop().call_later(PATIENCE_S, self.watch)
        try:
            return await future
        except asyncio.CancelledError:
            if self.gone:
                raise ClientGone from None
            raise
        finally:
            if handle:
                handle.cancel()

    def watch(self) -> None:
        """From now on `gone` is right; after the body was read."""
        if not self._watcher:
            self._watcher = asyncio.get_running_loop().create_task(self._until_gone())

    def close(self) -> None:
        if self._watcher:
            self._watcher.cancel()

    async def answer(self, answer: HttpAnswer) -> None:
        """Raises ClientGone."""
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.content)),
            *answer.headers,
        ]
        self.begun = True
        try:  # without a limit of time: a connection whose client does not read ends by itself (connection.py)
            await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": answer.content})
        except RuntimeError as error:
            raise _gone(error) from None

    async def stream(self, content_type: bytes, parts: AsyncIterator[bytes]) -> None:
        """Raises ClientGone, and what the parts raise."""
        self.begun = True
        headers = [(b"content-type", content_type), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await self._out({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in parts:
            if self.gone:
                raise ClientGone
            await self._out({"type": "http.response.body", "body": part, "more_body": True})
        await self._out({"type": "http.response.body", "body": b""})

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._future:
            self._future.cancel()

    async def _whole(self) -> bytes:
        counted = 0  # of a body in many parts only
        try:
            message = await self._message()
            parts = bytearray(message.get("body", b""))
            while message.get("more_body"):
                message = await self._message()
                part = message.get("body", b"")
                parts += part
                counted += len(part)
                HttpCall.reading_bytes += len(part)
                if len(parts) > MOST_BODY_BYTES:
                    raise too_long()
                if HttpCall.reading_bytes > MOST_READING_BYTES:
                    raise ServingRefusal(
                        RefusalKind.BUSY, "the server reads many long requests already; try again", 1.0
                    )
        finally:
            HttpCall.reading_bytes -= counted
        return bytes(parts)

    async def _message(self) -> AsgiMessage:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    async def _out(self, message: AsgiMessage) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._send(message)
        except TimeoutError:
            raise ClientGone from None
        except RuntimeError as error:
            raise _gone(error) from None


def _gone(error: RuntimeError) -> Exception:
    """uvloop's, for a connection that ended before the answers to what was sent behind each other."""
    return ClientGone() if "closed" in str(error) else error


def too_long() -> ServingRefusal:
    return ServingRefusal(
        RefusalKind.LARGE, f"the body is longer than {MOST_BODY_BYTES >> 20} MiB; send fewer rows at a time"
    )


def json_of(content: bytes) -> Any:
    """Raises ServingRefusal."""
    if len(content) > MOST_JSON_BYTES:
        why = f"the JSON is longer than {MOST_JSON_BYTES >> 20} MiB; send large tensors in the protocol's binary form, or over gRPC"
        raise ServingRefusal(RefusalKind.LARGE, why)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise bad(f'the body is not JSON ({error}); send an object such as {{"input": [1, 2]}}') from None


def table_of(content: bytes) -> dict[str, Any]:
    """Raises ServingRefusal."""
    found = json_of(content)
    if not isinstance(found, dict):
        raise bad('the body is not a JSON object; send one such as {"input": [1, 2]}')
    return found


def as_json(value: object) -> bytes:
    """Of plain values and numpy arrays; NaN and infinities become null, as JSON has none."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def sentence(refusal: ServingRefusal) -> HttpAnswer:
    """`{"error": "one sentence"}`"""
    headers = [(name.encode(), value.encode()) for name, value in refusal.retry_after.items()]
    if refusal.kind is RefusalKind.NO_TOKEN:
        headers.append((b"www-authenticate", b"Bearer"))
    return HttpAnswer(as_json({"error": readable(str(refusal))}), refusal.kind.http, headers=tuple(headers))


def readable(text: str) -> str:
    """Without halves of characters, which no encoder takes."""
    return text.encode("utf-8", "replace").decode()
