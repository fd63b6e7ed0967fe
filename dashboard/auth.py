"""Who may look: the dashboard answers only to the names of this machine's loopback, on every route and socket."""

from __future__ import annotations

from urllib.parse import urlsplit

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
REFUSED = "this dashboard answers on localhost only; open it as http://localhost:<port>, through an SSH tunnel from elsewhere"


class LoopbackOnly:
    """ASGI middleware against DNS rebinding (a foreign name in Host) and cross-site requests (a foreign Origin).

    Any port is allowed: an SSH tunnel may end on another one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or is_allowed(scope["headers"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # the handshake
            await send({"type": "websocket.close", "code": 1008, "reason": REFUSED})
        else:
            body = orjson.dumps({"error": REFUSED})
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": body})


def is_allowed(headers: list[tuple[bytes, bytes]]) -> bool:
    """Exactly one Host, of this machine; an Origin, where there is one, is the same host and port."""
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    if len(hosts) != 1 or host_name(hosts[0]) not in LOOPBACK:
        return False
    return all(origin in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins)


def host_name(host: str) -> str | None:
    """`[::1]:8080 -> ::1`"""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
