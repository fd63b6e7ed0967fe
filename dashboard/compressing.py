"""Answers are compressed; long ones in a thread, so that no other request waits."""

from __future__ import annotations

import gzip

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FROM_BYTES = 1000
LEVEL = 5
LONG_BYTES = 64_000  # 2 ms of compressing
HUGE_BYTES, HUGE_LEVEL = 4_000_000, 1


class Compressing:
    """ASGI middleware: answers of the API, which come whole, here; files, which come in parts, as Starlette does it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._parts = GZipMiddleware(app, minimum_size=FROM_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            takes = "gzip" in Headers(scope=scope).get("accept-encoding", "")
            await self._app(scope, receive, _Whole(send).send if takes else send)
        else:
            await self._parts(scope, receive, send)


class _Whole:
    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, {}
        if start:
            body = message.get("body", b"")
            headers = MutableHeaders(raw=list(start["headers"]))
            if len(body) >= FROM_BYTES and not message.get("more_body") and "content-encoding" not in headers:
                body = await run_in_threadpool(_compressed, body) if len(body) > LONG_BYTES else _compressed(body)
                headers["Content-Encoding"], headers["Content-Length"] = "gzip", str(len(body))
                headers.add_vary_header("Accept-Encoding")
                message = {**message, "body": body}
            await self._send({**start, "headers": headers.raw})
        await self._send(message)


def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL if len(body) < HUGE_BYTES else HUGE_LEVEL)
