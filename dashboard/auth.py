"""Who may look: the dashboard answers only to the names of this machine's loopback, on every route and socket."""

from __future__ import annotations

import re

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)  # a Host header in full
REFUSED = "this dashboard answers on localhost only; open it as http://localhost:<port>, through an SSH tunnel from elsewhere"
CROSS_SITE = "another site's page asked; open the address yourself"
FOR_PROGRAMS = ("/api/v1/", "/healthz", "/metrics", "/openapi.json")

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"frame-ancestors 'self'; object-src 'none'; base-uri 'self'"),
    (b"referrer-policy", b"same-origin"),
)
NOT_KEPT = (b"cache-control", b"no-store")


class LoopbackOnly:
    """ASGI middleware against DNS rebinding (a foreign name in Host) and cross-site requests (a foreign Origin, or Fetch Metadata
    that say so); it sets the headers that keep an answer from being framed, guessed at or kept.

    Any port is allowed: an SSH tunnel may end on another one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif refusal := refused(scope["path"], scope["headers"]):
            await _refuse(refusal, scope, receive, send)
        elif scope["type"] == "http":
            await self._app(scope, receive, _with_headers(scope["path"], send))
        else:
            await self._app(scope, receive, send)


def refused(path: str, headers: list[tuple[bytes, bytes]]) -> str | None:
    """Why, in a sentence. A page of another site may link to our pages, but not read or load what is for programs."""
    if not is_allowed(headers):
        return REFUSED
    if path.startswith(FOR_PROGRAMS) and (b"sec-fetch-site", b"cross-site") in headers:
        return CROSS_SITE
    return None


def is_allowed(headers: list[tuple[bytes, bytes]]) -> bool:
    """Exactly one Host, of this machine; an Origin, where there is one, is the same host and port."""
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    if len(hosts) != 1 or not LOOPBACK.fullmatch(hosts[0]):
        return False
    return all(origin in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins)


async def _refuse(sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # the handshake
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
        return
    body = orjson.dumps({"error": sentence})
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/json"), *HEADERS]})
    await send({"type": "http.response.body", "body": body})


def _with_headers(path: str, send: Send) -> Send:
    more = [*HEADERS, NOT_KEPT] if path.startswith(FOR_PROGRAMS) else [*HEADERS]

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return send_more
