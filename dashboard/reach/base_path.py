"""The path below which the dashboard stands, `--base-path /x/`: taken off each request here, and put before each address by `path_to`.

All else knows addresses as they are without it: routes, roles, tokens, and the addresses that a link leads to.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

NONE = "/"
FORM = re.compile(r"/(?:(?:[A-Za-z0-9._~@+=,-]|%[0-9A-Fa-f]{2})+/)+")
MOST_CHARS = 500
OUTSIDE = "this dashboard stands below {base}: open that, or start it without --base-path"

_base: ContextVar[str] = ContextVar("base_path", default=NONE)


def base_path_of(text: str) -> str:
    """`x -> /x/`. As browsers write it, with `%20` for a space. Raises ValueError."""
    base = f"/{text.strip('/')}/" if text.strip("/") else NONE
    is_dotted = any(unquote(part) in (".", "..") for part in base.split("/"))
    if base != NONE and (not FORM.fullmatch(base) or is_dotted or len(base) > MOST_CHARS):
        raise ValueError(f"{text!r} is no path of an address; write it as in /gpu-box/")
    return base


def path_to(path: str) -> str:
    """The address of a path of ours for the browser whose request is being answered: `/flame?run=a -> /x/flame?run=a`."""
    base = _base.get()
    return path if base == NONE else f"{base}{path.removeprefix('/')}"


def within(address: str) -> str:
    """The other way round: `/x/flame -> /flame`; what stands elsewhere stays."""
    base = _base.get()
    return address.removeprefix(base.rstrip("/")) if address.startswith(base) else address


class BasePath:
    """ASGI middleware, outside of all others: takes it off, and answers what stands elsewhere with 404."""

    def __init__(self, app: ASGIApp, base: str) -> None:
        self._app, self._base = app, base
        self._path = unquote(base)
        self._raw = base.rstrip("/").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if not path.startswith(self._path):
            await self._outside(scope, receive, send)
            return
        raw: bytes = scope.get("raw_path") or b""
        scope = {**scope, "path": path[len(self._path) - 1 :], "raw_path": raw.removeprefix(self._raw)}
        entered = _base.set(self._base)
        try:
            await self._app(scope, receive, send)
        finally:
            _base.reset(entered)

    async def _outside(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import JSONResponse, RedirectResponse, Response

        sentence = OUTSIDE.format(base=self._base)
        if scope["type"] == "websocket":
            await receive()  # the handshake
            await send({"type": "websocket.close", "code": 1008, "reason": sentence})
            return
        if f"{scope['path']}/" == self._path and scope["method"] in ("GET", "HEAD"):
            query = scope["query_string"].decode("latin-1")
            response: Response = RedirectResponse(
                self._base + (f"?{query}" if query else ""), HTTPStatus.TEMPORARY_REDIRECT
            )
        else:
            response = JSONResponse({"error": sentence}, HTTPStatus.NOT_FOUND)
        response.headers["X-Content-Type-Options"] = "nosniff"
        await response(scope, receive, send)
