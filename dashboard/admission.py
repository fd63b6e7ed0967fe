"""Limits concurrent expensive requests, fairly per client, with a timeout."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collectors.store.store import QueryDeadline, asked

# Turns at what only a few may do at once, shared fairly among clients: one that asks in a hot loop waits for itself.

ClientKey: TypeAlias = tuple[str, bytes, bytes]
"""Address, what it calls itself, and its credentials: two browsers of one machine are two clients, unless they call themselves the same."""


class FairSemaphore:
    """On the event loop only. Where `at_once` is more than one, one client has at most all but one of the turns, so that another one never
    waits for it; and at most half of the places of those that wait."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once, self._most_waiting = at_once, waiting
        self._working: Counter[ClientKey] = Counter()
        self._waiting: dict[ClientKey, deque[asyncio.Future[None]]] = {}  # who had a turn last comes last

    async def taken(self, client: ClientKey, gone: asyncio.Future[None], most_s: float) -> bool:
        """Whether it is the client's turn; not where too many wait, it takes too long, or the client leaves meanwhile."""
        if self._is_full(client):
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._give()
        try:
            both: set[asyncio.Future[Any]] = {turn, gone}
            await asyncio.wait(both, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._leave(client, turn)
            raise
        if not turn.done() or gone.done():
            self._leave(client, turn)
            return False
        return True

    def given_back(self, client: ClientKey) -> None:
        self._working[client] -= 1
        if not self._working[client]:
            del self._working[client]
        self._give()

    def _is_full(self, client: ClientKey) -> bool:
        own = len(self._waiting.get(client, ()))
        others = sum(map(len, self._waiting.values())) - own
        return own + others >= self._most_waiting or own >= max(1, self._most_waiting // 2)

    def _leave(self, client: ClientKey, turn: asyncio.Future[None]) -> None:
        """Without its turn, or with one that it cannot use any more."""
        if turn.done():
            self.given_back(client)
            return
        turn.cancel()
        with suppress(KeyError, ValueError):
            self._waiting[client].remove(turn)
            if not self._waiting[client]:
                del self._waiting[client]

    def _give(self) -> None:
        """To those that have the fewest; of several the one whose last turn is longest ago."""
        most = max(1, self._at_once - 1)
        while self._working.total() < self._at_once:
            able = [client for client in self._waiting if self._working[client] < most]
            if not able:
                return
            client = min(able, key=lambda waiting: self._working[waiting])
            turns = self._waiting.pop(client)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns  # last from now on
            self._working[client] += 1
            turn.set_result(None)


# Expensive questions take turns, fairly among clients, with a time limit, and end when their client is gone. Cheap ones are never
# kept waiting.


class RequestClass(NamedTuple):
    """`at_once` are worked on together, for at most `most_s` each; `waiting` may wait for as long for their turn."""

    name: str
    at_once: int
    waiting: int
    most_s: float


STACKS = RequestClass("stacks", at_once=3, waiting=64, most_s=30.0)
ROWS = RequestClass("rows", at_once=3, waiting=128, most_s=15.0)
EXPORTS = RequestClass("exports", at_once=2, waiting=16, most_s=1800.0)  # which the client's connection may make slow
REPORTS = RequestClass("reports", at_once=1, waiting=16, most_s=30.0)
FILES = RequestClass("files", at_once=3, waiting=128, most_s=15.0)
KINDS = {
    "/api/v1/flame": STACKS,
    "/api/v1/flamechart": STACKS,
    "/api/v1/last_stacks": STACKS,
    "/api/v1/blame": STACKS,
    "/api/v1/ledger": STACKS,
    "/api/v1/ledger/compare": STACKS,
    "/api/v1/report": REPORTS,
    "/api/v1/series": ROWS,
    "/api/v1/curves": ROWS,
    "/api/v1/tags": ROWS,
    "/api/v1/export": EXPORTS,
    "/api/v1/logs": ROWS,
    **{f"/api/v1/logs/{what}": ROWS for what in ("lines", "line", "density", "next", "templates", "field")},
    "/api/v1/logs/difference": ROWS,
    "/api/v1/logs/crash": ROWS,
    "/api/v1/events": ROWS,
    "/api/v1/compare": ROWS,
    "/api/v1/since_last": ROWS,
    "/api/v1/search": ROWS,
    "/api/v1/sparklines": ROWS,
    "/api/v1/table": ROWS,
    "/api/v1/columns": ROWS,
    "/api/v1/samples": ROWS,
    "/api/v1/sample": FILES,
    "/api/v1/checkpoints": FILES,
    "/api/v1/trace": FILES,
    "/api/v1/trace/ranks": FILES,
}
CHANGE = "POST"  # is quick, and has a body
BUSY = "the dashboard is busy with other questions; ask again in a moment"
GONE = "the client is gone"
ENDING = "the dashboard is ending; ask again once it is back"


class ConcurrencyLimit:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turns = {kind: FairSemaphore(kind.at_once, kind.waiting) for kind in {*KINDS.values()}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = KINDS.get(scope["path"]) if scope["type"] == "http" and scope["method"] != CHANGE else None
        if kind is None:
            await self._app(scope, receive, send)
            return
        client, key, answering = _Client(receive), key_of(scope), False

        async def answer(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            if await self._turns[kind].taken(key, client.gone, kind.most_s):
                try:
                    await self._work(kind, client, scope, answer)
                finally:
                    self._turns[kind].given_back(key)
            elif not client.gone.done():
                await _refuse(answer, BUSY)
        except asyncio.CancelledError:  # the server ends
            if not answering:
                await _refuse(send, ENDING)
        finally:
            await client.leave()

    async def _work(self, kind: RequestClass, client: _Client, scope: Scope, send: Send) -> None:
        question = QueryDeadline(kind.most_s)
        client.gone.add_done_callback(lambda _: question.end(GONE))
        before = asked.set(question)  # goes along into the thread that works
        try:
            await self._app(scope, client.receive, send)
        finally:
            asked.reset(before)


class _Client:
    """Waits for the one who asked to leave; what he has sent is read and, as these routes take no body, thrown away."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.gone: asyncio.Future[None] = asyncio.ensure_future(self._until_gone())
        self._asked = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.wait({self.gone})
        return {"type": "http.disconnect"}

    async def leave(self) -> None:
        if not self.gone.done():
            self.gone.cancel()
            with suppress(asyncio.CancelledError):
                await self.gone

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def key_of(scope: Scope) -> ClientKey:
    """Who asks, as far as it can be known."""
    said = dict(scope["headers"])
    credentials = said.get(b"authorization", b"") + said.get(b"cookie", b"")
    peer = scope.get("client")
    return peer[0] if peer else "", said.get(b"user-agent", b""), credentials


async def _refuse(send: Send, sentence: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps({"error": sentence})})
