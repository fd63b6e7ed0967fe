"""What is open on behalf of a token ends when that does: a revoked or expired one within two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from starlette.types import Scope, Send

from ..connection import ABORT

LOOK_S = 0.5
CLOSE_S = 0.5  # a client that does not read the reason is cut off then
LOG_IN_AGAIN = 4401  # the code of a socket that was closed for it
ENDED = "the token was revoked, or is over; log in again"


class Visit(NamedTuple):
    key: str
    end: Callable[[], Awaitable[None]]


class Visits:
    """On the event loop. While any is open, all are looked at twice a second: a stat of `tokens.json`, and a look into a dict each."""

    def __init__(self, holds: Callable[[str], bool]) -> None:
        self._holds = holds
        self._open: dict[int, Visit] = {}
        self._looker: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def during(self, key: str, scope: Scope, send: Send) -> AsyncIterator[None]:
        """The block answers a request of the token or session with this hash."""
        visit = Visit(key, lambda: _end(scope, send))
        self._open[id(visit)] = visit
        if self._looker is None or self._looker.done():
            self._looker = asyncio.create_task(self._look(), name="visits")
        try:
            yield
        finally:
            self._open.pop(id(visit), None)

    async def _look(self) -> None:
        while self._open:
            await asyncio.sleep(LOOK_S)
            over = [number for number, visit in self._open.items() if not self._holds(visit.key)]
            await asyncio.gather(*(self._open.pop(number).end() for number in over))


async def _end(scope: Scope, send: Send) -> None:
    """With the code by which a page knows why, where it is a socket; the program behind it ends as it does when a client leaves."""
    if scope["type"] == "websocket":
        with suppress(Exception):  # it has not been accepted, or is closing
            async with asyncio.timeout(CLOSE_S):
                await send({"type": "websocket.close", "code": LOG_IN_AGAIN, "reason": ENDED})
                await asyncio.sleep(CLOSE_S)
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is not None:
        abort()
