"""ASGI middleware about bodies: those of requests within limits of size and time, those of answers as older clients read them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

from .http import ABORT

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

GONE = {"type": "http.disconnect"}
NO_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
MAX_WHOLE_BYTES = 64 << 20


class BodyRefusal(NamedTuple):
    status: HTTPStatus
    sentence: str


class BodyLimits(NamedTuple):
    """`most_bytes` of one body, by its scope; `together_bytes` of all that are half there; `most_s` until a body is complete."""

    most_bytes: Callable[[Scope], int]
    too_large: str  # the sentence
    together_bytes: int
    most_s: float


class LimitBodies:
    """ASGI middleware. A body beyond its limits is refused once the application reads it, which then sees a client that is gone."""

    def __init__(
        self, app: App, limits: BodyLimits, written: Callable[[Scope, BodyRefusal], bytes] | None = None
    ) -> None:
        """`written`: a refusal as JSON, where it is not `{"error": sentence}`."""
        self._app, self._limits, self._written = app, limits, written or _as_error
        self.reading_bytes = 0  # of all bodies that are half there

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = _length_of(scope) if scope["type"] == "http" else 0
        if not length:
            await self._app(scope, receive, send)
            return
        body = _Body(self, self._limits, length, scope, receive, send)
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            if not body.is_refused:  # else it is about the client that seems gone
                raise
        finally:
            body.release()

    async def answer(self, scope: Scope, refusal: BodyRefusal, send: Send) -> None:
        content = self._written(scope, refusal)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            (b"connection", b"close"),
        ]
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
        await send({"type": "http.response.body", "body": content})


class _Body:
    def __init__(
        self, owner: LimitBodies, limits: BodyLimits, length: int, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._owner, self._limits, self._length = owner, limits, length
        self._scope, self._receive, self._send = scope, receive, send
        self._most_bytes, self._until_s = limits.most_bytes(scope), asyncio.get_running_loop().time() + limits.most_s
        self._bytes = self._held_bytes = 0
        self._is_whole = self._is_begun = self.is_refused = False

    async def receive(self) -> Message:
        if self.is_refused:
            return GONE
        if self._is_whole:
            return await self._receive()
        if self._length > self._most_bytes:
            return await self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._limits.too_large)
        try:
            async with asyncio.timeout_at(self._until_s):
                message = await self._receive()
        except TimeoutError:
            late = f"the body did not come within {self._limits.most_s:g} s; send it again"
            return await self.refuse(HTTPStatus.REQUEST_TIMEOUT, late)
        count = len(message.get("body", b""))
        self._bytes += count
        self._is_whole = not message.get("more_body")
        if self._bytes > self._most_bytes:
            return await self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._limits.too_large)
        if self._is_whole:
            self.release()
        else:
            self._held_bytes += count
            self._owner.reading_bytes += count
            if self._owner.reading_bytes > self._limits.together_bytes:
                busy = "the server reads many long requests already; try again"
                return await self.refuse(HTTPStatus.TOO_MANY_REQUESTS, busy)
        return message

    async def send(self, message: Message) -> None:
        if not self.is_refused:
            self._is_begun = True
            await self._send(message)

    async def refuse(self, status: HTTPStatus, sentence: str) -> Message:
        self.is_refused = True
        self.release()
        if self._is_begun:
            self._scope["extensions"][ABORT]()
        else:
            await self._owner.answer(self._scope, BodyRefusal(status, sentence), self._send)
        return GONE

    def release(self) -> None:
        self._owner.reading_bytes -= self._held_bytes
        self._held_bytes = 0


def _length_of(scope: Scope) -> int:
    """Of the body that is announced; 1 where its length is not known."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return 1
    return 0


def _as_error(scope: Scope, refusal: BodyRefusal) -> bytes:
    return json.dumps({"error": refusal.sentence}).encode()


class PlainAnswers:
    """ASGI middleware: a HEAD is a GET without the body of its answer, and an HTTP/1.0 client, which knows no chunks, gets a length.

    For that an answer in parts is kept until it is whole; beyond `MAX_WHOLE_BYTES` it is refused.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["http_version"] == "1.0":
                send = _WholeAnswer(scope, send).send
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class _WholeAnswer:
    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._start: Message = {}  # kept until its length is known
        self._parts: list[bytes] = []
        self._bytes = 0
        self._is_refused = False

    async def send(self, message: Message) -> None:
        if self._is_refused:
            return
        if message["type"] == "http.response.start":
            if message["status"] in NO_BODY or any(name == b"content-length" for name, _ in message["headers"]):
                await self._send(message)
            else:
                self._start = message
            return
        if not self._start:
            await self._send(message)
            return
        self._parts.append(message.get("body", b""))
        self._bytes += len(self._parts[-1])
        if self._bytes > MAX_WHOLE_BYTES:
            self._is_refused = True
            self._start = {**self._start, "status": int(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED), "headers": []}
            self._parts = [json.dumps({"error": "the answer is too long for HTTP/1.0; ask with HTTP/1.1"}).encode()]
        elif message.get("more_body"):
            return
        body = b"".join(self._parts)
        headers = [*self._start.get("headers", ()), (b"content-length", b"%d" % len(body))]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
